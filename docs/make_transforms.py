"""Writes `docs/transforms.png`: the six steps of Falconí 2020 on a drawn film, 12 bits in 16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from mammozoo.data.io.regions import Region, box_of_mask
from mammozoo.data.transforms import build

PICTURE = Path(__file__).parent / "transforms.png"
SHAPE = (760, 520)
Pixels = npt.NDArray[Any]


def main() -> None:
    """Draw, take the steps, save one panel for each."""
    film, mass = draw_film()
    box = box_of_mask(mass)
    assert box is not None
    rng = np.random.default_rng(0)
    panels = [("as stored, 12 bits in 16", film)]

    def step(title: str, *texts: str) -> None:
        pixels = panels[-1][1]
        for text in texts:
            pixels = build(text)(pixels, rng)
        panels.append((title, pixels))

    step("1  min-max", "min-max")
    step("2  clahe", "clahe")
    panels.append(("3  lesion", Region().crop(panels[-1][1], box)))
    step("4  min-max", "min-max")
    step("5  resize, centre-crop", "resize:size=328", "centre-crop:size=320")
    step("6  denoise", "denoise")
    removed = panels[-1][1].astype(int) - panels[-2][1]
    save([*panels, ("what 6 took away, × 8", np.clip(128 + 8 * removed, 0, 255))])


def draw_film() -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """(H, W, 1) uint16 and the mass as (H, W) booleans: half an ellipse of fat and gland, a lobed mass, grain."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    texture = sum(gaussian_filter(rng.normal(size=SHAPE), s) * s for s in (2, 6, 18, 50))
    breast = np.clip(1.1 - (x / 430) ** 2 - ((y - 380) / 330) ** 2, 0, 0.35) / 0.35
    gland = np.exp(-(((x - 190) / 130) ** 2) - ((y - 400) / 190) ** 2)
    angle, distance = np.arctan2(y - 420, x - 235), np.hypot(y - 420, x - 235)
    radius = 52 * (1 + 0.13 * np.sin(3 * angle + 1) + 0.05 * np.sin(7 * angle))
    mass = 1 / (1 + np.exp((distance - radius) / 5))
    light = breast * (0.25 + 0.35 * gland + 0.12 * texture * (0.4 + gland) + 0.33 * mass)
    grain = rng.normal(scale=0.012, size=SHAPE)
    film = np.clip(200 + 3600 * (light + grain), 0, 4095).astype(np.uint16)
    return film[..., None], mass > 0.5


def save(panels: list[tuple[str, Pixels]]) -> None:
    """One panel each, two rows of four; 16 bits are shown as the 16 bits that they are."""
    figure = Figure(figsize=(10.4, 5.8), layout="constrained")
    for place, (title, pixels) in enumerate(panels, start=1):
        axes = figure.add_subplot(2, 4, place)
        brightest = 65535 if pixels.dtype == np.uint16 else 255
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=brightest, interpolation="nearest")
        axes.set_title(f"{title}\n{pixels.shape[1]} × {pixels.shape[0]}", fontsize=9)
        axes.set_axis_off()
    figure.savefig(PICTURE, dpi=72, metadata={"Software": None})


if __name__ == "__main__":
    main()
