"""Comparisons: each test against its definition, of groups and of single images; who is better; refusals."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mammozoo.errors import NotFoundError, UsageError
from mammozoo.evaluation.compare import BOOTSTRAP, DELONG, MCNEMAR, RANK_SUM, Contender, Result, compare
from mammozoo.evaluation.intervals import DRAWS, resample, smallest_class
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.paired_tests import delong, holm, mcnemar
from mammozoo.evaluation.resampling import draw
from mammozoo.evaluation.scores import accuracy_gap, overfitting
from mammozoo.evaluation.seeds import mean_score
from mammozoo.plugins import registry

from ..helpers import outcome, predictions

AUC = registry().get("metrics", "auc")
Pair = tuple[Contender, Contender]


def _contender(name: str, of: Outcome, folds: object = "holdout", parts: object = "test") -> Contender:
    return Contender(name, predictions(of, folds=folds, parts=parts))


def _regrouped(one: Contender, groups: np.ndarray) -> Contender:
    table = one.predictions
    return Contender(one.name, dataclasses.replace(table, outcome=dataclasses.replace(table.outcome, groups=groups)))


def _only(results: list[Result], test: str) -> Result:
    (result,) = (r for r in results if r.test == test)
    return result


def _models(rng: np.random.Generator, copies: int = 1, shifts: tuple[float, ...] = (2.5, 1.6)) -> list[Contender]:
    """Models on 400 images, each `copies` of one lesion that models see alike; the first is the best."""
    group = np.arange(400) // copies
    labels = (rng.random(400) < 0.4).astype(np.intp)[group]
    seen = rng.normal(size=400)[group]
    positive = [1 / (1 + np.exp(-(s * labels + seen + rng.normal(size=400)[group] - 1))) for s in shifts]
    return [_contender(f"model-{i}", outcome(labels, p, group)) for i, p in enumerate(positive)]


@pytest.fixture
def pair() -> Pair:
    a, b = _models(np.random.default_rng(7))
    return a, b


def test_delong_is_its_definition_and_agrees_with_the_bootstrap(pair: Pair) -> None:
    """Of single images, against the kernel written out over all pairs (DeLong 1988, equations 4 to 6), ties included."""
    rounded = []
    for one in pair:
        p = one.predictions.outcome.probabilities.round(2)
        rounded.append(dataclasses.replace(one.predictions.outcome, probabilities=p))
    labels = rounded[0].labels == 1
    scores = [of.probabilities[:, 1] for of in rounded]
    kernels = []
    for s in scores:
        positive, negative = s[labels][:, None], s[~labels][None, :]
        kernels.append((positive > negative) + 0.5 * (positive == negative))
    v10 = np.stack([k.mean(axis=1) for k in kernels])
    v01 = np.stack([k.mean(axis=0) for k in kernels])
    covariance = np.cov(v10) / labels.sum() + np.cov(v01) / (~labels).sum()
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = delong(rounded[:1], rounded[1:])
    assert found[0] == pytest.approx(roc_auc_score(labels, scores[0]) - roc_auc_score(labels, scores[1]))
    assert found[1] == pytest.approx(error)
    one, other = (_only(compare(pair, "auc"), test) for test in (DELONG, BOOTSTRAP))
    assert one.difference == pytest.approx(other.difference)
    assert other.high - other.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert one.p < 0.05 and other.p < 0.05


def test_groups_are_the_evidence_not_their_copies() -> None:
    """Four copies of each lesion tell what one of them tells: Obuchowski 1997 by hand, and McNemar of the single lesions."""
    a, b = _models(np.random.default_rng(3), copies=4, shifts=(2.0, 1.7))
    lesions = [Contender(c.name, c.predictions.take(np.arange(0, 400, 4))) for c in (a, b)]
    copied, single = compare([a, b], "auc"), compare(lesions, "auc")
    for test in (BOOTSTRAP, DELONG, MCNEMAR):
        assert _only(copied, test).p == pytest.approx(_only(single, test).p, rel=1e-6), test
    assert (_only(copied, BOOTSTRAP).images, _only(copied, BOOTSTRAP).groups) == (400, 100)
    ((of_copies,), (of_lesions,)) = (compare(both, "auc", paired=False) for both in ([a, b], lesions))
    assert of_copies.p == pytest.approx(of_lesions.p, rel=1e-6)
    assert (of_copies.low, of_copies.high) == pytest.approx((of_lesions.low, of_lesions.high))
    rng = np.random.default_rng(1)
    group, labels = np.repeat(np.arange(30), 3), rng.integers(0, 2, 90)
    tests = [outcome(labels, rng.random(90), group) for _ in range(2)]
    x, y = (np.zeros((30, 2)) for _ in range(2))  # components of positives and negatives by group, a minus b
    for sign, of in zip((1, -1), tests, strict=True):
        area = roc_auc_score(labels, of.probabilities[:, 1])
        for i, j in itertools.product(np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)):
            higher = sign * (float(of.probabilities[i, 1] > of.probabilities[j, 1]) - area)
            x[group[i]] += higher / (labels == 0).sum()
            y[group[j]] += higher / (labels == 1).sum()
    x, y, m, n = x[:, 0], y[:, 0], (labels == 1).sum(), (labels == 0).sum()
    i10, i01 = len(set(group[labels == 1])), len(set(group[labels == 0]))
    s10, s01, s11 = i10 / ((i10 - 1) * m) * x @ x, i01 / ((i01 - 1) * n) * y @ y, 30 / 29 * x @ y
    assert delong(tests[:1], tests[1:])[1] == pytest.approx(np.sqrt(s10 / m + s01 / n + 2 * s11 / (m * n)))


def test_mcnemar_is_exact_by_groups_and_holm_by_hand() -> None:
    """Against every choice of signs; groups of one image are McNemar's own."""
    net = np.array([3, -1, 2, 0, 1, 1, -2, 4])
    signs = np.array(list(itertools.product((-1, 1), repeat=len(net))))
    assert mcnemar(net) == pytest.approx(np.mean(np.abs(signs @ net) >= abs(net.sum())))
    labels = np.ones(10, np.intp)
    a = _contender("a", outcome(labels, np.array([0.9] * 8 + [0.1] * 2)))  # right on 8
    # Right on 3, one of them where a is wrong.
    b = _contender("b", outcome(labels, np.array([0.9] * 2 + [0.1] * 7 + [0.9])))
    result = _only(compare([a, b], "accuracy"), MCNEMAR)
    assert (result.value_a, result.value_b) == (0.8, 0.3)
    assert result.difference == pytest.approx((6 - 1) / 10)
    assert result.p == pytest.approx(2 * (1 + 7) / 2**7)  # six against one of seven disagreements
    assert mcnemar(np.zeros(3, np.intp)) == 1
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize("paired", [True, False])
def test_the_order_of_two_runs_does_not_matter(paired: bool) -> None:
    """One knows the patients, the other takes each image alone; each knows what the other does not."""
    a, b = _models(np.random.default_rng(3), copies=4, shifts=(2.0, 1.7))
    alone = _regrouped(b, np.arange(400)[::-1])
    expected, one, other = (compare(runs, "auc", paired=paired) for runs in ([a, b], [a, alone], [alone, a]))
    for x, y, z in zip(expected, one, other, strict=True):
        assert x.groups == y.groups == z.groups == 100
        assert x.p == pytest.approx(y.p) == pytest.approx(z.p)
        assert x.difference == y.difference == -z.difference
    halves = [np.where(np.arange(400) % 4 < 2, np.arange(400) // 4, 1000 + np.arange(400)) for _ in range(2)]
    halves[1] = halves[1][::-1]
    (first, *_) = compare([_regrouped(c, g) for c, g in zip((a, b), halves, strict=True)], "auc")
    assert first.groups == 200  # pairs of the one and pairs of the other


def test_the_interval_is_that_of_the_draws_spread_and_its_p_fits_it() -> None:
    """As in `reproduce`; an end of the interval is at 0 where p is 0.05, and few groups widen both."""
    for seed in range(6):
        a, b = _models(np.random.default_rng(seed), copies=8, shifts=(2.2, 1.6))
        result = compare([a, b], "auc")[0]
        first, second = (c.predictions.outcome for c in (a, b))
        of_seeds = mean_score(AUC, None, [first], minus=[second])
        assert (result.low, result.high) == pytest.approx((of_seeds.low, of_seeds.high))
        assert (result.p < 0.05) == (result.low > 0 or result.high < 0)
        one, other = (resample([AUC], of, draw(of, DRAWS, 0))["auc"] for of in (first, second))
        n = smallest_class(first)
        half = stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1)) * np.nanstd(one - other)
        assert result.high - result.low == pytest.approx(2 * half)


def test_p_is_as_small_as_many_pairs_need_it() -> None:
    """Ten runs are 45 pairs; a difference that no draw contradicts is one, however many other pairs there are."""
    runs = _models(np.random.default_rng(1), shifts=(3.5, *[0.5] * 9))
    results = [r for r in compare(runs, "auc") if r.test == BOOTSTRAP]
    against_the_best = [r for r in results if r.a == "model-0"]
    assert max(r.p for r in against_the_best) < 0.001
    assert {r.better for r in against_the_best} == {"model-0"}
    assert [r for r in results if r.a != "model-0" and r.better] == []


def test_it_says_which_is_better_or_that_the_data_cannot_tell(pair: Pair) -> None:
    for score, higher in (("auc", True), ("brier", False)):
        result = compare(pair, score)[0]
        value = registry().get("metrics", score).value
        assert (result.value_a, result.value_b) == tuple(value(c.predictions.outcome) for c in pair)
        assert result.difference == result.value_a - result.value_b
        assert (result.difference > 0) == higher and result.low < result.difference < result.high
        assert result.better == "model-0"
        assert str(result).startswith(f"model-0 is better by {score}: model-0 {result.value_a:.3f}, model-1 ")
        assert str(result).endswith("; 400 images in 400 groups.")
    twin = dataclasses.replace(pair[0], name="twin")
    for result in compare([pair[0], twin], "auc"):
        assert (result.difference, result.p, result.better) == (0, 1, None)
    assert str(compare([pair[0], twin], "auc")[0]).startswith("The data cannot tell which run is better by auc")


def test_every_score_that_train_prints_is_taken() -> None:
    rng = np.random.default_rng(4)
    labels, parts = rng.integers(0, 3, 120), np.repeat(["train", "val", "test"], 40)
    tables = []
    for sharp in (2.0, 0.5):
        p = rng.dirichlet(np.ones(3), 120) + sharp * np.eye(3)[labels] * rng.random((120, 1))
        p /= p.sum(axis=1, keepdims=True)
        tables.append(Outcome(("benign", "malignant", "normal"), labels, p, p.argmax(axis=1), np.arange(120) % 60))
    runs = [_contender(name, of, parts=parts) for name, of in zip("ab", tables, strict=True)]
    of_parts = [{part: c.predictions.of(part).outcome for part in ("train", "val", "test")} for c in runs]
    one_class = [AUC.value(of["test"].one_against_rest(1)) for of in of_parts]
    results = compare(runs, "auc[malignant]")
    assert {r.test: r.score for r in results} == {
        BOOTSTRAP: "auc[malignant]", DELONG: "auc[malignant]", MCNEMAR: "accuracy[malignant]",
    }  # fmt: skip
    assert (results[0].value_a, results[0].value_b) == pytest.approx(tuple(one_class))
    for score, by_hand in (
        ("beta", [overfitting(of["train"], of["val"]).value for of in of_parts]),
        ("accuracy-gap", [accuracy_gap(of["train"], of["test"]).value for of in of_parts]),
    ):
        (result,) = compare(runs, score)
        assert (result.value_a, result.value_b) == pytest.approx(tuple(by_hand))
        assert result.low < result.difference < result.high
    for score in (key for m in registry().items("metrics").values() for key in m.value.keys(tables[0].classes)):
        assert compare(runs, score)[0].score == score
    with pytest.raises(UsageError, match=r"no score 'sensitivity'.*sensitivity\[malignant\]"):
        compare(runs, "sensitivity")
    with pytest.raises(NotFoundError):
        compare(runs, "beauty")


def test_folds_are_averaged_unless_one_of_them_has_no_score(pair: Pair) -> None:
    """Each fold has a scale of its own, and pooling would compare images of different models."""
    folds = np.arange(400) // 200
    a, b = (_contender(c.name, c.predictions.outcome, folds) for c in pair)
    values = [
        np.mean([AUC.value(c.predictions.outcome.take(np.flatnonzero(folds == k))) for k in (0, 1)]) for c in (a, b)
    ]
    results = compare([a, b], "auc")
    assert (results[0].value_a, results[0].value_b) == pytest.approx(tuple(values))
    assert _only(results, DELONG).p == pytest.approx(results[0].p, abs=0.02)
    twice = np.concatenate([np.arange(400), np.arange(400)])  # a run of two repeats, which say the same
    tables = [dataclasses.replace(c.predictions.take(twice), folds=np.repeat(["x", "y"], 400)) for c in pair]
    repeated = [Contender(c.name, table) for c, table in zip(pair, tables, strict=True)]
    for runs in (repeated, [repeated[0], pair[1]]):
        for one, other in zip(compare(runs, "auc"), compare(pair, "auc"), strict=True):
            assert dataclasses.astuple(one)[2:9] == pytest.approx(dataclasses.astuple(other)[2:9])
            assert one.images == 400
    lacking = [
        _contender(c.name, c.predictions.outcome, np.where(c.predictions.outcome.labels, "x", "y")) for c in (a, b)
    ]
    pooled = compare(lacking, "auc")[0]
    assert pooled.value_a == pytest.approx(AUC.value(a.predictions.outcome))
    assert pooled.score == "auc (folds pooled)"


def test_scores_that_are_not_there_and_other_images_are_refused(pair: Pair) -> None:
    healthy = [Contender(c.name, c.predictions.take(np.flatnonzero(c.predictions.outcome.labels == 0))) for c in pair]
    with pytest.raises(UsageError, match=r"undefined.*'model-0'"):
        compare(healthy, "auc")
    with pytest.raises(UsageError, match="two or more runs"):
        compare(pair[:1], "auc")
    renamed = np.array([f"other-{i}" for i in range(400)])
    moved = Contender("moved", dataclasses.replace(pair[1].predictions, samples=renamed))
    with pytest.raises(UsageError, match="different images"):
        compare([pair[0], moved], "auc")
    (result,) = compare([pair[0], moved], "auc", paired=False)
    paired = _only(compare(pair, "auc"), BOOTSTRAP)
    assert result.high - result.low > paired.high - paired.low  # what the images have in common no longer cancels
    assert (result.images, result.groups) == (800, 800)


def test_the_rank_sum_comes_on_request_and_falls_with_the_number_of_replicates(pair: Pair) -> None:
    of = pair[0].predictions.outcome
    middling = _contender("middling", outcome(of.labels, of.probabilities[:, 1].round(1)))
    assert RANK_SUM not in {r.test for r in compare([pair[0], middling], "auc")}
    result = _only(compare([pair[0], middling], "auc", rank_sum=True), RANK_SUM)
    a, b = (
        resample([AUC], c.predictions.outcome, draw(c.predictions.outcome, DRAWS, 0))["auc"]
        for c in (pair[0], middling)
    )
    assert result.p == pytest.approx(stats.ranksums(a, b).pvalue)
    assert result.p < stats.ranksums(a[: DRAWS // 4], b[: DRAWS // 4]).pvalue
    assert result.better is None  # it is not valid, so it tells nothing
