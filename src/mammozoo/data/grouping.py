"""Which samples must stay together: those of one patient, and near-duplicates.

A random split of BUSI puts a near-duplicate of every third test image into train. Two images are near-duplicates
here when their 64-bit perceptual hashes (DCT of the image at 32×32; Zauner 2010, the `ImageHash` library) differ in at
most `NEAR` bits. Groups are the connected components of "same patient or near-duplicate".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from imagehash import phash
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.data.reading import to_channels, to_uint8

#: Hamming distance up to which two hashes mean "the same picture"; on BUSI 6 finds the pairs that the eye finds.
NEAR = 6
_ROWS = 512  # rows compared at once, so that memory stays flat


def perceptual_hash(image: npt.NDArray[Any]) -> int:
    """The 64-bit perceptual hash of an image (H, W) or (H, W, 3) as read."""
    bits = phash(Image.fromarray(to_uint8(to_channels(image, 1))[..., 0])).hash
    return int(np.packbits(bits.ravel()).view(">u8")[0])


def near_pairs(
    hashes: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64] | None = None, near: int = NEAR
) -> npt.NDArray[np.intp]:
    """(P, 2) index pairs whose hashes differ in at most `near` bits: i < j within `hashes`, or i in `hashes`, j in `others`."""
    second = hashes if others is None else others
    found = []
    for start in range(0, len(hashes), _ROWS):
        rows = hashes[start : start + _ROWS, None]
        i, j = np.nonzero(np.bitwise_count(rows ^ second[None, :]) <= near)
        found.append(np.stack([i + start, j], axis=1))
    pairs = np.concatenate(found) if found else np.empty((0, 2), np.intp)
    return pairs if others is not None else pairs[pairs[:, 0] < pairs[:, 1]]


def group(patients: Sequence[str | None], hashes: npt.NDArray[np.uint64] | None) -> npt.NDArray[np.intp]:
    """A group number for every sample; numbers count up in the order of first appearance.

    Args:
        patients: patient of each sample, None where unknown.
        hashes: (N,) perceptual hashes, or None to go by patients alone.
    """
    n = len(patients)
    pairs = [np.empty((0, 2), np.intp)] if hashes is None else [near_pairs(hashes)]
    first: dict[str, int] = {}
    same = [(first.setdefault(patient, index), index) for index, patient in enumerate(patients) if patient is not None]
    edges = np.concatenate([*pairs, np.array(same, np.intp).reshape(-1, 2)])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[inverse]
