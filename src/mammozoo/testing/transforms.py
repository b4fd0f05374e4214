"""What a transform promises: the shape and type of an image, and the same result for the same generator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.transforms import TransformSpec
from mammozoo.testing.check import Rule, Subject, rule
from mammozoo.testing.common import build, has_name_and_summary, options_have_types

TransformSubject = Subject[TransformSpec]
Pixels = npt.NDArray[Any]


@rule()
def form_is_kept(subject: TransformSubject) -> None:
    """(H, W, 1) and (H, W, 3) uint8 images keep their form, also if they are constant.

    The next transform expects what this one got. Return (H, W, 1) or (H, W, 3) uint8, with the channels that came in.
    """
    for pixels in [*_images(), np.full((40, 48, 3), 90, np.uint8)]:
        result = _applied(subject, pixels)
        assert result.dtype == np.uint8, f"uint8 becomes {result.dtype}."
        assert result.ndim == 3 and result.shape[2] == pixels.shape[2] and result.size, (
            f"{pixels.shape} becomes {result.shape}."
        )


@rule(form_is_kept)
def same_generator_same_result(subject: TransformSubject) -> None:
    """Two generators of one seed give the same pixels, also in a transform built anew.

    A prediction must be the same today and tomorrow, and a training from one seed too. Draw from the generator that you are given
    and from nothing else.
    """
    transform = build(subject, subject.value.build)
    for pixels in _images():
        results = [transform(pixels.copy(), np.random.default_rng(5)) for _ in range(2)] + [_applied(subject, pixels)]
        assert all(np.array_equal(results[0], other) for other in results), (
            f"One image of {pixels.shape} gives two results from one seed."
        )


@rule(form_is_kept)
def fixed_unless_random(subject: TransformSubject) -> None:
    """If `random` is False, generators of different seeds give the same pixels.

    Preprocessing is done alike in training and prediction; only `random` transforms may vary. Set random=True, and use it as an
    augmentation alone.
    """
    for pixels in _images():
        assert subject.value.random or np.array_equal(_applied(subject, pixels), _applied(subject, pixels, seed=6)), (
            "`random` is False, and the result depends on the generator."
        )


@rule(form_is_kept)
def leaves_its_input_alone(subject: TransformSubject) -> None:
    """The pixels that were given are as before.

    Images are cached and used again in the next epoch. Copy before you change, or return a new array.
    """
    transform = build(subject, subject.value.build)
    for pixels in _images():
        given = pixels.copy()
        for seed in range(5):  # a random one may leave an image as it is
            transform(given, np.random.default_rng(seed))
        assert np.array_equal(given, pixels), "It changes the image that it is given."


RULES: list[Rule[TransformSpec]] = [
    has_name_and_summary, options_have_types, form_is_kept, same_generator_same_result, fixed_unless_random,
    leaves_its_input_alone,
]  # fmt: skip


def _applied(subject: TransformSubject, pixels: Pixels, seed: int = 5) -> Pixels:
    """What a transform built anew makes of a copy of the image."""
    return build(subject, subject.value.build)(pixels.copy(), np.random.default_rng(seed))


def _images() -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 48, channels)).astype(np.uint8) for channels in (1, 3)]
