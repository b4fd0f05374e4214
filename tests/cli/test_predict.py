"""`mammozoo predict`: what it says of good files, and of bad ones."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from mammozoo.data.ood import features, fit_profile
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


def test_a_table_for_people(command, tiny_run) -> None:
    answer = _predict(command, tiny_run, "--example")
    assert answer.code == 0
    for word in ("file", "label", "p_benign", "p_malignant", "threshold", "example.png"):
        assert word in answer.out
    assert "Research only" in answer.err
    assert "! synthetic data" in answer.err


def test_json(command, tiny_run, pictures: Path) -> None:
    answer = _predict(command, tiny_run, "pictures", "--json")
    assert answer.code == 0
    content = answer.json
    assert set(content) == {"schema", "model", "warnings", "results"}
    assert content["warnings"] == []
    assert content["model"]["sha256"] == sha256(tiny_run.path / "model.safetensors")
    assert [result["file"] for result in content["results"]] == sorted(f"pictures/{p.name}" for p in pictures.iterdir())
    for result in content["results"]:
        assert set(result) == {
            "file", "sha256", "label", "probabilities", "threshold", "warnings", "error", "abstained",
        }  # fmt: skip
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


def test_patterns_folders_and_order(command, tiny_run, pictures: Path) -> None:
    words = ("pictures/phantom-0-00003.png", "pictures/*0000[12].png", "pictures", "--batch", "2", "--json")
    content = _predict(command, tiny_run, *words).json
    numbers = [int(Path(result["file"]).stem[-5:]) for result in content["results"]]
    assert numbers == [3, 1, 2, 0, 4, 5, 6, 7]  # as given, each file once


#: Modules that `predict` does not need; importing them would cost each of its runs a second or more.
UNUSED = (
    "timm", "torchvision", "torch._dynamo", "sklearn", "scipy.stats", "scipy.sparse", "albumentations", "captum", "matplotlib",
    "pandas", "huggingface_hub", "imagehash", "pydicom",
)  # fmt: skip


def test_predict_imports_only_what_it_needs() -> None:
    """The built-in network is our own, so that not even timm is imported; nothing of training, scores or explanations."""
    code = (
        "import sys\n"
        "from mammozoo.cli import main\n"
        "sys.argv = ['mammozoo', 'predict', '--example', '--json']\n"
        "try:\n    main()\nfinally:\n"
        f"    print('imported:', *[name for name in ('torch', *{UNUSED}) if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert json.loads(answer.stdout)["results"][0]["error"] is None
    assert answer.stderr.splitlines()[-1] == "imported: torch"


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


def test_bad_files_are_named_and_do_not_stop_the_others(command, tiny_run, pictures: Path) -> None:
    for name, write in BAD.items():
        write(pictures / name)
    answer = _predict(command, tiny_run, "pictures", "--json")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    results = {Path(result["file"]).name: result for result in answer.json["results"]}
    assert len(results) == 8 + len(BAD)
    for name in BAD:
        bad = results.pop(name)
        assert name in bad["error"]
        assert bad["label"] is bad["probabilities"] is None
    assert all(result["error"] is None for result in results.values())
    errors = _predict(command, tiny_run, "pictures").err
    assert all(f"mammozoo: 'pictures/{name}'" in errors for name in BAD)


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


def test_damaged_weights_are_not_verified(command, copy: Path) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    command("predict", "--example", "--model", copy).refused(6, "model.safetensors")


def test_missing_weights_are_not_found(command, copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    command("predict", "--example", "--model", copy).refused(3, "model.safetensors")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"mammozoo": 3}', "\0"])
def test_a_damaged_config_is_incompatible(command, copy: Path, content: str) -> None:
    (copy / "config.json").write_text(content)
    command("predict", "--example", "--model", copy).refused(7, "config.json")


def test_a_config_of_a_later_version_or_another_network_is_incompatible(command, copy: Path) -> None:
    _edit(copy, head="gap-fc")
    command("predict", "--example", "--model", copy).refused(7)
    _edit(copy, schema_version=2)
    command("predict", "--example", "--model", copy).refused(7, "schema_version")


def test_a_strategy_of_a_plugin_that_is_not_there_is_named_with_its_package(command, copy: Path) -> None:
    _edit(copy, strategy="theirs", plugins={"mammozoo": "0.1.0", "mammozoo-theirs": "2.3"})
    command("predict", "--example", "--model", copy).refused(7, "'theirs'", "mammozoo-theirs 2.3")


def test_masks_beside_their_images_are_no_images(command, tiny_run, pictures: Path) -> None:
    first, second = sorted(pictures.iterdir())[:2]
    shutil.copy(first, pictures / f"{first.stem}_mask.png")
    shutil.copy(first, pictures / f"{first.stem}_mask_1.png")
    second.rename(pictures / "alone_mask.png")  # a mask of nothing is an image of that name
    files = [result["file"] for result in _predict(command, tiny_run, "pictures", "--json").json["results"]]
    assert len(files) == 8
    assert "pictures/alone_mask.png" in files
    assert not any(first.stem in file and "_mask" in file for file in files)


# The out-of-distribution check


@pytest.fixture
def guarded(copy: Path) -> Path:
    """The model with a profile of phantoms."""
    dataset = registry().get("datasets", "phantom")(None, n=60)
    profile = fit_profile(np.stack([features(dataset.read(sample)) for sample in dataset.samples()]))
    _edit(copy, guard=profile.model_dump(mode="json"))
    return copy


def _dicom(path: Path, **tags: object) -> None:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows = dataset.Columns = 64
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.PixelData = _grey().tobytes()
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)


def test_images_of_another_kind_are_warned_of(command, guarded: Path, pictures: Path, tmp_path: Path) -> None:
    usual = Image.open(pictures / "phantom-0-00000.png")
    Image.fromarray(255 - np.asarray(usual)).save(tmp_path / "negative.png")
    Image.merge("RGB", [usual, usual.transpose(Image.Transpose.ROTATE_90), Image.new("L", usual.size)]).save(
        "photo.png"
    )
    Image.new("L", (128, 128), 90).save("blank.png")
    odd = {"negative.png": "looks inverted", "photo.png": "in colour", "blank.png": "constant"}
    found = command("predict", pictures, *odd, "--model", guarded, "--json").json["results"]
    warnings = {Path(r["file"]).name: [w for w in r["warnings"] if "synthetic" not in w] for r in found}
    for name, word in odd.items():
        assert any(word in warning for warning in warnings.pop(name))
    assert len(warnings) == 8
    assert not any(warnings.values())
    assert all(r["label"] is not None for r in found)  # a warning, not a refusal
    answer = command("predict", *odd, "--model", guarded, "--csv", "out.csv")
    assert "! negative.png: looks inverted" in answer.err
    with (tmp_path / "out.csv").open() as handle:
        assert "looks inverted" in next(csv.DictReader(handle))["warnings"]


def test_many_warnings_do_not_bury_the_rest(command, guarded: Path, tmp_path: Path) -> None:
    (tmp_path / "blank").mkdir()
    for shade in range(25):
        Image.new("L", (128, 128), 90 + shade).save(tmp_path / "blank" / f"{shade}.png")
    answer = command("predict", "blank", "--model", guarded)
    shown = [line for line in answer.err.splitlines() if line.startswith("! blank/")]
    assert len(shown) == 20
    assert "more such warnings" in answer.err


def test_an_old_model_warns_of_what_needs_no_training_images(command, copy: Path, tmp_path: Path) -> None:
    _edit(copy, guard=None, stamps=[])
    Image.new("L", (200, 200), 90).save(tmp_path / "blank.png")
    Image.fromarray(_grey(size=24)).save(tmp_path / "icon.png")
    Image.fromarray(_grey(size=128)).save(tmp_path / "noise.png")
    results = command("predict", "blank.png", "icon.png", "noise.png", "--model", copy, "--json").json["results"]
    (blank,), (icon,), noise = (result["warnings"] for result in results)
    assert "constant" in blank
    assert icon == "tiny (24 x 24 pixels)"
    assert noise == []


def test_a_dicom_header_is_compared_with_the_model(command, copy: Path, tmp_path: Path) -> None:
    content = json.loads((copy / "config.json").read_text())["mammozoo"]["training"]
    files = {
        "us.dcm": {"Modality": "US"},
        "ot.dcm": {"Modality": "OT"},
        "none.dcm": {},
        "raw.dcm": {"Modality": "MG", "PresentationIntentType": "FOR PROCESSING"},
        "shown.dcm": {"Modality": "MG", "PresentationIntentType": "FOR PRESENTATION"},
    }
    for name, tags in files.items():
        _dicom(tmp_path / name, **tags)
    raw = "for processing"
    expected = {
        "ultrasound": [[], [], [], ["header says modality MG", raw], ["header says modality MG"]],
        "mammography": [["header says modality US; the model was trained on mammography"], [], [], [raw], []],
        "any": [[], [], [], [raw], []],
    }
    for modality, words in expected.items():
        _edit(copy, training=content | {"modality": modality}, stamps=[], guard=None)
        results = command("predict", *files, "--model", copy, "--json").json["results"]
        for result, parts in zip(results, words, strict=True):
            assert len(result["warnings"]) == len(parts), result
            assert all(part in warning for part, warning in zip(parts, result["warnings"], strict=True))


def test_a_model_that_answers_everything_alike_is_told(command, copy: Path, pictures: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    save_file({k: np.zeros_like(v) if "head" in k else v for k, v in weights.items()}, copy / "model.safetensors")
    word = "All 8 different images got the same probabilities"
    answer = command("predict", "pictures", "--model", copy)
    assert answer.code == 0
    assert f"! {word}" in answer.err
    (warning,) = command("predict", "pictures", "--model", copy, "--json").json["warnings"]
    assert word in warning
    one, two, *_ = sorted(pictures.iterdir())
    for number in range(5):
        shutil.copy(one, pictures.parent / f"copy-{number}.png")
    assert command("predict", "copy-*.png", two, "--model", copy, "--json").json["warnings"] == []  # two, not six


# Thresholds, calibration, abstention


def _p_malignant(answer) -> list[float]:
    return [result["probabilities"]["malignant"] for result in answer.json["results"]]


def test_the_threshold_and_the_calibration_are_named(command, copy: Path, pictures: Path) -> None:
    _edit(copy, thresholds={"youden": {"value": 0.3, "chosen_on": "validation"}}, threshold="youden", calibration=None)
    plain = command("predict", "pictures", "--model", copy, "--json")
    assert plain.json["model"]["threshold"] == {"name": "youden", "value": 0.3, "chosen_on": "validation"}
    assert plain.json["model"]["calibration"] is None
    answer = command("predict", "pictures", "--model", copy)
    assert "malignant from 0.300 on (threshold youden, chosen on validation)" in answer.err
    assert "not calibrated" in answer.err

    calibration = {"temperature": 2.5, "chosen_on": "validation"}
    _edit(copy, calibration=calibration, thresholds={}, threshold="")
    warm = command("predict", "pictures", "--model", copy, "--json")
    assert warm.json["model"]["calibration"] == calibration
    assert warm.json["model"]["threshold"] == {"name": "half", "value": 0.5, "chosen_on": "nothing"}
    logits = [np.log(p / (1 - p)) for p in _p_malignant(plain)]
    assert _p_malignant(warm) == pytest.approx([1 / (1 + np.exp(-z / 2.5)) for z in logits], abs=1e-5)
    assert "calibrated (temperature 2.50, fitted on validation)" in command("predict", "pictures", "--model", copy).err


def test_abstaining_leaves_the_label_open_within_the_band(command, copy: Path, pictures: Path, tmp_path: Path) -> None:
    plain = command("predict", "pictures", "--model", copy, "--json")
    logits = np.array([np.log(p / (1 - p)) for p in _p_malignant(plain)])
    cut = plain.json["model"]["threshold"]["value"]
    margins = np.abs(logits - np.log(cut / (1 - cut)))
    band = float(np.sort(margins)[2:4].mean())  # three within
    _edit(copy, abstention={"margin": band, "share": 0.2, "chosen_on": "validation"})
    assert command("predict", "pictures", "--model", copy, "--json").json["results"] == plain.json["results"]
    results = command("predict", "pictures", "--model", copy, "--abstain", "--json").json["results"]
    assert [r["abstained"] for r in results] == list(margins < band)
    for result, before in zip(results, plain.json["results"], strict=True):
        assert result["label"] == (None if result["abstained"] else before["label"])
        assert result["probabilities"] == before["probabilities"]
    answer = command("predict", "pictures", "--model", copy, "--abstain", "--csv", "out.csv")
    assert "Left undecided: 3 of 8" in answer.err
    assert "chosen on validation: 20% of the images there" in answer.err
    assert answer.out.count("uncertain") == 3
    with (tmp_path / "out.csv").open() as handle:
        assert [row["label"] == "uncertain" for row in csv.DictReader(handle)] == list(margins < band)


def test_abstaining_takes_a_model_with_a_band(command, copy: Path, pictures: Path) -> None:
    _edit(copy, abstention=None)
    command("predict", "pictures", "--model", copy, "--abstain").refused(2, "uncertain band", "--abstain")
