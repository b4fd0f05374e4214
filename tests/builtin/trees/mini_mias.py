"""mini-MIAS in small: images of 128 × 128 pixels instead of 1024, and an `Info.txt` with everything odd in it."""

from pathlib import Path

import numpy as np
from PIL import Image

from .dicom import breast

SIDE = 128
KAGGLE_HEADER = "REFNUM BG CLASS SEVERITY X Y RADIUS \n"
_PREAMBLE = (
    "INFORMATION: This file lists the films in the MIAS database.\n1st column: MIAS database reference number.\n\n"
)


def lines(patients: int = 36) -> list[str]:
    """A line an image (two for one of them): of three women one is benign, one malignant, one normal."""
    found = []
    for number in range(1, 2 * patients + 1):
        image, kind = f"mdb{number:03d}", ((number + 1) // 2) % 3
        x, y = 40 + number % 30, 50 + number % 20
        if number % 2 == 0 or kind == 2:
            found.append(f"{image} G NORM")
        else:
            found.append(f"{image} F CIRC {'BM'[kind]} {x} {y} 12")
            if number == 5:
                found.append(f"{image} F CIRC B 30 40 9")
    found[-1] = found[-1].replace("NORM", "CALC B *NOTE 3*")
    return found


def mini_mias(root: Path, header: str = _PREAMBLE, info: list[str] | None = None) -> Path:
    """Write `Info.txt` and the images that it names under `root`/all-mias."""
    chosen = lines() if info is None else info
    folder = root / "all-mias"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Info.txt").write_text(header + "\n".join(chosen) + "\n")
    for line in dict.fromkeys(line.split()[0] for line in chosen):
        of_image = [text.split() for text in chosen if text.startswith(line)]
        bright = 0.7 if any("M" in words[3:4] for words in of_image) else 0.3 if len(of_image[0]) > 3 else 0.0
        circles = [[int(word) for word in words[4:7]] for words in of_image if len(words) == 7]
        x, y, radius = circles[0] if circles else (60, 60, 10)
        row = SIDE - y
        box = (max(x - radius, 0), max(row - radius, 0), x + radius, row + radius)
        film = breast(np.random.default_rng([*map(ord, line)]), (SIDE, SIDE), bright, box)
        Image.fromarray((film * 255).astype(np.uint8)).save(folder / f"{line}.pgm")
    return root
