"""The images that a model was trained on or selected by, known by the hashes in its config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.duplicates.fingerprint import hashes
from mammozoo.data.duplicates.matching import NEAR, SAME, equal_bits, near_pairs, same_pictures


class Seen:
    """Pictures with these hashes, at any size, contrast or quality.

    Args:
        written: as `Fingerprints.written` gives them. Models of version 0.1 list the first 16 digits alone, which many mammograms
            share: with these, more are found than were seen.
    """

    def __init__(self, written: Sequence[str]) -> None:
        known = np.array([[int(text[k : k + 16] or "0", 16) for k in range(0, 128, 16)] for text in written], np.uint64)
        full = np.array([len(text) > 16 for text in written], bool)
        known = known.reshape(-1, 8)
        self._whole, self._fine, self._short = known[full, 0], known[full, 1:], known[~full, 0]

    def among(self, whole: npt.NDArray[np.uint64], fine: npt.NDArray[np.uint64]) -> npt.NDArray[np.intp]:
        """The places of those of N images, by (N,) hashes of the whole and (N, 7) fine ones, that were seen."""
        same = same_pictures((whole, fine), (self._whole, self._fine))
        return np.unique(np.concatenate([same, near_pairs(whole, self._short)])[:, 0])

    def __contains__(self, image: npt.NDArray[Any]) -> bool:
        """Whether an image as read was seen; of one image, this is faster than `among`."""
        if not len(self._whole) + len(self._short):
            return False
        whole, fine = hashes(image)
        if (np.bitwise_count(self._short ^ np.uint64(whole)) <= NEAR).any():
            return True
        close = self._fine[np.bitwise_count(self._whole ^ np.uint64(whole)) <= NEAR]
        return bool((equal_bits(close, fine[None]) >= SAME).any())
