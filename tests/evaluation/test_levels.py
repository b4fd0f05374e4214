"""From images to patients, by hand, each fold at the operating point of its validation patients."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.seeds import score_folds
from mammozoo.evaluation.subgroups import FEWEST, by_subgroup
from mammozoo.evaluation.thresholds import choose_threshold
from mammozoo.evaluation.units import ENOUGH, Units, aggregate, at_own_point

from ..helpers import CLASSES, outcome, predictions


def images(of: Outcome, patients: list[str], fold: str = "f", repeat: str = "", cut: float = 0.5) -> Predictions:
    """Rows of one part of a fold."""
    of = dataclasses.replace(of, decisions=decide(of.probabilities, cut))
    names = [f"{fold} {i}" for i in range(len(of))]
    return predictions(of, names, cut=cut, folds=fold, patients=patients, repeats=repeat)


def together(*parts: Predictions) -> Predictions:
    """The rows of all."""
    rows = [row | {"repeat": part.repeats[0]} for part in parts for row in part.rows()]
    return Predictions.from_rows(rows, parts[0].outcome.classes)


IMAGES = outcome([0, 1, 0, 0, 1], [0.2, 0.9, 0.4, 0.6, 0.3], [7, 7, 8, 9, 9])
PATIENTS = ["A", "A", "B", "C", "C"]


@pytest.mark.parametrize(
    ("how", "expected", "decisions"),
    [
        ("mean", [0.55, 0.4, 0.45], [1, 0, 0]),
        ("max", [0.9, 0.4, 0.6], [1, 0, 1]),
        ("noisy-or", [0.92, 0.4, 0.72], [1, 0, 1]),
    ],
)
def test_patients(how: str, expected: list[float], decisions: list[int]) -> None:
    joined = aggregate(images(IMAGES, PATIENTS), "patient", how)
    assert joined.outcome.probabilities[:, 1] == pytest.approx(expected)
    assert joined.outcome.decisions.tolist() == decisions
    assert joined.outcome.labels.tolist() == [1, 0, 1], "one malignant image makes a malignant patient"
    assert joined.outcome.groups.tolist() == [7, 8, 9]
    assert joined.samples.tolist() == ["A", "B", "C"]


def test_three_classes_and_unknown_patients() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    o = Outcome(("a", "b", "c"), np.array([1, 1, 2]), p, p.argmax(1), np.arange(3))
    joined = aggregate(images(o, ["P", "P", "Q"]), "patient", "mean").outcome
    assert joined.probabilities == pytest.approx(np.array([[0.4, 0.25, 0.35], [0.2, 0.5, 0.3]]))
    assert joined.decisions.tolist() == [0, 1] and joined.labels.tolist() == [1, 2]
    with pytest.raises(UsageError, match="two classes"):
        aggregate(images(o, ["P", "P", "Q"]), "patient", "max")
    with pytest.raises(UsageError, match="'P' has images of b and c"):
        aggregate(images(o, ["P", "Q", "P"]), "patient", "mean")
    joined = aggregate(images(IMAGES, ["", "", "B", "C", "C"]), "patient", "max").outcome
    assert joined.probabilities[:, 1] == pytest.approx([0.2, 0.9, 0.4, 0.6])
    for by in ("lesion", "patient"):
        with pytest.raises(UsageError, match=f"names its {by}"):
            aggregate(images(IMAGES, [""] * 5), by, "mean")
    low, high = images(IMAGES, PATIENTS, "low", cut=0.3), images(IMAGES, PATIENTS, "high", cut=0.8)
    joined = aggregate(together(low, high), "patient", "max")
    assert joined.outcome.decisions.tolist() == [1, 1, 1, 1, 0, 0], "each fold has its own model and threshold"
    assert joined.samples.tolist() == ["A", "B", "C"] * 2


# ---------------------------------------------------------------- the operating point of a unit


def study(
    seed: int, patients: int, fold: str = "f", repeat: str = "", scale: float = 1.0, shift: float = 0.0
) -> Predictions:
    """Two or more images of each patient, every other one ill; `scale` and `shift` of the log odds are the fold's."""
    rng = np.random.default_rng(seed)
    patient = np.sort(np.concatenate([np.arange(patients).repeat(2), rng.integers(0, patients, 2 * patients)]))
    ill = patient % 2
    odds = scale * (1.5 * (2 * ill - 1) + 1.5 * rng.normal(size=len(ill))) + shift
    numbers = 1000 * (seed % 50) + patient
    of = outcome(ill.tolist(), expit(odds).tolist(), numbers.tolist())
    return images(of, [f"{n}" for n in numbers], fold, repeat)


def found(
    test: Predictions, val: Predictions, how: str = "max", rule: str = "youden", *, calibrated: bool = False
) -> Units:
    return at_own_point(test, val, "patient", how, rule=rule, calibrated=calibrated)


@pytest.mark.parametrize("how", ["mean", "max", "noisy-or"])
@pytest.mark.parametrize("rule", ["closest-to-corner", "youden", "sensitivity:0.8", "specificity:0.8"])
def test_the_threshold_is_chosen_on_the_validation_units_of_the_same_fold(how: str, rule: str) -> None:
    """By the rule that is asked for; what the test units are plays no part in it."""
    folds = {"a": (1.0, 0.0), "b": (0.4, 1.5)}
    test = together(*(study(n, 30, name, "", *scale) for n, (name, scale) in enumerate(folds.items())))
    val = together(*(study(n + 2, 40, name, "", *scale) for n, (name, scale) in enumerate(folds.items())))
    units = found(test, val, how, rule)
    assert units.remark == "" and units.temperatures == ()
    for name in folds:
        own = aggregate(val.take(np.flatnonzero(val.folds == name)), "patient", how).outcome
        cut = choose_threshold(rule, own.labels, own.probabilities[:, 1])
        mine = units.predictions.folds == name
        assert set(units.predictions.cuts[mine]) == {cut}
        p = units.predictions.outcome.probabilities[mine, 1]
        assert units.predictions.outcome.decisions[mine].tolist() == (p >= cut).astype(int).tolist()
    flipped = dataclasses.replace(test, outcome=dataclasses.replace(test.outcome, labels=1 - test.outcome.labels))
    assert found(flipped, val, how, rule).predictions.cuts.tolist() == units.predictions.cuts.tolist()


def test_largest_probabilities_need_another_threshold_than_single_images() -> None:
    val, test = study(0, 200), study(1, 400)
    cut = choose_threshold("closest-to-corner", val.outcome.labels, val.outcome.probabilities[:, 1])
    test = test.cut_at(np.full(len(test), cut))
    of_images = score_folds(aggregate(test, "patient", "max"))
    own = score_folds(found(test, val, rule="closest-to-corner").predictions)
    assert of_images["sensitivity"].value - of_images["specificity"].value > 0.2
    assert abs(own["sensitivity"].value - own["specificity"].value) < 0.1
    assert own["auc"] == of_images["auc"]


def test_the_temperature_is_fitted_on_the_log_odds_of_validation_units() -> None:
    """Three of four patients are judged right at 0.9, so 0.9 becomes 0.75: T = logit 0.9 / logit 0.75 = 2.

    Of their images six of seven are, with T = 1.2.
    """
    labels, patients, p = [], [], []
    for n in range(80):
        right = n // 2 % 4 > 0
        labels += [n % 2] * (1 + right)
        patients += [n] * (1 + right)
        p += [0.9 if right == n % 2 else 0.1] * (1 + right)
    val = images(outcome(labels, p, patients), [f"{n}" for n in patients])
    test = images(outcome([0, 0, 1], [0.9, 0.5, 0.1], [0, 1, 2]), ["A", "B", "C"])
    units = found(test, val, "mean", "half", calibrated=True)
    assert units.temperatures == pytest.approx([2.0], abs=1e-3)
    assert units.predictions.outcome.probabilities[:, 1] == pytest.approx([0.75, 0.5, 0.25], abs=1e-4)
    assert set(units.predictions.cuts) == {0.5}
    plain = found(test, val, "mean", "half")
    assert plain.predictions.outcome.probabilities[:, 1].tolist() == [0.9, 0.5, 0.1] and plain.temperatures == ()


def test_the_threshold_is_one_of_calibrated_probabilities() -> None:
    val = study(7, 60, scale=3.0)
    units, plain = (found(val, val, calibrated=calibrated).predictions for calibrated in (True, False))
    (temperature,) = found(val, val, calibrated=True).temperatures
    p = expit(logit(plain.outcome.probabilities[:, 1]) / temperature)
    assert temperature > 1.5 and units.outcome.probabilities[:, 1] == pytest.approx(p)
    assert units.cuts[0] == pytest.approx(choose_threshold("youden", plain.outcome.labels, p))
    assert units.outcome.decisions.tolist() == plain.outcome.decisions.tolist()


def test_units_that_are_certain_and_three_classes_are_calibrated_too() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    p = rng.dirichlet(np.ones(3), 90) + np.eye(3)[labels]
    o = Outcome(("a", "b", "c"), labels, p / p.sum(axis=1, keepdims=True), labels, np.arange(90))
    val = images(o, [f"{n}" for n in range(90)])
    units = found(val, val, "mean", "", calibrated=True)
    assert units.temperatures[0] < 1 and np.isnan(units.predictions.cuts).all()
    assert units.predictions.outcome.probabilities.sum(axis=1) == pytest.approx(1)
    p = units.predictions.outcome.probabilities
    assert units.predictions.outcome.decisions.tolist() == p.argmax(axis=1).tolist()
    sure = images(outcome([0, 1] * 20, [0.0, 1.0] * 20), [f"{n}" for n in range(40)])
    units = found(sure, sure, "noisy-or", calibrated=True).predictions
    assert units.outcome.decisions.tolist() == [0, 1] * 20 and np.isfinite(units.outcome.probabilities).all()


def test_the_inner_models_of_an_outer_fold_choose_together_and_repeats_apart() -> None:
    """Each validation patient counts once for each inner model; `fold-1` is not an inner model of `fold-10`."""
    inner = [study(n, 20, f"{fold}/inner-{n % 2}/00{n // 2 % 2}", f"{n // 2 % 2}", 1.0, n / 4)
             for n, fold in enumerate(["fold-1"] * 4 + ["fold-10"] * 2)]  # fmt: skip
    tests = [study(9, 15, f"fold-1/repeat-{n}", f"{n}") for n in (0, 1)]
    units = found(together(*tests), together(*inner)).predictions
    for repeat in (0, 1):
        own = [aggregate(part, "patient", "max").outcome for part in inner[2 * repeat : 2 * repeat + 2]]
        labels, p = (np.concatenate([getattr(one, name) for one in own]) for name in ("labels", "probabilities"))
        expected = choose_threshold("youden", labels, p[:, 1])
        assert set(units.cuts[units.repeats == f"{repeat}"]) == {expected}
    assert len(set(units.cuts)) == 2
    single = [study(n, 20, f"site/{n}") for n in (1, 2)]  # two folds of their own
    units = found(together(*single), together(*single)).predictions
    expected = [found(one, one).predictions.cuts[0] for one in single]
    assert [units.cuts[units.folds == f"site/{n}"][0] for n in (1, 2)] == expected


def test_where_nothing_can_be_chosen_the_images_point_stays_and_is_named() -> None:
    test = together(study(0, 20, "a"), study(1, 20, "b"))
    good, few = study(2, 20, "a"), study(3, ENOUGH - 1, "b")
    nameless = dataclasses.replace(study(4, 20, "b"), patients=np.full(len(study(4, 20)), ""))
    healthy = study(5, 40, "b")
    healthy = healthy.take(np.flatnonzero(healthy.outcome.labels == 0))
    expected = aggregate(test, "patient", "max")
    for val, said in (
        (good, "b: there are no predictions"),
        (together(good, few), f"b: it has {ENOUGH - 1} independent patients, and {ENOUGH}"),
        (together(good, nameless), "b: No image names its patient"),
        (together(good, healthy), "b: it has no patient of class malignant"),
        (Predictions.from_rows([], CLASSES), "a: there are no predictions"),
    ):
        units = found(test, val, calibrated=True)
        assert "those of single images" in units.remark and said in units.remark and "\n" not in units.remark
        assert units.predictions.rows() == expected.rows() and units.temperatures == ()
    assert found(test, together(good, study(3, ENOUGH, "b"))).remark == ""
    copies = study(3, 40, "b")
    copies = dataclasses.replace(copies, outcome=dataclasses.replace(copies.outcome, groups=copies.outcome.groups % 3))
    assert "3 independent" in found(test, together(good, copies)).remark, "units of one group are not independent"


# ---------------------------------------------------------------- folds, repeats and parts


def test_units_are_scored_as_images_are_by_fold_and_repeat() -> None:
    """Not pooled, and not of the first repeat alone."""
    test = together(*(study(f + 2 * r, 24, f"fold-{f}/00{r}", f"{r}") for r in (0, 1) for f in (0, 1)))
    scores = score_folds(found(test, test).predictions)
    each = [found(one, one).predictions.outcome for r in (0, 1) for f in (0, 1)
            for one in [test.take(np.flatnonzero(test.folds == f"fold-{f}/00{r}"))]]  # fmt: skip
    right = [float((one.decisions == one.labels).mean()) for one in each]
    assert scores["accuracy"].value == pytest.approx(np.mean(right)) and scores["accuracy"].n == 48
    assert scores["accuracy"].sd == pytest.approx(np.std([np.mean(right[:2]), np.mean(right[2:])], ddof=1))


def test_small_subgroups_are_not_scored() -> None:
    n = 3 * FEWEST
    o = outcome([0, 1] * (n // 2), [0.3, 0.7] * (n // 2), [*range(2 * FEWEST), *[99] * FEWEST])
    rows = dataclasses.replace(images(o, [""] * n), meta={"device": np.array(["GE"] * (2 * FEWEST) + [""] * FEWEST)})
    parts = by_subgroup(rows, "device")
    assert [(part.value, part.n, part.groups) for part in parts] == [
        ("unknown", FEWEST, 1),
        ("GE", 2 * FEWEST, 2 * FEWEST),
    ]
    assert parts[0].scores is None, "ten images of one patient are one group"
    assert parts[1].scores is not None and parts[1].scores["auc"].value == 1.0


def test_subgroups_are_means_over_repeats_of_the_pooled_folds() -> None:
    """A value may be in few images of each fold, or in none of one."""
    right = [[1, 1, 1, 0] * 5, [1, 0, 0, 0] * 5]
    tables = []
    for repeat, hits in enumerate(right):
        o = outcome([1] * 20, [0.9 if hit else 0.1 for hit in hits])
        half = images(o, [""] * 20, "x", f"{repeat}")
        tables.append(dataclasses.replace(half, folds=np.repeat([f"fold-0/00{repeat}", f"fold-1/00{repeat}"], [3, 17])))
    rows = together(*tables)
    rows = dataclasses.replace(rows, meta={"device": np.full(40, "GE")})
    (part,) = by_subgroup(rows, "device")
    assert (part.n, part.groups) == (20, 20)
    score = part.scores["accuracy"]
    assert score.value == pytest.approx(0.5) and score.sd == pytest.approx(np.std([0.75, 0.25], ddof=1))
