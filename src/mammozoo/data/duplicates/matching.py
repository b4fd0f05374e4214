"""Near-duplicates: images of the same scan, found by hash and confirmed by correlation; and the groups that they form.

Two images are near-duplicates if

    the hashes of the whole images differ in at most `NEAR` bits, or
    the hashes of a view of one and of the trimmed other differ in at most `NEAR_VIEW`, and their pixels correlate by `ALIKE`

The first rule is the one in common use and needs no confirmation: one pair too many does not harm a split.
The second finds crops, shifts and mirror images. Hashes are compared through buckets, not each with each: 64 bits
are divided into 4 bands b = 0 … 3 of 16. If two hashes differ in at most n bits, one band differs in at most
(n − b) // 4; otherwise they would differ in n + 1 bits or more (multi-index hashing, Norouzi et al., CVPR 2012).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.data.duplicates.fingerprint import VIEWS, Fingerprints, view

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

#: Largest Hamming distance of two hashes of the same picture; on BUSI, 6 finds the pairs that the eye finds.
NEAR = 6
#: The same for a view of one image and the other trimmed image, whose pixels are then compared.
NEAR_VIEW = 8
#: Lowest Pearson correlation of two thumbnails that confirms a match by view.
ALIKE = 0.9
_BANDS, _BITS = 4, 16
_CHUNK = 1 << 20  # candidates at once, so that memory stays flat


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates i < j: `bits` between the hashes that matched, correlation of the thumbnails, and the view that matched.

    `view` is `whole` for the first rule; else the view of one of the two that matches the other.
    """

    i: int
    j: int
    bits: int
    correlation: float
    view: str

    @property
    def how(self) -> str:
        """How alike the two images are, in words."""
        return f"{self.bits} bits, correlation {self.correlation:.2f}{'' if self.view == 'whole' else f', {self.view}'}"

    def facts(self) -> dict[str, Any]:
        """How alike the two images are, as plain data."""
        return {"bits": self.bits, "correlation": round(self.correlation, 4), "view": self.view}


def near_duplicates(prints: Fingerprints) -> list[Pair]:
    """Every pair of near-duplicates, once, sorted by (i, j), with its best view."""
    trimmed = prints.views[:, 0]
    pairs: dict[tuple[int, int], Pair] = {}
    for i, j in near_pairs(prints.whole).tolist():
        bits = int(np.bitwise_count(prints.whole[i] ^ prints.whole[j]))
        pairs[i, j] = Pair(i, j, bits, _correlation(prints, i, j, "trimmed"), "whole")
    for number, name in enumerate(VIEWS):
        for a, b in near_pairs(prints.views[:, number], trimmed, NEAR_VIEW).tolist():
            key = (min(a, b), max(a, b))
            known = pairs.get(key)
            if a == b or (known is not None and known.view == "whole"):
                continue
            correlation = _correlation(prints, a, b, name)
            if correlation >= ALIKE and (known is None or correlation > known.correlation):
                bits = int(np.bitwise_count(prints.views[a, number] ^ trimmed[b]))
                pairs[key] = Pair(*key, bits, correlation, name)
    return [pairs[key] for key in sorted(pairs)]


def near_pairs(hashes: Hashes, others: Hashes | None = None, near: int = NEAR) -> Indices:
    """(P, 2) index pairs whose hashes differ in at most `near` bits: i < j within `hashes`, or i in `hashes`, j in `others`."""
    second = hashes if others is None else others
    codes = [np.empty(0, np.int64)]
    for band in range(_BANDS):
        for i, j in _candidates(_keys(hashes, band), _keys(second, band), (near - band) // _BANDS):
            if others is None:
                i, j = i[i < j], j[i < j]
            close = np.bitwise_count(hashes[i] ^ second[j]) <= near
            codes.append(i[close] * len(second) + j[close])
    unique = np.unique(np.concatenate(codes))
    return np.stack(np.divmod(unique, max(1, len(second))), axis=1).astype(np.intp)


def group(patients: Sequence[str | None], duplicates: Sequence[Pair] = ()) -> Indices:
    """(N,) group numbers of the samples, ascending in the order of first appearance.

    A group stays in one part of a split: samples connected by "same patient or near-duplicate". A random split of BUSI puts a
    near-duplicate of every third test image into train.

    Args:
        patients: patient of each sample, None if unknown.
        duplicates: pairs of near-duplicates among the samples.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(patient, index), index) for index, patient in enumerate(patients) if patient is not None]
    edges = np.array([*same, *((pair.i, pair.j) for pair in duplicates)], np.intp).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(patients),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[inverse]


def _keys(hashes: Hashes, band: int) -> npt.NDArray[np.uint16]:
    """(N,) keys of one band: every fourth bit, since neighbouring bits are of similar frequencies and correlate."""
    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)[:, band::_BANDS]
    return np.packbits(bits, axis=1).view(">u2")[:, 0].astype(np.uint16)


def _candidates(
    keys: npt.NDArray[np.uint16], table: npt.NDArray[np.uint16], radius: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """(i, j) for which keys[i] and table[j] differ in at most `radius` bits, in chunks; none for a radius of −1."""
    order = np.argsort(table, kind="stable")
    starts = np.searchsorted(table[order], np.arange((1 << _BITS) + 1))
    flips = (sum(1 << bit for bit in chosen) for r in range(radius + 1) for chosen in combinations(range(_BITS), r))
    every = np.arange(len(keys))
    for flip in flips:
        probes = keys ^ np.uint16(flip)
        first, count = starts[probes], starts[probes.astype(np.int64) + 1] - starts[probes]
        cuts = np.searchsorted(np.cumsum(count), np.arange(_CHUNK, count.sum(), _CHUNK))
        for part in np.split(every, cuts) if len(cuts) else (every,):
            times = count[part]
            within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
            yield np.repeat(part, times), order[np.repeat(first[part], times) + within]


def _correlation(prints: Fingerprints, a: int, b: int, name: str) -> float:
    """Pearson correlation of the pixels of view `name` of a with those of b; 0 if one is constant."""
    left = np.asarray(view(Image.fromarray(prints.thumbs[a]), name), float)
    right = prints.thumbs[b].astype(float)
    left, right = left - left.mean(), right - right.mean()
    norm = np.linalg.norm(left) * np.linalg.norm(right)
    return float((left * right).sum() / norm) if norm > 0 else 0.0
