"""From arrays to batches, with augmentations that the seed determines, prepared ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from mammozoo.data.preprocessing import Pixels
from mammozoo.data.transforms import Transform

#: One batch: (N, h, w, 1 or 3) uint8 pixels, (N,) int64 labels, (N,) positions among the images.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

_AHEAD = 2  # batches that are prepared while the network works on one


class _Images(TorchDataset[Any]):
    """Images, augmented with a generator of (seed, epoch, image): the same in any order and with any number of workers."""

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.intp],
        augment: Sequence[Transform],
        key: tuple[int, int],
        pin: bool,
    ):
        self.pixels, self.labels, self.augment, self.key, self.pin = pixels, labels, augment, key, pin

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return torch.from_numpy(self.image(index)), int(self.labels[index]), index

    def image(self, index: int) -> Pixels:
        """(h, w, 1 or 3) uint8, a copy: the images may be read-only, and a transform may work in place."""
        pixels = self.pixels[index].copy()
        rng = np.random.default_rng([*self.key, index])
        for step in self.augment:
            pixels = step(pixels, rng)
        return np.ascontiguousarray(pixels)

    def batch(self, indices: npt.NDArray[np.intp]) -> Batch:
        """The images at `indices`."""
        stacked = np.stack([self.image(int(i)) for i in indices]) if self.augment else self.pixels[indices]
        pixels, labels = torch.from_numpy(stacked), torch.from_numpy(self.labels[indices].astype(np.int64))
        return (
            pixels.pin_memory() if self.pin else pixels,
            labels,
            torch.from_numpy(indices.astype(np.int64)),
        )


def batches(
    pixels: Pixels,
    labels: npt.NDArray[np.intp],
    indices: npt.NDArray[np.intp],
    size: int,
    *,
    augment: Sequence[Transform] = (),
    seed: int = 0,
    epoch: int = 0,
    workers: int = 0,
    device: torch.device | None = None,
) -> Iterable[Batch]:
    """Batches of `size` images in the order of `indices`; augmentation depends on (seed, epoch, image) alone.

    Without augmentation a batch is one indexing operation. With augmentation, or for a CUDA card, one thread or `workers`
    processes prepare batches ahead. torch's global generator is not used, so dropout does not depend on the number of workers
    either. Batches for a CUDA `device` are in pinned memory; for other devices they are not, because pinning starts CUDA.
    """
    pin = device is not None and device.type == "cuda"
    images = _Images(pixels, labels, augment, (seed, epoch), pin)
    chunks = [indices[start : start + size] for start in range(0, len(indices), size)]
    if not augment and not pin:
        return map(images.batch, chunks)
    if not augment or not workers:
        return _ahead(images, chunks)
    return DataLoader(
        images,
        batch_size=size,
        sampler=indices.tolist(),
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator(),
    )


def _ahead(images: _Images, chunks: Sequence[npt.NDArray[np.intp]]) -> Iterator[Batch]:
    """The batches of `chunks` in order, `_AHEAD` of them prepared early, by one thread: transforms may keep state."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for chunk in chunks:
                waiting.append(pool.submit(images.batch, chunk))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:  # a caller that stops early waits for the batch in progress only
                future.cancel()
