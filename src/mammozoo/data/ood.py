"""Out-of-distribution check: sixteen statistics of an image, compared with those of the training images.

The statistics are of the image, not of the network. Size, depth and colour are compared by ranges, brightness and texture by
the Mahalanobis distance from the training images. Lee et al. (NeurIPS 2018) use that distance on a network's features; on
image statistics it can name in words what differs. It does not know anatomy: an image that looks alike passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic
from PIL import Image
from pydantic import Field

from mammozoo.data.io.images import to_channels

#: The features, in order. Sides and their ratio are base-2 logarithms; brightness is in [0, 1] as in the model's input;
#: shares are square roots and textures base-2 logarithms, both to make them less skewed.
NAMES = (
    "short side", "long side", "width to height", "bits", "colour",
    "mean", "spread", "dark share", "bright share", "border minus centre", "top minus bottom", "left minus right",
    "detail down", "detail across", "coarse texture", "flat share",
)  # fmt: skip
#: Fewest images for a profile.
MIN_IMAGES = 20
#: Shortest side, in pixels, below which an image is tiny for any model.
TINY = 32

_SHORT, _LONG, _ASPECT, _BITS, _COLOUR = range(5)
_LOOK = slice(5, None)  # brightness and texture: the features of the distance
_MEAN, _SPREAD, _DARK, _BRIGHT, _BORDER, _TOP, _LEFT, _DOWN, _ACROSS, _COARSE, _FLAT = range(11)
_TRAITS = {  # words for a feature below and above the range of the training images
    _MEAN: ("darker", "brighter"),
    _SPREAD: ("less contrast", "more contrast"),
    _DARK: ("less black", "more black"),
    _BRIGHT: ("less white", "more white"),
    _BORDER: ("darker towards the border", "brighter towards the border"),
    _TOP: ("darker above than below", "brighter above than below"),
    _LEFT: ("darker on the left", "brighter on the left"),
    _DOWN: ("less fine detail", "more fine detail"),
    _ACROSS: ("less fine detail", "more fine detail"),
    _COARSE: ("fewer large structures", "stronger large structures"),
    _FLAT: ("fewer flat areas", "more flat areas"),
}
_SIDE = 128  # of the thumbnail, in pixels
# The limit is this quantile of the distances of held-out training images, times the margin.
_QUANTILE, _MARGIN = 0.995, 1.1
_CLEARER = 0.8  # an image looks inverted if its negative is nearer by this factor

Features = npt.NDArray[np.float32]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Numbers = tuple[Number, ...]
#: A feature; sides are logarithms, and 2 to their power has to be a number.
Feature = Annotated[float, Field(ge=-64, le=64)]


class Profile(pydantic.BaseModel):
    """A summary of the training images of a model.

    `low` and `high` are the smallest and largest value of each feature (`NAMES`), `mean` and `scale` are of brightness and
    texture, all but the first five.
    """

    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True)

    images: Annotated[int, Field(ge=1)]
    low: Annotated[tuple[Feature, ...], Field(min_length=16, max_length=16)]
    high: Annotated[tuple[Feature, ...], Field(min_length=16, max_length=16)]
    mean: Annotated[tuple[Feature, ...], Field(min_length=11, max_length=11)]
    scale: Annotated[tuple[Annotated[float, Field(ge=1e-6, le=64)], ...], Field(min_length=11, max_length=11)]
    factor: tuple[Numbers, ...]  # lower triangle L of the standardised features' precision matrix L Lᵀ, by rows
    limit: Annotated[float, Field(gt=0, le=1e9)]  # Mahalanobis distance above which an image is out of distribution
    polarity: bool  # whether an image of this kind differs from its negative

    @pydantic.field_validator("factor")
    @classmethod
    def _triangular(cls, rows: tuple[Numbers, ...]) -> tuple[Numbers, ...]:
        if [len(row) for row in rows] != list(range(1, 12)):
            raise ValueError("`factor` needs rows of 1 to 11 numbers")
        return rows

    def distance(self, features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
        """(N, 16) or (16,) features → (N,) or () Mahalanobis distances of brightness and texture from the training images."""
        factor = np.zeros((len(self.factor), len(self.factor)))
        for number, row in enumerate(self.factor):
            factor[number, : len(row)] = row
        z = (np.asarray(features, np.float64)[..., _LOOK] - self.mean) / self.scale
        return np.asarray(np.linalg.norm(z @ factor, axis=-1))

    def warnings(self, features: Features) -> list[str]:
        """In words, why an image with these (16,) features is out of distribution; empty if it is not."""
        warnings = [*self._of_the_file(features)]
        distance, negative = float(self.distance(features)), float(self.distance(_negative(features)))
        if self.polarity and negative < _CLEARER * distance and negative <= self.limit:
            distances = f"distance {negative:.1f}, its own {distance:.1f}"
            warnings.append(f"looks inverted: its negative fits the training images better ({distances})")
        elif distance > self.limit:
            distances = f"distance {distance:.1f}, limit {self.limit:.1f}"
            warnings.append(f"unlike the training images: {self._traits(features)} ({distances})")
        return warnings

    def _of_the_file(self, features: Features) -> Iterator[str]:
        """Size, depth, colour. A side may be half the smallest or four times the largest, the ratio of sides 1.4 times beyond."""
        size, low, high = _pixels(features), self.low, self.high
        sides = f"({size}; training {2 ** low[_SHORT]:.0f} to {2 ** high[_LONG]:.0f} pixels a side)"
        if features[_SHORT] < low[_SHORT] - 1 or features[_LONG] < low[_LONG] - 1:
            yield f"much smaller than any training image {sides}"
        elif features[_LONG] > high[_LONG] + 2:
            yield f"much larger than any training image {sides}"
        elif features[_ASPECT] < low[_ASPECT] - 0.5:
            yield f"much narrower than any training image ({size})"
        elif features[_ASPECT] > high[_ASPECT] + 0.5:
            yield f"much wider than any training image ({size})"
        if features[_BITS] > 8 >= high[_BITS]:
            yield f"{features[_BITS]:.0f}-bit values; the model was trained on 8-bit images"
        elif features[_BITS] <= 8 < low[_BITS]:
            yield f"8-bit values; the model was trained on images of {low[_BITS]:.0f} bits and more"
        share, least, most = float(features[_COLOUR]), low[_COLOUR], high[_COLOUR]
        hue = f"{share:.0%} of its pixels have a hue; the model was trained on"
        if share > max(2 * most, 0.05):
            yield f"in colour: {hue} {'grey' if most < 0.05 else 'less coloured'} images"
        elif share < least / 2 and least > 0.05:
            yield f"grey: {hue} images with {least:.0%} and more"

    def _traits(self, features: Features) -> str:
        """Features outside the range of the training images, farthest first; three at most."""
        look, low, high = features[_LOOK], np.array(self.low[_LOOK]), np.array(self.high[_LOOK])
        excess = np.maximum(low - look, look - high) / self.scale
        words = [_TRAITS[i][int(look[i] > high[i])] for i in np.argsort(-excess) if excess[i] > 0]
        return ", ".join(list(dict.fromkeys(words))[:3]) or "brightness and texture in an unknown combination"


def features(image: npt.NDArray[Any]) -> Features:
    """(16,) float32 features (`NAMES`) of an image as read: (H, W) or (H, W, 3), any depth. About 1 ms."""
    height, width = image.shape[:2]
    bits, thumbnail = _thumbnail(image)
    # Beyond the chroma noise of JPEG.
    colour = float((np.ptp(thumbnail, axis=2) > 16 / 255).mean()) if thumbnail.ndim == 3 else 0.0
    facts = [np.log2(min(height, width)), np.log2(max(height, width)), np.log2(width / height), bits, colour]
    return np.array([*facts, *_look(to_channels(thumbnail, 1)[..., 0])], np.float32)


def fit_profile(features: npt.NDArray[np.floating[Any]]) -> Profile | None:
    """The profile of training (and validation) images from their (N, 16) features; None below `MIN_IMAGES`.

    The limit comes from images held out of the fit, a fifth at a time: in a small set one that took part is always near.
    """
    if len(features) < MIN_IMAGES:
        return None
    values = np.asarray(features, np.float64)
    part = np.random.default_rng(0).permutation(len(values)) % 5
    held_out = np.concatenate([_fit(values[part != k], 1.0).distance(values[part == k]) for k in range(5)])
    profile = _fit(values, float(np.quantile(held_out, _QUANTILE)) * _MARGIN)
    inverted = profile.distance(_negative(values)) < _CLEARER * profile.distance(values)
    return profile.model_copy(update={"polarity": bool(inverted.mean() <= 0.01)})


def nothing_to_see(features: Features) -> str | None:
    """In words, that an image with these (16,) features is constant or nearly empty; None if it is not."""
    if features[_LOOK][_SPREAD] < 0.01:
        return f"constant or nearly so: there is nothing to see in its {_pixels(features)}"
    if features[_LOOK][_FLAT] > np.sqrt(0.98):
        return f"nearly empty: 98% or more of its {_pixels(features)} are without structure"
    return None


def ood_warnings(features: Features, profile: Profile | None) -> list[str]:
    """In words, why an image with these (16,) features is out of distribution, shows nothing or is tiny; empty if it is not.

    What shows nothing and tiny images are recognised without a profile.
    """
    if (empty := nothing_to_see(features)) is not None:
        return [empty]
    warnings = profile.warnings(features) if profile is not None else []
    if features[_SHORT] < np.log2(TINY) and not any("smaller" in text for text in warnings):
        warnings.append(f"tiny ({_pixels(features)})")
    return warnings


def _thumbnail(image: npt.NDArray[Any]) -> tuple[int, Features]:
    """(bits a value, the image as 128 x 128 averages in [0, 1]); deeper images are stretched, as in the model's input."""
    if image.dtype == np.uint8:
        return 8, _reduced(image) / np.float32(255)
    low, high = float(image.min()), float(image.max())
    bits = int(np.clip(np.ceil(np.log2(high + 1)), 9, 16)) if np.issubdtype(image.dtype, np.integer) else 32
    return bits, (_reduced(image.astype(np.float32)) - np.float32(low)) / np.float32(high - low if high > low else 1)


def _reduced(image: npt.NDArray[Any]) -> Features:
    if image.ndim == 3 and image.dtype != np.uint8:  # Pillow has no colour deeper than 8 bits
        return np.stack([_reduced(np.ascontiguousarray(channel)) for channel in np.moveaxis(image, 2, 0)], axis=2)
    small = Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2)
    return np.asarray(small, np.float32)


def _look(grey: Features) -> Sequence[float]:
    """The eleven features of brightness and texture of a (128, 128) image in [0, 1]."""
    down, across = np.diff(grey, axis=0), np.diff(grey, axis=1)
    blocks = grey.reshape(16, 8, 16, 8).mean(axis=(1, 3))
    steps = [np.square(np.diff(blocks, axis=axis)).mean() for axis in (0, 1)]
    flat = np.maximum(np.abs(down[:, 1:]), np.abs(across[1:])) < 1.5 / 255
    half, edge = _SIDE // 2, _SIDE // 8
    inner = grey[edge:-edge, edge:-edge]
    border = (grey.sum() - inner.sum()) / (grey.size - inner.size)
    return [
        grey.mean(),
        grey.std(),
        np.sqrt((grey < 0.1).mean()),
        np.sqrt((grey > 0.9).mean()),
        border - grey[half // 2 : -half // 2, half // 2 : -half // 2].mean(),
        grey[:half].mean() - grey[half:].mean(),
        grey[:, :half].mean() - grey[:, half:].mean(),
        np.log2(np.sqrt(np.square(down).mean()) + 1e-3),
        np.log2(np.sqrt(np.square(across).mean()) + 1e-3),
        np.log2(np.sqrt(sum(steps)) + 1e-3),
        np.sqrt(flat.mean()),
    ]


def _negative(features: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The features, (N, 16) or (16,), of the same images with black and white exchanged."""
    turned = features.copy()
    look, before = turned[..., _LOOK], features[..., _LOOK]
    look[..., _MEAN] = 1 - before[..., _MEAN]
    look[..., _DARK], look[..., _BRIGHT] = before[..., _BRIGHT], before[..., _DARK]
    for signed in (_BORDER, _TOP, _LEFT):
        look[..., signed] = -before[..., signed]
    return turned


def _fit(features: npt.NDArray[np.float64], limit: float) -> Profile:
    from sklearn.covariance import LedoitWolf  # here, because `predict` only reads profiles

    look = features[:, _LOOK]
    scale = np.maximum(look.std(axis=0), 0.01)  # a feature that is constant in training may still differ a little
    covariance = LedoitWolf().fit((look - look.mean(axis=0)) / scale)
    factor = np.linalg.cholesky(covariance.get_precision())
    return Profile(
        images=len(features),
        low=_rounded(features.min(axis=0)),
        high=_rounded(features.max(axis=0)),
        mean=_rounded(look.mean(axis=0)),
        scale=_rounded(scale),
        factor=tuple(_rounded(row[: number + 1]) for number, row in enumerate(factor)),
        limit=round(limit, 3),
        polarity=True,
    )


def _rounded(values: npt.NDArray[np.floating[Any]]) -> Numbers:
    return tuple(round(float(value), 4) for value in values)


def _pixels(features: Features) -> str:
    short, long = (f"{2 ** float(features[place]):.0f}" for place in (_SHORT, _LONG))
    return f"{short} x {long} pixels" if features[_ASPECT] < 0 else f"{long} x {short} pixels"
