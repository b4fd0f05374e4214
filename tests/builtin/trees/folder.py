"""A folder of somebody's own images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .drawing import picture, save


def folder(root: Path, each: int = 12, classes: Sequence[str] = ("benign", "malignant")) -> Path:
    """`each` images in a folder for every class. Returns `root`."""
    for place, label in enumerate(classes):
        for number in range(each):
            save(root / label / f"{number:03d}.png", picture(2000 + 100 * place + number))
    return root
