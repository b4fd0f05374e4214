"""Audit of a split by hand: related images in different parts, test images touched, class shares, images left out."""

from __future__ import annotations

import numpy as np
import pytest

from mammozoo.data.dataset import Sample
from mammozoo.data.duplicates.matching import Pair, group
from mammozoo.data.quality.check import Check
from mammozoo.data.splits.audit import Audit, SplitAudit, audit_splits
from mammozoo.data.splits.make import Split, k_fold


def people(*patients: str | None) -> list[Sample]:
    """An image for each, benign and malignant in turn."""
    return [Sample(f"{i}.png", ("benign", "malignant")[i % 2], patient) for i, patient in enumerate(patients)]


def split(train: list[int], val: list[int], test: list[int]) -> Split:
    return Split("holdout", *(np.array(part, np.intp) for part in (train, val, test)))


def near(i: int, j: int, bits: int = 2) -> Pair:
    return Pair(i, j, bits, 0.95, "whole")


def audit(samples: list[Sample], pairs: list[Pair], one: Split) -> SplitAudit:
    return audit_splits(samples, pairs, [one]).splits[0]


def test_a_fair_split() -> None:
    result = audit(people("a", "a", "b", "c", None, None), [near(4, 5)], split([0, 1], [2, 3], [4, 5]))
    assert not result.leaky
    assert (result.touched, result.images, result.groups) == (0, 2, 0)
    assert result.counts == {part: {"benign": 1, "malignant": 1} for part in ("train", "val", "test")}
    assert result.verdict == "holdout: no patient and no group of near-duplicates is cut"


def test_a_cut_patient() -> None:
    result = audit(people("a", "b", "a", "c"), [], split([0, 1], [], [2, 3]))
    assert result.leaky
    assert result.patients == {"a": ("train", "test")}
    assert (result.touched, result.images) == (1, 2)
    assert "1 of 2 test images (50%)" in result.verdict


def test_cut_near_duplicates_are_named_closest_first() -> None:
    result = audit(people(*[None] * 6), [near(0, 4, 6), near(1, 3, 0), near(0, 1)], split([0, 1], [2, 3], [4, 5]))
    assert [(pair.files, pair.parts, pair.pair.how) for pair in result.pairs] == [
        (("1.png", "3.png"), ("train", "val"), "0 bits, correlation 0.95"),
        (("0.png", "4.png"), ("train", "test"), "6 bits, correlation 0.95"),
    ]
    assert result.touched == 1  # 4; 5 has no twin, and the pair between train and val touches no test image
    assert result.groups == 1  # 0, 1, 3 and 4 hang together


def test_relatives_through_an_image_that_no_part_lists() -> None:
    """0 resembles 1 and 1 resembles 2: one scan, though 0 and 2 themselves are not alike and 1 is left out."""
    result = audit(people(None, None, None, None), [near(0, 1), near(1, 2)], split([0, 3], [], [2]))
    assert result.leaky
    assert (result.groups, result.pairs, result.touched) == (1, (), 0)
    assert result.unlisted == ("1.png",)


def test_without_a_test_part_validation_is_what_is_scored() -> None:
    result = audit(people("a", "a"), [], split([0], [1], []))
    assert (result.tested, result.touched, result.images) == ("val", 1, 1)


def test_strongly_different_class_shares() -> None:
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


def test_few_images_differ_by_chance() -> None:
    assert audit(people(*[None] * 6), [], split([0, 2, 4, 1], [], [3, 5])).uneven == ()


def test_the_verdict_of_a_file() -> None:
    fair, leaky = split([0], [], [2]), split([0], [], [1])
    result = audit_splits(people("a", "a", "b"), [], [fair, leaky], ["ghost.png"])
    assert isinstance(result, Audit)
    assert (result.leaky, result.unknown) == (True, ("ghost.png",))
    assert result.verdict == "LEAKY: 1 of 2 splits have related images on both sides"


def test_busi_by_image_and_by_group(busi_check: Check) -> None:
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
