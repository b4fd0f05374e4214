"""`mammozoo predict`: what it says of good files, and of bad ones."""

from __future__ import annotations

import csv
import json
import resource
import shutil
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo.files import sha256
from mammozoo.plugins import registry


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The first eight phantoms as PNG files, named as the run names them."""
    dataset = registry().get("datasets", "phantom")(None, n=60)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for sample in dataset.samples()[:8]:
        Image.fromarray(dataset.read(sample)).save(folder / f"{sample.image}.png")
    return folder


def _predict(command, run, *words: object):
    return command("predict", *words, "--model", run.path)


def test_a_table_for_people(command, tiny_run, pictures: Path) -> None:
    first, second = sorted(pictures.iterdir())[:2]
    answer = _predict(command, tiny_run, first, second)
    assert answer.code == 0
    for word in ("file", "label", "p_benign", "p_malignant", "threshold"):
        assert word in answer.out
    assert "Research only" in answer.err
    assert "! synthetic data" in answer.err


def test_json(command, tiny_run, pictures: Path) -> None:
    answer = _predict(command, tiny_run, "pictures", "--json")
    assert answer.code == 0
    content = answer.json
    assert set(content) == {"schema", "model", "results"}
    assert content["model"]["sha256"] == sha256(tiny_run.path / "model.safetensors")
    assert [result["file"] for result in content["results"]] == sorted(f"pictures/{p.name}" for p in pictures.iterdir())
    for result in content["results"]:
        assert set(result) == {"file", "sha256", "label", "probabilities", "threshold", "warnings", "error"}
        assert result["error"] is None
        assert result["sha256"] == sha256(pictures.parent / result["file"])
        assert set(result["probabilities"]) == {"benign", "malignant"}
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        above = result["probabilities"]["malignant"] >= result["threshold"]
        assert result["label"] == ("malignant" if above else "benign")


def test_the_same_images_get_the_same_predictions_as_in_the_run(command, tiny_run, tmp_path: Path) -> None:
    """Through a PNG file, another batch and a model loaded from disk."""
    with (tiny_run.path / "predictions.csv").open() as handle:
        expected = {row["sample"]: float(row["p_malignant"]) for row in csv.DictReader(handle)}
    dataset = registry().get("datasets", "phantom")(None, n=60)
    for sample in dataset.samples():
        if sample.image in expected:
            Image.fromarray(dataset.read(sample)).save(tmp_path / f"{sample.image}.png")
    content = _predict(command, tiny_run, tmp_path, "--json").json
    found = {Path(r["file"]).stem: r["probabilities"]["malignant"] for r in content["results"]}
    spread = max(expected.values()) - min(expected.values())
    assert found == pytest.approx(expected, abs=spread / 50)


def test_csv(command, tiny_run, pictures: Path, tmp_path: Path) -> None:
    (pictures / "broken.png").write_text("no image")
    assert _predict(command, tiny_run, "pictures", "--csv", "out.csv").code == 1
    with (tmp_path / "out.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["file", "label", "p_benign", "p_malignant", "threshold", "warnings", "error"]
    assert len(rows) == 9
    assert [row["file"] for row in rows if row["error"]] == ["pictures/broken.png"]
    assert all(0 <= float(row["p_malignant"]) <= 1 for row in rows if not row["error"])


def test_patterns_folders_and_order(command, tiny_run, pictures: Path) -> None:
    content = _predict(
        command,
        tiny_run,
        "pictures/phantom-0-00003.png",
        "pictures/*0000[12].png",
        "pictures",
        "--batch",
        "2",
        "--json",
    ).json
    numbers = [int(Path(result["file"]).stem[-5:]) for result in content["results"]]
    assert numbers == [3, 1, 2, 0, 4, 5, 6, 7]  # as given, each file once


def test_the_example_of_the_package(command, tiny_run) -> None:
    (result,) = _predict(command, tiny_run, "--example", "--json").json["results"]
    assert result["label"] in ("benign", "malignant")
    assert any("synthetic" in warning for warning in result["warnings"])


def _header(width: int, height: int) -> bytes:
    """A PNG that promises much and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _grey(kind: type = np.uint8, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, (size, size), kind)


def _truncated(path: Path) -> None:
    Image.fromarray(_grey()).save(path)
    path.write_bytes(path.read_bytes()[:1000])


def _animated(path: Path) -> None:
    frames = [Image.fromarray(_grey() // (k + 1)) for k in range(3)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


BAD = {
    "text.png": lambda path: path.write_text("this is no image"),
    "truncated.png": _truncated,
    "empty.png": lambda path: path.write_bytes(b""),
    "animated.gif": _animated,
    "pixel.png": lambda path: Image.new("L", (1, 1)).save(path),
    "huge.png": lambda path: path.write_bytes(_header(30_000, 30_000)),
}
GOOD = {
    "deep.png": lambda path: Image.fromarray(_grey(np.uint16)).save(path),
    "cmyk.jpg": lambda path: Image.fromarray(_grey()).convert("CMYK").save(path),
    "one-frame.gif": lambda path: Image.fromarray(_grey()).save(path),
    "palette.png": lambda path: Image.fromarray(_grey()).convert("P").save(path),
    "transparent.png": lambda path: Image.fromarray(_grey()).convert("LA").save(path),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_does_not_stop_the_others(command, tiny_run, pictures: Path, name: str) -> None:
    BAD[name](pictures / name)
    answer = _predict(command, tiny_run, "pictures", "--json")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    results = {Path(result["file"]).name: result for result in answer.json["results"]}
    assert len(results) == 9
    bad = results.pop(name)
    assert name in bad["error"]
    assert bad["label"] is bad["probabilities"] is None
    assert all(result["error"] is None for result in results.values())
    _predict(command, tiny_run, "pictures").refused(1, name)


@pytest.mark.parametrize("name", GOOD)
def test_unusual_files_that_are_fine(command, tiny_run, tmp_path: Path, name: str) -> None:
    GOOD[name](tmp_path / name)
    answer = _predict(command, tiny_run, name, "--json")
    assert answer.code == 0, answer.out
    (result,) = answer.json["results"]
    assert result["label"] in ("benign", "malignant")


def test_a_huge_image_takes_neither_time_nor_memory(command, tiny_run, pictures: Path) -> None:
    assert _predict(command, tiny_run, "pictures").code == 0  # what torch takes, it has now
    (pictures / "huge.png").write_bytes(_header(30_000, 30_000))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    answer = _predict(command, tiny_run, "pictures/huge.png")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert time.perf_counter() - started < 3
    assert grown < 100_000  # KB; the pixels would be 900,000
    answer.refused(1, "huge.png", "100 million pixels")


def test_missing_files_are_not_found(command, tiny_run, tmp_path: Path) -> None:
    _predict(command, tiny_run, "nowhere.png").refused(3, "nowhere.png")
    _predict(command, tiny_run, "*.png").refused(3, "*.png")
    (tmp_path / "hollow").mkdir()
    _predict(command, tiny_run, "hollow").refused(3, "hollow")
    _predict(command, tiny_run).refused(2, "--example")


# Models


@pytest.fixture
def copy(tiny_run, tmp_path: Path) -> Path:
    """A model of our own to break."""
    return Path(shutil.copytree(tiny_run.path, tmp_path / "copy"))


def _edit(folder: Path, **changes: object) -> None:
    content = json.loads((folder / "config.json").read_text())
    content["mammozoo"] |= changes
    (folder / "config.json").write_text(json.dumps(content))


def test_no_model_there(command, tmp_path: Path) -> None:
    command("predict", "--example", "--model", "./nowhere").refused(3, "nowhere")
    (tmp_path / "hollow").mkdir()
    command("predict", "--example", "--model", "hollow").refused(3, "hollow", "config.json")
    command("predict", "--example", "--model", "no-such-model").refused(3, "no-such-model")


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "long header"])
def test_damaged_weights_are_not_verified(command, copy: Path, damage: str) -> None:
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[:-100], "empty": b"", "text": b"no weights", "long header": b"\xff" * 8 + whole}[damage]
    )
    command("predict", "--example", "--model", copy).refused(6, "model.safetensors")


def test_missing_weights_are_not_found(command, copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    command("predict", "--example", "--model", copy).refused(3, "model.safetensors")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"mammozoo": 3}', "\0"])
def test_a_damaged_config_is_incompatible(command, copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    command("predict", "--example", "--model", copy).refused(7, "config.json")


def test_a_config_of_a_later_version_is_incompatible(command, copy: Path) -> None:
    _edit(copy, schema_version=2)
    command("predict", "--example", "--model", copy).refused(7, "schema_version")


def test_a_strategy_of_a_plugin_that_is_not_there_is_named_with_its_package(command, copy: Path) -> None:
    _edit(copy, strategy="theirs", plugins={"mammozoo": "0.1.0", "mammozoo-theirs": "2.3"})
    command("predict", "--example", "--model", copy).refused(7, "'theirs'", "mammozoo-theirs 2.3")


def test_weights_of_another_network_are_incompatible(command, copy: Path) -> None:
    _edit(copy, head="gap-fc")
    command("predict", "--example", "--model", copy).refused(7)


def test_masks_beside_their_images_are_no_images(command, tiny_run, pictures: Path) -> None:
    first, second = sorted(pictures.iterdir())[:2]
    shutil.copy(first, pictures / f"{first.stem}_mask.png")
    shutil.copy(first, pictures / f"{first.stem}_mask_1.png")
    second.rename(pictures / "alone_mask.png")  # a mask of nothing is an image of that name
    files = [result["file"] for result in _predict(command, tiny_run, "pictures", "--json").json["results"]]
    assert len(files) == 8
    assert "pictures/alone_mask.png" in files
    assert not any(first.stem in file and "_mask" in file for file in files)
