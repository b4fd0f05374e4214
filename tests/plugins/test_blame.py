"""What somebody else's plugin raises when it is used: one paragraph that names it, the right exit code, nothing lost."""

import json
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mammozoo import Metric, Outcome
from mammozoo.evaluation.intervals import interval_all
from mammozoo.evaluation.scores import guarded
from mammozoo.plugins import Plugin
from mammozoo.plugins.blame import blame

from ..helpers import outcome as two_classes

DATASET = """
    from mammozoo import Dataset, DatasetInfo, Sample, hookimpl

    class Lost(Dataset):
        info = DatasetInfo("lost", "Lost images", "ultrasound", ("benign", "malignant"), synthetic=True)
        needs_root = False

        def samples(self):
            return [Sample("1", {}["label"])]

    @hookimpl
    def register_datasets():
        return [Lost]
"""
STRATEGY = """
    import sys
    from mammozoo import Strategy, hookimpl

    class Tail(Strategy):
        name = "tail"

        def adapt(self, model):
            {adapt}

        def trainable(self, model):
            return list(model.backbone.parameters())[-1:]

    @hookimpl
    def register_strategies():
        return [Tail]
"""
TRANSFORM = """
    from mammozoo import TransformSpec, hookimpl

    def build():
        def step(pixels, rng):
            {step}
        return step

    @hookimpl
    def register_transforms():
        return [TransformSpec("theirs", "what they do", build)]
"""
METRIC = """
    from mammozoo import Metric, hookimpl

    def value(outcome):
        raise ZeroDivisionError("no such case")

    @hookimpl
    def register_metrics():
        return [Metric("theirs", "what they count", value)]

    @hookimpl
    def epoch_end(run, row):
        print("an epoch")
        raise SystemExit(0)

    @hookimpl
    def run_end(run):
        print("the end")
"""


@pytest.fixture
def lab(shelf, fresh, monkeypatch) -> Callable[[str], None]:
    """Installs a source as the plugin and distribution `their-lab`, 0.7, and has it loaded."""

    def install(source: str) -> None:
        shelf.install("their-lab", source, "0.7")
        monkeypatch.delenv("MAMMOZOO_PLUGINS", raising=False)
        fresh()

    return install


BROKEN: dict[str, tuple[str, list[str], list[str]]] = {
    "a data set": (DATASET, ["--dataset", "lost"], ["'samples'", "KeyError: 'label'", "line 9"]),
    "a strategy": (
        STRATEGY.format(adapt="raise RuntimeError('no such block')"),
        ["--strategy", "frozen+tail"],
        ["'adapt'", "RuntimeError: no such block"],
    ),
    "a strategy that exits": (
        STRATEGY.format(adapt="sys.exit(0)"),
        ["--strategy", "tail"],
        ["'adapt'", "SystemExit: 0"],
    ),
    "an augmentation": (
        TRANSFORM.format(step="raise OSError('no table')"),
        ["--set", "augment=[theirs]"],
        ["'step'", "OSError: no table"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_raises_in_use_is_named(lab: Any, command, what: str, tiny) -> None:
    source, words, told = BROKEN[what]
    lab(source)
    answer = command("train", *tiny, "--out", "run", *words, "--json")
    answer.refused(1, "Plugin 'their-lab' (their-lab 0.7) failed in", "their_lab.py, line", "--debug", *told)
    assert answer.out == ""


def test_a_run_that_it_ended_says_so_and_keeps_the_traceback(lab: Any, command, tmp_path, tiny) -> None:
    lab(BROKEN["an augmentation"][0])
    command("train", *tiny, "--out", "run", *BROKEN["an augmentation"][1])
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["status"] == "failed" and "Plugin 'their-lab' (their-lab 0.7) failed" in facts["reason"]
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()


def test_debug_shows_the_traceback(lab: Any, command, monkeypatch, tiny) -> None:
    lab(DATASET)
    monkeypatch.setenv("MAMMOZOO_DEBUG", "1")
    with pytest.raises(KeyError, match="label"):
        command("train", *tiny, "--dataset", "lost")


def test_a_metric_that_raises_loses_no_training_unless_it_is_monitored(lab: Any, command, tiny) -> None:
    """Nor do an `epoch_end` that exits and hooks that print into the JSON."""
    lab(METRIC)
    answer = command("train", *tiny, "--out", "run", "--json").ok
    assert answer.json["scores"]["theirs"] == {"value": None, "low": None, "high": None, "n": 12}
    assert answer.json["scores"]["auc"]["value"] is not None
    told = "Score 'theirs' of plugin 'their-lab' (their-lab 0.7) is undefined where it raises: ZeroDivisionError"
    assert answer.err.count(told) == 1
    assert "an epoch" in answer.err and "the end" in answer.err
    assert command("evaluate", "./run", "--json").json["scores"]["theirs"]["value"] is None
    answer = command("train", *tiny, "--out", "other", "--set", "monitor=theirs")
    answer.refused(1, "Plugin 'their-lab'", "'value'", "no such case")


def test_what_a_data_set_prints_is_not_in_the_json(lab: Any, command) -> None:
    talks = DATASET.replace('return [Sample("1", {}["label"])]', 'print("found it")\n            return []')
    lab(talks)
    answer = command("data", "check", "lost", "--json")
    assert "found it" in answer.err and "found it" not in answer.out


def test_a_worker_processs_traceback_is_read_too(lab: Any, command, tiny) -> None:
    lab(BROKEN["an augmentation"][0])
    answer = command("train", *tiny, "--out", "run", "--set", "augment=[theirs]", "--set", "workers=1")
    answer.refused(1, "Plugin 'their-lab' (their-lab 0.7) failed in 'step'", "no table")


def test_a_crash_of_ours_names_whose_plugins_are_here(lab: Any, command, tiny) -> None:
    """A strategy that gives nonsense makes our own code fail, outside its files."""
    lab(STRATEGY.format(adapt="pass").replace("list(model.backbone.parameters())[-1:]", "3"))
    answer = command("train", *tiny, "--out", "run", "--strategy", "tail")
    answer.refused(70, "not iterable", "loaded: their-lab 0.7)", "MAMMOZOO_PLUGINS= (empty)")


def test_nobody_is_blamed_for_ours(lab: Any) -> None:
    lab(STRATEGY.format(adapt="pass"))
    try:
        {}["ours"]
    except KeyError as error:
        assert blame(error) is None
    assert blame(KeyboardInterrupt()) is None


def outcome() -> Outcome:
    """Twelve samples, each a group, half of them of the second class, all decided rightly but two."""
    labels = np.arange(12) % 2
    p = np.where(labels == 1, 0.8, 0.2)
    p[:2] = 0.5
    return two_classes(labels, p)


def test_single_draws_that_raise_leave_the_interval(caplog) -> None:
    """A score that needs both classes raises in the few draws without one, and is the same as one that says NaN there."""

    def strict(o: Outcome) -> float:
        if len(set(o.labels.tolist())) < 2:
            raise ValueError("one class only")
        return float(np.mean(o.labels == o.decisions))

    def soft(o: Outcome) -> float:
        return strict(o) if len(set(o.labels.tolist())) == 2 else float("nan")

    plugin = Plugin("their-lab", "their-lab", "0.7")
    few = outcome().take(np.array([0, 1, 2, 4, 6]))  # one of five is of the second class
    many = outcome()
    with caplog.at_level(logging.WARNING):
        for one in (few, many):
            forgiven = interval_all([guarded(Metric("strict", "", strict), plugin)], one, draws=300)["strict"][1]
            expected = interval_all([Metric("soft", "", soft)], one, draws=300)["soft"][1]
            assert np.array_equal(forgiven, expected, equal_nan=True)
    assert np.isfinite(forgiven).all()
    assert caplog.text.count("one class only") == 1, "one warning, though a third of the first draws raise"


@pytest.mark.parametrize("given", [None, "0.5 or so", [0.5]])
def test_what_is_no_number_is_undefined(given: Any) -> None:
    plugin = Plugin("their-lab", "their-lab", "0.7")
    assert np.isnan(guarded(Metric("odd", "", lambda o: given), plugin).value(outcome()))


def test_resampled_of_another_length_is_undefined_and_the_value_stays(caplog) -> None:
    plugin = Plugin("their-lab", "their-lab", "0.7")
    metric = guarded(Metric("odd", "", lambda o: 0.5, lambda draws: np.zeros(len(draws) + 1)), plugin)
    assert np.isnan(interval_all([metric], outcome(), draws=100)["odd"][1]).all()
    assert metric.value(outcome()) == 0.5
    assert "`resampled` gives (101,), not (100,)" in caplog.text
