"""The tree of the Mendeley breast ultrasound images: BMP crops of changing size."""

from __future__ import annotations

from pathlib import Path

from .drawing import picture, save


def mendeley(root: Path, benign: int = 100, malignant: int = 110) -> Path:
    """That many images of each class, malignant ones larger; 100 of both, so that `balanced=100` has enough. Returns `root`."""
    for label, count, offset in (("benign", benign, 0), ("malignant", malignant, 500)):
        for number in range(1, count + 1):
            width = 57 + number % 40 + (20 if label == "malignant" else 0)
            name = f"us{number + offset}.{'BMP' if number % 3 == 0 else 'bmp'}"
            save(root / "originals" / label / name, picture(3000 + offset + number, width, 57 + number % 30))
    return root
