"""BI-RADS descriptors → a sonogram with that mass in it, and its outline.

A small model of such a picture, from top to bottom of an image about 4 cm deep:

    skin           bright line
    fat            dark, crossed by bright strands (Cooper's ligaments)
    gland          bright, coarse, streaked; the mass sits here
    muscle         dark, horizontal stripes under a bright fascia
                   fading with depth

Each tissue has an echogenicity in decibels. Scatterers of that strength and random phase are blurred by the
point spread function of the probe, which is wider across than along the beam; the envelope of the sum is
fully developed speckle (Rayleigh distributed; Wagner et al., IEEE Trans. Sonics Ultrasonics 30 (1983) 156).
The mean of two independent looks (spatial compounding), its logarithm, and clipping to the dynamic range of a
screen make the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SIZE = 128
_EDGE = 4  # drawn around the image and cropped, since blurring by Fourier transform wraps around
_GRID = SIZE + 2 * _EDGE
_ROWS = np.arange(-_EDGE, SIZE + _EDGE, dtype=np.float32)[:, None]
_COLUMNS = _ROWS.T
_FREQUENCIES = np.fft.fftfreq(_GRID).astype(np.float32)
_DIRECTIONS = np.linspace(-np.pi, np.pi, 721, dtype=np.float32)

Array = npt.NDArray[np.floating[Any]]


class Sonogram(NamedTuple):
    """The drawn `image`, (128, 128) uint8, and `mask`, (128, 128) booleans."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Mass:
    """The position and outline of the mass, in pixels."""

    distance: Array  # (rows, columns), from the outline along the ray from the centre; negative inside
    angle: Array  # (rows, columns), direction of each pixel from the centre in radians
    column: float  # of the centre
    half_width: float  # half the extent across
    bottom: float  # the lowest row


def draw(findings: Mapping[str, str], rng: np.random.Generator) -> Sonogram:
    """One sonogram with a mass of these `findings` (shape, margin, orientation, posterior, echo).

    Every other choice (tissue, place, size, gain) comes from `rng` and does not depend on the findings.
    """
    tissue, gland = _tissue(rng)
    mass = _mass(findings, gland, rng)
    echo = _with_mass(tissue, mass, findings, rng) + _behind(mass, findings["posterior"], rng) + _fading(rng)
    inside = slice(_EDGE, -_EDGE)
    return Sonogram(_scan(echo, rng)[inside, inside], (mass.distance < 0)[inside, inside])


# ---------------------------------------------------------------- random textures


def _blur(field: npt.NDArray[Any], down: float, across: float) -> npt.NDArray[Any]:
    """`field` convolved with a Gaussian of these widths in pixels."""
    from scipy import fft  # takes long, and who only names this data set need not wait for it

    transfer = [np.exp(-2 * (np.pi * sigma * _FREQUENCIES) ** 2) for sigma in (down, across)]
    return fft.ifft2(fft.fft2(field) * np.multiply.outer(*transfer))


def _white(rng: np.random.Generator) -> npt.NDArray[np.complex64]:
    """Complex noise, a real and an imaginary part of unit variance a pixel."""
    return rng.standard_normal((_GRID, 2 * _GRID), dtype=np.float32).view(np.complex64)


def _textures(rng: np.random.Generator, down: float, across: float) -> tuple[Array, Array]:
    """Two independent smooth textures of unit variance with a grain of these sizes in pixels."""
    grain = _blur(_white(rng), down, across)
    return grain.real / grain.real.std(), grain.imag / grain.imag.std()


def _wave(rng: np.random.Generator, height: float, periods: int) -> Array:
    """A smooth random line over the columns, `height` pixels of standard deviation: (1, columns)."""
    order = np.arange(1, periods + 1, dtype=np.float32)[:, None]
    phase = rng.uniform(0, 2 * np.pi, (periods, 1)).astype(np.float32)
    weight = rng.standard_normal((periods, 1), dtype=np.float32)
    line = (weight * np.cos(np.pi * order * _COLUMNS / SIZE + phase)).sum(axis=0, keepdims=True)
    return line * (height / line.std())


def _step(distance: Array, width: float) -> Array:
    """From 0 to 1 where `distance` (pixels) passes zero, over about `width` pixels."""
    return 0.5 + 0.5 * np.tanh(distance / width)


def _line(distance: Array, width: float) -> Array:
    """1 where `distance` (pixels) is zero, falling to nothing over about `width` pixels."""
    return np.exp(-((distance / width) ** 2))


# ---------------------------------------------------------------- tissue


def _tissue(rng: np.random.Generator) -> tuple[Array, tuple[float, float]]:
    """Echogenicity in dB of a breast without a mass, and the rows (top, bottom) of its gland."""
    skin, gland, muscle = rng.uniform(3, 6), rng.uniform(16, 38), rng.uniform(90, 118)
    tilt = (_COLUMNS - SIZE / 2) / SIZE
    gland_line = gland + _wave(rng, 4, 6) + rng.normal(0, 8) * tilt
    muscle_line = muscle + _wave(rng, 2.5, 3) + rng.normal(0, 12) * tilt

    patches, clouds = _textures(rng, 7, 12)
    fibres, stripes = _textures(rng, rng.uniform(1.1, 1.8), rng.uniform(6, 12))
    strands, _ = _textures(rng, 5, 13)
    fat = -9 + 2 * patches + rng.uniform(8, 13) * _line(strands, 0.2)
    gland_echo = rng.uniform(1, 4) * clouds + rng.uniform(2, 4) * fibres + 4 * np.maximum(fibres - 0.8, 0)
    muscle_echo = -11 + 5 * stripes + 2 * patches

    in_gland, in_muscle = _step(_ROWS - gland_line, 3), _step(_ROWS - muscle_line, 1.5)
    echo = fat + (gland_echo - fat) * in_gland
    echo += (muscle_echo - echo) * in_muscle
    echo += 14 * _line(_ROWS - muscle_line, 1.3)  # fascia
    echo += 13 * _line(_ROWS - skin, 1.5)
    return echo, (gland, muscle)


# ---------------------------------------------------------------- the mass


def _mass(findings: Mapping[str, str], gland: tuple[float, float], rng: np.random.Generator) -> Mass:
    """An outline of the given shape, orientation and margin, somewhere in the gland."""
    size = rng.uniform(14, 24)  # radius of the circle of the same area
    ratio = rng.uniform(1.0, 1.12) if findings["shape"] == "round" else rng.uniform(1.35, 1.8)
    across, down = size * ratio**0.5, size / ratio**0.5
    if findings["orientation"] == "not parallel":  # taller than wide
        across, down = down, across
    lean = rng.normal(0, 0.12)

    column = rng.uniform(0.3, 0.7) * SIZE
    highest, lowest = gland[0] + 0.7 * down, gland[1] - 1.1 * down
    row = rng.uniform(highest, lowest) if highest < lowest else (highest + lowest) / 2

    x, y = _COLUMNS - column, _ROWS - row
    angle = np.arctan2(y, x)
    turned = _DIRECTIONS - lean
    ellipse = across * down / np.hypot(down * np.cos(turned), across * np.sin(turned))
    outline = ellipse * (1 + _bumps(findings, rng))
    distance = np.hypot(x, y) - np.interp(angle, _DIRECTIONS, outline).astype(np.float32)
    half_width = float((outline * np.abs(np.cos(_DIRECTIONS))).max())
    return Mass(distance, angle, column, half_width, row + float((outline * np.sin(_DIRECTIONS)).max()))


def _bumps(findings: Mapping[str, str], rng: np.random.Generator) -> Array:
    """The change of an ellipse's radius by shape and margin, as a fraction of it, for each direction."""
    irregular = findings["shape"] == "irregular"
    bumps = np.zeros_like(_DIRECTIONS)
    for lobes in (2, 3, 4, 5):
        height = rng.uniform(0.06, 0.15) if irregular else rng.uniform(0, 0.03)  # no mass is an ellipse
        bumps += height * np.cos(lobes * _DIRECTIONS + rng.uniform(0, 2 * np.pi))
    if findings["margin"] == "microlobulated":
        lobes = int(rng.integers(9, 14))
        bumps += 0.2 * (np.abs(np.cos(lobes * _DIRECTIONS / 2 + rng.uniform(0, np.pi))) - 0.6)
    if findings["margin"] == "angular":
        for corner in rng.uniform(0, 2 * np.pi) + np.array([0, 1.3, 2.9, 4.2]) + rng.uniform(-0.3, 0.3, 4):
            bumps += rng.uniform(0.3, 0.55) * np.exp(-np.abs(_turned(_DIRECTIONS - float(corner))) / 0.18)
    return bumps


def _turned(angle: Array) -> Array:
    """The same direction between -π and π."""
    return (angle + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)


def _with_mass(tissue: Array, mass: Mass, findings: Mapping[str, str], rng: np.random.Generator) -> Array:
    """The tissue in dB with the mass in its place."""
    level = {"anechoic": -40, "hypoechoic": -18, "heterogeneous": -16, "isoechoic": -10}[findings["echo"]]
    contrast = 7.0 if findings["echo"] == "heterogeneous" else 1.5
    inside = level + rng.normal(0, 2) + contrast * _textures(rng, 3, 4)[0]

    softness = {"circumscribed": 1.0, "indistinct": 5.0}.get(findings["margin"], 1.5)
    echo = tissue + (inside - tissue) * _step(-mass.distance, softness)
    if findings["margin"] == "circumscribed":  # a smooth wall throws the beam back above and below
        echo += rng.uniform(3, 9) * _line(mass.distance, 1.3) * np.abs(np.sin(mass.angle))
    if findings["margin"] == "spiculated":
        echo += _spicules(mass, rng)
    return echo


def _spicules(mass: Mass, rng: np.random.Generator) -> Array:
    """Dark lines, each beside a bright one, running out of the outline, in dB."""
    outward = np.maximum(mass.distance, 0)
    radius = mass.half_width + outward
    count = int(rng.integers(9, 14))
    spicules = np.zeros_like(mass.distance)
    for spoke in range(count):
        direction = (spoke + rng.uniform(-0.35, 0.35)) * 2 * np.pi / count
        beside = _turned(mass.angle - direction) * radius  # pixels off the line
        spicules += _line(outward, rng.uniform(10, 20)) * (7 * _line(beside - 2.6, 1.5) - 18 * _line(beside, 1.4))
    return spicules * (mass.distance > -3)


def _behind(mass: Mass, posterior: str, rng: np.random.Generator) -> Array:
    """Gain or loss in dB below the mass."""
    strength, side = rng.uniform(9, 15), rng.choice([-1, 1])
    depth = _ROWS - mass.bottom
    off = (_COLUMNS - mass.column) / mass.half_width
    gain = {
        "none": np.zeros_like(off),
        "enhancement": np.ones_like(off),
        "shadowing": np.full_like(off, -1.6),
        "combined": np.where(off * side > 0, 1, -1.6).astype(np.float32),
    }[posterior]
    band = np.exp(-((off / 0.8) ** 4))
    return strength * gain * band * _step(depth, 5) * np.exp(-np.maximum(depth, 0) / 60)


def _fading(rng: np.random.Generator) -> Array:
    """Loss in dB with depth, uneven across the probe because of poor contact."""
    depth = np.maximum(_ROWS, 0) / SIZE
    return _wave(rng, 1.5, 8) * depth - rng.uniform(6, 18) * depth**2


# ---------------------------------------------------------------- the machine


def _scan(echo: Array, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Echogenicity in dB → the displayed image: speckle, compounding, log compression, gain."""
    strength = 10 ** (echo / 20)
    along, across = 0.7, rng.uniform(1.0, 1.5)  # point spread in pixels
    looks = [np.abs(_blur(strength * _white(rng), along, across)) for _ in range(2)]
    decibels = 20 * np.log10(sum(looks) / len(looks) + 1e-3)
    shown = (decibels + rng.uniform(28, 40)) / rng.uniform(48, 62)
    return np.rint(255 * np.clip(shown, 0, 1)).astype(np.uint8)
