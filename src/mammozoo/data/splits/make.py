"""Splits by group and stratified by class."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Sample
from mammozoo.errors import UsageError
from mammozoo.text import encode

log = logging.getLogger(__name__)
Indices = npt.NDArray[np.intp]
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
EACH = "*"  #: in place of a value that is left out: each in turn
_SPELLINGS = {"training": "train", "valid": "val", "validation": "val", "testing": "test", "dev": "val"}
_FOLD = re.compile(r"fold[ ._-]?\d+")


@dataclass(frozen=True)
class Split:
    """One division of the samples, as indices into their order. Parts are disjoint; a sample may be in no part.

    An inner split of nested cross-validation is named `fold-0/inner-1`: all inner splits of an outer fold share a test part. A
    split that has such a name and a test part of its own is `alone`.
    """

    name: str
    train: Indices
    val: Indices
    test: Indices
    alone: bool = field(default=False, kw_only=True)

    @property
    def outer(self) -> str:
        """The name of the outer fold; equal to `name` without nesting."""
        return self.name if self.alone else self.name.partition("/")[0]

    def part(self, name: Part) -> Indices:
        """The indices of one part."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def digest(self, names: Sequence[str]) -> str:
        """SHA-256 of the sorted (sample, part) list: two runs with one digest were tested on the same images."""
        return digest({part: [names[i] for i in self.part(part)] for part in PARTS})


class TooFewGroupsError(UsageError):
    """A class has too few groups for the parts asked for; `named` is the error with the class's name."""

    def __init__(self, label: int, text: str):
        super().__init__(f"Class number {label} {text}")
        self.label, self.text = label, text

    def named(self, classes: Sequence[str]) -> UsageError:
        """The error to report, for a data set with these classes."""
        return UsageError(f"The class '{classes[self.label]}' {self.text}")


def digest(images: Mapping[str, Iterable[str]]) -> str:
    """SHA-256 of the sorted (sample, part) list of part → names of its samples."""
    rows = sorted(f"{name}\t{part}" for part, names in images.items() for name in names)
    return hashlib.sha256(encode("\n".join(rows))).hexdigest()


def holdout(labels: Indices, groups: Indices, *, val: float, test: float, seed: int) -> list[Split]:
    """One split with the given shares of samples in validation and test, to the nearest group.

    Raises:
        UsageError: as `divide`; or the shares leave nothing to train on.
    """
    if val + test >= 1:
        raise UsageError(f"The shares of validation and test must leave images for training; got {val + test:.2f}.")
    n = len(labels)
    rest, test_part = divide(np.arange(n), labels, groups, test, n, seed, "the test part", fewest=2)
    train, val_part = divide(rest, labels, groups, val, n, seed + 1, "the validation part")
    return [Split("holdout", train, val_part, test_part)]


def k_fold(labels: Indices, groups: Indices, *, folds: int, val: float, seed: int) -> list[Split]:
    """`folds` splits in which every sample is tested once; a share `val` of all samples is taken from train for validation."""
    splits = []
    for number, (rest, test) in enumerate(_folds(np.arange(len(labels)), labels, groups, folds, seed)):
        part = f"the validation part of fold-{number}"
        train, val_part = divide(rest, labels, groups, val, len(labels), seed + 1 + number, part)
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


def part_named(name: str) -> str | None:
    """The part (`train`, `val`, `test`) or fold that a folder's name states; None for another name."""
    word = re.sub(r"[ ._-]?(set|data|images)$", "", name.strip().lower())
    part = _SPELLINGS.get(word, word)
    return part if part in PARTS or _FOLD.fullmatch(part) else None


def official(parts: Sequence[str | None], labels: Indices, groups: Indices, *, val: float, seed: int) -> list[Split]:
    """The data set's own split: for each sample its part (`train`, `val`, `test`) or the name of its fold.

    With folds, each is tested once. Without a validation part, a share `val` of all samples is taken from train, by group.

    Raises:
        UsageError: a sample has neither, or there is no test part.
    """
    if None in parts or not parts:
        lacking = f"{parts.count(None)} of {len(parts)} samples state no part or fold"
        raise UsageError(f"The data set has no official split: {lacking}. Leave split.official out.")
    if 0 < len({*parts} & {*PARTS}) < len({*parts}):
        raise UsageError("The data set has no single official split: some samples state a part, and others a fold.")
    owner = np.array(parts, str)
    splits = [Split("official", *(np.flatnonzero(owner == part) for part in PARTS))]
    if not {*owner} <= {*PARTS}:
        splits = [
            Split(f"fold-{fold}", np.flatnonzero(owner != fold), np.empty(0, np.intp), np.flatnonzero(owner == fold))
            for fold in sorted({*owner}, key=lambda text: (len(text), text))
        ]
    return with_validation(splits, labels, groups, val=val, seed=seed)


def leave_out(
    values: Sequence[str], wanted: str, labels: Indices, groups: Indices, *, val: float, seed: int
) -> list[Split]:
    """Test on the samples with one value of a column, train on the rest; for `wanted` `*` on each value in turn.

    Of the rest, samples of a group with a test sample are in no part, and a share `val` of the others is for validation. In turn,
    a value that has not every class is never tested; nor are samples without a value, an empty text.

    Raises:
        UsageError: no sample has the value, the test part or the rest lacks a class, or fewer than two values have all.
    """
    owner, every = np.array(values, str), np.unique(labels)
    if wanted == EACH:
        told = [value for value in sorted({*values} - {""}) if len(np.unique(labels[owner == value])) < len(every)]
        chosen = [value for value in sorted({*values} - {""}) if value not in told]
        if told:
            log.warning("Never left out, because they lack a class: %s.", ", ".join(told))
        if len(chosen) < 2:
            lack = f"To leave out each value in turn takes two that have every class; {len(chosen)} have"
            raise UsageError(f"{lack}. Choose `classes` that they share.")
    else:
        chosen = [wanted]
    splits: list[Split] = []
    for number, value in enumerate(chosen):
        test = np.flatnonzero(owner == value)
        rest = np.flatnonzero(~np.isin(groups, groups[test]))
        if related := len(values) - len(test) - len(rest):
            log.warning("%d images share a group with images of '%s', so they are in no part.", related, value)
        for part, name in ((test, f"the test part, which is '{value}'"), (rest, f"what is not of '{value}'")):
            if missing := set(every.tolist()) - set(labels[part].tolist()):
                raise TooFewGroupsError(min(missing), f"has no image in {name}. Choose `classes` that both sides have.")
        name = f"without-{re.sub(r'[^a-zA-Z0-9.]+', '-', value)[:60].strip('-.') or 'value'}"
        while name.lower() in {split.name.lower() for split in splits}:
            name += f"-{number}"
        train, held = divide(rest, labels, groups, val, len(rest), seed + 1 + number, f"the validation part of {name}")
        splits.append(Split(name, train, held, test))
    return splits


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
            part = f"the validation part of {split.name}"
            train, taken = divide(split.train, labels, groups, val, listed, seed + 1 + number, part)
            split = replace(split, train=train, val=taken)
        complete.append(split)
    return complete


def _folds(
    among: Indices, labels: Indices, groups: Indices, folds: int, seed: int
) -> Iterator[tuple[Indices, Indices]]:
    """(rest, fold) of `among` for each fold, by group and stratified."""
    for label in np.unique(labels[among]):
        count = len(np.unique(groups[among][labels[among] == label]))
        if count < folds:
            raise TooFewGroupsError(
                int(label),
                f"has {count} independent groups of images; {folds} parts need at least {folds}. "
                "A patient, or near-duplicates, are one group. Use fewer folds (--folds) or larger parts, "
                "add data, or make one class of several: --set classes='[x, \"y=b|c\"]'.",
            )
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second, and only few commands split

    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for rest, fold in splitter.split(among, labels[among], groups[among]):
        yield among[rest], among[fold]


def divide(
    among: Indices, labels: Indices, groups: Indices, share: float, of: int, seed: int, part: str, *, fewest: int = 1
) -> tuple[Indices, Indices]:
    """(the rest, a part) of the samples `among`: the part has `share` of `of` samples, to the nearest group, and is stratified.

    "Nearest": no one group, moved into the part or out of it, brings its size closer. A warning says what was got where that is
    more than 1 % of the samples, and more than half a sample, from what was asked.

    Raises:
        UsageError: nothing is left for the rest, or a class is in fewer than `fewest` groups of the part, or not in the rest.
    """
    wanted = share * of
    fraction = wanted / len(among)
    if not 0 < fraction < 1:
        raise UsageError(f"The shares of validation and test must leave images for training; got {fraction:.2f}.")
    _, index = np.unique(groups[among], return_inverse=True)
    table = np.zeros((index.max() + 1, labels[among].max() + 1))
    np.add.at(table, (index, labels[among]), 1)
    large, small = next(_folds(among, labels, groups, max(2, round(1 / min(fraction, 1 - fraction))), seed))
    inside = np.zeros(len(table), bool)
    inside[index[np.isin(among, large if fraction > 0.5 else small)]] = True
    _approach(inside, table, fraction, seed)
    rest, taken = among[~inside[index]], among[inside[index]]
    for label in np.flatnonzero(table.sum(axis=0)):
        for name, count, least in ((part, inside, fewest), ("what is left to train on", ~inside, 1)):
            if (got := int((table[count, label] > 0).sum())) < least:
                raise TooFewGroupsError(
                    int(label),
                    f"has {got} independent groups of images in {name}; at least {least} are needed. "
                    "A patient, or near-duplicates, are one group. Ask for other shares or another split.seed, or add data.",
                )
    if abs(len(taken) - wanted) > max(0.5, 0.01 * of):
        shares = f"{len(taken) / of:.1%} of the images, not {share:.1%}"
        log.warning("Of %d images, %s has %d: %s. Groups of images are not divided.", of, part, len(taken), shares)
    return rest, taken


def _approach(inside: npt.NDArray[np.bool_], table: npt.NDArray[np.float64], fraction: float, seed: int) -> None:
    """Move groups in or out, until none brings the part nearer to its `fraction` of samples; at first with the classes' shares.

    Groups are taken in random order, so that large ones are not preferred. A part that is near enough stays as it is.

    Args:
        inside: (G,) whether each group is in the part; changed in place.
        table: (G, K) samples of each class in each group.
    """
    off = table[inside].sum(axis=0) - fraction * table.sum(axis=0)
    if (abs(off.sum() + np.where(inside, -1, 1) * table.sum(axis=1)) > abs(off.sum()) - 1e-6).all():
        return
    order = np.random.default_rng(seed).permutation(len(table))
    for cost in (_by_class, _by_size):
        moved = True
        while moved:
            moved = False
            for number in order:
                after = off - table[number] if inside[number] else off + table[number]
                if cost(after) < cost(off):
                    off, moved, inside[number] = after, True, not inside[number]


def _by_class(off: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """What is to be small: how far all classes are off, (K,) in samples, and the part as a whole."""
    return (round(float(abs(off).sum() + abs(off.sum())), 6),)


def _by_size(off: npt.NDArray[np.float64]) -> tuple[float, ...]:
    """How far the part is off, then how far its classes are."""
    return round(float(abs(off.sum())), 6), round(float(abs(off).sum()), 6)
