"""`mammozoo data check` and `mammozoo data audit-split` as their users meet them."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image


def picture(seed: int) -> npt.NDArray[Any]:
    blobs = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 7), dtype=np.uint8))
    return np.asarray(blobs.resize((300, 80), Image.Resampling.BICUBIC))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of six images; nothing is wrong with them."""
    for label, start in (("benign", 0), ("malignant", 6)):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(start, start + 6):
            Image.fromarray(picture(number)).save(tmp_path / "set" / label / f"{number}.png")
    return tmp_path / "set"


def spoil(root: Path) -> None:
    """One image under two labels, and one cut short."""
    Image.fromarray(picture(0)).save(root / "malignant" / "<b>6.png")
    broken = root / "benign" / "5.png"
    broken.write_bytes(broken.read_bytes()[:100])


# ---------------------------------------------------------------- check


def test_check_of_a_clean_set(command, root) -> None:
    answer = command("data", "check", "folder", "--root", root)
    assert answer.code == 0
    assert "6 benign, 6 malignant" in answer.out
    assert "reading images: 12 images" in answer.err


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


def test_check_shows_kind_severity_and_files(command, root) -> None:
    spoil(root)
    answer = command("data", "check", "folder", "--root", root)
    assert answer.code == 1
    assert re.search(r"label-conflict +error +2 +benign / malignant: 0 bits", answer.out)
    assert "malignant/<b>6.png" in answer.out


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
    Image.fromarray(picture(2)).save(root / "benign" / "copy.png")
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


def test_check_refuses_what_is_not_there(command, tmp_path) -> None:
    command("data", "check", "bussi", "--root", tmp_path).refused(3, "busi")
    command("data", "check", "folder", "--root", tmp_path / "nothing").refused(3, "nothing")
    command("data", "check", "folder").refused(2, "--root")


# ---------------------------------------------------------------- audit-split


def table(path: Path, parts: dict[str, str]) -> Path:
    path.write_text("sample,part\n" + "".join(f"{name},{part}\n" for name, part in parts.items()))
    return path


def halves(root: Path) -> dict[str, str]:
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    return {name: ("train", "test")[i % 2] for i, name in enumerate(names)}


def test_a_fair_table(command, root, tmp_path) -> None:
    file = table(tmp_path / "split.csv", halves(root))
    answer = command("data", "audit-split", file, "--dataset", "folder", "--root", root)
    assert answer.code == 0
    assert re.search(r"holdout +train +3 +3 +6", answer.out)
    assert answer.out.splitlines()[-1] == "not leaky: 1 splits cut no patient and no group of near-duplicates"


def test_a_leaky_table(command, root, tmp_path) -> None:
    file = table(tmp_path / "split.csv", halves(root) | {"ghost.png": "train"})
    Image.fromarray(picture(0)).save(root / "benign" / "1.png")  # 0 is in train, 1 in test
    Image.fromarray(picture(50)).save(root / "benign" / "50.png")
    answer = command("data", "audit-split", file, "--dataset", "folder", "--root", root)
    assert answer.code == 1
    assert "benign/0.png (train) and benign/1.png (test): 0 bits, correlation 1.00" in answer.out
    assert "1 images of the data set are in no part: benign/50.png" in answer.out
    assert "1 listed images are not in the data set: ghost.png" in answer.out
    assert answer.out.splitlines()[-1].startswith("LEAKY")


def test_nnunet_splits_as_json(command, root, tmp_path) -> None:
    Image.fromarray(picture(7)).save(root / "malignant" / "11.png")
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


def test_audit_refuses_what_is_no_split(command, root, tmp_path) -> None:
    (tmp_path / "split.json").write_text("{}")
    command("data", "audit-split", "split.json", "--dataset", "folder", "--root", root).refused(2, "split.json")
    command("data", "audit-split", "none.json", "--dataset", "folder", "--root", root).refused(3, "none.json")
