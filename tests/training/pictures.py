"""Folders of pictures in two classes, for tests of near-duplicates and leakage."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ..builtin.trees.drawing import picture


def picture_folder(root: Path, seed: int, copies: int = 1) -> Path:
    """Twenty pictures a class: `benign/07-0.png`. Its further copies, `benign/07-1.bmp` …, are near-duplicates: brighter."""
    for place, label in enumerate(("benign", "malignant")):
        (root / label).mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(picture(1000 * seed + 100 * place + number, 64, 64))
            for copy in range(copies):
                path = root / label / f"{number:02}-{copy}.{'bmp' if copy else 'png'}"
                image.point(lambda value, k=copy: min(255, value + 2 * k)).save(path)
    return root
