"""Writes `docs/overlays.png`: where a model trained on BUSI looks in two images of BUS-BRA (CC BY 4.0), a hit and a miss."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from mammozoo import api

PICTURE = Path(__file__).parent / "overlays.png"
IMAGES = ("0333-s", "0044-r")
HEIGHT = 220


def main(root: Path) -> None:
    """The overlays that `mammozoo explain` draws, side by side on white."""
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        for name in IMAGES:
            image, mask = root / "Images" / f"bus_{name}.png", root / "Masks" / f"mask_{name}.png"
            api.explain("busi-resnet9", image, mask=mask, out=folder)
            overlay = Image.open(Path(folder) / image.name).convert("RGB")
            drawn.append(ImageOps.contain(overlay, (10 * HEIGHT, HEIGHT)))
    joined = Image.new("RGB", (sum(one.width for one in drawn) + 10, HEIGHT), "white")
    joined.paste(drawn[0], (0, 0))
    joined.paste(drawn[1], (drawn[0].width + 10, 0))
    joined.quantize(96).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
