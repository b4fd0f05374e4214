"""`preprocessor_config.json` as mammozoo's `Input`: the same pixels as transformers' own image processor makes.

Scaling and normalisation are mammozoo's; resizing and cropping are a step of `preprocess`, by the functions that transformers
calls.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from mammozoo import Input, TransformSpec
from mammozoo.data.transforms import Transform
from mammozoo.errors import IncompatibleError
from pydantic import Field

Side = Annotated[int, Field(ge=0, le=4096)]
Resample = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
_RESAMPLE: tuple[Resample, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers


def resize(
    height: Side = 224, width: Side = 224, shortest: Side = 0, crop: Side = 0, resample: Resample = "bilinear"
) -> Transform:
    """Resize as transformers does; not random.

    Args:
        shortest: 0 to stretch to `height` × `width`; else the shorter side's length, and the aspect ratio stays.
        crop: side of the square in the middle that is cut out afterwards; 0 for no crop.
    """
    from torchvision.transforms.v2 import functional as tv  # type: ignore[import-untyped]

    how = tv.InterpolationMode(resample)

    def apply(pixels: npt.NDArray[Any], rng: np.random.Generator) -> npt.NDArray[Any]:
        image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, 2, 0)))
        image = tv.resize(image, [shortest] if shortest else [height, width], interpolation=how, antialias=True)
        if crop:
            top, left = (int((side - crop) / 2) for side in image.shape[1:])
            image = image[:, top : top + crop, left : left + crop]
        return np.moveaxis(image.numpy(), 0, 2)

    return apply


RESIZE = TransformSpec("transformers-resize", "resize and crop as transformers' image processors do", resize)


def input_of(folder: Path) -> Input:
    """What the image processor of the model in `folder` does, as an `Input`.

    Raises:
        IncompatibleError: there is none, or it does what cannot be said this way.
    """
    from transformers import AutoImageProcessor
    from transformers.image_processing_backends import TorchvisionBackend

    try:
        its: Any = AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, backend="torchvision"
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise IncompatibleError(f"The image processor in '{folder}' cannot be read: {first(error)}.") from error
    kind, size = type(its), dict(its.size or {})
    scale = float(its.rescale_factor) if its.do_rescale else 1.0
    mean, std = (its.image_mean, its.image_std) if its.do_normalize else ((0.0,) * 3, (1.0,) * 3)
    plain = kind._preprocess is TorchvisionBackend._preprocess and kind.resize is TorchvisionBackend.resize
    step: dict[str, Any] = {}
    if kind.__name__.startswith("ConvNextImageProcessor") and {*size} == {"shortest_edge"}:
        side = size["shortest_edge"]
        step = {"height": side, "width": side}
        if side < 384:
            step = {"shortest": int(side / its.crop_pct), "crop": side}
    elif plain and {*size} == {"height", "width"}:
        step = size
    elif plain and {*size} == {"shortest_edge"} and its.do_center_crop:
        step = {"shortest": size["shortest_edge"]}
    if plain and its.do_center_crop and its.crop_size:
        step["crop"] = its.crop_size["height"]
    sides = (step["crop"],) * 2 if "crop" in step else (step.get("height", 0), step.get("width", 0))
    smallest = step.get("shortest") or min(step.get("height", 0), step.get("width", 0))
    square = "crop" not in step or not plain or its.crop_size["height"] == its.crop_size["width"]
    if not (its.do_resize and step and square) or smallest < step.get("crop", 0) or getattr(its, "do_pad", False):
        raise IncompatibleError(
            f"'{folder}': its {kind.__name__} prepares images in a way that mammozoo cannot say. It takes a resize to height and "
            "width, or of the shortest edge, and a square crop from the middle."
        )
    step["resample"] = _RESAMPLE[int(its.resample)]
    written = ",".join(f"{key}={value}" for key, value in step.items())
    by = 255.0 * scale
    return Input(
        size=sides, channels=3, color="rgb", preprocess=(f"{RESIZE.name}:{written}",),
        mean=tuple(value / by for value in mean), std=tuple(value / by for value in std),
    )  # fmt: skip


def first(error: Exception) -> str:
    """The first line of an error."""
    return f"{error}".strip().partition("\n")[0].rstrip(".")
