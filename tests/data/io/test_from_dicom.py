"""`data from-dicom`: a folder as a PACS gives it → a table without identifying text that the data set `csv` reads."""

import csv
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset as Header
from pydicom.uid import BasicTextSRStorage

from mammozoo.data.io.dicom_table import COLUMNS
from mammozoo.data.loaded import open_dataset

from ...builtin.trees.dicom import write_dicom

SECRETS = ("Musterfrau", "Erika", "4711-0815", "19560412", "20260102", "Klinikum", "Dr. House", "2.25.77")
GREY = np.random.default_rng(0).integers(0, 4096, (40, 30), dtype=np.uint16)


def export(root: Path) -> Path:
    """Three women in files without suffix: views, sides, a cine, a report, a copy, a text, and a directory of another name."""
    private = {
        "PatientName": "Musterfrau^Erika", "PatientBirthDate": "19560412", "StudyDate": "20260102", "InstitutionName": "Klinikum",
        "ReferringPhysicianName": "Dr. House", "StudyDescription": "Musterfrau, Erika 4711-0815", "BitsStored": 12,
    }  # fmt: skip
    coded = Header()
    coded.CodeValue = "R-10226"
    for number, (patient, side, more) in enumerate([
        ("4711-0815", "L", {"ViewPosition": "CC", "ManufacturerModelName": "Senographe"}),
        ("4711-0815 ", "R", {"ViewCodeSequence": [coded], "PresentationIntentType": "FOR PROCESSING"}),
        ("4712", None, {"Laterality": "L", "ViewPosition": "MUSTERFRAU", "Modality": "ERIKA"}),
        ("", None, {}),
        ("0000", None, {}),
    ]):  # fmt: skip
        tags = (
            private
            | {"PatientID": patient, "StudyInstanceUID": f"2.25.77{number // 2}", "ImageLaterality": side}
            | more
        )
        write_dicom(root / "DICOM" / f"IM{number:04}", GREY + number, **tags)
    frames = np.stack([np.roll(GREY, shift) for shift in range(7)])
    write_dicom(root / "DICOM" / "IM0009", frames, NumberOfFrames=7, Modality="US", **private, PatientID="4712")
    (root / "DICOM" / "COPY").write_bytes((root / "DICOM" / "IM0000").read_bytes())
    report = pydicom.dcmread(root / "DICOM" / "IM0000")
    del report.PixelData, report.Rows
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    report.save_as(root / "DICOM" / "SR0001")
    (root / "README").write_text("a viewer is on this CD")
    (root / "DICOMDIR").write_bytes(Path(pydicom.data.get_testdata_file("DICOMDIR") or "").read_bytes())
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_table_tells_images_apart_and_nobody_s_name(command, tmp_path) -> None:
    folder = export(tmp_path / "cd")
    (tmp_path / "key").write_text("open sesame, please")
    answer = command("data", "from-dicom", folder, "--out", "t.csv", "--secret", "key")
    assert answer.code == 0 and "6 images" in answer.out and "1 files left out, there twice" in answer.err
    rows = read(tmp_path / "t.csv")
    assert tuple(rows[0]) == COLUMNS and not any(
        word.lower() in (tmp_path / "t.csv").read_text().lower() for word in SECRETS
    )
    assert [row["path"] for row in rows] == [
        "cd/DICOM/COPY", *(f"cd/DICOM/IM000{n}" for n in (1, 2, 3, 4)), "cd/DICOM/IM0009#4",
    ]  # fmt: skip
    assert [(row["side"], row["view"]) for row in rows[:4]] == [("L", "CC"), ("R", "MLO"), ("L", ""), ("", "")]
    assert (rows[0]["device"], rows[1]["intent"], rows[5]["frames"]) == ("Senographe", "FOR PROCESSING", "7")
    assert all((row["rows"], row["columns"]) == ("40", "30") for row in rows)
    patients = [row["patient"] for row in rows]
    assert patients[0] == patients[1] and patients[2] == patients[5] and len({*patients}) == 4  # nameless ones by study
    again = command("data", "from-dicom", folder, "--out", "u.csv", "--secret", "key")
    assert again.code == 0 and read(tmp_path / "u.csv") == rows
    assert command("data", "from-dicom", folder, "--out", "v.csv").code == 0
    assert not {*patients} & {row["patient"] for row in read(tmp_path / "v.csv")}
    assert command("data", "from-dicom", folder, "--out", "w.csv", "--keep-ids").code == 0
    assert read(tmp_path / "w.csv")[0]["patient"] == "4711-0815"
    command("data", "from-dicom", folder, "--out", "t.csv").refused(9, "t.csv")  # somebody may have filled in labels
    command("data", "from-dicom", tmp_path / "none", "--out", "x.csv").refused(3, "none")
    (tmp_path / "key").write_text("short")
    command("data", "from-dicom", folder, "--out", "x.csv", "--secret", "key").refused(2, "8 or more")


def test_csv_reads_the_table_with_and_without_labels(command, tmp_path) -> None:
    folder = export(tmp_path / "cd")
    assert command("data", "from-dicom", folder, "--out", "t.csv").code == 0
    dataset = open_dataset("csv", tmp_path / "t.csv")
    samples = dataset.samples()
    assert len(samples) == 6 and dataset.classes == ("unlabelled",) and samples[1].meta["view"] == "MLO"
    np.testing.assert_array_equal(dataset.read(samples[5]), np.roll(GREY, 3))
    assert command("data", "check", "csv", "--root", "t.csv").code == 0
    rows = read(tmp_path / "t.csv")
    text = [",".join(rows[0])] + [",".join(row.values()) for row in rows]
    labelled = [line.replace(",,", f",{('benign', 'malignant')[n % 2]},", 1) for n, line in enumerate(text[1:])]
    labelled.append(labelled[5].replace("#4", "#6").replace(",malignant,", ",benign,"))
    (tmp_path / "l.csv").write_text("\n".join([text[0], *labelled]))
    samples = open_dataset("csv", tmp_path / "l.csv").samples()
    assert [sample.label for sample in samples].count("benign") == 4
    (tmp_path / "l.csv").write_text("\n".join([text[0], text[1], *labelled[1:]]))
    with pytest.raises(Exception, match="label is empty"):
        open_dataset("csv", tmp_path / "l.csv").samples()


def test_frames_and_dicomdir_where_images_are_named(command, tiny_run, tmp_path) -> None:
    export(tmp_path / "cd")
    answer = command("predict", "cd/DICOM/IM0009", "cd/DICOM/IM0009#2", "--model", tiny_run.path, "--json")
    first, second = answer.json["results"]
    assert any("frame 4 of 7" in text for text in first["warnings"]) and not any(
        "frame" in t for t in second["warnings"]
    )
    assert first["sha256"] == second["sha256"] and first["probabilities"] != second["probabilities"]
    command("predict", "cd/DICOM/IM0077#2", "--model", tiny_run.path).refused(3, "IM0077#2")
    whole = command("predict", "cd/DICOMDIR", "--model", tiny_run.path, "--json")
    files = [Path(result["file"]).name for result in whole.json["results"]]
    assert files == ["COPY", "IM0000", "IM0001", "IM0002", "IM0003", "IM0004", "IM0009"]
