"""Same patient or near-duplicate: one group."""

from __future__ import annotations

from mammozoo.data.duplicates.matching import Pair, group


def near(*pairs: tuple[int, int]) -> list[Pair]:
    return [Pair(i, j, 0, 1.0, "whole") for i, j in pairs]


def test_one_patient_is_one_group() -> None:
    assert group(["a", "b", None, "a", None, "b"]).tolist() == [0, 1, 2, 0, 3, 1]
    assert group([None, None]).tolist() == [0, 1], "two unknown patients are not one patient"


def test_near_duplicates_are_one_group() -> None:
    assert group([None] * 5, near((1, 4))).tolist() == [0, 1, 2, 3, 1]


def test_groups_are_transitive() -> None:
    """0 and 1 are near, 1 and 2 are near, 0 and 2 are not; 2 and 4 share a patient; 3 stands alone."""
    assert group([None, None, "p", None, "p"], near((0, 1), (1, 2))).tolist() == [0, 0, 0, 1, 0]


def test_nothing_to_group() -> None:
    assert group([]).tolist() == []
