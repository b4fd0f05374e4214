"""Loggers: TensorBoard's own reader finds every epoch, and the plugins of the page call their libraries as it says."""

import contextlib
import importlib.util
import re
import sys
import types
from pathlib import Path

import pytest

from mammozoo import EpochRow, plugins

PAGE = (Path(__file__).parents[2] / "docs" / "loggers.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'^```python title="with_(\w+)\.py"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL))
ROWS = [EpochRow("fold-0", n, 1, 1e-3, 0.7 / n, 0.8 / n, 0.5 + n / 10, True, 2.0, 40.0) for n in (1, 2)]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard: pip install tensorboard"
)
def test_tensorboard_reads_every_epoch_of_every_fit(tiny_run, tmp_path: Path, monkeypatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plugins.registry().notify("epoch_end", run=tiny_run, row=ROWS[0])
    monkeypatch.setenv("MAMMOZOO_TENSORBOARD", str(tmp_path / "tb"))
    for row in ROWS:
        plugins.registry().notify("epoch_end", run=tiny_run, row=row)
    found = EventAccumulator(str(tmp_path / "tb" / tiny_run.path.name / "fold-0")).Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss/val")] == [(1, pytest.approx(0.8)), (2, pytest.approx(0.4))]
    assert [e.value for e in found.Scalars("monitor/loss")] == [pytest.approx(0.6), pytest.approx(0.7)]


def test_without_tensorboard_a_warning_and_nothing_lost(tiny_run, tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setenv("MAMMOZOO_TENSORBOARD", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    plugins.registry()._warned.clear()
    plugins.registry().notify("epoch_end", run=tiny_run, row=ROWS[0])
    assert "epoch_end raised" in caplog.text


@pytest.mark.parametrize("library", BLOCKS)
def test_the_plugins_of_the_page_log_each_epoch_at_its_step(library: str, tiny_run, from_file, monkeypatch) -> None:
    logged: list[tuple[dict, int]] = []
    begun: list[dict] = []

    def log(values: dict, step: int) -> None:
        logged.append((values, step))

    @contextlib.contextmanager
    def start(**words: object):
        begun.append(words)
        yield types.SimpleNamespace(log=log, info=types.SimpleNamespace(run_id="id-of-the-first"))

    stand_in = types.ModuleType(library)
    stand_in.init = start if library == "wandb" else lambda **words: begun.append(words)
    stand_in.start_run, stand_in.log_metrics, stand_in.log = start, log, log
    stand_in.finish = lambda: None
    monkeypatch.setitem(sys.modules, library, stand_in)
    from_file(BLOCKS[library], f"with_{library}")
    for row in ROWS:
        plugins.registry().notify("epoch_end", run=tiny_run, row=row)
    assert [(values["val_loss"], step) for values, step in logged] == [(0.8, 1), (0.4, 2)]
    assert len(begun) == 2 and tiny_run.path.name in str(begun[0])
    if library == "mlflow":  # the second epoch goes to the run that the first one began
        assert [words["run_id"] for words in begun] == [None, "id-of-the-first"]


def test_the_page_has_all_three() -> None:
    assert set(BLOCKS) == {"wandb", "mlflow", "trackio"}
