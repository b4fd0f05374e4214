"""Split files: ours, nnU-Net's and tables; what they name, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mammozoo.data.dataset import Sample
from mammozoo.data.duplicates.matching import Pair, group
from mammozoo.data.splits.audit import Audit, SplitAudit, audit_splits
from mammozoo.data.splits.files import read_splits, write_splits
from mammozoo.data.splits.make import Split, k_fold, with_validation
from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError

NAMES = ["benign/benign (1).png", "benign/benign (2).png", "malignant/malignant (1).png", "malignant/malignant (2).png"]


def indices(*values: int) -> Any:
    return np.array(values, np.intp)


def written(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_ours_comes_back_as_it_was(tmp_path) -> None:
    made = [
        Split("fold-0", indices(0), indices(1), indices(2, 3)),
        Split("fold-1/inner-0", indices(2, 3), indices(0), indices(1)),
    ]
    read = read_splits(write_splits(tmp_path / "splits.json", made, NAMES), NAMES)
    assert read.unknown == []
    assert [split.name for split in read.splits] == ["fold-0", "fold-1/inner-0"]
    for before, after in zip(made, read.splits, strict=True):
        assert before.digest(NAMES) == after.digest(NAMES)
    assert [split.outer for split in read.splits] == ["fold-0", "fold-1"]


def test_nnunets_validation_is_what_is_tested(tmp_path) -> None:
    folds = [
        {"train": ["benign (1)", "benign (2)"], "val": ["malignant (1)"]},
        {"train": ["malignant (1)"], "val": ["benign (1)"]},
    ]
    first, second = read_splits(written(tmp_path / "splits_final.json", folds), NAMES).splits
    assert (first.name, first.train.tolist(), first.val.tolist(), first.test.tolist()) == ("fold-0", [0, 1], [], [2])
    assert second.test.tolist() == [0]


def test_a_table_may_name_images_without_folder_or_suffix_and_with_dots(tmp_path, caplog) -> None:
    rows = "Sample,Part\nbenign\\benign (1).png,train\nbenign (2),val\nmalignant (1).PNG,test\nelsewhere.png,test\n"
    read = read_splits(written(tmp_path / "mine.csv", rows), NAMES)
    (split,) = read.splits
    assert [split.part(part).tolist() for part in ("train", "val", "test")] == [[0], [1], [2]]
    assert read.unknown == ["elsewhere.png"]
    names = ["a/1.png", "b/1.png"]
    with pytest.raises(UsageError, match="several images"):
        read_splits(written(tmp_path / "s.csv", "sample,part\n1.png,train\n"), names)
    assert read_splits(written(tmp_path / "s.csv", "sample,part\nb/1,train\n"), names).splits[0].train.tolist() == [1]
    names = ["a/case.1", "a/case.2.png"]
    read = read_splits(written(tmp_path / "s.csv", "sample,part\ncase.1,train\ncase.2,test\n"), names)
    assert read.unknown == [] and read.splits[0].test.tolist() == [1]
    names = ["a/case.left.png", "a/case.right.png"]  # dots that are no suffixes
    read = read_splits(written(tmp_path / "s.csv", "sample,part\ncase.left,train\ncase.right,test\n"), names)
    assert read.unknown == [] and (read.splits[0].train.tolist(), read.splits[0].test.tolist()) == ([0], [1])
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.json", "not json", "neither JSON"),
        ("s.json", {"train": []}, "neither mammozoo's format"),
        ("s.json", [], "neither mammozoo's format"),
        ("s.json", [{"train": "benign (1)"}], "neither mammozoo's format"),
        ("s.json", {"splits": [{"name": "../x", "train": [], "val": [], "test": []}]}, "'../x'"),
        ("s.json", [{"train": ["benign (1)"], "val": ["benign (1).png"]}], "twice"),
        ("s.json", {"splits": [{"name": "a", "test": []}, {"name": "a", "test": []}]}, "'a'"),
        ("s.csv", "sample,part\nbenign (1),exam\n", "line 2"),
        ("s.csv", "sample,part\n", "nothing"),
    ],
)
def test_bad_files_are_refused(tmp_path, name: str, content: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_splits(written(tmp_path / name, content), NAMES)


def test_splits_with_a_slash_are_outer_folds_unless_they_share_a_test_part(tmp_path) -> None:
    def outers(*folds: tuple[str, int, int]) -> list[str]:
        listed = [{"name": name, "train": [NAMES[i]], "val": [], "test": [NAMES[j]]} for name, i, j in folds]
        splits = read_splits(written(tmp_path / "s.json", {"splits": listed}), NAMES).splits
        labels, groups = np.array([0, 0, 1, 1]), np.arange(4)
        assert [one.outer for one in splits] == [replace(one, val=one.train).outer for one in splits], (
            "a validation part that is added changes nothing"
        )
        complete = [replace(one, val=indices(3)) for one in splits]
        assert [one.outer for one in with_validation(complete, labels, groups, val=0.2, seed=0)] == [
            one.outer for one in splits
        ]
        return [one.outer for one in splits]

    assert outers(("site/1", 0, 1), ("site/2", 1, 0)) == ["site/1", "site/2"]
    assert outers(("site/1", 0, 2), ("site/2", 1, 2), ("b/1", 2, 0)) == ["site", "site", "b"]
    names = [f"{i}.png" for i in range(60)]
    parts = [f"{i},{'test' if (i % 3 == k) else 'train'},site/{k}" for k in range(3) for i in range(60)]
    read = read_splits(written(tmp_path / "s.csv", "\n".join(["sample,part,split", *parts])), names).splits
    made = with_validation(read, np.arange(60) // 3 % 2, np.arange(60), val=0.2, seed=0)
    assert [one.outer for one in made] == ["site/0", "site/1", "site/2"] and all(len(one.val) == 12 for one in made)


def test_a_suffix_is_that_of_the_listed_image_or_a_warning_says_so(tmp_path, caplog) -> None:
    names = ["a/1.jpg", "a/1.png", "b/2.jpg", "a/1.tif.png"]
    for listed, index in (("a/1.png", 1), ("a/1.jpg", 0), ("1.PNG", 1), ("a\\1.jpg", 0), ("1.tif.png", 3)):
        read = read_splits(written(tmp_path / "s.csv", f"sample,part\n{listed},train\n"), names)
        assert read.splits[0].train.tolist() == [index]
    assert not caplog.messages
    for listed in ("a/1", "1", "1.bmp", "a/1.bmp"):
        with pytest.raises(UsageError, match="several images; write more of its path, or its suffix"):
            read_splits(written(tmp_path / "s.csv", f"sample,part\n{listed},train\n"), names)
    read = read_splits(written(tmp_path / "s.csv", "sample,part\nb/2.png,train\n"), names)
    assert read.splits[0].train.tolist() == [2]
    assert "lists 1 images with another suffix" in caplog.text and "'b/2.png' is taken as 'b/2.jpg'" in caplog.text


def test_our_own_file_serves_converted_data_and_is_still_checked(tmp_path, caplog) -> None:
    made = Split("holdout", indices(0, 1), indices(2), indices(3))
    path = write_splits(tmp_path / "splits.json", [made], NAMES)
    for names in ([name.replace(".png", ".jpg") for name in NAMES], [f"deeper/{name}" for name in NAMES]):
        (read,) = read_splits(path, names).splits
        assert [read.part(part).tolist() for part in ("train", "val", "test")] == [[0, 1], [2], [3]]
    assert "4 images with another suffix" in caplog.text
    content = json.loads(path.read_text())
    content["splits"][0]["test"].append(content["splits"][0]["train"].pop())
    path.write_text(json.dumps(content))
    for names in (NAMES, NAMES[:3], [name.replace(".png", ".jpg") for name in NAMES]):
        with pytest.raises(NotVerifiedError, match="holdout"):
            read_splits(path, names)
    with pytest.raises(NotFoundError):
        read_splits(tmp_path / "none.json", NAMES)


# ---------------------------------------------------------------- audit of a split, by hand


def people(*patients: str | None) -> list[Sample]:
    """An image for each, benign and malignant in turn."""
    return [Sample(f"{i}.png", ("benign", "malignant")[i % 2], patient) for i, patient in enumerate(patients)]


def split(train: list[int], val: list[int], test: list[int]) -> Split:
    return Split("holdout", *(np.array(part, np.intp) for part in (train, val, test)))


def near(i: int, j: int, bits: int = 2) -> Pair:
    return Pair(i, j, bits, 0.95)


def audit(samples: list[Sample], pairs: list[Pair], one: Split) -> SplitAudit:
    return audit_splits(samples, pairs, [one]).splits[0]


def test_a_fair_split_and_a_cut_patient() -> None:
    result = audit(people("a", "a", "b", "c", None, None), [near(4, 5)], split([0, 1], [2, 3], [4, 5]))
    assert not result.leaky
    assert (result.touched, result.images, result.groups) == (0, 2, 0)
    assert result.counts == {part: {"benign": 1, "malignant": 1} for part in ("train", "val", "test")}
    assert result.verdict == "holdout: no patient and no group of near-duplicates is cut"
    result = audit(people("a", "b", "a", "c"), [], split([0, 1], [], [2, 3]))
    assert result.leaky
    assert result.patients == {"a": ("train", "test")}
    assert (result.touched, result.images) == (1, 2)
    assert "1 of 2 test images (50%)" in result.verdict
    result = audit(people("a", "a"), [], split([0], [1], []))
    assert (result.tested, result.touched, result.images) == ("val", 1, 1)


def test_cut_near_duplicates_are_named_closest_first_or_related_through_others() -> None:
    result = audit(people(*[None] * 6), [near(0, 4, 6), near(1, 3, 0), near(0, 1)], split([0, 1], [2, 3], [4, 5]))
    assert [(pair.files, pair.parts, pair.pair.how) for pair in result.pairs] == [
        (("1.png", "3.png"), ("train", "val"), "0 bits, fine structure equal to 95%"),
        (("0.png", "4.png"), ("train", "test"), "6 bits, fine structure equal to 95%"),
    ]
    assert result.touched == 1  # 4; 5 has no twin, and the pair between train and val touches no test image
    assert result.groups == 1  # 0, 1, 3 and 4 hang together
    result = audit(people(None, None, None, None), [near(0, 1), near(1, 2)], split([0, 3], [], [2]))
    assert result.leaky
    assert (result.groups, result.pairs, result.touched) == (1, (), 0)
    assert result.unlisted == ("1.png",)


def test_shares_of_classes_differ_strongly_or_by_chance() -> None:
    samples = [Sample(str(i), "benign" if i < 100 else "malignant") for i in range(200)]
    everything = list(range(200))
    result = audit(samples, [], split(everything[:90] + everything[100:150], [], everything[90:100] + everything[150:]))
    assert result.uneven == (
        "64% of train is benign, of all parts together 50%",
        "36% of train is malignant, of all parts together 50%",
        "17% of test is benign, of all parts together 50%",
        "83% of test is malignant, of all parts together 50%",
    )
    assert audit(samples, [], split(everything[::2], [], everything[1::2])).uneven == ()
    assert audit(people(*[None] * 6), [], split([0, 2, 4, 1], [], [3, 5])).uneven == ()


def test_the_verdict_of_a_file() -> None:
    fair, leaky = split([0], [], [2]), split([0], [], [1])
    result = audit_splits(people("a", "a", "b"), [], [fair, leaky], ["ghost.png"])
    assert isinstance(result, Audit)
    assert (result.leaky, result.unknown) == (True, ("ghost.png",))
    assert result.verdict == "LEAKY: 1 of 2 splits have related images on both sides"


def test_busi_by_image_and_by_group(busi_check) -> None:
    samples, pairs = [image.sample for image in busi_check.facts], busi_check.pairs
    labels = np.array([busi_check.dataset.classes.index(sample.label) for sample in samples])
    groups = group([None] * len(samples), pairs)
    by_group = audit_splits(samples, pairs, k_fold(labels, groups, folds=5, val=0.1, seed=0))
    assert not by_group.leaky
    assert all(not one.uneven and not one.unlisted for one in by_group.splits)
    by_image = audit_splits(samples, pairs, k_fold(labels, np.arange(len(samples)), folds=5, val=0.1, seed=0))
    assert all(one.leaky for one in by_image.splits)
    share = np.mean([one.touched / one.images for one in by_image.splits])
    assert share == pytest.approx(0.35, abs=0.15)
