"""Leakage: groups on both sides of a split, and images that were used for the weights before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mammozoo.data.duplicates.matching import near_pairs
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
                raise LeakageError(
                    f"Leaky split '{split.name}': '{names[first]}' ({other}) and '{names[index]}' ({part}) are of one "
                    "patient or near-duplicates. Split by group, or set `allow_leakage: true` and have every output "
                    "stamped."
                )


def seen_before(data: Data, among: npt.NDArray[np.intp], seen: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """Those of the samples `among` that are near-duplicates of an image in `seen`."""
    if data.dataset.info.synthetic or not seen:
        return np.empty(0, np.intp)
    known = np.array([int(text, 16) for text in seen], np.uint64)
    return among[np.unique(near_pairs(data.images.prints.whole[among], known)[:, 0])]
