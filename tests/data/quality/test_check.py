"""Every defect that `check` knows, planted one by one in a set that is clean without it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.data.loaded import open_dataset
from mammozoo.data.quality.check import Check, check
from mammozoo.data.quality.findings import TELLING, Finding
from mammozoo.data.quality.size_leak import size_leaks
from mammozoo.files import write_table
from mammozoo.progress import Progress

from ...builtin.trees.dicom import write_dicom
from ...builtin.trees.drawing import picture as drawn

Pixels = npt.NDArray[Any]
HEIGHT, WIDTH = 80, 96
LESION = np.pad(np.ones((20, 20), bool), ((30, 30), (40, 36)))


def picture(seed: int) -> Pixels:
    """Nobody's near-duplicate."""
    return drawn(seed, WIDTH, HEIGHT)


class Clinic:
    """A table of 12 benign and 12 malignant images with masks and patients, to be spoilt by a test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, str]] = []
        for number in range(24):
            name = f"{'benign' if number < 12 else 'malignant'}-{number}"
            self.save(f"{name}.png", picture(number))
            self.save(f"{name}-mask.png", LESION)
            self.rows.append({
                "path": f"{name}.png", "label": name.split("-")[0], "patient": f"P{number}", "mask": f"{name}-mask.png",
                "part": ("train", "val", "test")[number % 3],
            })  # fmt: skip

    def save(self, name: str, pixels: Pixels) -> Path:
        Image.fromarray(pixels).save(self.folder / name)
        return self.folder / name

    def write(self) -> Path:
        return write_table(self.folder / "table.csv", self.rows)

    def check(self) -> Check:
        table = self.write()
        return check(open_dataset("csv", table), table, Progress())


@pytest.fixture
def clinic(tmp_path) -> Clinic:
    return Clinic(tmp_path)


def only(result: Check, kind: str) -> Finding:
    """The one finding of a kind, which must be the only one that is more than information."""
    found = [finding for finding in result.findings if finding.kind == kind]
    assert len(found) == 1, result.findings
    assert [f.kind for f in result.findings if f.severity != "info"] == [kind] * (found[0].severity != "info")
    return found[0]


def test_a_clean_set_has_nothing_but_information_until_it_is_imbalanced(clinic: Clinic) -> None:
    result = clinic.check()
    assert {finding.kind: finding.severity for finding in result.findings} == {
        "classes": "info", "patients": "info", "parts": "info", "note": "info",
    }  # fmt: skip
    assert not result.failed
    assert result.classes == {"benign": 12, "malignant": 12}
    assert result.groups == []
    clinic.rows = clinic.rows[:13]
    assert only(clinic.check(), "classes").detail == "12 benign, 1 malignant; largest to smallest 12.0 : 1"


# ---------------------------------------------------------------- files


def test_truncated_empty_and_missing_masks_are_all_found_at_once(clinic: Clinic) -> None:
    cut = clinic.folder / "benign-3.png"
    cut.write_bytes(cut.read_bytes()[:200])
    (clinic.folder / "malignant-15.png").write_bytes(b"")
    (clinic.folder / "benign-4-mask.png").write_text("no image")
    result = clinic.check()
    errors = [(f.kind, f.files) for f in result.findings if f.severity == "error"]
    assert errors == [
        ("unreadable-image", ("benign-3.png",)),
        ("unreadable-mask", ("benign-4-mask.png",)),
        ("unreadable-image", ("malignant-15.png",)),
    ]
    assert result.failed
    json.dumps(result.content(), allow_nan=False)


def test_a_reader_that_breaks_in_its_own_way_does_not_stop_the_rest(clinic: Clinic, monkeypatch) -> None:
    table = clinic.write()
    dataset = open_dataset("csv", table)
    read = dataset.read

    def sometimes(sample: Any) -> Pixels:
        if sample.image == "benign-0.png":
            raise ZeroDivisionError("division by zero")
        return read(sample)

    monkeypatch.setattr(dataset, "read", sometimes)
    found = only(check(dataset, table, Progress()), "unreadable-image")
    assert found.detail == "ZeroDivisionError: division by zero"


def test_what_a_whole_class_lacks_is_no_defect(clinic: Clinic) -> None:
    for number in range(12):
        clinic.save(f"benign-{number}-mask.png", np.zeros((HEIGHT, WIDTH), bool))
    found = only(clinic.check(), "empty-mask")
    assert (found.severity, len(found.files)) == ("info", 12)
    for row in clinic.rows[:12]:
        row["mask"] = ""
    clinic.rows[1] |= {"patient": "P0", "part": "Training"}  # as other sets spell it
    result = clinic.check()
    assert all(finding.kind != "missing-mask" for finding in result.findings) and not result.failed


def coloured(seed: int, pixels: int) -> Pixels:
    """A grey picture with a horizontal yellow caliper of so many pixels."""
    image = np.repeat(picture(seed)[..., None], 3, axis=2)
    image[40, 10 : 10 + pixels] = (255, 255, 0)
    return image


#: What is spoilt, and the one finding that tells it: kind, severity, files, words of the detail.
DEFECTS: list[tuple[Callable[[Clinic], object], str, str, tuple[str, ...], str]] = [
    (
        lambda clinic: clinic.save("malignant-20-mask.png", np.ones((HEIGHT, WIDTH - 1), bool)),
        "mask-size", "error", ("malignant-20-mask.png", "malignant-20.png"), "mask of 95 × 80 pixels, image of 96 × 80",
    ),
    (lambda clinic: clinic.rows[5].update(mask=""), "missing-mask", "warning", ("benign-5.png",), ""),
    (
        lambda clinic: clinic.save("benign-2-mask.png", np.zeros((HEIGHT, WIDTH), bool)),
        "empty-mask", "warning", ("benign-2-mask.png",), "",
    ),
    (
        lambda clinic: clinic.save("benign-1.png", picture(1).astype(np.uint16) * 200),
        "bit-depth", "warning", ("benign-1.png",), "23 uint8, 1 uint16",
    ),
    (
        lambda clinic: clinic.save("malignant-13.png", coloured(13, 12)),
        "colour-marks", "warning", ("malignant-13.png",), "0 of 12 benign, 1 of 12 malignant",
    ),
    (lambda clinic: clinic.rows[1].update(patient="P0"), "parts-share-patient", "error", ("benign-0.png", "benign-1.png"), ""),
    (lambda clinic: clinic.rows[12].update(patient="P0"), "patient-two-labels", "info", ("benign-0.png", "malignant-12.png"), ""),
    (lambda clinic: clinic.rows[2].update(patient=""), "patients", "warning", ("benign-2.png",), ""),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "kind", "severity", "files", "words"), DEFECTS, ids=lambda value: str(value)[:20])
def test_a_defect_has_one_finding(clinic: Clinic, spoil: Any, kind: str, severity: str, files: Any, words: str) -> None:
    spoil(clinic)
    found = only(clinic.check(), kind)
    assert (found.severity, found.files) == (severity, files)
    assert words in found.detail


def test_constant_nearly_constant_and_small_images(clinic: Clinic) -> None:
    for number in (1, 2):
        clinic.save(f"benign-{number}.png", np.full((HEIGHT, WIDTH), 90, np.uint8))
    result = clinic.check()
    assert result.pairs == []  # two constant images are not near-duplicates
    found = only(result, "constant")
    assert (found.severity, found.files) == ("error", ("benign-1.png", "benign-2.png"))
    noise = np.random.default_rng(0).integers(90, 95, (HEIGHT, WIDTH))
    clinic.save("benign-1.png", noise.astype(np.uint8))
    clinic.save("benign-2.png", picture(2)[:63])
    clinic.rows[2]["mask"] = ""
    assert {f.kind: f.files for f in clinic.check().findings if f.severity == "warning"} == {
        "nearly-constant": ("benign-1.png",), "small": ("benign-2.png",), "missing-mask": ("benign-2.png",),
    }  # fmt: skip


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_few_pixels_and_true_colour_are_no_marks(clinic: Clinic, share: float) -> None:
    stained = np.dstack([picture(13), picture(113), picture(213)])
    clinic.save("malignant-13.png", stained if share else coloured(13, 5))
    assert all(finding.kind != "colour-marks" for finding in clinic.check().findings)


def test_monochrome1_among_monochrome2(clinic: Clinic) -> None:
    for number in (3, 4, 5):
        name = f"benign-{number}.dcm" if number > 3 else "IM0003"  # known by its content
        photometric = "MONOCHROME1" if number == 5 else "MONOCHROME2"
        pixels = 255 - picture(number) if number == 5 else picture(number)
        write_dicom(clinic.folder / name, pixels, PhotometricInterpretation=photometric)
        clinic.rows[number]["path"] = name
    found = only(clinic.check(), "photometric")
    assert (found.severity, found.files) == ("info", ("benign-5.dcm",))
    assert found.detail.startswith("2 MONOCHROME2, 1 MONOCHROME1")


def test_an_inverted_image_differs_from_a_common_layout(clinic: Clinic) -> None:
    clinic.save("benign-7.png", 255 - picture(7))
    assert all(finding.kind != "inverted" for finding in clinic.check().findings)  # the set has no common layout
    skin = np.linspace(200, 0, HEIGHT)[:, None]  # bright above, dark below, as ultrasound is
    for number, row in enumerate(clinic.rows):
        image = (0.75 * skin + 0.25 * picture(number)).astype(np.uint8)
        clinic.save(row["path"], 255 - image if number == 7 else image)
    result = clinic.check()
    assert [f.files for f in result.findings if f.kind == "inverted"] == [("benign-7.png",)]


# ---------------------------------------------------------------- near-duplicates, labels, parts, patients


def test_near_duplicates_of_one_class(clinic: Clinic) -> None:
    clinic.save("benign-3.png", np.clip(picture(0) * 0.9 + 5, 0, 255).astype(np.uint8))  # both in train
    result = clinic.check()
    found = only(result, "near-duplicates")
    assert found.files == ("benign-0.png", "benign-3.png")
    assert result.content()["groups"] == [["benign-0.png", "benign-3.png"]]
    [pair] = result.content()["pairs"]
    assert pair["labels"] == ["benign", "benign"]
    assert pair["bits"] <= 6
    assert pair["share"] > 0.5 and not pair["mirrored"]


def test_near_duplicates_with_two_labels_or_in_another_official_part_are_errors(clinic: Clinic) -> None:
    clinic.save("malignant-18.png", picture(3))
    clinic.save("benign-4.png", picture(0))  # train and val
    found = {f.kind: f for f in clinic.check().findings if f.severity == "error"}
    conflict, parts = found["label-conflict"], found["parts-share-near-duplicate"]
    assert conflict.files == ("benign-3.png", "malignant-18.png")
    assert conflict.detail.startswith("benign / malignant: ") and "keypoints agree (100%)" in conflict.detail
    assert parts.files == ("benign-0.png", "benign-4.png")
    assert "benign-0.png (train) and benign-4.png (val)" in parts.detail


# ---------------------------------------------------------------- size


def test_sizes_that_tell_the_class(clinic: Clinic) -> None:
    for number in range(12):
        clinic.save(f"benign-{number}.png", np.asarray(Image.fromarray(picture(number)).resize((120, 80))))
        clinic.rows[number]["mask"] = ""
    found = only(clinic.check(), "size-tells-class")
    assert found.severity == "warning"
    assert "malignant 1.00 (1.00–1.00)" in found.detail


def test_sizes_at_random_tell_nothing_and_groups_are_not_learnt_by_heart() -> None:
    rng = np.random.default_rng(0)
    sizes, labels = rng.integers(100, 500, (300, 2)), [("a", "b", "c")[i % 3] for i in range(300)]
    leaks = size_leaks(sizes, labels, np.arange(300))
    assert [leak.label for leak in leaks] == ["a", "b", "c"]
    assert all(0.4 < leak.auc < 0.6 and leak.low < 0.5 < leak.high for leak in leaks)
    patients = np.repeat(np.arange(60), 10)
    sizes = rng.integers(100, 500, (60, 2))[patients]
    labels = [("benign", "malignant")[patient % 2] for patient in patients]
    [by_patient] = size_leaks(sizes, labels, patients)
    [by_image] = size_leaks(sizes, labels, np.arange(600))
    assert by_patient.low < TELLING
    assert by_image.low > TELLING


@pytest.mark.parametrize("spoil", [lambda s: np.ones_like(s), lambda s: s[:4]])
def test_no_size_to_measure(spoil: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.intp]]) -> None:
    sizes = spoil(np.random.default_rng(0).integers(100, 500, (40, 2)))
    labels = ["a", "b"] * (len(sizes) // 2)
    assert size_leaks(sizes, labels, np.arange(len(sizes))) == []


# ---------------------------------------------------------------- generated and real images


def test_generated_images_are_not_searched_for_copies() -> None:
    result = check(open_dataset("phantom:n=20", None), None, Progress())
    assert result.pairs == []
    assert not result.failed
    assert any("not looked for" in finding.detail for finding in result.findings)


def test_busi(busi_check, local_data) -> None:
    assert len(busi_check.groups) > 100
    kinds = {finding.kind: finding for finding in busi_check.findings}
    assert kinds["empty-mask"].severity == "info"  # those of the normal class, black by design
    assert {"inverted", "mask-size", "unreadable-image", "constant", "bit-depth"}.isdisjoint(kinds)
    conflicts = [set(finding.files) for finding in busi_check.findings if finding.kind == "label-conflict"]
    assert len(conflicts) >= 8
    base = "Dataset_BUSI_with_GT"
    assert {f"{base}/benign/benign (433).png", f"{base}/malignant/malignant (145).png"} in conflicts
    assert all((local_data / "data" / "busi" / file).is_file() for found in busi_check.findings for file in found.files)
