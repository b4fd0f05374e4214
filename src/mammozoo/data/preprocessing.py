"""What a model sees: the one description of its input, used in training and in prediction alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from PIL import Image, ImageOps

from mammozoo.config.names import call, parse
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.io.regions import Box, Region
from mammozoo.data.transforms import Transform, build
from mammozoo.errors import UsageError

#: The one step of `preprocess` that knows where the lesion is; its options are those of `Region`.
LESION = "lesion"

Pixels = npt.NDArray[np.uint8]
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Prepare(Protocol):
    """From an image as read, (H, W) or (H, W, 3) of any depth, and its lesion's box, to (h, w, 1 or 3) uint8."""

    def __call__(self, image: npt.NDArray[Any], box: Box | None = None) -> Pixels:
        """Without a box, the step `lesion` leaves the image as it is: it is taken to be cut out already."""
        ...


class Input(pydantic.BaseModel):
    """How an image becomes a network's input.

    Attributes:
        size: (height, width) in pixels.
        channels: of the network's first layer; grey images are copied into all of them.
        mean, std: of each channel, for pixels in [0, 1].
        color: `grey` drops colour (overlays in ultrasound say nothing of tissue), `rgb` keeps it (microscopy).
        fit: `stretch` changes the aspect ratio, `pad` adds black, `crop` cuts the longer side.
        preprocess: names of the transforms applied to the 8-bit image at full resolution, in order; `lesion` among them
            cuts out the lesion's surroundings. An image deeper than 8 bits is stretched from its own minimum to its
            maximum before the first step, so every step gets uint8.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    channels: int = 3
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    color: Literal["grey", "rgb"] = "grey"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    preprocess: tuple[str, ...] = ()

    @property
    def region(self) -> Region | None:
        """What is cut out around a lesion; None for an input of whole images.

        Raises:
            UsageError: an option that the step does not have, or a second such step.
        """
        found = [step for step in map(parse, self.preprocess) if step.name == LESION]
        if len(found) > 1:
            raise UsageError("`preprocess` names the step 'lesion' twice; a lesion is cut out once.")
        region: Region | None = call(Region, found[0]) if found else None
        return region

    def preparer(self) -> Prepare:
        """A function from an image and its lesion's box to the pixels of `size`.

        Threads may share it: each has steps of its own, since OpenCV's CLAHE, for one, keeps buffers from call to call.

        Raises:
            NotFoundError, UsageError: a wrong name or option in `preprocess`. The function itself raises UsageError for a
                box outside the image, and where a step before `lesion` changed the image's shape.
        """
        self._steps()  # a name that is wrong is refused here
        own = threading.local()

        def prepare(image: npt.NDArray[Any], box: Box | None = None) -> Pixels:
            if not hasattr(own, "steps"):
                own.steps = self._steps()
            pixels = to_uint8(to_channels(image, 1 if self.color == "grey" else 3))
            return _resized(_through(own.steps, pixels, box), self)

        return prepare

    def fit_mask(self, mask: npt.NDArray[np.bool_], box: Box | None = None) -> npt.NDArray[np.bool_]:
        """A lesion mask (H, W), fitted as its image is, to `size` as (h, w) booleans: nearest pixel, and padding is outside.

        `lesion` cuts it as it cuts the image. Of the other steps it passes those that change the shape of what they get (a
        resize, a centre crop), and half a pixel in the lesion counts as inside; the others change grey levels alone.
        """
        pixels = mask.astype(np.uint8)[..., None] * 255
        for step in self._steps():
            pixels = _moved(step, pixels, mask.shape, box)
        stored = Image.fromarray(np.where(pixels[..., 0] > 127, 255, 0).astype(np.uint8))
        return np.asarray(_fitted(stored, self, Image.Resampling.NEAREST)) > 0

    def _steps(self) -> list[Transform | Region]:
        region = self.region
        return [region if region and parse(name).name == LESION else build(name) for name in self.preprocess]

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, h, w, 1 or 3) uint8 → (N, channels, h, w) float32, channels last, on the same device."""
        x = pixels.permute(0, 3, 1, 2).float().div_(255.0)
        mean = torch.tensor(self.mean, device=x.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=x.device).view(1, -1, 1, 1)
        if x.shape[1] != self.channels:
            x = x.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _through(steps: Sequence[Transform | Region], pixels: Pixels, box: Box | None) -> Pixels:
    """(H, W, C) through all steps; without a box past the one that cuts."""
    shape = pixels.shape
    for step in steps:
        if not isinstance(step, Region):
            pixels = step(pixels, np.random.default_rng(0))
        elif box is not None:
            pixels = _cut(step, pixels, shape, box)
    return pixels


def _moved(step: Transform | Region, pixels: Pixels, shape: tuple[int, ...], box: Box | None) -> Pixels:
    """A mask (H, W, 1) of 0 and 255 after a step that moves pixels, and as it was after one that does not."""
    if isinstance(step, Region):
        return pixels if box is None else _cut(step, pixels, shape, box)
    moved = step(pixels, np.random.default_rng(0))
    return pixels if moved.shape == pixels.shape else moved


def _cut(region: Region, pixels: Pixels, shape: tuple[int, ...], box: Box) -> Pixels:
    """What `region` cuts out; `shape` is that of the image in whose pixels the box is."""
    if pixels.shape[:2] != shape[:2]:
        raise UsageError(
            "`preprocess`: a step before 'lesion' changed the image's shape, and the lesion's box is in pixels of the image as "
            "stored. Put 'lesion' first, and such a step after it."
        )
    return region.cut(pixels, box)


def _resized(pixels: Pixels, input: Input) -> Pixels:
    """Bilinear with anti-aliasing: Pillow averages over the whole footprint when it makes an image smaller."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    array = np.asarray(_fitted(image, input, Image.Resampling.BILINEAR), dtype=np.uint8)
    return array[..., None] if array.ndim == 2 else array


def _fitted(image: Image.Image, input: Input, how: Image.Resampling) -> Image.Image:
    height, width = input.size
    if input.fit == "stretch":
        return image.resize((width, height), how)
    if input.fit == "pad":
        return ImageOps.pad(image, (width, height), how)
    return ImageOps.fit(image, (width, height), how)
