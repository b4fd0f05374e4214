"""Fingerprints of images, to find near-duplicates: two hashes of the whole, and keypoints.

    whole      64 bits: signs of the low frequencies of the image at 32×32 (perceptual hash; Zauner 2010, the `ImageHash` library)
    fine       448 bits: signs of the lowest frequencies at 32×32, after every place was divided by its local contrast
    keypoints  96 places and what the image looks like there (`keypoints.py`)

The hashes survive JPEG, contrast and size; many mammograms share the first, since black ground and the outline of a breast fill
the picture, and the second tells them apart. Together they are 64 bytes. They are what a model's config keeps of an image that
it was trained on: a picture of 21 × 21 points is the most that can be made out from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.fft import dctn

from mammozoo.data.duplicates.keypoints import COUNT, Keypoints, keypoints
from mammozoo.data.io.images import to_channels, to_uint8

FINE = 448  # bits of the second hash
_SIDE = 32  # at which it is computed
#: Places of the `FINE` lowest frequencies, without the mean.
_LOWEST = np.argsort(np.hypot(*np.mgrid[:_SIDE, :_SIDE]).ravel(), kind="stable")[1 : 1 + FINE]


class Fingerprint(NamedTuple):
    """Of one image: hash of the whole, (7,) uint64 fine hash, keypoints."""

    whole: int
    fine: npt.NDArray[np.uint64]
    keypoints: Keypoints


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of N images: (N,) and (N, 7) uint64 hashes; (N, COUNT, 2) uint8 places and uint64 descriptors of keypoints."""

    whole: npt.NDArray[np.uint64]
    fine: npt.NDArray[np.uint64]
    points: npt.NDArray[np.uint8]
    descriptors: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.whole)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """By name, to be stored or joined."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def written(self, among: npt.NDArray[np.intp]) -> list[str]:
        """The hashes of some images as a model's config lists them: 128 hexadecimal digits each, `whole` first."""
        return [f"{self.whole[i]:016x}" + "".join(f"{part:016x}" for part in self.fine[i]) for i in among]

    @cached_property
    def counts(self) -> npt.NDArray[np.intp]:
        """(N,) how many keypoints each has."""
        return self.descriptors.any(axis=2).sum(axis=1)

    def keypoints(self, i: int) -> Keypoints:
        """Those of image i."""
        return Keypoints(self.points[i], self.descriptors[i])


#: Of an image that is never compared.
BLANK = Fingerprint(
    0, np.zeros(FINE // 64, np.uint64), Keypoints(np.zeros((COUNT, 2), np.uint8), np.zeros((COUNT, 2), np.uint64))
)


def fingerprint(image: npt.NDArray[Any]) -> Fingerprint:
    """The fingerprint of an image (H, W) or (H, W, 3) as read."""
    return Fingerprint(*hashes(image), keypoints(to_uint8(to_channels(image, 1))[..., 0]))


def hashes(image: npt.NDArray[Any]) -> tuple[int, npt.NDArray[np.uint64]]:
    """The hash of the whole and the (7,) fine one of an image (H, W) or (H, W, 3) as read."""
    from imagehash import phash  # here, because `predict` needs it only for models that list what they have seen

    grey = to_uint8(to_channels(image, 1))[..., 0]
    return int(np.packbits(phash(Image.fromarray(grey)).hash.ravel()).view(">u8")[0]), _fine(grey)


def collect(fingerprints: Sequence[Fingerprint]) -> Fingerprints:
    """Many fingerprints as arrays."""
    return Fingerprints(
        np.array([f.whole for f in fingerprints], np.uint64),
        np.array([f.fine for f in fingerprints], np.uint64).reshape(-1, FINE // 64),
        np.array([f.keypoints.points for f in fingerprints], np.uint8).reshape(-1, COUNT, 2),
        np.array([f.keypoints.descriptors for f in fingerprints], np.uint64).reshape(-1, COUNT, 2),
    )


def _fine(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    import cv2

    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    difference = small - cv2.GaussianBlur(small, (0, 0), 2)
    contrast = np.sqrt(cv2.GaussianBlur(difference**2, (0, 0), 4))
    frequencies = dctn(difference / (contrast + 2), norm="ortho").ravel()[_LOWEST]
    return np.packbits(frequencies > 0).view(">u8").astype(np.uint64)
