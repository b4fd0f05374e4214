"""Lists of images to leave out: how they are read, what they refuse, and what comes back from one that was written."""

from pathlib import Path

import pytest

from mammozoo.data.splits.exclusions import (
    Exclusion,
    digest,
    read_exclusions,
    reasons,
    write_exclusions,
)
from mammozoo.errors import NotFoundError, UsageError

NAMES = ["benign/a.png", "benign/b.png", "malignant/a.png", "malignant/c,1.png"]
DIRTY = [
    "image,reason,evidence\nbenign/b.png,blurred,\n",
    "\ufeffimage;reason\r\nbenign\\b.PNG;blurred\r\n\r\n;\r\n",
    "reason\tIMAGE\nblurred\tb\n",
    "image,reason\nbenign/b.png,blurred\nb.png,blurred\nelsewhere.png,blurred\n",
    "image,reason\n  b.jpg  ,blurred,too many cells\n",
]


def written(folder: Path, text: str) -> Path:
    (folder / "list.csv").write_bytes(text.encode())
    return folder / "list.csv"


@pytest.mark.parametrize("text", DIRTY)
def test_a_list_is_read_whatever_program_has_saved_it(tmp_path, text: str) -> None:
    found, unknown = read_exclusions(written(tmp_path, text), NAMES)
    assert found == {1: Exclusion("benign/b.png", "blurred")}
    assert unknown == (["elsewhere.png"] if "elsewhere" in text else [])


def test_several_rows_of_one_image_count_once_with_all_their_reasons(tmp_path) -> None:
    rows = "image,reason,evidence\nb.png,blurred,seen by A\nbenign/b,twice,\nb,blurred,seen by B\n"
    found, _ = read_exclusions(written(tmp_path, rows), NAMES)
    assert found == {1: Exclusion("benign/b.png", "blurred; twice", "seen by A; seen by B")}
    (bare,) = read_exclusions(written(tmp_path, "image\nb.png\n"), NAMES)[0].values()
    assert bare.reason == "not stated"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,reason\na.png,blurred\n", "line 2: 'a.png' names several images"),
        ("image,reason\nb.png,x\n,blurred\n", "line 3: the image is empty"),
        ("file,reason\nb.png,x\n", "no column 'image'"),
        ("image,reason\nx.png,x\ny.png,x\n", "None of the 2 images .* 'x.png'"),
        ("", "no column 'image'"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(tmp_path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_exclusions(written(tmp_path, text), NAMES)
    with pytest.raises(NotFoundError, match=r"no list of images to exclude .*lits\.csv.*list\.csv"):
        read_exclusions(tmp_path / "lits.csv", NAMES)


def test_a_written_list_comes_back_and_its_digest_is_of_the_images_alone(tmp_path) -> None:
    made = [Exclusion(NAMES[3], "label-error", 'p = 0.03, "malignant"'), Exclusion(NAMES[0], "constant", "")]
    found, unknown = read_exclusions(write_exclusions(tmp_path / "list.csv", made), NAMES)
    assert [found[3], found[0]] == made and unknown == []
    assert reasons(made) == {"label-error": 1, "constant": 1}
    assert digest(made) == digest([Exclusion(one.image, "seen") for one in reversed(made)]) != digest(made[:1])
    assert read_exclusions(write_exclusions(tmp_path / "none.csv", []), NAMES) == ({}, [])
    assert (tmp_path / "none.csv").read_text() == "image,reason,evidence\n"
