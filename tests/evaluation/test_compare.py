"""Comparisons: DeLong against its definition and the bootstrap, Holm and McNemar by hand, refusals."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from mammozoo import Metric, UsageError
from mammozoo.evaluation.compare import BOOTSTRAP, DELONG, MCNEMAR, RANK_SUM, Contender, compare, delong, holm
from mammozoo.evaluation.intervals import DRAWS, resample
from mammozoo.evaluation.resampling import draw
from mammozoo.plugins import registry

from ..helpers import outcome


def _contender(name: str, labels: np.ndarray, positive: np.ndarray) -> Contender:
    return Contender(name, tuple(f"image-{i}" for i in range(len(labels))), outcome(labels, positive))


def _draws(metric: Metric, contender: Contender, draws: int, seed: int) -> np.ndarray:
    return resample([metric], contender.outcome, draw(contender.outcome, draws, seed))[metric.name]


@pytest.fixture
def pair() -> tuple[Contender, Contender]:
    rng = np.random.default_rng(7)
    labels = (rng.random(400) < 0.4).astype(np.intp)
    common = rng.normal(size=400)
    good, weak = (1 / (1 + np.exp(-(shift * labels + common + rng.normal(size=400) - 1))) for shift in (2.5, 1.6))
    return _contender("good", labels, good), _contender("weak", labels, weak)


def test_delong_is_its_definition_and_agrees_with_the_bootstrap(pair: tuple[Contender, Contender]) -> None:
    """Against the kernel written out over all pairs (DeLong 1988, equations 4 to 6), ties included."""
    labels = pair[0].outcome.labels == 1
    scores = [np.round(c.outcome.probabilities[:, 1], 2) for c in pair]
    kernels = []
    for s in scores:
        positive, negative = s[labels][:, None], s[~labels][None, :]
        kernels.append((positive > negative) + 0.5 * (positive == negative))
    v10 = np.stack([k.mean(axis=1) for k in kernels])
    v01 = np.stack([k.mean(axis=0) for k in kernels])
    covariance = np.cov(v10) / labels.sum() + np.cov(v01) / (~labels).sum()
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    found = delong(labels, *scores)
    assert found[0] == pytest.approx(roc_auc_score(labels, scores[0]) - roc_auc_score(labels, scores[1]))
    assert found[1] == pytest.approx(error)
    results = {r.test: r for r in compare(pair, registry().get("metrics", "auc"))}
    one, other = results[DELONG], results[BOOTSTRAP]
    assert one.difference == pytest.approx(other.difference)
    assert one.low == pytest.approx(other.low, abs=0.01)
    assert one.high == pytest.approx(other.high, abs=0.01)
    assert one.p < 0.05 and other.p < 0.05


def test_lower_is_better_keeps_its_sign_and_a_model_does_not_differ_from_itself(pair) -> None:
    brier = registry().get("metrics", "brier")
    (result,) = [r for r in compare(pair, brier) if r.test == BOOTSTRAP]
    assert result.difference == pytest.approx(brier.value(pair[0].outcome) - brier.value(pair[1].outcome))
    assert result.low is not None and result.high is not None
    assert result.low < result.difference < result.high
    twin = dataclasses.replace(pair[0], name="twin")
    for result in compare([pair[0], twin], registry().get("metrics", "auc")):
        assert result.difference == 0
        assert result.p == 1


def test_scores_that_are_not_there_and_other_images_are_refused(pair: tuple[Contender, Contender]) -> None:
    three = [
        dataclasses.replace(
            c, outcome=dataclasses.replace(c.outcome, classes=("a", "b", "c"), probabilities=np.full((400, 3), 1 / 3))
        )
        for c in pair
    ]
    with pytest.raises(UsageError, match="sensitivity"):
        compare(three, registry().get("metrics", "sensitivity"))
    with pytest.raises(UsageError, match=r"undefined.*'good'"):
        compare(three, registry().get("metrics", "auc"))
    metric = registry().get("metrics", "auc")
    moved = dataclasses.replace(pair[1], samples=tuple(f"other-{i}" for i in range(400)))
    with pytest.raises(UsageError, match="different images"):
        compare([pair[0], moved], metric)
    (result,) = compare([pair[0], moved], metric, paired=False)
    (paired,) = [r for r in compare(pair, metric) if r.test == BOOTSTRAP]
    assert result.high - result.low > paired.high - paired.low  # what the images have in common no longer cancels


def test_mcnemar_and_holm_by_hand() -> None:
    labels = np.ones(10, np.intp)
    a = _contender("a", labels, np.array([0.9] * 8 + [0.1] * 2))  # right on 8
    b = _contender("b", labels, np.array([0.9] * 2 + [0.1] * 7 + [0.9]))  # right on 3, one of them where a is wrong
    (result,) = [r for r in compare([a, b], registry().get("metrics", "accuracy")) if r.test == MCNEMAR]
    assert result.difference == pytest.approx((6 - 1) / 10)
    assert result.p == pytest.approx(2 * (1 + 7) / 2**7)  # six against one of seven disagreements
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_rank_sum_is_on_the_replicates_and_falls_with_their_number(pair: tuple[Contender, Contender]) -> None:
    auc = registry().get("metrics", "auc")
    middling = _contender("middling", pair[0].outcome.labels, pair[0].outcome.probabilities[:, 1].round(1))
    (result,) = [r for r in compare([pair[0], middling], auc) if r.test == RANK_SUM]
    a, b = (_draws(auc, c, DRAWS, 0) for c in (pair[0], middling))
    assert result.p == pytest.approx(stats.ranksums(a, b).pvalue)
    assert result.p < stats.ranksums(a[: DRAWS // 4], b[: DRAWS // 4]).pvalue
