"""BUSI: 780 breast ultrasound images with masks, from 600 women.

Al-Dhabyani et al., Data in Brief 28 (2020) 104863, https://doi.org/10.1016/j.dib.2019.104863

The name of a file states its class and number, so every mirror is read alike, whatever its folders. A lesion may have several
masks (`benign (1)_mask_1.png`); those of the class normal are black. There are no patient ids and no official split, many
pictures are near-duplicates of others, and some show the axilla.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import UsageError
from mammozoo_datasets.published import check_label, count_notes, files_under, left_out, nothing_found

_FILE = re.compile(r"(benign|malignant|normal) \((\d+)\)(_mask(?:_\d+)?)?\.png", re.IGNORECASE)
_PUBLISHED = {"benign": 437, "malignant": 210, "normal": 133}
_DEPTH = 4  # <anything>/Dataset_BUSI_with_GT/benign/images/
# Images whose burnt-in text says axilla: the list DELETED_FROM_BUSI.md of https://github.com/im-garriz/rhaiunet.
# Pawłowska et al. (Data in Brief 48 (2023) 109247) count about 70 without naming them.
AXILLA: dict[str, set[int]] = {
    "benign": {199, 205, 207, 210, 223, 225, 228, 235, 236, 243, 247, 248, 256, 257, 262, 292, 293, 294, 298, 306},
    "malignant": {11, 12, 13, 109, 110, 113, 148},
    "normal": set(),
}

Key = tuple[str, int]


class Busi(Dataset):
    """BUSI in its original layout, or split into `images/` and `masks/` as in some mirrors.

    Args:
        root: `Dataset_BUSI_with_GT`, or a folder that holds it.
        axilla: `drop` leaves out the 27 images known to show the axilla, `keep` does not.
    """

    info = DatasetInfo(
        name="busi",
        title="BUSI, breast ultrasound images",
        modality="ultrasound",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        patients=600,
        url="https://doi.org/10.1016/j.dib.2019.104863",
        license="unclear: mirrors differ; research use with attribution",
        citation="W. Al-Dhabyani, M. Gomaa, H. Khaled, A. Fahmy. Dataset of breast ultrasound images. "
        "Data in Brief 28 (2020) 104863.",
        access="Download https://scholar.cu.edu.eg/Dataset_BUSI.zip and unpack.",
        marks=("benign (*)_mask.png", "malignant (*)_mask.png"),
        layout="""\
    Dataset_BUSI_with_GT/
      benign/benign (1).png, benign (1)_mask.png, …
      malignant/malignant (1).png, malignant (1)_mask.png, …
      normal/normal (1).png, normal (1)_mask.png, …""",
    )

    def __init__(self, root: Path | None = None, axilla: Literal["keep", "drop"] = "keep") -> None:
        super().__init__(root)
        self.axilla = axilla
        # The names of samples are then the same for either of the two folders.
        while self.root and (inner := self.root / "Dataset_BUSI_with_GT").is_dir():
            self.root = inner

    def samples(self) -> list[Sample]:
        """Every image, benign first, each class in the order of its numbers; `notes` states what is missing.

        Raises:
            NotFoundError: no file under the root has a name like BUSI's.
            UsageError: two files are the same image by their names, or a file stands in another class's folder.
        """
        assert self.root is not None
        images: dict[Key, str] = {}
        masks: defaultdict[Key, list[str]] = defaultdict(list)
        strangers = []
        files = files_under(self.root, {".png"}, _DEPTH)
        for path in files:
            name = path.relative_to(self.root).as_posix()
            match = _FILE.fullmatch(path.name)
            if match is None:
                strangers.append(name)
                continue
            key = match[1].lower(), int(match[2])
            check_label(self.info, name, key[0])
            if match[3] or path.parent.name.lower() in ("mask", "masks"):
                masks[key].append(name)
            elif key in images:
                both = f"both '{images[key]}' and '{name}' under '{self.root}' are {key[0]} image {key[1]}"
                raise UsageError(f"Data set 'busi': {both}. Point --root at one copy.")
            else:
                images[key] = name
        if not images:
            advice = "Unpack Dataset_BUSI.zip there, or use '--dataset folder' for images in folders named by class."
            raise nothing_found(self, advice)
        self.notes = [
            *count_notes(Counter(label for label, _ in images), _PUBLISHED),
            *left_out([name for key, name in images.items() if key not in masks], "images have no mask"),
            *left_out([n for key, names in masks.items() if key not in images for n in names], "masks have no image"),
            *left_out(strangers, "PNG files left out, not named like 'benign (12).png'"),
            *files.notes,
        ]
        if self.axilla == "drop":
            dropped = [key for key in images if key[1] in AXILLA[key[0]]]
            self.notes.append(f"{len(dropped)} images of the axilla are left out (axilla=drop).")
            images = {key: name for key, name in images.items() if key not in dropped}
        order = sorted(images, key=lambda key: (self.classes.index(key[0]), key[1]))
        return [Sample(images[key], key[0], masks=tuple(sorted(masks[key])), meta={"number": key[1]}) for key in order]
