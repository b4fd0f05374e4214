"""Images for a card: kept there, so that a batch is gathered there, and augmented there as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.data.loader import batches
from mammozoo.data.preprocessing import Pixels
from mammozoo.data.transforms import Batched, Transform

_SHARE = 0.25  # of the card's free memory that images may take


class CardImages:
    """All images of a data set for one card; those that would fill it stay in memory, and a thread copies batches ahead."""

    def __init__(self, pixels: Pixels, labels: npt.NDArray[np.intp], device: torch.device):
        self.pixels, self.labels, self.device = pixels, labels, device
        self.kept: torch.Tensor | None = None
        if fits(pixels.nbytes, device):
            self.kept = torch.tensor(pixels, device=device)
        self.labels_there = torch.tensor(labels, dtype=torch.int64, device=device)

    def batches(
        self, indices: npt.NDArray[np.intp], size: int, rows: Sequence[torch.Tensor] = ()
    ) -> Iterator[tuple[torch.Tensor, ...]]:
        """(N, h, w, 1 or 3) uint8 pixels, (N,) labels, and the images' part of `rows`; all on the card."""
        there = torch.tensor(indices, dtype=torch.int64, device=self.device)
        copied = iter(()) if self.kept is not None else self._copied(indices, size)
        for start in range(0, len(indices), size):
            chunk = there[start : start + size]
            pixels = next(copied) if self.kept is None else self.kept[chunk]
            yield pixels, self.labels_there[chunk], *(row[chunk] for row in rows)

    def _copied(self, indices: npt.NDArray[np.intp], size: int) -> Iterator[torch.Tensor]:
        for pixels, _, _ in batches(self.pixels, self.labels, indices, size, device=self.device):
            yield pixels.to(self.device, non_blocking=True)


def fits(size: int, device: torch.device) -> bool:
    """Whether so many bytes may stay on the device: it is a card with room for them beside a training."""
    return device.type == "cuda" and size <= _SHARE * torch.cuda.mem_get_info(device)[0]


def batched_forms(augment: Sequence[Transform]) -> list[Batched] | None:
    """The transforms' forms for batches; None if one of them has none."""
    forms = [getattr(transform, "batched", None) for transform in augment]
    return None if None in forms else [form for form in forms if form is not None]


def draw(forms: Sequence[Batched], images: int, seed: int, epoch: int, device: torch.device) -> list[torch.Tensor]:
    """For each transform (images, k) float32: what it does to each image in this epoch, in any batch and in any process."""
    drawn = (form.draw(np.random.default_rng([seed, epoch, number]), images) for number, form in enumerate(forms))
    return [torch.tensor(rows, dtype=torch.float32, device=device) for rows in drawn]


def augmented(pixels: torch.Tensor, forms: Sequence[Batched], rows: Sequence[torch.Tensor]) -> torch.Tensor:
    """(N, h, w, C) uint8 → the same in float32, in [0, 255]; as it came without transforms."""
    if not forms:
        return pixels
    images = pixels.permute(0, 3, 1, 2).float()
    for form, own in zip(forms, rows, strict=True):
        images = form.apply(images, own)
    return images.permute(0, 2, 3, 1)
