"""All scores at once: on shared draws, the same as one by one, the same whatever the memory, written without NaN."""

import dataclasses
import json
from collections.abc import Iterable

import numpy as np
import pytest

from mammozoo.evaluation import resampling
from mammozoo.evaluation.intervals import interval_all, resample
from mammozoo.evaluation.metric import Metric
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.resampling import draw
from mammozoo.evaluation.scores import Score, as_json, score_all
from mammozoo.plugins import registry

from ..helpers import random_outcome as outcome


def metrics() -> list[Metric]:
    return [item.value for item in registry().items("metrics").values()]


def test_keys_of_two_and_three_classes_and_null_for_undefined() -> None:
    two, three = score_all(outcome(2)), score_all(outcome(3))
    assert set(two) == {metric.name for metric in metrics()}
    assert {"auc", "auc[a]", "auc[c]", "accuracy", "brier", "brier[b]", "sensitivity@90specificity[c]"} <= set(three)
    assert not {"sensitivity", "accuracy[a]", "ppv"} & set(three)
    o = outcome()
    scores = as_json(score_all(dataclasses.replace(o, labels=np.zeros(60, np.intp))))
    assert scores["auc"] == {"value": None, "low": None, "high": None, "n": 60}
    assert scores["specificity"]["value"] is not None
    json.dumps(scores, allow_nan=False)


def test_a_negative_bound_is_not_read_as_a_dash() -> None:
    assert str(Score(0.5, 0.25, 0.75, 9)) == "0.500 (0.250–0.750)"
    assert str(Score(-0.4, -0.786, -0.053, 9)) == "-0.400 (-0.786 to -0.053)"
    assert str(Score(0.1, None, None, 9)) == "0.100 (no interval)"


def test_metrics_see_the_same_draws() -> None:
    """Sensitivity and specificity put together again give the accuracy of every single draw."""
    o = outcome(groups=20)
    drawn = resample(metrics(), o, draw(o, 40, 0))
    share = np.concatenate([chunk.weights @ (o.labels == 1) / chunk.total for chunk in draw(o, 40, 0)])
    together = share * drawn["sensitivity"] + (1 - share) * drawn["specificity"]
    np.testing.assert_allclose(together, drawn["accuracy"])


@pytest.mark.parametrize("classes", [2, 3])
def test_memory_does_not_decide(classes: int, monkeypatch) -> None:
    o = outcome(classes, groups=30)
    at_once = resample(metrics(), o, draw(o, 100, 1))
    monkeypatch.setattr(resampling, "CELLS", 7 * len(o))
    for key, values in resample(metrics(), o, draw(o, 100, 1)).items():
        np.testing.assert_allclose(values, at_once[key], rtol=0, atol=1e-12)


def test_whole_groups_are_drawn_and_only_two_classes_ranked() -> None:
    o = outcome(groups=20)
    (chunk,) = draw(o, 200, 0)
    assert (chunk.times.sum(axis=1) == 20).all()
    assert chunk.times.mean(axis=0) == pytest.approx(1, abs=0.3)
    for number in range(20):
        assert (chunk.weights[:, o.groups == number] == chunk.times[:, [number]]).all()
    assert (chunk.total == chunk.weights.sum(axis=1)).all()
    (chunk,) = draw(outcome(3), 5, 0)
    with pytest.raises(ValueError, match="each_against_rest"):
        _ = chunk.ranked


def test_classes_together_are_each_against_the_rest() -> None:
    o = outcome(3, groups=30)
    together = interval_all(metrics(), o, draws=100, seed=4)
    for metric in metrics():
        for key, number in metric.keys(o.classes).items():
            view = o if number is None else o.one_against_rest(number)
            value, bounds = interval_all([metric], view, draws=100, seed=4)[metric.name]
            np.testing.assert_allclose(together[key][1], bounds, err_msg=key)
            assert together[key][0] == pytest.approx(value, nan_ok=True)


def test_each_source_is_summed_once() -> None:
    """A plugin's function of the samples is called once, however many chunks and scores want its sums."""
    calls: list[Outcome] = []

    def length(o: Outcome) -> np.ndarray:
        calls.append(o)
        return np.ones(len(o))

    o = outcome(n=100)
    chunks: Iterable[resampling.Resamples] = draw(o, 3 * resampling.CELLS // 100 // 2, 0)
    totals = [chunk.sums(length)[:, 0] for chunk in chunks]
    assert len(totals) == 2 and len(calls) == 1
    assert (np.concatenate(totals) == 100).all()
