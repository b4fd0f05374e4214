"""Small copies of the data sets that are pictures in folders, and a folder of somebody's own images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .drawing import picture, save, spot


def folder(root: Path, each: int = 12, classes: Sequence[str] = ("benign", "malignant"), side: int = 64) -> Path:
    """`each` images in a folder for every class. Returns `root`."""
    for place, label in enumerate(classes):
        for number in range(each):
            save(root / label / f"{number:03d}.png", picture(2000 + 100 * place + number, side, side))
    return root


# ---------------------------------------------------------------- BUSI's tree, small


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


# ---------------------------------------------------------------- the tree of the Mendeley breast ultrasound images


def mendeley(root: Path, benign: int = 100, malignant: int = 110) -> Path:
    """That many images of each class, malignant ones larger; 100 of both, so that `balanced=100` has enough. Returns `root`."""
    for label, count, offset in (("benign", benign, 0), ("malignant", malignant, 500)):
        for number in range(1, count + 1):
            width = 57 + number % 40 + (20 if label == "malignant" else 0)
            name = f"us{number + offset}.{'BMP' if number % 3 == 0 else 'bmp'}"
            save(root / "originals" / label / name, picture(3000 + offset + number, width, 57 + number % 30))
    return root


# ---------------------------------------------------------------- BreastMNIST's file, small


def breastmnist(root: Path, size: int = 28, train: int = 24, val: int = 6, test: int = 12) -> Path:
    """An npz file with images of `size` pixels; every third is malignant, which is label 0. Returns `root`."""
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for place, (part, count) in enumerate({"train": train, "val": val, "test": test}.items()):
        arrays[f"{part}_images"] = np.stack([picture(6000 + 1000 * place + i, size, size) for i in range(count)])
        arrays[f"{part}_labels"] = np.array([[int(i % 3 > 0)] for i in range(count)], np.uint8)
    np.savez_compressed(root / f"breastmnist{'' if size == 28 else f'_{size}'}.npz", **arrays)
    return root


# ---------------------------------------------------------------- BreakHis' tree, small: slides at four magnifications

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
