"""Data sets with something wrong in them: one message that names it, and no run folder left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo import cli


def _fill(folder: Path, count: int = 12, seed: int = 0) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        Image.fromarray(rng.integers(0, 255, (48, 48), np.uint8)).save(folder / f"{number:02}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of twelve sound images."""
    _fill(tmp_path / "data/benign", seed=1)
    _fill(tmp_path / "data/malignant", seed=2)
    return tmp_path / "data"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Try to train; assert the exit code, one message with these words, and that nothing was begun."""
    monkeypatch.chdir(tmp_path)

    def check(dataset: str, root: Path, code: int, *words: str, settings: tuple[str, ...] = ()) -> None:
        flags = [
            "--backbone",
            "test_resnet",
            "--weights",
            "random",
            "--epochs",
            "1",
            "--set",
            "size=32",
            "--device",
            "cpu",
        ]
        more = [word for setting in settings for word in ("--set", setting)]
        monkeypatch.setattr(
            sys, "argv", ["mammozoo", "train", "--dataset", dataset, "--root", str(root), *flags, *more, "--out", "run"]
        )
        with pytest.raises(SystemExit) as end:
            cli.main()
        err = capsys.readouterr().err
        assert end.value.code == code, err
        assert "Traceback" not in err
        (message,) = (line for line in err.splitlines() if line.startswith("mammozoo: "))
        for word in words:
            assert word in message
        assert not (tmp_path / "run").exists()

    return check


def test_a_class_that_is_no_folder(refused, root: Path) -> None:
    refused("folder", root, 2, "'malignnt'", "Did you mean 'malignant'?", settings=("classes=[benign,malignnt]",))


def test_a_class_with_too_few_images_for_every_part(refused, root: Path) -> None:
    for path in sorted((root / "malignant").iterdir())[1:]:
        path.unlink()
    refused("folder", root, 2, "1 independent groups", "add data")


@pytest.mark.parametrize(
    ("content", "word"),
    [("truncated", "truncated"), ("", "empty"), ("no image", "image")],
    ids=["truncated", "empty", "text"],
)
def test_a_bad_image_is_named(refused, root: Path, content: str, word: str) -> None:
    bad = root / "malignant/05.png"
    bad.write_bytes(bad.read_bytes()[:600] if content == "truncated" else content.encode())
    refused("folder", root, 1, "malignant/05.png", word)


def test_no_such_root(refused, root: Path) -> None:
    refused("folder", root / "nowhere", 3, "nowhere")


@pytest.fixture
def table(root: Path) -> Path:
    """The same images, listed."""
    path = root / "table.csv"
    lines = [f"{label}/{number:02}.png,{label}" for label in ("benign", "malignant") for number in range(12)]
    path.write_text("\n".join(["path,label", *lines]))
    return path


def test_a_table_with_a_missing_file(refused, table: Path) -> None:
    table.write_text(table.read_text().replace("benign/03.png", "benign/gone.png"))
    refused("csv", table, 3, "benign/gone.png", "line 5")
