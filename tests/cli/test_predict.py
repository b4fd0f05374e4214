"""`mammozoo predict`: what it says of good files, and of bad ones."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mammozoo
from mammozoo.data.duplicates.fingerprint import collect, fingerprint
from mammozoo.data.io.images import to_uint8
from mammozoo.data.ood import features, fit_profile
from mammozoo.files import sha256
from mammozoo.plugins import registry

from ..builtin.trees.dicom import write_dicom
from ..builtin.trees.drawing import huge_png
from ..helpers import edit_config, edit_json, python


def _trained(folder: Path, **facts: object) -> None:
    """Change what a model's config says of its training."""
    edit_json(folder / "config.json", lambda content: content["mammozoo"]["training"].update(facts))


def _predict(command, run, *words: object):
    return command("predict", *words, "--model", run.path)


def test_csv_and_a_table_for_people(command, tiny_run, pictures, tmp_path) -> None:
    answer = _predict(command, tiny_run, "--example").ok
    for word in ("file", "label", "p_benign", "p_malignant", "threshold", "example.png"):
        assert word in answer.out
    assert "Research only" in answer.err
    assert "! synthetic data" in answer.err
    (pictures / "broken.png").write_text("no image")
    assert _predict(command, tiny_run, "pictures", "--csv", "out.csv").code == 1
    with (tmp_path / "out.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["file", "label", "p_benign", "p_malignant", "threshold", "warnings", "error"]
    assert len(rows) == 9
    assert [row["file"] for row in rows if row["error"]] == ["pictures/broken.png"]


def test_json(command, tiny_run, pictures) -> None:
    content = _predict(command, tiny_run, "pictures", "--json").ok.json
    assert set(content) == {"schema", "model", "warnings", "results"}
    assert content["warnings"] == []
    assert content["model"]["sha256"] == sha256(tiny_run.path / "model.safetensors")
    assert [result["file"] for result in content["results"]] == sorted(f"pictures/{p.name}" for p in pictures.iterdir())
    for result in content["results"]:
        assert set(result) == {
            "file", "sha256", "label", "probabilities", "threshold", "warnings", "error", "abstained", "agreement",
        }  # fmt: skip
        assert result["error"] is None
        assert result["sha256"] == sha256(pictures.parent / result["file"])
        assert set(result["probabilities"]) == {"benign", "malignant"}
        assert sum(result["probabilities"].values()) == pytest.approx(1)
        above = result["probabilities"]["malignant"] >= result["threshold"]
        assert result["label"] == ("malignant" if above else "benign")


def test_the_same_images_get_the_same_predictions_as_in_the_run(command, tiny_run, tmp_path) -> None:
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


def test_patterns_folders_and_order_without_masks(command, tiny_run, pictures) -> None:
    words = ("pictures/phantom-0-00003.png", "pictures/*0000[12].png", "pictures", "--batch", "2", "--json")
    content = _predict(command, tiny_run, *words).json
    numbers = [int(Path(result["file"]).stem[-5:]) for result in content["results"]]
    assert numbers == [3, 1, 2, 0, 4, 5, 6, 7]  # as given, each file once
    first, second = sorted(pictures.iterdir())[:2]
    shutil.copy(first, pictures / f"{first.stem}_mask.png")
    shutil.copy(first, pictures / f"{first.stem}_mask_1.png")
    second.rename(pictures / "alone_mask.png")  # a mask of nothing
    files = [result["file"] for result in _predict(command, tiny_run, "pictures", "--json").json["results"]]
    assert len(files) == 7
    assert not any("_mask" in file for file in files)


def test_a_run_in_the_place_of_an_image_is_told_alone(command, tiny_run) -> None:
    """Without a word about the files in it that are no images."""
    answer = command("predict", "--model", "busi-resnet9", str(tiny_run.path))
    assert answer.code == 2 and len(answer.err.splitlines()) == 1
    assert f"is a model or run, not an image. Name it with --model: --model {tiny_run.path}" in answer.err


#: Modules that `predict` does not need; importing them would cost each of its runs a second or more.
UNUSED = (
    "timm", "torchvision", "torch._dynamo", "sklearn", "scipy.stats", "scipy.sparse", "albumentations", "captum", "matplotlib",
    "pandas", "huggingface_hub", "pydicom",
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "needed"),
    [("busi-resnet9", []), ("ultrasound", ["timm", "torchvision", "huggingface_hub"])],
)
def test_predict_imports_only_what_it_needs(model: str, needed: list[str]) -> None:
    """Not even timm, and what that imports, for a network of our own; nothing of training, scores or explanations."""
    code = (
        "import sys\n"
        "from mammozoo.cli import main\n"
        "sys.argv = ['mammozoo', 'predict', '--example', '--json', '--model', '" + model + "']\n"
        "try:\n    main()\nfinally:\n"
        f"    print('imported:', *[name for name in ('torch', *{UNUSED}) if name in sys.modules], file=sys.stderr)"
    )
    answer = python("-c", code)
    assert answer.json["results"][0]["error"] is None
    assert answer.err.splitlines()[-1].split() == ["imported:", "torch", *needed]


EXAMPLE = Path(mammozoo.__file__).with_name("example.png")
BAD = {
    "text.png": lambda path: path.write_text("this is no image"),
    "truncated.png": lambda path: path.write_bytes(EXAMPLE.read_bytes()[:1000]),
    "empty.png": lambda path: path.write_bytes(b""),
    "animated.gif": lambda path: Image.new("L", (64, 64)).save(
        path, save_all=True, append_images=[Image.new("L", (64, 64), 9)]
    ),
    "pixel.png": lambda path: Image.new("L", (1, 1)).save(path),
    "huge.png": lambda path: huge_png(path, 30_000),
}


def test_bad_files_are_named_and_do_not_stop_the_others(command, tiny_run, pictures) -> None:
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


def test_missing_files_are_not_found(command, tiny_run, tmp_path) -> None:
    _predict(command, tiny_run, "nowhere.png").refused(3, "nowhere.png")
    _predict(command, tiny_run, "*.png").refused(3, "*.png")
    (tmp_path / "hollow").mkdir()
    _predict(command, tiny_run, "hollow").refused(3, "hollow")
    _predict(command, tiny_run).refused(2, "--example")


# Models


def test_no_model_there(command, tmp_path) -> None:
    (tmp_path / "hollow").mkdir()
    for name, *said in (
        ("./nowhere", "nowhere"),
        ("hollow", "hollow", "config.json"),
        ("no-such-model", "no-such-model"),
    ):
        command("predict", "--example", "--model", name).refused(3, *said)


def test_a_broken_model_is_refused(command, run_copy) -> None:
    """What else may be wrong with its files is in tests/zoo/test_hostile.py."""
    words, weights, config = (
        ("predict", "--example", "--model", run_copy),
        *(run_copy / name for name in ("model.safetensors", "config.json")),
    )
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    command(*words).refused(6, "model.safetensors")
    weights.unlink()
    command(*words).refused(3, "model.safetensors")
    weights.write_bytes(whole)
    edit_config(run_copy, head="gap-fc")
    command(*words).refused(7)
    edit_config(run_copy, strategy="theirs", plugins={"mammozoo": "0.1.0", "mammozoo-theirs": "2.3"})
    command(*words).refused(7, "'theirs'", "mammozoo-theirs 2.3")
    edit_config(run_copy, schema_version=2)
    command(*words).refused(7, "schema_version")
    config.write_text('{"mammozoo": 3}')
    command(*words).refused(7, "config.json")


# The out-of-distribution check


@pytest.fixture
def guarded(run_copy) -> Path:
    dataset = registry().get("datasets", "phantom")(None, n=60)
    profile = fit_profile(np.stack([features(dataset.read(sample)) for sample in dataset.samples()]))
    edit_config(run_copy, guard=profile.model_dump(mode="json"))
    return run_copy


def test_images_of_another_kind_are_warned_of(command, guarded: Path, pictures, tmp_path) -> None:
    usual = Image.open(pictures / "phantom-0-00000.png")
    Image.fromarray(255 - np.asarray(usual)).save(tmp_path / "negative.png")
    turned, black = usual.transpose(Image.Transpose.ROTATE_90), Image.new("L", usual.size)
    Image.merge("RGB", [usual, turned, black]).save("photo.png")
    Image.new("L", (128, 128), 90).save("blank.png")
    odd = {"negative.png": "looks inverted", "photo.png": "in colour", "blank.png": "constant"}
    found = command("predict", pictures, *odd, "--model", guarded, "--json", "--force").json["results"]
    warnings = {Path(r["file"]).name: [w for w in r["warnings"] if "synthetic" not in w] for r in found}
    for name, word in odd.items():
        assert any(word in warning for warning in warnings.pop(name))
    assert len(warnings) == 8
    assert not any(warnings.values())
    assert all(r["label"] is not None for r in found)
    answer = command("predict", *odd, "--model", guarded, "--csv", "out.csv", "--force")
    assert "! negative.png: looks inverted" in answer.err
    with (tmp_path / "out.csv").open() as handle:
        assert "looks inverted" in next(csv.DictReader(handle))["warnings"]


def test_many_warnings_do_not_bury_the_rest(command, guarded: Path, tmp_path) -> None:
    (tmp_path / "blank").mkdir()
    for shade in range(25):
        Image.new("L", (128, 128), 90 + shade).save(tmp_path / "blank" / f"{shade}.png")
    answer = command("predict", "blank", "--model", guarded, "--force")
    shown = [line for line in answer.err.splitlines() if line.startswith("! blank/")]
    assert len(shown) == 20
    assert "more such warnings" in answer.err


def test_an_old_model_warns_of_what_needs_no_training_images(command, run_copy, pictures, tmp_path) -> None:
    edit_config(run_copy, guard=None, stamps=[])
    icon, usual = tmp_path / "icon.png", pictures / "phantom-0-00001.png"
    Image.open(usual).resize((24, 24)).save(icon)
    found = command("predict", icon, usual, "--model", run_copy, "--json", "--force").json["results"]
    assert [result["warnings"] for result in found] == [["tiny (24 x 24 pixels)"], []]


def test_what_shows_nothing_is_refused_by_every_model_unless_forced(command, run_copy, pictures, tmp_path) -> None:
    edit_config(run_copy, guard=None, stamps=[])
    _trained(run_copy, modality="any")
    speck = np.zeros((300, 200), np.uint8)
    speck[:12, :20] = 255  # a marker on black
    odd = {"blank.png": np.full((200, 200), 90, np.uint8), "speck.png": speck}
    for name, image in odd.items():
        Image.fromarray(image).save(tmp_path / name)
    answer = command(
        "predict", "blank.png", pictures / "phantom-0-00001.png", "speck.png", "--model", run_copy, "--json"
    )
    assert answer.code == 1
    blank, usual, empty = answer.json["results"]
    assert usual["label"] and usual["probabilities"] and not usual["error"]
    for one, word in ((blank, "constant"), (empty, "empty")):
        assert one["label"] is one["probabilities"] is one["threshold"] is None
        assert word in one["error"] and "--force" in one["error"]
    forced = command("predict", *odd, "--model", run_copy, "--force", "--json").json["results"]
    assert all(one["label"] and len(one["warnings"]) == 1 and not one["error"] for one in forced), forced


def test_a_dicom_header_decides_whether_a_model_answers(command, run_copy, tmp_path) -> None:
    """Where it says nothing of use, the content does."""
    pictures = {}
    for modality in ("ultrasound", "mammography"):
        phantom = registry().get("datasets", "phantom")(None, n=4, modality=modality)
        pictures[modality] = to_uint8(phantom.read(phantom.samples()[1]))
    files = {  # file → header, picture; for a model of ultrasound, of mammography, of any modality: answered or a word of why not
        "us": ({"Modality": "US"}, "ultrasound", "yes", "modality US", "yes"),
        "us-ot": ({"Modality": "OT"}, "ultrasound", "yes", "content", "yes"),
        "us-none": ({}, "ultrasound", "yes", "content", "yes"),
        "odd-us": ({"Modality": "US"}, "mammography", "yes", "modality US", "yes"),
        "mg-cr": ({"Modality": "CR"}, "mammography", "modality CR", "yes", "yes"),
        "mg-ot": ({"Modality": "OT"}, "mammography", "content", "yes", "yes"),
        "mg": ({"Modality": "MG"}, "mammography", "modality MG", "yes", "yes"),
        "ct": ({"Modality": "CT"}, "mammography", "modality CT", "modality CT", "yes"),
    }
    for name, (tags, picture, *_) in files.items():
        write_dicom(tmp_path / name, pictures[picture], **{"Modality": None} | tags)
    for place, modality in enumerate(("ultrasound", "mammography", "any")):
        edit_config(run_copy, stamps=[], guard=None)
        _trained(run_copy, modality=modality, synthetic=False)
        answer = command("predict", *files, "--model", run_copy, "--json")
        for (name, row), result in zip(files.items(), answer.json["results"], strict=True):
            expected = row[2 + place]
            if expected == "yes":
                assert result["label"] and not result["error"], (modality, name, result)
            else:
                assert result["label"] is None and expected in result["error"], (modality, name, result)
        assert answer.code == (0 if modality == "any" else 1)
    _trained(run_copy, modality="mammography")
    write_dicom(tmp_path / "raw", pictures["mammography"], Modality="MG", PresentationIntentType="FOR PROCESSING")
    (raw,) = command("predict", "raw", "--model", run_copy, "--json").json["results"]
    assert raw["label"] and any("for processing" in warning for warning in raw["warnings"])


def test_an_image_that_was_used_in_training_is_told_by_predict_and_explain(
    command, run_copy, pictures, tmp_path
) -> None:
    """At another size and quality too, by the hashes of today and by the short ones of old models."""
    phantom = registry().get("datasets", "phantom")(None, n=60)
    samples = phantom.samples()
    used = [fingerprint(phantom.read(samples[place])) for place in (1, 4)]
    lists = {"today": collect(used).written(np.arange(2)), "old": [f"{one.whole:016x}" for one in used]}
    small = Image.open(pictures / "phantom-0-00001.png").resize((96, 96))
    small.save(tmp_path / "again.jpg", quality=85)
    images = ["again.jpg", *(f"{pictures}/phantom-0-0000{number}.png" for number in (4, 5))]
    for seen in lists.values():
        _trained(run_copy, seen=seen)
        results = command("predict", *images, "--model", run_copy, "--json").json["results"]
        assert [any("seen" in w for w in result["warnings"]) for result in results] == [True, True, False]
        assert all(result["label"] for result in results)
    answer = command("explain", run_copy, *images, "--out", "maps", "--json")
    assert [any("seen" in w for w in result["warnings"]) for result in answer.json["results"]] == [True, True, False]


def test_a_model_that_answers_everything_alike_is_told(command, run_copy, pictures) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(run_copy / "model.safetensors")
    save_file({k: np.zeros_like(v) if "head" in k else v for k, v in weights.items()}, run_copy / "model.safetensors")
    word = "All 8 different images got the same probabilities"
    answer = command("predict", "pictures", "--model", run_copy).ok
    assert f"! {word}" in answer.err
    (warning,) = command("predict", "pictures", "--model", run_copy, "--json").json["warnings"]
    assert word in warning


# Thresholds, calibration, abstention


def _p_malignant(answer) -> list[float]:
    return [result["probabilities"]["malignant"] for result in answer.json["results"]]


def test_the_threshold_and_the_calibration_are_named(command, run_copy, pictures) -> None:
    thresholds = {"youden": {"value": 0.3, "chosen_on": "validation"}}
    edit_config(run_copy, thresholds=thresholds, threshold="youden", calibration=None)
    plain = command("predict", "pictures", "--model", run_copy, "--json")
    assert plain.json["model"]["threshold"] == {"name": "youden", "value": 0.3, "chosen_on": "validation"}
    assert plain.json["model"]["calibration"] is None
    answer = command("predict", "pictures", "--model", run_copy)
    assert "malignant from 0.300 on (threshold youden, chosen on validation)" in answer.err
    assert "not calibrated" in answer.err

    calibration = {"temperature": 2.5, "chosen_on": "validation"}
    edit_config(run_copy, calibration=calibration, thresholds={}, threshold="")
    warm = command("predict", "pictures", "--model", run_copy, "--json")
    assert warm.json["model"]["calibration"] == calibration
    assert warm.json["model"]["threshold"] == {"name": "half", "value": 0.5, "chosen_on": "nothing"}
    logits = [np.log(p / (1 - p)) for p in _p_malignant(plain)]
    assert _p_malignant(warm) == pytest.approx([1 / (1 + np.exp(-z / 2.5)) for z in logits], abs=1e-5)
    answer = command("predict", "pictures", "--model", run_copy)
    assert "calibrated (temperature 2.50, fitted on validation)" in answer.err


def test_abstaining_leaves_the_label_open_within_the_band_of_a_model_with_one(
    command, run_copy, pictures, tmp_path
) -> None:
    plain = command("predict", "pictures", "--model", run_copy, "--json")
    logits = np.array([np.log(p / (1 - p)) for p in _p_malignant(plain)])
    cut = plain.json["model"]["threshold"]["value"]
    margins = np.abs(logits - np.log(cut / (1 - cut)))
    band = float(np.sort(margins)[2:4].mean())  # three within
    edit_config(run_copy, abstention={"margin": band, "share": 0.2, "chosen_on": "validation"})
    assert command("predict", "pictures", "--model", run_copy, "--json").json["results"] == plain.json["results"]
    results = command("predict", "pictures", "--model", run_copy, "--abstain", "--json").json["results"]
    assert [r["abstained"] for r in results] == list(margins < band)
    for result, before in zip(results, plain.json["results"], strict=True):
        assert result["label"] == (None if result["abstained"] else before["label"])
        assert result["probabilities"] == before["probabilities"]
    answer = command("predict", "pictures", "--model", run_copy, "--abstain", "--csv", "out.csv")
    assert "Left undecided: 3 of 8" in answer.err
    assert "chosen on validation: 20% of the images there" in answer.err
    assert answer.out.count("uncertain") == 3
    with (tmp_path / "out.csv").open() as handle:
        assert [row["label"] == "uncertain" for row in csv.DictReader(handle)] == list(margins < band)
    edit_config(run_copy, abstention=None)
    command("predict", "pictures", "--model", run_copy, "--abstain").refused(2, "uncertain band", "--abstain")
