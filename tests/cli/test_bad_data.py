"""Data sets with something wrong in them: one message that names it, and no run folder left behind."""

from pathlib import Path

import pytest
from PIL import Image

from ..builtin.trees.pictures import folder


@pytest.fixture
def refused(command, tiny, tmp_path):
    """Try to train on a sound folder after a change; assert the exit code, one message and that nothing was begun."""
    root = folder(tmp_path / "data")

    def check(code: int, *words: str, dataset: str = "folder", root: Path = root) -> None:
        command("train", *tiny, "--dataset", dataset, "--root", root, "--out", "run").refused(code, *words)
        assert not (tmp_path / "run").exists()

    return check


def test_a_class_with_too_few_images_for_every_part(refused, tmp_path) -> None:
    for path in sorted((tmp_path / "data/malignant").iterdir())[1:]:
        path.unlink()
    refused(2, "1 independent groups", "add data")


@pytest.mark.parametrize(("content", "word"), [(None, "truncated"), ("", "empty"), ("no image", "image")])
def test_a_bad_image_is_named(refused, tmp_path, content: str | None, word: str) -> None:
    bad = tmp_path / "data/malignant/005.png"
    bad.write_bytes(bad.read_bytes()[:600] if content is None else content.encode())
    refused(1, "malignant/005.png", word)


def test_a_table_with_a_missing_file_and_no_root(refused, tmp_path) -> None:
    refused(3, "nowhere", root=tmp_path / "nowhere")
    lines = [f"{label}/{number:03}.png,{label}" for label in ("benign", "malignant") for number in range(13)]
    (tmp_path / "data/table.csv").write_text("\n".join(["path,label", *lines[:-1]]))
    refused(3, "benign/012.png", "line 14", dataset="csv", root=tmp_path / "data/table.csv")


def test_constant_images_are_said(command, tiny, tmp_path) -> None:
    root = folder(tmp_path / "data")
    words = ("train", *tiny, "--dataset", "folder", "--root", root, "--dry-run")
    assert "the same value in every pixel" not in command(*words).ok.err
    for name, level in (("003.png", 0), ("004.png", 200)):
        Image.new("L", (64, 48), level).save(root / "malignant" / name)
    shown = " ".join(command(*words).ok.err.split())
    assert "2 of" in shown and "the same value in every pixel" in shown and "malignant/003.png" in shown
