"""The input of a model: one description of its preprocessing, used in training and in prediction alike."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pydantic
from PIL import Image, ImageOps
from pydantic import Field

from mammozoo.config.names import call, parse
from mammozoo.data.io.images import to_channels, to_uint8
from mammozoo.data.io.regions import Box, Region, Window
from mammozoo.data.transforms import Transform, build
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    import torch

#: The one step of `preprocess` that uses the lesion's box; its options are those of `Region`.
LESION = "lesion"

Pixels = npt.NDArray[np.uint8]
Side = Annotated[int, Field(ge=1, le=4096)]
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Prepare(Protocol):
    """From an image as read, (H, W) or (H, W, 3) of any depth, and its lesion's box, to (h, w, 1 or 3) uint8."""

    def __call__(self, image: npt.NDArray[Any], box: Box | None = None) -> Pixels:
        """Without a box, the step `lesion` leaves the image as it is: it counts as cropped already."""
        ...


class Input(pydantic.BaseModel):
    """How an image becomes a network's input.

    Attributes:
        size: (height, width) in pixels, at most 4096.
        channels: of the network's first layer; grey images are copied into all of them.
        mean, std: of each channel, for pixels in [0, 1].
        color: `grey` drops colour (overlays in ultrasound say nothing about tissue), `rgb` keeps it (microscopy).
        fit: `stretch` changes the aspect ratio, `pad` adds black, `crop` crops the longer side.
        preprocess: names of the transforms applied to the 8-bit image at full resolution, in order; the step `lesion`
            crops the lesion's surroundings. An image deeper than 8 bits is stretched from its own minimum to its
            maximum before the first step, so every step gets uint8.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    size: tuple[Side, Side]
    channels: Annotated[int, Field(ge=1, le=64)] = 3
    mean: tuple[Annotated[float, Field(ge=-1e4, le=1e4)], ...] = _IMAGENET_MEAN
    std: tuple[Annotated[float, Field(ge=1e-4, le=1e4)], ...] = _IMAGENET_STD
    color: Literal["grey", "rgb"] = "grey"
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    preprocess: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(f"`{name}` has {len(values)} numbers for {self.channels} channels")
        return self

    @property
    def region(self) -> Region | None:
        """The crop around a lesion; None for an input of whole images.

        Raises:
            UsageError: an option that the step does not have, or a second such step.
        """
        steps = [step for step in map(parse, self.preprocess) if step.name == LESION]
        if len(steps) > 1:
            raise UsageError("`preprocess` names the step 'lesion' twice; a lesion is cropped once.")
        region: Region | None = call(Region, steps[0]) if steps else None
        return region

    def preparer(self) -> Prepare:
        """A function from an image and its lesion's box to the pixels of `size`.

        Threads may share it: each thread builds its own steps, because some keep buffers between calls (OpenCV's CLAHE).

        Raises:
            NotFoundError, UsageError: a wrong name or option in `preprocess`. The function itself raises UsageError for a
                box outside the image, and if a step before `lesion` changed the image's shape.
        """
        self._steps()  # refuses a wrong name before the first image
        local = threading.local()

        def prepare(image: npt.NDArray[Any], box: Box | None = None) -> Pixels:
            if not hasattr(local, "steps"):
                local.steps = self._steps()
            if image.ndim == 2 and not _takes_depth(local.steps[:1]):
                image = to_uint8(image)  # before its channels are copied
            pixels, _ = apply_steps(local.steps, to_channels(image, 1 if self.color == "grey" else 3), box)
            # Pillow averages over the whole footprint when it makes an image smaller: bilinear with anti-aliasing.
            stored = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            fitted = np.asarray(self._fitted(stored, Image.Resampling.BILINEAR), dtype=np.uint8)
            return fitted[..., None] if fitted.ndim == 2 else fitted

        return prepare

    def fit_mask(
        self, mask: npt.NDArray[np.bool_], box: Box | None = None, image: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[np.bool_]:
        """A lesion mask (H, W), fitted as its image is, to `size` as (h, w) booleans: nearest pixel, and padding is outside.

        The step `lesion` crops it as it crops the image, and one that crops by content, such as `breast`, as it crops `image`. Of
        the other steps, those that change the shape of an image apply (a resize, a centre crop), and half a pixel in the lesion
        counts as inside; the others change grey levels only.

        Raises:
            UsageError: a step crops by content, and there is no `image`.
        """
        steps, pixels = self._steps(), mask.astype(np.uint8)[..., None] * 255
        shown = pixels
        if any(hasattr(step, "sight") for step in steps):
            if image is None:
                raise UsageError(
                    "`preprocess` crops by content: a mask is cropped as its image is, so give the image too."
                )
            shown = to_channels(image, 1 if self.color == "grey" else 3)
        _, fitted = apply_steps(steps, shown, box, pixels)
        assert fitted is not None
        stored = Image.fromarray(np.where(fitted[..., 0] > 127, 255, 0).astype(np.uint8))
        return np.asarray(self._fitted(stored, Image.Resampling.NEAREST)) > 0

    def cropped(self, image: npt.NDArray[Any], box: Box | None = None) -> npt.NDArray[Any]:
        """The part of an image as stored that the crops among the steps leave: `lesion`, if there is a box, and `breast`."""
        for step in self._steps():
            if isinstance(step, Region):
                image = image if box is None else step.crop(image, box)
            elif hasattr(step, "sight"):
                window: Window = step.sight(image if image.ndim == 3 else image[..., None])
                image, box = window.cut(image), box and window.moved(box)
        return image

    def _steps(self) -> list[Transform | Region]:
        region = self.region
        return [region if region and parse(name).name == LESION else build(name) for name in self.preprocess]

    def _fitted(self, image: Image.Image, how: Image.Resampling) -> Image.Image:
        height, width = self.size
        if self.fit == "stretch":
            return image.resize((width, height), how)
        return (ImageOps.pad if self.fit == "pad" else ImageOps.fit)(image, (width, height), how)

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, h, w, 1 or 3) uint8, or float32 in [0, 255] → (N, channels, h, w) float32, channels last, on the same device."""
        import torch  # here: `zoo list`, `cite` and `data check` need inputs, and none of what this takes seconds for

        x = pixels.permute(0, 3, 1, 2)
        x = x / 255.0 if x.is_floating_point() else x.float().div_(255.0)
        mean, std = (_of_channels(values, x) for values in (self.mean, self.std))
        if x.shape[1] != self.channels:
            x = x.mean(1, keepdim=True).expand(-1, self.channels, -1, -1)
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def _of_channels(values: tuple[float, ...], x: torch.Tensor) -> torch.Tensor:
    """(1, C, 1, 1) on x's device, filled there: a copy from the processor would wait for all that a card has to do."""
    import torch

    return torch.cat([x.new_full((1, 1, 1, 1), value) for value in values], dim=1)


def _takes_depth(steps: Sequence[Transform | Region]) -> bool:
    """Whether all steps take pixels of any depth; the others take 8 bits."""
    return bool(steps) and all(getattr(step, "deep", False) for step in steps)


def apply_steps(
    steps: Sequence[Transform | Region], pixels: npt.NDArray[Any], box: Box | None, mask: Pixels | None = None
) -> tuple[Pixels, Pixels | None]:
    """(H, W, C) of any depth, and its mask (H, W, 1) in 0 to 255, after all steps. Without a box the step `lesion` is left out.

    Raises:
        UsageError: a step before `lesion` changed the image's shape, or left nothing of the lesion.
    """
    shape = pixels.shape[:2]
    for step in steps:
        pixels = pixels if _takes_depth([step]) else to_uint8(pixels)
        if isinstance(step, Region):
            if box is not None:
                if pixels.shape[:2] != shape:
                    raise UsageError(
                        "`preprocess`: a step before 'lesion' changed the image's shape, and the lesion's box is in pixels of "
                        "the image as stored. Put 'lesion' first, and such a step after it."
                    )
                pixels, mask = step.crop(pixels, box), None if mask is None else step.crop(mask, box)
            continue
        changed = step(pixels, _unused())
        if hasattr(step, "sight"):
            if box is not None or mask is not None:
                window: Window = step.sight(pixels)
                box, mask = box and window.moved(box), None if mask is None else window.cut(mask)
            shape = changed.shape[:2]
        elif mask is not None and changed.shape[:2] != pixels.shape[:2]:
            mask = step(mask, _unused())
        pixels = changed
    return to_uint8(pixels), mask


def _unused() -> np.random.Generator:
    return np.random.default_rng(0)
