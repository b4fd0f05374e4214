"""BreakHis: 7909 microscopy images of breast tumours from 82 patients, at four magnifications.

F. A. Spanhol et al., IEEE Trans. Biomedical Engineering 63 (2016) 1455, https://doi.org/10.1109/TBME.2015.2496264

The name of a file states class, subtype, slide and magnification. The slide stands for the patient.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Literal

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import UsageError
from mammozoo_datasets.published import check_label, count_notes, files_under, find_home, left_out, nothing_found

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
_PUBLISHED = {"benign": 2480, "malignant": 5429}  # of all magnifications
_DEPTH = 9  # <anything>/BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/


class BreakHis(Dataset):
    """BreakHis at one magnification or all; `meta` holds subtype, magnification and number.

    Args:
        root: `BreaKHis_v1`, a folder that holds it, or one below it.
        magnification: 40, 100, 200, 400, or all of them. Each shows the same tissue.

    Raises:
        UsageError: the root holds several copies.
    """

    info = DatasetInfo(
        name="breakhis",
        title="BreakHis, breast tumour histology",
        modality="microscopy",
        classes=tuple(_PUBLISHED),
        images=sum(_PUBLISHED.values()),
        patients=82,
        url="https://doi.org/10.1109/TBME.2015.2496264",
        license="research use; see the terms of the download page",
        citation="F. A. Spanhol, L. S. Oliveira, C. Petitjean, L. Heutte. A dataset for breast cancer histopathological "
        "image classification. IEEE Transactions on Biomedical Engineering 63 (2016) 1455–1462.",
        access="Download BreaKHis_v1.tar.gz from https://web.inf.ufpr.br/vri/databases/"
        "breast-cancer-histopathological-database-breakhis/ and unpack.",
        marks=("SOB_[BM]_*-*.png",),
        layout="""\
    BreaKHis_v1/histology_slides/breast/
      benign/SOB/adenosis/SOB_B_A_14-22549AB/100X/SOB_B_A-14-22549AB-100-001.png, …
      malignant/SOB/ductal_carcinoma/SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-001.png, …""",
    )

    def __init__(
        self, root: Path | None = None, magnification: Literal["40", "100", "200", "400", "all"] = "all"
    ) -> None:
        super().__init__(root)
        self.root: Path = find_home(self.info, root, _PUBLISHED)
        self.magnification = magnification

    def samples(self) -> list[Sample]:
        """Every image of the magnification, by class, subtype, slide, magnification and number.

        Raises:
            NotFoundError: no file has a name like BreakHis', or none of them has the magnification.
            UsageError: two files are the same image by their names, or a file stands in another class's folder.
        """
        images: dict[tuple[str, str, str, int, int], str] = {}
        strangers = []
        files = files_under(self.root, {".png"}, _DEPTH)
        for path in files:
            name = path.relative_to(self.root).as_posix()
            match = _FILE.fullmatch(path.name)
            if match is None or match[2].upper() not in _SUBTYPES:
                strangers.append(name)
                continue
            label = _CLASSES[match[1].upper()]
            check_label(self.info, name, label)
            key = label, _SUBTYPES[match[2].upper()], match[3].upper(), int(match[4]), int(match[5])
            if key in images:
                both = f"'{images[key]}' and '{name}' under '{self.root}' are the same image"
                raise UsageError(f"Data set 'breakhis': {both}. Point --root at one copy.")
            images[key] = name
        wanted = sorted(key for key in images if self.magnification in ("all", str(key[3])))
        if not wanted:
            other = f"It holds other magnifications than {self.magnification}."
            raise nothing_found(self, other if images else "")
        self.notes = [
            *count_notes(Counter(key[0] for key in images), _PUBLISHED, "images of all magnifications"),
            *left_out(strangers, "PNG files left out, not named like 'SOB_B_A-14-22549AB-100-001.png'"),
            *files.notes,
        ]
        return [
            Sample(
                images[label, subtype, slide, magnification, number],
                label,
                slide,
                meta={"subtype": subtype, "magnification": magnification, "number": number},
            )
            for label, subtype, slide, magnification, number in wanted
        ]
