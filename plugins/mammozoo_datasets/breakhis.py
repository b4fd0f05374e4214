"""BreakHis: 7909 microscopy images of breast tumours from 82 patients, at four magnifications.

F. A. Spanhol et al., IEEE Trans. Biomedical Engineering 63 (2016) 1455, https://doi.org/10.1109/TBME.2015.2496264

    BreaKHis_v1/histology_slides/breast/
      benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-001.png
      malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-001.png

A file's name says all: class, subtype, slide, magnification. The slide stands for the patient.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Literal

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import UsageError
from mammozoo_datasets.layout import nothing_found, some
from mammozoo_datasets.listing import files_under, home

_FILE = re.compile(r"SOB_([BM])_([A-Z]+)[-_](\d+-\w+)-(40|100|200|400)-(\d+)\.png", re.IGNORECASE)
_CLASSES = {"B": "benign", "M": "malignant"}
_SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes tumor",
    "TA": "tubular adenoma",
    "DC": "ductal carcinoma",
    "LC": "lobular carcinoma",
    "MC": "mucinous carcinoma",
    "PC": "papillary carcinoma",
}
_IMAGES = 7909
_DEPTH = 9  # <anything>/BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/

Key = tuple[str, str, str, int, int]


class BreakHis(Dataset):
    """BreakHis at one magnification or all; `meta` holds subtype, magnification and number.

    Args:
        root: `BreaKHis_v1`, a folder that holds it, or one below it.
        magnification: 40, 100, 200, 400, or all of them. The same tissue is seen at each.

    Raises:
        UsageError: the root holds several copies.
    """

    info = DatasetInfo(
        name="breakhis",
        title="BreakHis, breast tumour histology",
        modality="microscopy",
        classes=tuple(_CLASSES.values()),
        images=_IMAGES,
        patients=82,
        url="https://doi.org/10.1109/TBME.2015.2496264",
        license="research use; see the terms of the download page",
        citation="F. A. Spanhol, L. S. Oliveira, C. Petitjean, L. Heutte. A dataset for breast cancer histopathological "
        "image classification. IEEE Transactions on Biomedical Engineering 63 (2016) 1455–1462.",
        access="Download BreaKHis_v1.tar.gz from https://web.inf.ufpr.br/vri/databases/"
        "breast-cancer-histopathological-database-breakhis/ and unpack.",
        layout="""\
    BreaKHis_v1/histology_slides/breast/
      benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-001.png, …
      malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-001.png, …""",
    )

    def __init__(
        self, root: Path | None = None, magnification: Literal["40", "100", "200", "400", "all"] = "all"
    ) -> None:
        super().__init__(root)
        assert root is not None
        self.root: Path = home(self.info.name, root, {*_CLASSES.values()})
        self.magnification = magnification

    def samples(self) -> list[Sample]:
        """Every image of the magnification, by class, subtype, slide, magnification and number.

        Raises:
            NotFoundError: no file is named like one of BreakHis', or none of them has the magnification.
            UsageError: two files claim to be the same image, or a file stands in another class's folder.
        """
        images: dict[Key, str] = {}
        strangers = []
        for path in files_under(self.root, {".png"}, _DEPTH):
            name = path.relative_to(self.root).as_posix()
            match = _FILE.fullmatch(path.name)
            if match is None or match[2].upper() not in _SUBTYPES:
                strangers.append(name)
                continue
            key = _key(match, name)
            if key in images:
                raise UsageError(
                    f"Data set 'breakhis': '{images[key]}' and '{name}' under '{self.root}' are the same image. "
                    "Point --root at one copy."
                )
            images[key] = name
        wanted = sorted(key for key in images if self.magnification in ("all", str(key[3])))
        if not wanted:
            advice = f"It holds other magnifications than {self.magnification}." if images else self.info.access
            raise nothing_found(self.info.name, self.root, self.info.layout, advice)
        self.notes = _notes(images, strangers)
        return [_sample(key, images[key]) for key in wanted]


def _key(match: re.Match[str], name: str) -> Key:
    """(class, subtype, slide, magnification, number)."""
    label = _CLASSES[match[1].upper()]
    folders = {part.lower() for part in name.split("/")[:-1]} & {*_CLASSES.values()}
    if folders - {label}:
        raise UsageError(
            f"Data set 'breakhis': '{name}' is {label} by its name and stands in a folder of another class. "
            "One of them is wrong; move the file or restore the original archive."
        )
    return label, _SUBTYPES[match[2].upper()], match[3].upper(), int(match[4]), int(match[5])


def _sample(key: Key, name: str) -> Sample:
    label, subtype, slide, magnification, number = key
    return Sample(
        name, label, patient=slide, meta={"subtype": subtype, "magnification": magnification, "number": number}
    )


def _notes(images: dict[Key, str], strangers: list[str]) -> list[str]:
    notes = []
    if len(images) != _IMAGES:
        counts = Counter(label for label, *_ in images)
        listed = ", ".join(f"{n} {label}" for label, n in counts.items())
        notes.append(
            f"{len(images)} images of all magnifications, published are {_IMAGES}: {listed}. "
            "Scores are not comparable with those on the whole set."
        )
    if strangers:
        notes.append(
            f"{len(strangers)} PNG files left out, not named like 'SOB_B_A-14-22549AB-100-001.png': {some(strangers)}."
        )
    return notes
