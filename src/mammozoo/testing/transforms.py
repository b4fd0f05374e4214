"""What a transform must keep: the form of an image, and the same result for the same generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import call
from mammozoo.data.transforms import Transform, TransformSpec
from mammozoo.errors import UsageError
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary, needs_options, options_have_types

TransformSubject = Subject[TransformSpec]
Pixels = npt.NDArray[Any]


@rule(
    "The next transform expects what this one got.",
    "Return (H, W, 1) or (H, W, 3) uint8, with the channels that came in.",
)
def form_is_kept(subject: TransformSubject) -> str | None:
    """(H, W, 1) and (H, W, 3) uint8 stay so; a constant image is no exception."""
    transform = built(subject)
    for pixels in [*_images(), np.full((40, 48, 3), 90, np.uint8)]:
        found = transform(pixels.copy(), np.random.default_rng(5))
        if found.dtype != np.uint8:
            return f"uint8 becomes {found.dtype}."
        if found.ndim != 3 or found.shape[2] != pixels.shape[2] or 0 in found.shape:
            return f"{pixels.shape} becomes {found.shape}."
    return None


@rule(
    "A prediction must be the same today and tomorrow, and a training from one seed too.",
    "Draw from the generator that you are given and from nothing else.",
    needs=[form_is_kept],
)
def same_generator_same_result(subject: TransformSubject) -> str | None:
    """Two generators of one seed give the same pixels, also in a transform built anew."""
    transform = built(subject)
    for pixels in _images():
        first, second = (transform(pixels.copy(), np.random.default_rng(5)) for _ in range(2))
        third = built(subject)(pixels.copy(), np.random.default_rng(5))
        if not (np.array_equal(first, second) and np.array_equal(first, third)):
            return f"One image of {pixels.shape} gives two results from one seed."
    return None


@rule(
    "Preprocessing is done alike in training and prediction; only `random` transforms may vary.",
    "Set random=True, and use it as an augmentation alone.",
    needs=[form_is_kept],
)
def fixed_unless_random(subject: TransformSubject) -> str | None:
    """Where `random` is False, generators of different seeds give the same pixels."""
    if subject.value.random:
        return None
    transform = built(subject)
    for pixels in _images():
        first, second = (transform(pixels.copy(), np.random.default_rng(seed)) for seed in (5, 6))
        if not np.array_equal(first, second):
            return "`random` is False, and the result depends on the generator."
    return None


@rule(
    "Images are cached and used again in the next epoch.",
    "Copy before you change, or return a new array.",
    needs=[form_is_kept],
)
def leaves_its_input_alone(subject: TransformSubject) -> str | None:
    """The pixels that were given are as before."""
    transform = built(subject)
    for pixels in _images():
        given = pixels.copy()
        for seed in range(5):  # some change their image now and then only
            transform(given, np.random.default_rng(seed))
        if not np.array_equal(given, pixels):
            return "It changes the image that it is given."
    return None


RULES: list[Rule[TransformSpec]] = [
    has_name_and_summary, options_have_types, form_is_kept, same_generator_same_result, fixed_unless_random,
    leaves_its_input_alone,
]  # fmt: skip


def built(subject: TransformSubject) -> Transform:
    """The transform with its options; skips where it refuses them."""
    try:
        transform: Transform = call(subject.value.build, subject.spec)
    except UsageError as error:
        raise needs_options(subject, error) from error
    return transform


def _images() -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, channels)).astype(np.uint8) for channels in (1, 3)]
