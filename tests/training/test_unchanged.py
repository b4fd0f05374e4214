"""A run goes on with the data, splits and recipe that it was begun with, or says what has changed and keeps everything."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mammozoo.errors import IncompatibleError, MammozooError, NotVerifiedError
from mammozoo.training.experiment import extend, resume, train

from ..builtin.trees.pictures import picture_folder
from ..helpers import edit_json, flip, tiny

STAGE = {"name": "first", "dataset": "phantom:n=24,seed=7", "strategy": "full"}
TOP = ("predictions.csv", "scores.json", "config.json", "model.safetensors", "README.md")


def interrupted(run: Path) -> Path:
    """As if it had been killed after its first fold."""
    shutil.rmtree(run / "fold-1")
    for name in TOP:
        (run / name).unlink()
    edit_json(run / "run.json", lambda facts: facts.update(status="running"))
    return run


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """`data`, `whole` (two folds behind a stage) and `half` (the same, with one fold)."""
    home = tmp_path_factory.mktemp("begun")
    recipe = tiny(
        dataset="folder", root=str(picture_folder(home / "data", seed=0)), keep_state=True, stages=[STAGE],
        **{"split.folds": 2},
    )  # fmt: skip
    train(recipe, home / "whole")
    interrupted(Path(shutil.copytree(home / "whole", home / "half")))
    return home


@pytest.fixture
def half(begun: Path, tmp_path: Path) -> Path:
    """A copy of `begun/half` whose data may be changed."""
    shutil.copytree(begun / "data", tmp_path / "data")
    run = Path(shutil.copytree(begun / "half", tmp_path / "run"))
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(str(begun / "data"), str(tmp_path / "data")))
    return run


def without_keys(run: Path) -> None:
    """As runs were before fits had keys."""
    for key in run.rglob("key.json"):
        key.unlink()
    edit_json(run / "run.json", lambda facts: facts.pop("data_sha256", None))


def swap(data: Path) -> None:
    """Two images exchange their pixels; names, labels and numbers of images stay."""
    one, two = data / "benign/00-0.png", data / "malignant/00-0.png"
    one_bytes = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(one_bytes)


def relabel(data: Path) -> None:
    (data / "benign/03-0.png").rename(data / "malignant/moved.png")


def double(data: Path) -> None:
    shutil.copy(data / "benign/05-0.png", data / "malignant/double.png")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file more": (lambda data: shutil.copy(data / "benign/01-0.png", data / "benign/more.png"), r"new \(benign/more\.png"),
    "a file less": (lambda data: (data / "benign/01-0.png").unlink(), r"gone \(benign/01-0\.png"),
    "another class": (relabel, r"new \(malignant/moved\.png\).* gone \(benign/03-0\.png\)"),
    "a copy in the other class": (double, r"new \(malignant/double\.png"),
}  # fmt: skip


def refused(run: Path, words: str, kind: type[MammozooError] = IncompatibleError) -> None:
    """Refused with these words, and not a byte of the run differs."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(kind, match=words):
        resume(run)
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "from before"])
@pytest.mark.parametrize("what", CHANGES)
def test_changed_files_are_named_and_nothing_is_lost(half: Path, what: str, keys: bool) -> None:
    change, words = CHANGES[what]
    change(half.parent / "data")
    if not keys:
        without_keys(half)
    refused(half, words)


def test_without_splits_json_the_table_of_each_fold_tells(half: Path) -> None:
    without_keys(half)
    (half / "splits.json").unlink()
    (half.parent / "data" / "benign/01-0.png").unlink()
    refused(half, r"fold-0, .*gone \(benign/01-0\.png")


def test_pixels_behind_the_same_names(half: Path) -> None:
    """Before a fit is complete too: its saved state knows the names alone."""
    swap(half.parent / "data")
    edit_json(half / "run.json", lambda facts: facts.pop("data_sha256", None))
    refused(half, "fold-0: the pixels")
    edit_json(half / "run.json", lambda facts: facts.update(data_sha256=["another", "one"]))
    shutil.rmtree(half / "fold-0")
    refused(half, "the pixels")


@pytest.mark.parametrize(
    ("part", "words"),
    [("recipe", "fold-0: its recipe"), ("stages", "fold-0: the stages"), ("torch", rf"torch was x and is {torch.__version__[0]}")],
)  # fmt: skip
def test_what_a_key_holds(half: Path, part: str, words: str) -> None:
    edit_json(half / "fold-0" / "key.json", lambda key: key.update({part: "x"}))
    refused(half, words)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("splits.json", "[]"),
        ("splits.json", '{"splits": [{"train": []}]}'),
        ("splits.json", '{"splits": [{"name": "fold-0", "train": 7}]}'),
        ("fold-0/key.json", "[7]"),
        ("fold-0/key.json", "{"),
        *((f"fold-0/{name}.csv", text) for name in ("split", "history", "predictions") for text in ("a,b\n1,2\n", "")),
    ],
)
def test_files_that_are_not_those_of_a_run(half: Path, file: str, text: str) -> None:
    (half / file).write_text(text)
    refused(half, file if text else "fold-0")


def test_a_recipe_that_was_edited_between_two_folds(half: Path) -> None:
    recipe = half / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("batch: 16", "batch: 8"))
    refused(half, "its recipe")


@pytest.mark.parametrize("keys", [True, False], ids=["with keys", "from before"])
def test_what_has_not_changed_goes_on_to_the_same_bytes(begun: Path, half: Path, keys: bool) -> None:
    if not keys:
        without_keys(half)
    run = resume(half)
    assert run.facts["status"] == "done" and len(run.facts["data_sha256"]) == 2
    for name in TOP[:4]:
        assert (half / name).read_bytes() == (begun / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("fit", ["fold-0", "stages/first"])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "history.csv", "predictions.csv"])
def test_what_a_complete_fit_has_written_is_still_that(begun: Path, half: Path, file: str, fit: str) -> None:
    """Also where it can be read; before, the run ended well with other weights, thresholds, choices or scores."""
    path = half / fit / file
    if file == "model.safetensors":
        flip(path)
    else:
        path.write_text(re.sub(r"0\.(\d)", lambda digit: f"0.{(int(digit[1]) + 1) % 10}", path.read_text(), count=1))
    refused(half, f"{path}' does not have the SHA-256.*Remove the folder '{half / fit}'", NotVerifiedError)
    shutil.rmtree(half / fit)
    resume(half)
    for name in ("predictions.csv", "model.safetensors"):
        assert (half / name).read_bytes() == (begun / "whole" / name).read_bytes(), name


def test_a_stage_that_was_removed_is_trained_again(begun: Path, half: Path) -> None:
    shutil.rmtree(half / "stages")
    resume(half)
    assert (half / "predictions.csv").read_bytes() == (begun / "whole" / "predictions.csv").read_bytes()


def test_a_run_is_not_extended_with_other_pixels(tmp_path: Path) -> None:
    data = picture_folder(tmp_path / "data", seed=0)
    more: dict[str, Any] = {"keep_state": True, "schedule": {"kind": "constant"}}
    train(tiny(dataset="folder", root=str(data), **more), tmp_path / "short")
    swap(data)
    with pytest.raises(IncompatibleError, match="pixels"):
        extend(tmp_path / "short", 2, tmp_path / "long")
    assert not (tmp_path / "long").exists()
