"""Mendeley breast ultrasound: 250 lesion crops, 100 benign and 150 malignant.

P. S. Rodrigues, Breast Ultrasound Image, Mendeley Data V1 (2017), https://doi.org/10.17632/wmy84gzngw.1

No patient ids, no masks, no official split. The pictures are cropped around the lesion, so their size follows it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from mammozoo.config.names import Seed
from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.io.images import IMAGE_SUFFIXES, UnreadableImageError, image_shape
from mammozoo.data.published import count_notes, files_under, find_home, left_out, nothing_found
from mammozoo.errors import UsageError

_PUBLISHED = {"benign": 100, "malignant": 150}
_MASKS = re.compile(r"mask|segment|ground|^gts?$", re.IGNORECASE)


class Mendeley(Dataset):
    """The lesion crops of `originals`; BUSC, the same pictures at 128 x 128 with masks, is refused.

    Args:
        root: `originals`, or a folder that holds it.
        balanced: images of each class to draw; 0 takes all. 100 is the number of Ayana 2022.
        seed: decides which images `balanced` draws; 0 or more.

    Raises:
        UsageError: `balanced` or `seed` is negative, or the root holds several copies.
    """

    info = DatasetInfo(
        name="mendeley",
        title="Mendeley breast ultrasound, lesion crops",
        modality="ultrasound",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        url="https://doi.org/10.17632/wmy84gzngw.1",
        license="CC BY 4.0",
        citation="P. S. Rodrigues. Breast Ultrasound Image. Mendeley Data, V1 (2017), doi:10.17632/wmy84gzngw.1.",
        access="Download from https://data.mendeley.com/datasets/wmy84gzngw/1 and unpack.",
        layout="""\
    originals/
      benign/*.bmp      (100)
      malignant/*.bmp   (150)""",
    )

    def __init__(self, root: Path | None = None, balanced: Annotated[int, Field(ge=0)] = 0, seed: Seed = 0) -> None:
        super().__init__(root)
        self.root: Path = find_home(self.info, root, _PUBLISHED)
        self.balanced, self.seed = balanced, seed

    def samples(self) -> list[Sample]:
        """Every image, benign first, each class by the numbers in its file names; with `balanced`, those that the seed draws.

        Raises:
            NotFoundError: no BMP file in a folder `benign` or `malignant`.
            UsageError: this is BUSC, or there are fewer images than `balanced` asks for.
        """
        _refuse_busc(self.root)
        images: dict[str, list[str]] = {label: [] for label in _PUBLISHED}
        strangers = []
        files = files_under(self.root, {".bmp"})
        for path in files:
            name = path.relative_to(self.root).as_posix()
            labels = {part.lower() for part in name.split("/")[:-1]} & _PUBLISHED.keys()
            if len(labels) == 1:
                images[labels.pop()].append(name)
            else:
                strangers.append(name)
        if not any(images.values()):
            raise nothing_found(self)
        self.notes = [
            "These are crops around the lesion and their size follows it: a model may learn the size. "
            "`mammozoo data check` measures how much the size alone tells.",
            *count_notes({label: len(names) for label, names in images.items()}, _PUBLISHED),
            *left_out(strangers, "BMP files left out, in no folder of one class"),
            *files.notes,
        ]
        return [Sample(name, label) for label, names in images.items() for name in self._drawn(label, names)]

    def _drawn(self, label: str, names: list[str]) -> list[str]:
        ordered = sorted(names, key=_by_number)
        if not self.balanced:
            return ordered
        if len(ordered) < self.balanced:
            raise UsageError(
                f"Data set 'mendeley': balanced={self.balanced} asks for more than the {len(ordered)} {label} images "
                f"under '{self.root}'. Ask for {len(ordered)} or fewer."
            )
        rng = np.random.default_rng([self.seed, self.classes.index(label)])
        return [ordered[i] for i in sorted(rng.permutation(len(ordered))[: self.balanced])]


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `us2` before `us10`."""
    return tuple((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name.lower()))


def _refuse_busc(root: Path) -> None:
    pictures = files_under(root, IMAGE_SUFFIXES)
    masks = [path for path in pictures if any(_MASKS.search(part) for part in path.relative_to(root).parts[:-1])]
    if masks:
        reason = f"'{masks[0].relative_to(root).as_posix()}' looks like a mask"
    elif len(pictures) > 1 and all(map(_has_busc_size, pictures)):
        reason = f"all {len(pictures)} images are 128 x 128 pixels"
    else:
        return
    raise UsageError(
        f"Data set 'mendeley': --root '{root}' looks like BUSC (doi:10.17632/vckdnhtw26), the same pictures at 128 x 128 "
        f"with masks: {reason}. Use the originals of doi:10.17632/wmy84gzngw.1, and never both together: they share every "
        "lesion. To use BUSC by itself, take '--dataset csv' with a column 'mask'."
    )


def _has_busc_size(path: Path) -> bool:
    try:
        return image_shape(path) == (128, 128)
    except UnreadableImageError:  # `read` gives the better message
        return False
