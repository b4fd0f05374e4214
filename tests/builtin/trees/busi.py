"""BUSI's tree, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import picture, save, spot


def busi(root: Path, each: int = 12) -> Path:
    """`each` images of every class with their masks; the first benign one has two masks. Returns `root`."""
    home = root / "Dataset_BUSI_with_GT"
    for place, label in enumerate(("benign", "malignant", "normal")):
        for number in range(1, each + 1):
            grey = picture(1000 * place + number)
            save(home / label / f"{label} ({number}).png", np.stack([grey] * 3, axis=2))
            mask = spot() if label != "normal" else np.zeros((48, 64), np.uint8)
            save(home / label / f"{label} ({number})_mask.png", mask)
    save(home / "benign" / "benign (1)_mask_1.png", spot(shift=15))
    return root
