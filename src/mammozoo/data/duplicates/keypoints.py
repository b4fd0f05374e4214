"""Keypoints of an image, candidates that share some, and how many of two images agree on one affine map.

Black ground and the outline of a breast make two mammograms of different women alike in any coarse hash. Fine structure tells
them apart, and it survives what is done to a stored scan: cropping, shifting, turning, mirroring, rescaling, JPEG, contrast.
It is described by SIFT keypoints (Lowe, IJCV 2004) of the image at `SIDE` pixels, divided by its local contrast, without the
ground. A descriptor is kept as 128 bits: which of its values exceed their median (scalar quantization; Zhou et al., ACM
Multimedia 2012). Exchanging left and right exchanges known bits, so that one set of keypoints finds mirror images too.

Two images are candidates if some of their descriptors are equal in random subsets of the bits (locality-sensitive hashing;
Indyk and Motwani, STOC 1998). A candidate is confirmed by geometry: the number of keypoints that one affine map carries from one
image to the other (RANSAC; Fischler and Bolles, CACM 1981), unless they lie as close together as those of a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

#: Side at which keypoints are looked for, in pixels.
SIDE = 160
#: Smaller images: up to 80 pixels an image has no structure that needs more than 96; below 32 it is taken at its own size.
_SMALL, _SMALL_SIDE, _TINY = 80, 96, 32
COUNT = 96  # keypoints of an image, the strongest
_SCALE = 255  # positions are stored as shares of the sides, in steps of 1 / 255
_MANY = 20_000  # images above which candidates are found by 48 keypoints of each and 8 subsets, to save time
_TABLES, _SUBSET = 12, 32  # subsets of a descriptor's bits, and bits in each
_NEXT = 4  # members of a bucket that each member is paired with
_MOST = 20  # candidates of an image, those that share most
_ALL = 20_000  # candidates in all, or a quarter as many as there are images if these are more: each takes 0.3 ms to confirm
_CHUNK = 1 << 18  # descriptors at once, so that memory stays flat
_VOTES = 2  # equal subsets that make a candidate
_RATIO = 0.9  # of the distances to the nearest and the second nearest descriptor
_RESIDUAL = 4.0  # of a keypoint that an affine map carries, in steps of 1 / 255
_SPREAD = 0.005  # least product of the standard deviations of agreeing keypoints, as shares of the sides; text has less
_STRETCH = 1.8  # largest scale of such a map along any direction; its inverse is the smallest
#: Where bit b of a mirrored descriptor comes from: 4 × 4 places, whose rows are exchanged, of 8 directions, which turn round.
_MIRROR = np.arange(128).reshape(4, 4, 8)[::-1][:, :, [0, 7, 6, 5, 4, 3, 2, 1]].ravel()


class Keypoints(NamedTuple):
    """Of one image: (COUNT, 2) positions x, y in steps of 1 / 255 of its sides, (COUNT, 2) descriptors; zeros fill both up."""

    points: Grey
    descriptors: Bits


def keypoints(grey: Grey) -> Keypoints:
    """The strongest keypoints of an image (H, W)."""
    import cv2

    side, way = SIDE, cv2.INTER_AREA
    # In less than half the time; blocks, which INTER_AREA makes, are structure too.
    if (longer := max(grey.shape)) <= _SMALL:
        side, way = (_SMALL_SIDE, cv2.INTER_LANCZOS4) if longer >= _TINY else (longer, cv2.INTER_AREA)
    contrast, ground = _flattened(np.asarray(cv2.resize(grey, (side, side), interpolation=way), np.uint8))
    sift = cv2.SIFT.create(nfeatures=COUNT, contrastThreshold=0.01, edgeThreshold=20)
    found, described = sift.detectAndCompute(contrast, 255 * (1 - ground))
    points, descriptors = np.zeros((COUNT, 2), np.uint8), np.zeros((COUNT, 2), np.uint64)
    if described is not None:
        n = min(COUNT, len(found))
        places = np.array([one.pt for one in found[:n]]) * _SCALE / side
        points[:n] = np.clip(np.rint(places), 0, _SCALE)
        ordered = np.sort(described[:n], axis=1)  # np.median takes three times as long
        descriptors[:n] = _packed(described[:n] > (ordered[:, 63:64] + ordered[:, 64:65]) / 2)
    return Keypoints(points, descriptors)


def mirror(one: Keypoints) -> Keypoints:
    """Those of the mirror image."""
    return Keypoints(np.stack([_SCALE - one.points[:, 0], one.points[:, 1]], axis=1), _mirrored(one.descriptors))


def agreement(one: Keypoints, other: Keypoints, least: int = 4) -> int:
    """How many keypoints of `one` an affine map carries to keypoints of `other` that look alike; 0 if fewer than `least`, or 4."""
    import cv2

    left, right = (each.descriptors[each.descriptors.any(axis=1)] for each in (one, other))
    least = max(4, least)
    if min(len(left), len(right)) < least:
        return 0
    low, high = (np.bitwise_count(left[:, None, word] ^ right[None, :, word]) for word in (0, 1))
    distance = low + high  # at most 128: 8 bits are enough
    rows, nearest = np.arange(len(left)), distance.argmin(axis=1)
    second = np.partition(distance, 1, axis=1)[:, 1]
    alike = (distance[rows, nearest] < _RATIO * second) & (distance.argmin(axis=0)[nearest] == rows)
    if alike.sum() < least:  # most strangers: the map would cost more than all above
        return 0
    source, target = one.points[rows[alike]].astype(np.float32), other.points[nearest[alike]].astype(np.float32)
    affine, carried = cv2.estimateAffine2D(source, target, ransacReprojThreshold=_RESIDUAL, maxIters=300)
    if affine is None or carried.sum() < least:
        return 0
    scales = np.linalg.svd(affine[:, :2], compute_uv=False)
    agreeing = source[carried.ravel() > 0] / _SCALE
    wide = np.linalg.det(np.cov(agreeing.T)) > _SPREAD**2
    return len(agreeing) if wide and 1 / _STRETCH < scales.min() <= scales.max() < _STRETCH else 0


def candidates(descriptors: Bits, order: npt.NDArray[np.uint64]) -> Iterator[tuple[int, int, bool]]:
    """Pairs of images (i, j, mirrored) that share subsets of descriptors, each image with those with which it shares most.

    Members of a bucket are paired with the next few only, in a common order, so that the cost stays linear where many images
    share a subset; copies, which share many buckets, are next to each other in all of them.

    Args:
        descriptors: (N, COUNT, 2) of all images.
        order: (N,) a number that is equal for equal images, by which members of a bucket are sorted.
    """
    n = len(descriptors)
    asked, subsets = (48, _subsets()[:8]) if n > _MANY else (COUNT, _subsets())
    descriptors = descriptors[:, :asked]
    back = np.argsort(order, kind="stable")
    filled = descriptors[back].any(axis=2)
    words = descriptors[back][filled]
    words = np.concatenate([words, _mirrored(words)])
    owner = np.tile(np.repeat(np.arange(n), filled.sum(axis=1)), 2)
    owner[len(owner) // 2 :] += n
    unique, votes = np.unique(
        np.concatenate([_shared(_keys(words, *one), owner, n) for one in subsets]), return_counts=True
    )
    unique, votes = unique[votes >= _VOTES], votes[votes >= _VOTES]
    first, second = np.divmod(unique, 2 * n)
    kept = _strongest(first, second % n, votes, n)
    kept = kept[np.argsort(-votes[kept], kind="stable")][: max(_ALL, n // 4)]
    for i, j in zip(back[first[kept]].tolist(), second[kept].tolist(), strict=True):
        yield i, int(back[j % n]), j >= n


def _keys(words: Bits, low: np.uint64, high: np.uint64) -> Bits:
    """(M,) numbers whose upper bits are equal if the chosen bits of the words are; their lower bits count from 0 to M − 1."""
    places = np.uint64((1 << len(words).bit_length()) - 1)
    with np.errstate(over="ignore"):
        mixed = (words[:, 0] & low) * np.uint64(0x9E3779B97F4A7C15) ^ (words[:, 1] & high) * np.uint64(
            0xC2B2AE3D27D4EB4F
        )
    return (mixed & ~places) | np.arange(len(words), dtype=np.uint64)


def _shared(keys: Bits, owner: Indices, n: int) -> npt.NDArray[np.int64]:
    """Codes i · 2N + j of pairs in one bucket, once each; i < N, and j ≥ N stands for the mirror image of j − N."""
    places = np.uint64((1 << len(keys).bit_length()) - 1)
    keys = np.sort(keys)
    owner, keys = owner[(keys & places).astype(np.intp)], keys & ~places
    codes = []
    for step in range(1, _NEXT + 1):
        same = np.flatnonzero(keys[step:] == keys[:-step])
        i, j = owner[same], owner[same + step]
        # Plain ones come first. Two mirrored ones say what the plain ones say.
        kept = (i < n) & (i != j) & (i != j - n)
        codes.append(i[kept] * (2 * n) + j[kept])
    return np.unique(np.concatenate(codes))


def _strongest(i: Indices, j: Indices, votes: npt.NDArray[np.int64], n: int) -> Indices:
    """Places of the pairs that are among the `_MOST` with most votes of either image."""
    kept = []
    for one in (i, j):
        order = np.lexsort((-votes, one))
        starts = np.searchsorted(one[order], np.arange(n))
        kept.append(order[np.arange(len(order)) - starts[one[order]] < _MOST])
    return np.unique(np.concatenate(kept))


def _mirrored(descriptors: Bits) -> Bits:
    """(M, 2) descriptors as those of the mirror image would be; zeros stay zeros."""
    parts = [descriptors[start : start + _CHUNK] for start in range(0, len(descriptors), _CHUNK)]
    mirrored = [_packed(np.unpackbits(part.view(np.uint8).reshape(-1, 16), axis=1)[:, _MIRROR]) for part in parts]
    return np.concatenate(mirrored or [descriptors])


@cache
def _subsets() -> list[tuple[np.uint64, np.uint64]]:
    rng = np.random.default_rng(0)
    chosen = [np.isin(np.arange(128), rng.choice(128, _SUBSET, replace=False))[None] for _ in range(_TABLES)]
    return [(packed[0, 0], packed[0, 1]) for packed in map(_packed, chosen)]


def _packed(bits: npt.NDArray[np.generic]) -> Bits:
    """(M, 128) zeros and ones as (M, 2) numbers."""
    return np.packbits(np.ascontiguousarray(bits, bool), axis=1).view(np.uint64)


def _flattened(small: Grey) -> tuple[Grey, Grey]:
    """The image without its slow changes, divided by its local contrast; and its ground, 1 where there is no structure."""
    import cv2

    unit = max(small.shape) / SIDE
    image = small.astype(np.float32)
    difference = image - cv2.GaussianBlur(image, (0, 0), 5 * unit)
    contrast = np.sqrt(np.maximum(cv2.blur(difference**2, (_odd(25 * unit),) * 2), 0))
    size = (_odd(6 * unit),) * 2
    structure = cv2.blur(np.abs(image - cv2.blur(image, size)), size)
    ground = cv2.dilate((structure < 0.9).astype(np.uint8), np.ones((_odd(8 * unit),) * 2, np.uint8))
    return np.clip(128 + 40 * difference / (contrast + 1.5), 0, 255).astype(np.uint8), ground.astype(np.uint8)


def _odd(size: float) -> int:
    return int(size) | 1
