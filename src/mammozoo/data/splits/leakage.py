"""Leakage: groups on both sides of a split, and images that were used in training or model selection before."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.duplicates.fingerprint import Fingerprints
from mammozoo.data.duplicates.matching import Pair, group, near_duplicates
from mammozoo.data.duplicates.seen import Seen
from mammozoo.data.loaded import Data
from mammozoo.data.splits.make import PARTS, Indices, Part, Split
from mammozoo.errors import UsageError


class LeakageError(UsageError):
    """One patient, or two pictures of one lesion, on both sides of a split."""


def check_groups(split: Split, groups: Indices, names: Sequence[str]) -> None:
    """Raise LeakageError if a group has samples in two parts; the message names the first such pair."""
    owner: dict[int, tuple[Part, int]] = {}
    for part in PARTS:
        for index in split.part(part):
            other, first = owner.setdefault(int(groups[index]), (part, int(index)))
            if other != part:
                related = (
                    f"'{names[first]}' ({other}) and '{names[index]}' ({part}) are of one patient or near-duplicates"
                )
                way_out = "Split by group, or set `allow_leakage: true` and have every output stamped."
                raise LeakageError(f"Leaky split '{split.name}': {related}. {way_out}")


def seen_before(data: Data, among: Indices, hashes: tuple[str, ...]) -> Indices:
    """The samples in `among` that are pictures with these hashes, at any size, contrast or quality.

    Args:
        data: the data set.
        among: indices of its samples.
        hashes: as `Seen` takes them.
    """
    if data.dataset.info.synthetic or not hashes:
        return np.empty(0, np.intp)
    prints = data.images.fingerprints
    return among[Seen(hashes).among(prints.whole[among], prints.fine[among])]


def joined_groups(first: Data, second: Data) -> tuple[Indices, Indices]:
    """(N,) and (M,) group numbers of the samples of two data sets, on one scale: related images share a number.

    Patients are compared within one data set only, at any root: the same id in another data set is another person. Generated
    images are related if they have the same name, and are never near-duplicates.
    """
    n = len(first.samples)
    units = [f"first {g}" for g in first.groups] + [f"second {g}" for g in second.groups]
    pairs: list[Pair] = []
    for identity in (_patient, _picture):
        pairs += _equal(*([identity(*one.dataset.source(sample)) for sample in one.samples] for one in (first, second)))
    if not (first.dataset.info.synthetic or second.dataset.info.synthetic):
        one, other = first.images.fingerprints, second.images.fingerprints
        both = {name: np.concatenate([array, getattr(other, name)]) for name, array in one.arrays().items()}
        pairs += near_duplicates(Fingerprints(**both))
    groups = group(units, pairs)
    return groups[:n], groups[n:]


def _patient(dataset: Dataset, sample: Sample) -> tuple[str, str] | None:
    """Who a sample shows, in whatever copy of its data set; None if unknown."""
    return None if sample.patient is None else (dataset.info.name, sample.patient)


def _picture(dataset: Dataset, sample: Sample) -> tuple[str, Path | None, str]:
    """Which image a sample is."""
    return dataset.info.name, dataset.root, sample.image


def _equal(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[Pair]:
    """A pair for each value of `second` that is in `first`, except None; positions of `second` follow those of `first`."""
    places = {value: place for place, value in reversed(list(enumerate(first))) if value is not None}
    known = [(places[value], len(first) + place) for place, value in enumerate(second) if value in places]
    return [Pair(i, j) for i, j in known]
