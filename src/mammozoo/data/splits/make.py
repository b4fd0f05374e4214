"""Splits by group and stratified by class."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold

from mammozoo.data.dataset import Sample
from mammozoo.errors import UsageError

Indices = npt.NDArray[np.intp]
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
_SPELLINGS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


@dataclass(frozen=True)
class Split:
    """One division of the samples, as indices into their order. Parts are disjoint; a sample may be in no part.

    An inner split of nested cross-validation is named `fold-0/inner-1`: all inner splits of an outer fold share a test part.
    """

    name: str
    train: Indices
    val: Indices
    test: Indices

    @property
    def outer(self) -> str:
        """The name of the outer fold; equal to `name` without nesting."""
        return self.name.partition("/")[0]

    def part(self, name: Part) -> Indices:
        """The indices of one part."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of the sorted (sample, part) list: two runs with one digest were tested on the same images."""
        rows = sorted(f"{names[i]}\t{part}" for part in PARTS for i in self.part(part))
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def holdout(labels: Indices, groups: Indices, *, val: float, test: float, seed: int) -> list[Split]:
    """One split with about the given shares of groups in validation and test."""
    rest, test_part = _divide(np.arange(len(labels)), labels, groups, test, seed)
    train, val_part = _divide(rest, labels, groups, val / (1 - test), seed + 1)
    return [Split("holdout", train, val_part, test_part)]


def k_fold(labels: Indices, groups: Indices, *, folds: int, val: float, seed: int) -> list[Split]:
    """`folds` splits in which every sample is tested once; a share `val` of all samples is taken from train for validation."""
    splits = []
    for number, (rest, test) in enumerate(_folds(np.arange(len(labels)), labels, groups, folds, seed)):
        train, val_part = _divide(rest, labels, groups, val * len(labels) / len(rest), seed + 1 + number)
        splits.append(Split(f"fold-{number}", train, val_part, test))
    return splits


def nested(labels: Indices, groups: Indices, *, folds: int, inner: int, seed: int) -> list[Split]:
    """Nested cross-validation: `folds` outer test parts; for each, `inner` splits of the rest into train and val.

    Inner validation parts select, outer test parts report (Varma & Simon 2006).
    """
    return [
        Split(f"fold-{number}/inner-{k}", train, val, test)
        for number, (rest, test) in enumerate(_folds(np.arange(len(labels)), labels, groups, folds, seed))
        for k, (train, val) in enumerate(_folds(rest, labels, groups, inner, seed + 1 + number))
    ]


def official_part(sample: Sample) -> str | None:
    """The sample's part in the data set's own split: `train`, `val` or `test`, or the name of its fold; None if unknown."""
    for key in ("part", "fold"):
        text = str(sample.meta.get(key, "")).strip().lower()
        if text:
            return _SPELLINGS.get(text, text)
    return None


def official(parts: Sequence[str | None], labels: Indices, groups: Indices, *, val: float, seed: int) -> list[Split]:
    """The data set's own split: for each sample its part (`train`, `val`, `test`) or the name of its fold.

    With folds, each is tested once. Without a validation part, a share `val` of all samples is taken from train, by group.

    Raises:
        UsageError: a sample has neither, or there is no test part.
    """
    if None in parts or not parts:
        raise UsageError("The data set has no official split: not every sample states a part or a fold.")
    owner = np.array(parts, str)
    splits = [Split("official", *(np.flatnonzero(owner == part) for part in PARTS))]
    if not {*owner} <= {*PARTS}:
        splits = [
            Split(f"fold-{fold}", np.flatnonzero(owner != fold), np.empty(0, np.intp), np.flatnonzero(owner == fold))
            for fold in sorted({*owner}, key=lambda text: (len(text), text))
        ]
    return with_validation(splits, labels, groups, val=val, seed=seed)


def with_validation(splits: Sequence[Split], labels: Indices, groups: Indices, *, val: float, seed: int) -> list[Split]:
    """The splits, each with a validation part; if it is empty, a share `val` of the split is taken from train, by group.

    Raises:
        UsageError: an empty train or test part, or too few groups to take validation from.
    """
    complete = []
    for number, split in enumerate(splits):
        if not len(split.train) or not len(split.test):
            found = f"it has {len(split.train)} and {len(split.test)} samples"
            raise UsageError(f"Split '{split.name}' needs a train and a test part; {found}.")
        if not len(split.val):
            listed = len(split.train) + len(split.test)
            train, taken = _divide(split.train, labels, groups, val * listed / len(split.train), seed + 1 + number)
            split = Split(split.name, train, taken, split.test)
        complete.append(split)
    return complete


def _folds(
    among: Indices, labels: Indices, groups: Indices, folds: int, seed: int
) -> Iterator[tuple[Indices, Indices]]:
    """(rest, fold) of `among` for each fold, by group and stratified."""
    for label in np.unique(labels[among]):
        count = len(np.unique(groups[among][labels[among] == label]))
        if count < folds:
            raise UsageError(
                f"Class number {label} has {count} independent groups of images; {folds} parts need at least {folds}. "
                "Use fewer folds or larger parts, or add data."
            )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for rest, fold in splitter.split(among, labels[among], groups[among]):
        yield among[rest], among[fold]


def _divide(among: Indices, labels: Indices, groups: Indices, share: float, seed: int) -> tuple[Indices, Indices]:
    """Split `among` into (rest, about `share` of it), by group and stratified."""
    if not 0 < share < 1:
        raise UsageError(f"The shares of validation and test must leave something to train on; got {share:.2f}.")
    folds = max(2, round(1 / min(share, 1 - share)))
    large, small = next(_folds(among, labels, groups, folds, seed))
    return (small, large) if share > 0.5 else (large, small)
