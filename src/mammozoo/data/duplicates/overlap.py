"""Which images of one data set belong with images of another: the same image, one patient, or near-duplicates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from mammozoo.data.duplicates.fingerprint import Fingerprints
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.duplicates.matching import Pair, near_duplicates
from mammozoo.data.loaded import Data

Indices = npt.NDArray[np.intp]


def joined_groups(first: Data, second: Data) -> tuple[Indices, Indices]:
    """(N,) and (M,) group numbers of the samples of two data sets, on one scale: who shares one belongs together.

    Patients are compared within one data set only, at whatever roots: the ids of another mean other people. Generated images are
    the same where their names are, and never near-duplicates.
    """
    n = len(first.samples)
    own = [f"first {g}" for g in first.groups] + [f"second {g}" for g in second.groups]
    pairs: list[Pair] = []
    if first.dataset.info.name == second.dataset.info.name:
        pairs += _same([s.patient for s in first.samples], [s.patient for s in second.samples])
        if first.dataset.root == second.dataset.root:
            pairs += _same(first.names, second.names)
    if not (first.dataset.info.synthetic or second.dataset.info.synthetic):
        pairs += near_duplicates(_together(first.images.prints, second.images.prints))
    groups = group(own, pairs)
    return groups[:n], groups[n:]


def _same(first: Sequence[Hashable], second: Sequence[Hashable]) -> list[Pair]:
    """Each of `second` beside the first of `first` that equals it, counted behind those; None equals nothing."""
    known: dict[Hashable, int] = {}
    for place, value in enumerate(first):
        known.setdefault(value, place)
    return [
        Pair(known[value], len(first) + place, 0, 1.0, "whole")
        for place, value in enumerate(second)
        if value is not None and value in known
    ]


def _together(first: Fingerprints, second: Fingerprints) -> Fingerprints:
    return Fingerprints(
        np.concatenate([first.whole, second.whole]),
        np.concatenate([first.views, second.views]),
        np.concatenate([first.thumbs, second.thumbs]),
    )
