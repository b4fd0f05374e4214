"""Writes `docs/films.png`: the step `breast` on the eight CBIS-DDSM films (CC BY 3.0) of the package `mammograms`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from PIL import Image

from mammozoo.data.io.images import read_image, to_uint8
from mammozoo.data.transforms import build

PICTURE = Path(__file__).parent / "films.png"
Pixels = npt.NDArray[Any]


def main(folder: Path) -> None:
    """The films below `folder`, and two of them again: inverted, and in a white frame."""
    films = [(path.stem, read_image(path)) for path in sorted(folder.rglob("*.dcm"))]
    inverted, framed = np.iinfo(np.uint16).max - films[1][1], films[4][1].copy()
    for edge in (framed, framed.T):
        edge[: len(edge) // 25], edge[-(len(edge) // 25) :] = 65535, 65535
    films += [(f"{films[1][0]}, inverted", inverted), (f"{films[4][0]}, framed", framed)]
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    for place, (title, film) in enumerate(films):
        after = build("breast:flip=left")(film[..., None], np.random.default_rng(0))[..., 0]
        for row, pixels in ((0, to_uint8(film)), (1, after)):
            axes = figure.add_subplot(2, len(films), 1 + place + row * len(films))
            axes.imshow(_small(pixels), cmap="gray", vmin=0, vmax=255)
            size = f"{pixels.shape[1]} × {pixels.shape[0]}"
            axes.set_title(size if row else f"{title}\n{size}", fontsize=5)
            axes.set_axis_off()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    Image.open(PICTURE).convert("L").quantize(64).save(PICTURE, optimize=True)


def _small(pixels: Pixels) -> Pixels:
    image = Image.fromarray(pixels)
    image.thumbnail((300, 300))
    return np.asarray(image)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
