"""Split files: ours, nnU-Net's and tables; what they name, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammozoo.data.splits.files import read_splits, write_splits
from mammozoo.data.splits.make import Split
from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError

NAMES = ["benign/benign (1).png", "benign/benign (2).png", "malignant/malignant (1).png", "malignant/malignant (2).png"]


def indices(*values: int) -> Any:
    return np.array(values, np.intp)


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_ours_comes_back_as_it_was(tmp_path: Path) -> None:
    made = [
        Split("fold-0", indices(0), indices(1), indices(2, 3)),
        Split("fold-1/inner-0", indices(2, 3), indices(0), indices(1)),
    ]
    read = read_splits(write_splits(tmp_path / "splits.json", made, NAMES), NAMES)
    assert read.unknown == []
    assert [split.name for split in read.splits] == ["fold-0", "fold-1/inner-0"]
    for before, after in zip(made, read.splits, strict=True):
        assert before.digest(NAMES) == after.digest(NAMES)
    assert [split.outer for split in read.splits] == ["fold-0", "fold-1"]


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = write_splits(tmp_path / "splits.json", [Split("holdout", indices(0, 1), indices(2), indices(3))], NAMES)
    path.write_text(
        path.read_text()
        .replace('"test": [', '"test": [\n "benign/benign (1).png",')
        .replace('"benign/benign (1).png",\n', "", 1)
    )
    with pytest.raises(NotVerifiedError, match="holdout"):
        read_splits(path, NAMES)


def test_nnunets_validation_is_what_is_tested(tmp_path: Path) -> None:
    folds = [
        {"train": ["benign (1)", "benign (2)"], "val": ["malignant (1)"]},
        {"train": ["malignant (1)"], "val": ["benign (1)"]},
    ]
    first, second = read_splits(written(tmp_path / "splits_final.json", folds), NAMES).splits
    assert (first.name, first.train.tolist(), first.val.tolist(), first.test.tolist()) == ("fold-0", [0, 1], [], [2])
    assert second.test.tolist() == [0]


def test_a_table(tmp_path: Path) -> None:
    rows = "Sample,Part\nbenign\\benign (1).png,train\nbenign (2),val\nmalignant (1).PNG,test\nelsewhere.png,test\n"
    read = read_splits(written(tmp_path / "mine.csv", rows), NAMES)
    (split,) = read.splits
    assert [split.part(part).tolist() for part in ("train", "val", "test")] == [[0], [1], [2]]
    assert read.unknown == ["elsewhere.png"]


def test_a_name_may_end_with_dots(tmp_path: Path) -> None:
    """Only what looks like an image's suffix is one."""
    names = ["a/case.1", "a/case.2.png"]
    read = read_splits(written(tmp_path / "s.csv", "sample,part\ncase.1,train\ncase.2,test\n"), names)
    assert read.unknown == [] and read.splits[0].test.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.json", "not json", "neither JSON"),
        ("s.json", {"train": []}, "neither ours"),
        ("s.json", [], "neither ours"),
        ("s.json", [{"train": "benign (1)"}], "neither ours"),
        ("s.json", {"splits": [{"name": "../x", "train": [], "val": [], "test": []}]}, "'../x'"),
        ("s.json", [{"train": ["benign (1)"], "val": ["benign (1).png"]}], "twice"),
        ("s.json", {"splits": [{"name": "a", "test": []}, {"name": "a", "test": []}]}, "'a'"),
        ("s.csv", "sample,part\nbenign (1),exam\n", "line 2"),
        ("s.csv", "sample,part\n", "nothing"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_splits(written(tmp_path / name, content), NAMES)


def test_a_name_of_several_images(tmp_path: Path) -> None:
    names = ["a/1.png", "b/1.png"]
    with pytest.raises(UsageError, match="several images"):
        read_splits(written(tmp_path / "s.csv", "sample,part\n1.png,train\n"), names)
    assert read_splits(written(tmp_path / "s.csv", "sample,part\nb/1,train\n"), names).splits[0].train.tolist() == [1]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_splits(tmp_path / "none.json", NAMES)
