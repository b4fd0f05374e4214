"""The files of CBIS-DDSM, whatever they are called: by case folder or by series, and which of a lesion's two is the mask."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.data.io.images import read_image
from mammozoo_datasets.dicom_header import image_shape

_CASE = re.compile(r"(?:Mass|Calc)-(?:Training|Test)_P_\d{5}_(?:LEFT|RIGHT)_(?:CC|MLO)(?:_\d+)?")
_TWO_VALUED = 0.99  # share of pixels near black or white: masks in JPEG have noise around the lesion


@dataclass(frozen=True)
class Files:
    """Image files by the folder that tells whose they are: a case folder of DICOM files, or a series of JPEGs."""

    by_folder: Mapping[str, Sequence[Path]]

    def of(self, case: str, *series: str) -> list[Path]:
        """The files of a case folder; where there is none, those of the series."""
        found = list(self.by_folder.get(case, ()))
        return found or [path for name in series for path in self.by_folder.get(name, ())]


def find_files(root: Path) -> Files:
    """All DICOM files under a case folder, and all JPEGs by their own folder, at any depth below `root`."""
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for place, folders, names in os.walk(root):
        folders.sort()
        folder = Path(place)
        cases = [part for part in folder.parts if _CASE.fullmatch(part)]
        for name in sorted(names):
            suffix = name.rpartition(".")[2].lower()
            if name.startswith("."):
                continue
            if suffix == "dcm" and cases:
                found[cases[-1]].append(folder / name)
            elif suffix in ("jpg", "jpeg"):
                found[folder.name].append(folder / name)
    return Files(found)


def mask_among(candidates: Sequence[Path], image: Path) -> Path | None:
    """The mask among the files of a lesion; None where there is none.

    A mask is as large as the whole image and a cut-out is smaller, so headers do in most cases. Where sizes do not tell,
    the file of two values is the mask.

    Raises:
        UnreadableImageError: of the first file that cannot be read.
    """
    shapes = {path: image_shape(path) for path in candidates}
    full = [path for path, shape in shapes.items() if shape == image_shape(image)]
    if len(full) == 1:
        return full[0]
    areas = sorted({height * width for height, width in shapes.values()})
    largest = [path for path, shape in shapes.items() if areas and shape[0] * shape[1] == areas[-1]]
    ordered = [*full, *largest, *candidates]
    return next((path for path in dict.fromkeys(ordered) if _has_two_values(path)), None)


def _has_two_values(path: Path) -> bool:
    pixels = read_image(path).astype(np.float32)
    top = float(pixels.max())
    return bool(((pixels < 0.1 * top) | (pixels > 0.9 * top)).mean() > _TWO_VALUED) if top else False
