"""`mammozoo data check` and `mammozoo data audit-split` as their users meet them."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from mammozoo.files import read_table

from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.drawing import picture, save


@pytest.fixture
def root(tmp_path) -> Path:
    for number in range(12):
        save(tmp_path / "set" / ("benign" if number < 6 else "malignant") / f"{number}.png", scan(number))
    return tmp_path / "set"


def scan(seed: int) -> npt.NDArray[np.uint8]:
    return picture(seed, 300, 80)


def spoil(root: Path) -> None:
    save(root / "malignant" / "<b>6.png", scan(0))
    broken = root / "benign" / "5.png"
    broken.write_bytes(broken.read_bytes()[:100])


# ---------------------------------------------------------------- check


def test_check_of_a_clean_and_a_spoilt_set(command, root) -> None:
    answer = command("data", "check", "folder", "--root", root).ok
    assert "6 benign, 6 malignant" in answer.out
    assert "reading images: 12 images" in answer.err
    spoil(root)
    answer = command("data", "check", "folder", "--root", root)
    assert answer.code == 1
    assert re.search(r"label-conflict +error +2 +benign / malignant: \d+ keypoints", answer.out)
    assert "malignant/<b>6.png" in answer.out


def test_check_as_json(command, root) -> None:
    spoil(root)
    answer = command("data", "check", "folder", "--root", root, "--json")
    assert answer.code == 1
    content = answer.json
    assert content.keys() == {"schema", "dataset", "images", "classes", "findings", "groups", "pairs"}
    assert (content["dataset"], content["images"]) == ("folder", 13)
    assert content["classes"] == {"benign": 6, "malignant": 7}
    assert content["groups"] == [["benign/0.png", "malignant/<b>6.png"]]
    assert {(f["kind"], *f["files"]) for f in content["findings"] if f["severity"] == "error"} == {
        ("unreadable-image", "benign/5.png"), ("label-conflict", "benign/0.png", "malignant/<b>6.png"),
    }  # fmt: skip
    assert all(f.keys() == {"kind", "severity", "files", "detail"} for f in content["findings"])


def test_findings_become_a_list_to_edit_and_a_training_without_those_images(command, root, tiny, tmp_path) -> None:
    for number in range(12, 24):
        save(root / ("benign" if number < 18 else "malignant") / f"{number}.png", scan(number))
    own = [*tiny, "--dataset", "folder", "--root", root, "--out"]
    answer = command("train", *own, tmp_path / "run", "--folds", 2)
    assert answer.ok
    spoil(root)
    Image.fromarray(np.full((80, 300), 90, np.uint8)).save(root / "benign" / "4.png")
    listed = tmp_path / "exclude.csv"
    check = ("data", "check", "folder", "--root", root)
    answer = command(*check, "--with", tmp_path / "run", "--write-exclusions", listed, "--json")
    assert answer.code == 1 and f"wrote {listed}: " in answer.err and "remove the rows of images to keep" in answer.err
    (doubted,) = [one for one in answer.json["findings"] if one["kind"] == "label-error"]
    assert "of the 24 images that" in doubted["detail"] and "has tested, of 25 in all" in doubted["detail"]
    assert [one["image"] for one in answer.json.get("label_errors", [])] == doubted["files"]
    rows = {row["image"]: row for row in read_table(listed)}
    assert rows["benign/0.png"]["reason"].startswith("label-conflict")
    assert rows["benign/0.png"]["evidence"].startswith("malignant/<b>6.png (malignant): ")
    assert rows["benign/5.png"]["reason"].startswith("unreadable-image")
    assert rows["benign/4.png"]["reason"].startswith("constant")
    assert {*doubted["files"]} <= {image for image, row in rows.items() if "label-error" in row["reason"]}
    command(*check, "--write-exclusions", listed).refused(9, "exclude.csv' already exists")
    command(*check, "--write-exclusions", root / "list.csv").refused(9, "which this command reads")
    command(*check, "--write-exclusions", "list.xlsx").refused(2, "is a file .csv")
    command(*check, "--with", tmp_path / "nun").refused(3, "no run at", "Did you mean 'run'")
    command(*check, "--with", root).refused(3, "config.json")
    listed.write_text("image,reason\nbenign/4.png,constant\nbenign/5.png,unreadable\nmalignant/<b>6.png,copy\n")
    command("train", *own, tmp_path / "typo", "--exclude", "exclude.cvs").refused(3, "list of images to exclude")
    answer = command("train", *own, tmp_path / "clean", "--exclude", listed).ok
    assert "3 of 25 images are excluded" in answer.err
    assert len(read_table(tmp_path / "clean" / "predictions.csv")) == 22


def test_files_are_relative_to_the_root_that_was_given(command, tmp_path) -> None:
    """BUSI's samples are named below its inner folder, whichever of the two the user points at."""
    inner = tmp_path / "download" / "Dataset_BUSI_with_GT"
    for label in ("benign", "malignant", "normal"):
        (inner / label).mkdir(parents=True)
        (inner / label / f"{label} (1).png").write_bytes(b"")
    files = {
        folder: [f["files"] for f in command("data", "check", "busi", "--root", folder, "--json").json["findings"]]
        for folder in (inner, inner.parent)
    }
    assert ["benign/benign (1).png"] in files[inner]
    assert ["Dataset_BUSI_with_GT/benign/benign (1).png"] in files[inner.parent]


def test_the_page_is_complete_in_itself(command, root, tmp_path) -> None:
    spoil(root)
    save(root / "benign" / "copy.png", scan(2))
    answer = command("data", "check", "folder", "--root", root, "--html", tmp_path / "out" / "page.html")
    assert answer.code == 1
    page = (tmp_path / "out" / "page.html").read_text()
    assert "malignant/&lt;b&gt;6.png" in page
    assert "<b>" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "http" not in page
    assert page.index("labels differ") < page.index("unreadable-image") < page.index("benign/copy.png")
    assert re.findall(r'alt="([^"]*)"', page) == [
        "benign image benign/0.png", "malignant image malignant/&lt;b&gt;6.png",
        "benign image benign/2.png", "benign image benign/copy.png",
    ]  # fmt: skip
    pictures = [Image.open(io.BytesIO(base64.b64decode(text))) for text in re.findall(r"base64,([^\"]*)", page)]
    assert [image.size for image in pictures] == [(240, 64)] * 4


def test_the_contact_sheet_counts_every_image_by_class_device_and_size(command, root, tmp_path) -> None:
    spoil(root)
    save(root / "malignant" / "wide.png", picture(99, 500, 90))
    assert command("data", "show", "folder", "--root", root, "--html", tmp_path / "page.html").ok
    page = (tmp_path / "page.html").read_text()
    assert "14 images, of which 1 cannot be read" in page and "5.png" in page
    assert "malignant/&lt;b&gt;6.png" in page and "<b>" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert ["benign", "not named", "5", "not named", "300 × 80 to 300 × 80"] in _rows(page)
    assert ["malignant", "not named", "8", "not named", "300 × 80 to 500 × 90"] in _rows(page)
    sides = {row[0]: row[2] for row in _rows(page) if len(row) == 3}
    assert sum(int(n) for text in sides.values() for n in re.findall(r"\d+", text)) == 13
    assert list(sides.values())[-1] == "1 malignant"
    # It replaces its own page.
    assert command("data", "show", "bus-bra", "--root", bus_bra(tmp_path / "bra"), "--html", tmp_path / "page.html").ok
    page = (tmp_path / "page.html").read_text()
    of_devices = {tuple(row[:4]) for row in _rows(page) if len(row) == 5}
    assert ("benign", "GE LOGIQ 7", "8", "6") in of_devices and len(of_devices) == 4
    assert page.count("<img") == 2 * 12


def _rows(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [[re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)] for row in rows]


def test_what_is_not_there_or_no_split_is_refused(command, tmp_path, root) -> None:
    command("data", "check", "bussi", "--root", tmp_path).refused(3, "busi")
    command("data", "check", "folder", "--root", tmp_path / "nothing").refused(3, "nothing")
    command("data", "check", "folder").refused(2, "--root")
    (tmp_path / "split.json").write_text("{}")
    command("data", "audit-split", "split.json", "--dataset", "folder", "--root", root).refused(2, "split.json")
    command("data", "audit-split", "none.json", "--dataset", "folder", "--root", root).refused(3, "none.json")


# ---------------------------------------------------------------- audit-split


def halves(root: Path, more: str = "") -> Path:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    lines = [f"{name},{('train', 'test')[i % 2]}\n" for i, name in enumerate(names)]
    file = root.parent / "split.csv"
    file.write_text("sample,part\n" + "".join(lines) + more)
    return file


def test_a_fair_and_a_leaky_table(command, root) -> None:
    words = ("data", "audit-split", halves(root, "ghost.png,train\n"), "--dataset", "folder", "--root", root)
    answer = command(*words).ok
    assert re.search(r"holdout +train +3 +3 +6", answer.out)
    assert answer.out.splitlines()[-1] == "not leaky: 1 splits cut no patient and no group of near-duplicates"
    save(root / "benign" / "1.png", scan(0))  # 0 is in train, 1 in test
    save(root / "benign" / "50.png", scan(50))
    answer = command(*words)
    assert answer.code == 1
    assert "benign/0.png (train) and benign/1.png (test): " in answer.out
    assert "1 images of the data set are in no part: benign/50.png" in answer.out
    assert "1 listed images are not in the data set: ghost.png" in answer.out
    assert answer.out.splitlines()[-1].startswith("LEAKY")


def test_nnunet_splits_as_json(command, root, tmp_path) -> None:
    save(root / "malignant" / "11.png", scan(7))
    folds = [{"train": ["0", "6", "7"], "val": ["1", "11"]}, {"train": ["0", "7", "11"], "val": ["1", "6"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    (root / "benign" / "5.png").write_bytes(b"")
    answer = command("data", "audit-split", "splits_final.json", "--dataset", "folder", "--root", root, "--json")
    assert answer.code == 1
    assert "not compared: " in answer.err
    assert [one["leaky"] for one in answer.json["splits"]] == [True, False]
    first = answer.json["splits"][0]
    assert (first["touched"], first["images"]) == (1, 2)
    assert first["pairs"][0]["files"] == ["malignant/11.png", "malignant/7.png"]
    assert answer.json["leaky"] is True
