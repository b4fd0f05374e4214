"""BreakHis' tree, small: slides at four magnifications."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import picture, save

SUBTYPES = {
    "benign": {"A": "adenosis", "F": "fibroadenoma", "PT": "phyllodes_tumor", "TA": "tubular_adenoma"},
    "malignant": {
        "DC": "ductal_carcinoma", "LC": "lobular_carcinoma", "MC": "mucinous_carcinoma", "PC": "papillary_carcinoma",
    },
}  # fmt: skip


def breakhis(root: Path, slides: int = 12) -> Path:
    """`slides` of each class, one coloured image of each at every magnification. Returns `root`."""
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    for label, subtypes in SUBTYPES.items():
        for place in range(slides):
            code, subtype = list(subtypes.items())[place % len(subtypes)]
            year_slide = f"14-{20000 + place + (5000 if label == 'malignant' else 0)}{'AB' if place % 2 else ''}"
            slide = f"SOB_{label[0].upper()}_{code}_{year_slide}"
            for magnification in (40, 100, 200, 400):
                stem = f"SOB_{label[0].upper()}_{code}-{year_slide}-{magnification}-001"
                seed = 7000 + 1000 * (label == "malignant") + 10 * place + magnification // 100
                channels = [picture(3 * seed + channel) for channel in range(3)]
                folder = breast / label / "SOB" / subtype / slide / f"{magnification}X"
                save(folder / f"{stem}.png", np.stack(channels, axis=2))
    return root
