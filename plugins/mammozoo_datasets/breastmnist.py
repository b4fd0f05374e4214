"""BreastMNIST: the 780 images of BUSI, cut square and shrunk, as arrays in one file.

J. Yang et al., MedMNIST v2, Scientific Data 10 (2023) 41, https://doi.org/10.5281/zenodo.10519652

Arrays `{train,val,test}_images`, (N, side, side) uint8, and `{train,val,test}_labels`, (N, 1). Label 0 is malignant and
1 is "normal, benign": the reverse of the usual order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.published import count_notes, nothing_found
from mammozoo.errors import NotFoundError, UsageError

_PUBLISHED = {"train": 546, "val": 78, "test": 156}
#: MD5 of each published file, by the side of its images (medmnist/info.py).
MD5 = {
    28: "750601b1f35ba3300ea97c75c52ff8f6",
    64: "742edef2a1fd1524b2efff4bd7ba9364",
    128: "363e4b3f8d712e9b5de15470a2aaadf1",
    224: "b56378a6eefa9fed602bb16d192d4c8b",
}
_CLASSES = ("normal-or-benign", "malignant")  # in our order: malignant is the positive class

Arrays = Mapping[str, npt.NDArray[np.uint8]]


class BreastMnist(Dataset):
    """BreastMNIST from its npz file, with its official split in `meta['part']`.

    Args:
        root: the npz file, or the folder that holds it.
        size: side of the images in pixels: 28, 64, 128 or 224; without it the file, or the largest in the folder.

    Raises:
        UsageError: `size` is another number.
    """

    info = DatasetInfo(
        name="breastmnist",
        title="BreastMNIST, BUSI as small square images",
        modality="ultrasound",
        classes=_CLASSES,
        images=sum(_PUBLISHED.values()),
        url="https://doi.org/10.5281/zenodo.10519652",
        license="CC BY 4.0",
        citation="J. Yang et al. MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image "
        "classification. Scientific Data 10 (2023) 41.",
        access="Download breastmnist.npz (or _64, _128, _224) from https://zenodo.org/records/10519652.",
        marks=("breastmnist.npz", "breastmnist_*.npz"),
        layout="""\
    breastmnist.npz or breastmnist_64.npz, breastmnist_128.npz, breastmnist_224.npz
      arrays train_images, train_labels, val_images, val_labels, test_images, test_labels""",
    )

    def __init__(self, root: Path | None = None, size: int | None = None) -> None:
        super().__init__(root)
        if size is not None and size not in MD5:
            sides = ", ".join(map(str, MD5))
            raise UsageError(f"Data set 'breastmnist' has images of {sides} pixels; got size={size}.")
        self.size = size

    def samples(self) -> list[Sample]:
        """Every image, in the order train, val, test; `notes` names the file and its peculiarities.

        Raises:
            NotFoundError: there is no such file.
            UsageError: it is damaged, lacks an array, holds images of another size, or a label besides 0 and 1.
        """
        arrays = self._arrays
        samples = []
        for part in _PUBLISHED:
            for index, label in enumerate(arrays[f"{part}_labels"].ravel().tolist()):
                samples.append(Sample(f"{part}-{index:04d}", _CLASSES[1 - label], meta={"part": part}))
        side = arrays["train_images"].shape[1]
        md5 = hashlib.md5(self._file.read_bytes(), usedforsecurity=False).hexdigest()
        self.notes = [
            f"The images are those of BUSI at {side} x {side} pixels, from '{self._file.name}'. Their official split is by "
            "image and BUSI holds many near-duplicates: test images have copies in training. Split by group, and never "
            "test on one of the two what was trained on the other."
        ]
        if md5 != MD5.get(side):
            self.notes.append(f"'{self._file.name}' is not the published file: its MD5 is {md5}, not {MD5.get(side)}.")
        self.notes += count_notes({part: len(arrays[f"{part}_images"]) for part in _PUBLISHED}, _PUBLISHED)
        return samples

    def read(self, sample: Sample) -> npt.NDArray[np.uint8]:
        """The image as (side, side) uint8; NotFoundError if `sample` is not of this data set."""
        part, _, number = sample.image.partition("-")
        images = self._arrays.get(f"{part}_images")
        if images is None or not number.isdecimal() or int(number) >= len(images):
            stranger = f"'{sample.image}' is not an image of '{self._file}'"
            raise NotFoundError(f"{stranger}; they are named like 'train-0012'.")
        return images[int(number)].copy()

    @cached_property
    def _file(self) -> Path:
        assert self.root is not None
        if self.root.is_file():
            return self.root
        for side in [self.size] if self.size else sorted(MD5, reverse=True):
            path = self.root / f"breastmnist{'' if side == 28 else f'_{side}'}.npz"
            if path.is_file():
                return path
        advice = f"You asked for size={self.size}. " if self.size else ""
        raise nothing_found(self, advice + self.info.access)

    @cached_property
    def _arrays(self) -> Arrays:
        """The six arrays, read once and whole: 40 MB at most."""
        try:
            # Without pickle, which could run code.
            with np.load(self._file, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (BadZipFile, ValueError, OSError, EOFError) as error:
            raise UsageError(
                f"'{self._file}' is not a BreastMNIST file, or is damaged ({error}). Download it again."
            ) from error
        for part in _PUBLISHED:
            images, labels = arrays.get(f"{part}_images"), arrays.get(f"{part}_labels")
            if images is None or labels is None:
                raise UsageError(
                    f"'{self._file}' lacks '{part}_images' or '{part}_labels'; it has {', '.join(arrays) or 'nothing'}."
                )
            square = images.ndim == 3 and images.shape[1] == images.shape[2]
            if not square or images.dtype != np.uint8 or len(images) != labels.size:
                raise UsageError(
                    f"'{self._file}': '{part}_images' is {images.dtype} {images.shape} with {labels.size} labels, not "
                    "uint8 (N, side, side) with N labels. It is another MedMNIST set, or not one."
                )
            if self.size not in (None, images.shape[1]):
                raise UsageError(f"'{self._file}' holds images of {images.shape[1]} pixels, not of size={self.size}.")
            if not np.isin(labels, (0, 1)).all():
                raise UsageError(
                    f"'{self._file}': '{part}_labels' has labels besides 0 and 1. It is another MedMNIST set."
                )
        return arrays
