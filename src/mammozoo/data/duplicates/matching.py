"""Near-duplicates: images of the same scan, proposed by hashes and keypoints, confirmed by fine structure; and their groups.

A pair is proposed if some keypoints of the two images look alike. Of the keypoints of one, or of its mirror image, an affine map
then carries a share to keypoints of the other. The pair is confirmed if that share is at least `AGREE`, or half of it where both
hashes are close, as of two frames of one lesion. Images that are too small or too blurred for keypoints are proposed if their
hashes differ in at most `NEAR` bits, and confirmed if their fine hashes agree in at least `SAME` of their bits.

How many keypoints two images of different patients have in common by chance differs between data sets (text and rulers are the
same everywhere), so the limit rises with a sample of such pairs.

Hashes are compared through buckets, not each with each: 64 bits are divided into 4 bands b = 0 … 3 of 16. If two hashes differ
in at most n bits, one band differs in at most (n − b) // 4; otherwise they would differ in n + 1 bits or more (multi-index
hashing, Norouzi et al., CVPR 2012).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.duplicates.fingerprint import FINE, Fingerprints
from mammozoo.data.duplicates.keypoints import agreement, candidates, mirror

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

#: Largest Hamming distance of two hashes of the same picture.
NEAR = 6
#: Lowest share of equal bits of two fine hashes of the same picture.
SAME = 0.8
#: Lowest share of keypoints that agree in two pictures of the same scan, and lowest number; at twice the share, 7 are enough.
AGREE, POINTS = 0.2, 10
#: Bits in which the hashes of two frames of one lesion differ at most, and share of equal bits of their fine hashes.
_FRAMES = 12, 0.64
_ENOUGH = 12  # keypoints of either image, for these to decide
_SAMPLE = 500  # pairs of different patients that show how many keypoints agree by chance
#: Share of these pairs that lie below the share that is doubled, and where no patients are known; the rest may be copies.
_BELOW = (0.9, 0.5)
_FEW = 20  # images of which too few pairs can be drawn
_BANDS, _BITS = 4, 16
_CHUNK = 1 << 20  # candidates at once, so that memory stays flat


@dataclass(frozen=True)
class Pair:
    """Two near-duplicates i < j.

    `bits` differ between their hashes. `share` is that of the equal bits of their fine hashes, or of their keypoints that agree,
    `points` in number (0: too few keypoints), once one of them is `mirrored`.
    """

    i: int
    j: int
    bits: int = 0
    share: float = 1.0
    points: int = 0
    mirrored: bool = False

    @property
    def how(self) -> str:
        """How alike the two images are, in words."""
        if not self.points:
            return f"{self.bits} bits, fine structure equal to {self.share:.0%}"
        return f"{self.points} keypoints agree ({self.share:.0%}{', mirrored' if self.mirrored else ''})"

    def facts(self) -> dict[str, Any]:
        """How alike the two images are, as plain data."""
        return {"bits": self.bits, "share": round(self.share, 4), "points": self.points, "mirrored": self.mirrored}


def near_duplicates(prints: Fingerprints, patients: Sequence[str | None] = (), sets: Sequence[int] = ()) -> list[Pair]:
    """Every pair of near-duplicates, once, sorted by (i, j).

    Args:
        prints: fingerprints of N images.
        patients: patient of each, None if unknown; none are known if empty. Pairs of different patients, or any if none are
            known, show how many keypoints agree by chance.
        sets: number of the data set of each; one if empty. Each has its own limit, and of two the higher one counts.
    """
    limits = np.full(len(prints), AGREE)
    for one in {*sets} or {0}:
        members = np.flatnonzero(np.array(sets) == one) if sets else np.arange(len(prints))
        limits[members] = chance_limit(prints, patients, members)
    bare = np.flatnonzero(prints.counts < _ENOUGH)
    same = same_pictures((prints.whole[bare], prints.fine[bare]), (prints.whole, prints.fine))
    ends = np.sort(np.stack([bare[same[:, 0]], same[:, 1]], axis=1), axis=1)
    pairs = {(i, j): _compare(prints, i, j) for i, j in ends.tolist() if i != j}
    for i, j, flipped in candidates(prints.descriptors, prints.whole):
        bits = np.bitwise_count(prints.whole[i] ^ prints.whole[j])
        frames = bits <= _FRAMES[0] and equal_bits(prints.fine[i], prints.fine[j]) >= _FRAMES[1]
        pair = _compare(prints, min(i, j), max(i, j), flipped, max(limits[i], limits[j]) / (1 + frames))
        known = pairs.get((pair.i, pair.j))
        if pair.points >= (POINTS if pair.share < 2 * AGREE else 7) and (known is None or pair.share > known.share):
            pairs[pair.i, pair.j] = pair
    return [pairs[key] for key in sorted(pairs)]


def chance_limit(prints: Fingerprints, patients: Sequence[str | None] = (), members: Indices | None = None) -> float:
    """The share of agreeing keypoints from which on two images are one scan: `AGREE`, or more where strangers agree in many.

    Of the images `members`, all if None.
    """
    every = np.arange(len(prints)) if members is None else members
    known = [i for i in every.tolist() if patients and patients[i] is not None]
    among = np.array(known, np.intp) if known else every
    if len(among) < _FEW:
        return AGREE
    drawn = np.random.default_rng(0).integers(len(among), size=(_SAMPLE, 2))
    strangers = [(i, j) for i, j in among[drawn].tolist() if i != j and not (known and patients[i] == patients[j])]
    shares = [_compare(prints, i, j).share for i, j in strangers if min(prints.counts[[i, j]]) >= _ENOUGH]
    return max(AGREE, 2 * float(np.quantile(shares, _BELOW[not known])) + 0.05) if shares else AGREE


def same_pictures(first: tuple[Hashes, Hashes], second: tuple[Hashes, Hashes]) -> Indices:
    """(P, 2) pairs of an image in `first` and one in `second` that are one picture by their hashes, of the whole and fine."""
    pairs = near_pairs(first[0], second[0])
    return pairs[equal_bits(first[1][pairs[:, 0]], second[1][pairs[:, 1]]) >= SAME]


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
    from scipy.sparse import coo_array  # here, because `predict` compares hashes alone
    from scipy.sparse.csgraph import connected_components

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


def _compare(prints: Fingerprints, i: int, j: int, flipped: bool = False, share: float = 0.0) -> Pair:
    """What i and j, mirrored if `flipped`, have in common: keypoints, or bits of their fine hashes if one has few keypoints.

    A lower share of keypoints than `share` counts as none.
    """
    bits = int(np.bitwise_count(prints.whole[i] ^ prints.whole[j]))
    least = int(min(prints.counts[i], prints.counts[j]))
    if least < _ENOUGH:
        return Pair(i, j, bits, 0.0 if flipped else float(equal_bits(prints.fine[i], prints.fine[j])))
    one, other = prints.keypoints(i), prints.keypoints(j)
    points = agreement(one, mirror(other) if flipped else other, math.ceil(share * least - 1e-9))
    return Pair(i, j, bits, points / least, points, flipped)


def equal_bits(first: Hashes, second: Hashes) -> npt.NDArray[np.float64]:
    """(…) shares of equal bits of two (…, 7) fine hashes."""
    return 1 - np.bitwise_count(first ^ second).sum(axis=-1, dtype=np.int64) / FINE
