"""Writes `docs/diagnosis.png` from the `diagnosis.png` that `mammozoo diagnose --out` wrote: its four panels, two by two."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "diagnosis.png"


def main(drawn: Path) -> None:
    """The panels of `drawn`, on a third of the pixels."""
    with Image.open(drawn) as opened:
        wide = opened.convert("RGB")
    cut, height = round(0.4915 * wide.width), wide.height  # between the second panel and the label of the third
    tiled = Image.new("RGB", (wide.width - cut, 2 * height), "white")
    tiled.paste(wide.crop((0, 0, cut, height)), (0, 0))
    tiled.paste(wide.crop((cut, 0, wide.width, height)), (0, height))
    tiled.thumbnail((840, 840))
    tiled.quantize(64, kmeans=2).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
