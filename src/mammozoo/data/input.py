"""What a model sees: the one description of its input, used in training and in prediction alike."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
import torch
from PIL import Image, ImageOps

from mammozoo.data.reading import to_channels, to_uint8
from mammozoo.data.transform import build

Pixels = npt.NDArray[np.uint8]
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Input(pydantic.BaseModel):
    """How an image becomes a network's input.

    Attributes:
        size: (height, width) in pixels.
        channels: of the network's first layer; grey images are copied into all of them.
        mean, std: of each channel, for pixels in [0, 1].
        color: `grey` drops colour (overlays in ultrasound say nothing of tissue), `rgb` keeps it (microscopy).
        fit: `stretch` changes the aspect ratio, `pad` adds black, `crop` cuts the longer side.
        preprocess: names of the transforms applied to the 8-bit image at full resolution, in order.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    channels: int = 3
    mean: tuple[float, ...] = _IMAGENET_MEAN
    std: tuple[float, ...] = _IMAGENET_STD
    color: Literal["grey", "rgb"] = "grey"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    preprocess: tuple[str, ...] = ()

    def preparer(self) -> Callable[[npt.NDArray[Any]], Pixels]:
        """A function from an image as read, (H, W) or (H, W, 3) of any depth, to `size` as (h, w, 1 or 3) uint8.

        Threads may share it: each has steps of its own, since OpenCV's CLAHE, for one, keeps buffers from call to call.
        """
        for name in self.preprocess:
            build(name)  # a name that is wrong is refused here
        own = threading.local()

        def prepare(image: npt.NDArray[Any]) -> Pixels:
            if not hasattr(own, "steps"):
                own.steps = [build(name) for name in self.preprocess]
            stored = 1 if self.color == "grey" else 3
            pixels = to_uint8(to_channels(image, stored))
            for step in own.steps:
                pixels = step(pixels, np.random.default_rng(0))
            return _resized(pixels, self)

        return prepare

    def fit_mask(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A lesion mask (H, W), fitted as its image is, to `size` as (h, w) booleans: nearest pixel, and padding is outside.

        `preprocess` is left out: a step that moves pixels would have to be applied to the mask by its own rule.
        """
        stored = Image.fromarray(mask.astype(np.uint8) * 255)
        return np.asarray(_fitted(stored, self, Image.Resampling.NEAREST)) > 0

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, h, w, 1 or 3) uint8 → (N, channels, h, w) float32, channels last, on the same device."""
        x = pixels.permute(0, 3, 1, 2).float().div_(255.0)
        mean = torch.tensor(self.mean, device=x.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=x.device).view(1, -1, 1, 1)
        if x.shape[1] != self.channels:
            x = x.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


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
