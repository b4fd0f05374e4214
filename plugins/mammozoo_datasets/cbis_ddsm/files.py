"""The files of CBIS-DDSM under any names: by case folder or by series, and the mask among a lesion's two files."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mammozoo.data.io.dicom import read_header
from mammozoo.data.io.images import image_shape, read_image
from mammozoo.data.published import files_under

_CASE = re.compile(r"(?:Mass|Calc)-(?:Training|Test)_P_\d{5}_(?:LEFT|RIGHT)_(?:CC|MLO)(?:_\d+)?")
_TWO_VALUED = 0.99  # share of pixels near black or white: masks in JPEG have noise around the lesion


@dataclass(frozen=True)
class Files:
    """Image files by the folder that identifies them: a case folder of DICOM files, or a series of JPEGs."""

    by_folder: Mapping[str, Sequence[Path]]
    notes: Sequence[str] = ()  # on what was skipped

    def of(self, case: str, *series: str) -> list[Path]:
        """The files of a case folder; if there are none, the files of the series."""
        files = list(self.by_folder.get(case, ()))
        return files or [path for name in series for path in self.by_folder.get(name, ())]


def find_files(root: Path) -> Files:
    """All DICOM files by their case, and all JPEGs by their own folder, at any depth below `root`.

    The case is a folder above the file; without one it is the PatientID in its header, in which CBIS-DDSM states it.
    """
    by_folder: defaultdict[str, list[Path]] = defaultdict(list)
    found = files_under(root, {".dcm", ".jpg", ".jpeg"}, depth=sys.maxsize)
    for path in found:
        cases = [part for part in path.parts[:-1] if _CASE.fullmatch(part)]
        if path.suffix.lower() != ".dcm":
            by_folder[path.parent.name].append(path)
        elif cases or (header := read_header(path, "PatientID")) is not None:
            by_folder[cases[-1] if cases else str(header.get("PatientID")).strip()].append(path)
    return Files(by_folder, found.notes)


def mask_among(candidates: Sequence[Path], image: Path) -> Path | None:
    """The mask among the files of a lesion; None if there is none.

    A mask is as large as the whole image and a crop is smaller, so headers decide most cases. If sizes do not decide,
    the file with two values is the mask.

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
