"""Splits that cut through no group, with the classes in equal shares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from mammozoo.errors import UsageError

Indices = npt.NDArray[np.intp]
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


class LeakageError(UsageError):
    """One patient, or two pictures of one lesion, on both sides of a split."""


@dataclass(frozen=True)
class Split:
    """One division of the samples, as indices into their order. Parts are disjoint; not all samples need a part."""

    name: str
    train: Indices
    val: Indices
    test: Indices

    def part(self, name: Part) -> Indices:
        """The indices of one part."""
        indices: Indices = getattr(self, name)
        return indices

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of the sorted (sample, part) list: two runs with one digest were tested on the same images."""
        rows = sorted(f"{names[i]}\t{part}" for part in PARTS for i in self.part(part))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def holdout(labels: Indices, groups: Indices, *, val: float, test: float, seed: int) -> list[Split]:
    """One split with about the given shares of groups in validation and test."""
    everything = np.arange(len(labels))
    rest, test_part = _cut(everything, labels, groups, test, seed)
    train, val_part = _cut(rest, labels, groups, val / (1 - test), seed + 1)
    return [Split("holdout", train, val_part, test_part)]


def k_fold(labels: Indices, groups: Indices, *, folds: int, val: float, seed: int) -> list[Split]:
    """`folds` splits in which every sample is tested once; validation is a share `val` of all, cut from the training side."""
    _check_enough(labels, groups, folds)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    splits = []
    for number, (rest, test) in enumerate(splitter.split(labels, labels, groups)):
        train, val_part = _cut(rest, labels, groups, val * len(labels) / len(rest), seed + 1 + number)
        splits.append(Split(f"fold-{number}", train, val_part, np.sort(test)))
    return splits


def check(split: Split, groups: Indices, names: Sequence[str]) -> None:
    """Raise LeakageError if a group has samples in two parts; the message names the first such pair."""
    owner: dict[int, tuple[Part, int]] = {}
    for part in PARTS:
        for index in split.part(part):
            other, first = owner.setdefault(int(groups[index]), (part, int(index)))
            if other != part:
                raise LeakageError(
                    f"Leaky split '{split.name}': '{names[first]}' ({other}) and '{names[index]}' ({part}) are of one "
                    "patient or near-duplicates. Split by group, or set `allow_leakage: true` and have every output "
                    "stamped."
                )


def _cut(among: Indices, labels: Indices, groups: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split `among` into (rest, about `share` of it), by group and stratified."""
    if not 0 < share < 1:
        raise UsageError(f"The shares of validation and test must leave something to train on; got {share:.2f}.")
    folds = max(2, round(1 / share)) if share <= 0.5 else max(2, round(1 / (1 - share)))
    _check_enough(labels[among], groups[among], folds)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    large, small = next(splitter.split(among, labels[among], groups[among]))
    if share > 0.5:
        large, small = small, large
    return np.sort(among[large]), np.sort(among[small])


def _check_enough(labels: Indices, groups: Indices, folds: int) -> None:
    for label in np.unique(labels):
        count = len(np.unique(groups[labels == label]))
        if count < folds:
            raise UsageError(
                f"Class number {label} has {count} independent groups of images; {folds} parts need at least {folds}. "
                "Use fewer folds or larger parts, or add data."
            )
