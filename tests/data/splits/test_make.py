"""Splits: through no group, in equal shares, the same every time."""

import hashlib
from typing import Any

import numpy as np
import pytest

from mammozoo.data.splits.leakage import LeakageError, check_groups
from mammozoo.data.splits.make import PARTS, Indices, Split, divide, holdout, k_fold, nested, official, with_validation
from mammozoo.errors import UsageError


def data(n: int = 300, seed: int = 0) -> tuple[Indices, Indices]:
    """Labels (a third positive) and groups of one to four samples, shuffled."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n), rng.integers(1, 5, n))[:n]
    labels = (rng.random(n) < 1 / 3).astype(np.intp)[groups]
    order = rng.permutation(n)
    return labels[order], groups[order].astype(np.intp)


def every(labels: Indices, groups: Indices) -> list[Split]:
    return [
        *holdout(labels, groups, val=0.15, test=0.2, seed=0),
        *k_fold(labels, groups, folds=5, val=0.15, seed=0),
        *nested(labels, groups, folds=5, inner=5, seed=0),
    ]


def test_parts_share_no_group_cover_everything_and_are_stratified() -> None:
    labels, groups = data()
    for split in every(labels, groups):
        parts = [set(groups[split.part(part)].tolist()) for part in PARTS]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
        assert sorted(np.concatenate([split.part(part) for part in PARTS]).tolist()) == list(range(len(labels)))
        check_groups(split, groups, [str(i) for i in range(len(labels))])
    for split in every(labels, groups):
        for part, share in zip(PARTS, (0.65, 0.16, 0.2), strict=True):
            assert len(split.part(part)) / len(labels) == pytest.approx(share, abs=0.04)
            assert labels[split.part(part)].mean() == pytest.approx(labels.mean(), abs=0.06)


def test_folds_test_every_sample_once_and_a_split_with_validation_is_left_alone() -> None:
    labels, groups = data()
    made = k_fold(labels, groups, folds=5, val=0.15, seed=0)
    assert [split.name for split in made] == [f"fold-{k}" for k in range(5)]
    assert sorted(np.concatenate([split.test for split in made]).tolist()) == list(range(len(labels)))
    labels, groups = data(90)
    (split,) = holdout(labels, groups, val=0.2, test=0.2, seed=0)
    assert with_validation([split], labels, groups, val=0.4, seed=9) == [split]


def test_leakage_names_the_pair_and_digest_is_of_the_sorted_list() -> None:
    names = ["a.png", "b.png", "c.png", "d.png"]
    split = Split("holdout", np.array([0, 1]), np.array([2]), np.array([3]))
    check_groups(split, np.array([0, 0, 1, 2]), names)
    with pytest.raises(LeakageError) as caught:
        check_groups(split, np.array([0, 1, 2, 1]), names)
    for word in ("'b.png' (train)", "'d.png' (test)", "'holdout'", "allow_leakage"):
        assert word in str(caught.value)
    with pytest.raises(LeakageError, match=r"'c\.png' \(val\).*'d\.png' \(test\)"):
        check_groups(split, np.array([0, 1, 2, 2]), names)
    names = ["b", "a", "c"]
    split = Split("x", np.array([0, 1]), np.array([2]), np.array([], np.intp))
    assert split.digest(names) == hashlib.sha256(b"a\ttrain\nb\ttrain\nc\tval").hexdigest()
    again = Split("another name", np.array([1, 0]), np.array([2]), np.array([], np.intp))
    assert again.digest(names) == split.digest(names)
    moved = Split("x", np.array([0]), np.array([2, 1]), np.array([], np.intp))
    assert moved.digest(names) != split.digest(names)


def test_few_groups_go_round_or_are_refused() -> None:
    labels, groups = np.array([0] * 8 + [1] * 8), np.arange(16)
    for seed in range(10):
        for split in k_fold(labels, groups, folds=3, val=0.25, seed=seed):
            for part in PARTS:
                assert set(labels[split.part(part)].tolist()) == {0, 1}
    labels = np.array([0] * 40 + [1] * 20)
    groups = np.concatenate([np.arange(40), 40 + np.arange(20) % 3])
    with pytest.raises(UsageError, match=r"Class number 1 has 3 independent groups.*5 parts need at least 5"):
        k_fold(labels, groups, folds=5, val=0.15, seed=0)
    with pytest.raises(UsageError, match="has 3 independent groups"):
        holdout(labels, groups, val=0.15, test=0.2, seed=0)
    k_fold(labels[:40] * 0 + np.arange(40) % 2, groups[:40], folds=5, val=0.15, seed=0)


def test_another_seed_gives_other_parts() -> None:
    """Of folds and of a holdout whose shares need no moves, so that nothing but the first choice is random."""
    labels, groups = np.arange(200) % 2, np.arange(200)
    for make in (
        lambda seed: k_fold(labels, groups, folds=5, val=0.2, seed=seed)[0],
        lambda seed: holdout(labels, groups, val=0.2, test=0.2, seed=seed)[0],
    ):
        tested = [make(seed).test.tolist() for seed in (0, 0, 1)]
        assert tested[0] == tested[1] != tested[2]


@pytest.mark.parametrize(
    ("val", "test"),
    [(0.15, 0.2), (0.1, 0.2), (0.2, 0.4), (0.15, 0.3), (0.15, 0.22), (0.4, 0.4), (0.1, 0.75), (0.7, 0.1)],
)
def test_shares_are_what_was_asked_to_the_nearest_group(val: float, test: float) -> None:
    n = 301
    labels, groups = data(n)
    alone = np.arange(n)  # every sample a group

    def check(part: Indices, share: float) -> None:
        assert abs(len(part) - share * n) <= 0.5, "there are groups of one, so the nearest number can be had"
        assert np.bincount(labels[part]) == pytest.approx(share * np.bincount(labels), abs=4), "the largest group has 4"

    for by in (groups, alone):
        (split,) = holdout(labels, by, val=val, test=test, seed=3)
        check(split.test, test)
        check(split.val, val)
        assert not np.intersect1d(by[split.test], by[split.val]).size
        assert sorted(np.concatenate([split.train, split.val, split.test])) == list(range(n))
    for split in k_fold(labels, groups, folds=5, val=val, seed=0) if val + 0.2 < 0.9 else ():
        check(split.val, val)
    parts = ["test" if group % 5 == 0 else "train" for group in groups]
    check(official(parts, labels, groups, val=0.23, seed=0)[0].val, 0.23)
    check(divide(np.arange(n), labels, groups, val, n, 0, "the part")[1], val)


def test_large_groups_move_as_often_as_small_ones() -> None:
    """The groups that bring a fold of a fifth to 22 % are not chosen by size."""
    sizes = np.repeat([1, 4], 300)
    groups = np.repeat(np.arange(600), sizes)
    labels = (groups % 3 == 0).astype(np.intp)
    (split,) = holdout(labels, groups, val=0.1, test=0.27, seed=0)
    assert len(split.test) == 405
    assert np.mean(sizes[np.unique(groups[split.test])] == 1) == pytest.approx(0.5, abs=0.1)


def test_a_share_that_groups_make_impossible_is_reported(caplog: Any) -> None:
    labels = np.arange(60) % 2
    groups = np.where(np.arange(60) < 40, np.arange(60) // 10, np.arange(60))  # four of ten, twenty of one
    _, taken = divide(np.arange(60), labels, groups, 0.5, 60, 0, "the part")
    assert len(taken) == 30 and not caplog.messages
    groups = np.arange(60) // 5
    (split,) = holdout(labels, groups, val=0.2, test=0.2, seed=0)
    assert [len(split.part(part)) for part in PARTS] in ([35, 10, 15], [40, 10, 10], [30, 15, 15], [35, 15, 10])
    assert "Of 60 images, the test part has 1" in caplog.text and "not 20.0%" in caplog.text
    assert "the validation part has 1" in caplog.text
    caplog.clear()
    holdout(np.arange(23) % 2, np.arange(23), val=0.2, test=0.2, seed=0)
    assert not caplog.messages, "nobody can have 4.6 images"


def test_a_part_too_small_to_choose_or_report_on_is_refused() -> None:
    labels, alone = np.arange(40) % 2, np.arange(40)
    holdout(labels, alone, val=0.1, test=0.1, seed=0)
    with pytest.raises(
        UsageError, match=r"Class number \d has 1 independent groups of images in the test part; at least 2"
    ):
        holdout(labels, alone, val=0.1, test=0.05, seed=0)
    labels = (np.arange(40) < 30).astype(np.intp)
    groups = np.where(labels == 1, alone, 30 + alone // 2 % 5)  # ten images of the other class in five groups
    for seed in range(20):
        try:
            (split,) = holdout(labels, groups, val=0.2, test=0.2, seed=seed)
        except UsageError as error:
            assert "independent groups of images in" in str(error)
            continue
        for part, least in zip(PARTS, (1, 1, 2), strict=True):
            index = split.part(part)
            assert min(len(np.unique(groups[index][labels[index] == label])) for label in (0, 1)) >= least


@pytest.mark.parametrize(("val", "test"), [(0.8, 0.2), (0.5, 0.6)])
def test_nothing_left_to_train_on(val: float, test: float) -> None:
    labels, groups = data()
    with pytest.raises(UsageError, match="leave images for training"):
        holdout(labels, groups, val=val, test=test, seed=0)


def test_nested_and_official_folds() -> None:
    labels, groups = data()
    made = nested(labels, groups, folds=3, inner=2, seed=0)
    assert [split.name for split in made] == [f"fold-{k}/inner-{i}" for k in range(3) for i in range(2)]
    assert [split.outer for split in made] == ["fold-0", "fold-0", "fold-1", "fold-1", "fold-2", "fold-2"]
    for first, second in zip(made[::2], made[1::2], strict=True):
        assert first.test.tolist() == second.test.tolist()
        assert sorted([*first.val, *second.val]) == sorted([*first.train, *first.val]), "all the rest"
    assert sorted(np.concatenate([split.test for split in made[::2]]).tolist()) == list(range(len(labels)))
    labels, groups = data(120)
    made = official([str(int(group) % 3 + 1) for group in groups], labels, groups, val=0.2, seed=0)
    assert [split.name for split in made] == ["fold-1", "fold-2", "fold-3"]
    for split in made:
        check_groups(split, groups, [str(i) for i in range(len(labels))])
        assert set(groups[split.test] % 3 + 1) == {int(split.name[-1])}
        assert len(split.val) / len(labels) == pytest.approx(0.2, abs=0.05)


def test_official_parts_are_taken_as_they_are_or_are_not_there() -> None:
    labels, groups = data(120)
    parts = ["test" if group < 20 else "val" if group < 40 else "train" for group in groups]
    (split,) = official(parts, labels, groups, val=0.15, seed=0)
    assert split.name == "official"
    for part in PARTS:
        assert split.part(part).tolist() == [i for i, name in enumerate(parts) if name == part]
    labels, groups = data(30)
    with pytest.raises(UsageError, match="no official split"):
        official(["train"] * 29 + [None], labels, groups, val=0.2, seed=0)
    with pytest.raises(UsageError, match="needs a train and a test part"):
        official(["train"] * 30, labels, groups, val=0.2, seed=0)
