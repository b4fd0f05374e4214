"""BreastMNIST's file, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .drawing import picture


def breastmnist(root: Path, size: int = 28, train: int = 24, val: int = 6, test: int = 12) -> Path:
    """An npz file with images of `size` pixels; every third is malignant, which is label 0. Returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for place, (part, count) in enumerate({"train": train, "val": val, "test": test}.items()):
        arrays[f"{part}_images"] = np.stack([picture(6000 + 1000 * place + i, size, size) for i in range(count)])
        arrays[f"{part}_labels"] = np.array([[int(i % 3 > 0)] for i in range(count)], np.uint8)
    np.savez_compressed(root / f"breastmnist{'' if size == 28 else f'_{size}'}.npz", **arrays)
    return root
