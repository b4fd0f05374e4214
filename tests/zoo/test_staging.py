"""What is published of a run: its own numbers, nothing else, and nothing that contradicts them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mammozoo.errors import IncompatibleError, RefusedToPublishError
from mammozoo.files import sha256
from mammozoo.models.config import read_config
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.zoo.entry import HubSource
from mammozoo.zoo.staging import Staged

from ..helpers import edit_config, edit_json


def test_what_is_published(model: Staged, staged, tiny_run, tmp_path) -> None:
    assert set(model.files) == {"README.md", "config.json", "model.safetensors"}
    again = staged(tiny_run.path, tmp_path / "again")
    assert {n: sha256(p) for n, p in again.files.items()} == {n: sha256(p) for n, p in model.files.items()}
    published, trained = read_config(model.folder), read_config(tiny_run.path)
    assert published == trained.model_copy(update={"name": "tiny"})
    before, after = (read_tensors(folder / "model.safetensors") for folder in (tiny_run.path, model.folder))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_the_entry_is_copied_from_the_run(model: Staged, tiny_run) -> None:
    entry = model.entry(HubSource(hub="lab/tiny", revision="a" * 40))
    config = read_config(tiny_run.path)
    (evaluation,) = entry.evaluation
    assert evaluation.n == config.scores["auc"]["n"]
    for name, score in evaluation.scores.items():
        n = evaluation.n if score.n is None else score.n
        assert {"value": score.value, "low": score.low, "high": score.high, "n": n} == config.scores[name]
    assert evaluation.scores["sensitivity"].n == config.scores["sensitivity"]["n"] < evaluation.n
    assert "auc" in evaluation.scores and "beta" not in evaluation.scores, "β is of the validation images"
    assert entry.training.split_sha256 == config.training.split_sha256
    assert entry.stamps == config.stamps != ()
    assert {n: (f.sha256, f.size) for n, f in entry.files.items()} == {
        n: (sha256(p), p.stat().st_size) for n, p in model.files.items()
    }


REFUSALS: dict[str, tuple[Callable[[Path], object], dict[str, Any], str]] = {
    "no licence": (lambda run: None, {"license": ""}, "no licence"),
    "no terms of the data": (lambda run: None, {"data_terms": ""}, "--data-terms"),
    "no scores": (lambda run: edit_config(run, scores={}), {}, "no scores"),
    "no split": (
        lambda run: edit_json(run / "config.json", lambda c: c["mammozoo"]["training"].update(split_sha256="")), {},
        "by which split",
    ),
    "better scores": (
        lambda run: edit_json(run / "config.json", lambda c: c["mammozoo"]["scores"]["auc"].update(value=0.99)), {},
        "not those of its run",
    ),
    "a run that was stopped": (
        lambda run: edit_json(run / "run.json", lambda c: c.update(status="interrupted")), {}, "not complete (interrupted)",
    ),
    "the stamp taken off": (lambda run: edit_config(run, stamps=[]), {}, "has the stamp 'synthetic data"),
    "other weights": (lambda run: spoil(run, 0.5), {}, "not those that its run ended with"),
    "a split that leaks": (lambda run: leak(run / "predictions.csv"), {}, "its split leaks (1 groups"),
}  # fmt: skip


def spoil(run: Path, value: float) -> None:
    tensors = read_tensors(run / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].flatten()[0] = value
    write_tensors(run / "model.safetensors", tensors)


def leak(predictions: Path) -> None:
    """Give a test image the group of a training image."""
    head, *rows = [line.split(",") for line in predictions.read_text().splitlines()]
    group, part = head.index("group"), head.index("part")
    train = next(row for row in rows if row[part] == "train")
    next(row for row in rows if row[part] == "test")[group] = train[group]
    predictions.write_text("\n".join(",".join(row) for row in [head, *rows]) + "\n")


@pytest.mark.parametrize("what", REFUSALS)
def test_refused(staged, run_copy, tmp_path, what: str) -> None:
    change, about, words = REFUSALS[what]
    change(run_copy)
    with pytest.raises(RefusedToPublishError, match=re.escape(words)):
        staged(run_copy, tmp_path / "out", **about)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        *(("run.json", text) for text in ("[]", "7", "[" * 100_000, '{"status": "done", "model": 7}', '{"splits": ')),
        ("predictions.csv", "a,b\n1,2\n"),
    ],
)
def test_files_that_are_not_those_of_a_run(staged, run_copy, tmp_path, file: str, text: str) -> None:
    (run_copy / file).write_text(text)
    with pytest.raises((IncompatibleError, RefusedToPublishError)):
        staged(run_copy, tmp_path / "out")


def test_weights_that_are_not_finite_and_a_stamp_that_was_not_allowed(staged, run_copy, tmp_path) -> None:
    with pytest.raises(RefusedToPublishError, match="--allow-stamped"):
        staged(run_copy, tmp_path / "out", allow_stamped=False)
    for value in (float("nan"), float("inf")):
        spoil(run_copy, value)
        edit_json(run_copy / "run.json", lambda c: c["model"].update(sha256=sha256(run_copy / "model.safetensors")))
        with pytest.raises(RefusedToPublishError, match="not finite"):
            staged(run_copy, tmp_path / "out")


def test_figures_go_along_and_nothing_else(staged, run_copy, tmp_path) -> None:
    (run_copy / "figures").mkdir()
    Image.new("L", (4, 4)).save(run_copy / "figures" / "roc.png")
    (run_copy / "figures" / "scan.jpg").write_bytes(b"\xff\xd8\xff")
    assert set(staged(run_copy, tmp_path / "out").files) == {
        "README.md", "config.json", "model.safetensors", "figures/roc.png",
    }  # fmt: skip
