"""From arrays to batches: in an order and with augmentations that the seed decides, made ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
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

_AHEAD = 2  # batches that are augmented while the network works on one


class _View(TorchDataset[Any]):
    """Some of the images, augmented with a generator that depends on (seed, epoch, image) alone.

    So the result is the same whatever the order, and however many workers share the work.
    """

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
        """(h, w, 1 or 3) uint8, a copy: the images may be read-only, and a transform may write where it reads."""
        pixels = self.pixels[index].copy()
        rng = np.random.default_rng([*self.key, index])
        for step in self.augment:
            pixels = step(pixels, rng)
        return np.ascontiguousarray(pixels)

    def batch(self, indices: npt.NDArray[np.intp]) -> Batch:
        """The images at `indices`, together."""
        pixels = np.stack([self.image(int(i)) for i in indices]) if self.augment else self.pixels[indices]
        found = (
            torch.from_numpy(pixels),
            torch.from_numpy(self.labels[indices].astype(np.int64)),
            torch.from_numpy(indices.astype(np.int64)),
        )
        return (found[0].pin_memory(), found[1], found[2]) if self.pin else found


def batches(
    pixels: Pixels,
    labels: npt.NDArray[np.intp],
    indices: npt.NDArray[np.intp],
    size: int,
    *,
    augment: Sequence[Transform] = (),
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    workers: int = 0,
    device: torch.device | None = None,
) -> Iterable[Batch]:
    """Batches of `size` images; order and augmentation depend on (seed, epoch) alone.

    Without augmentation a batch is one indexing. With it, a thread works ahead of the network, or `workers` processes do.
    torch's global generator is never drawn from, so dropout does not depend on the number of workers either.

    `device` is where they go: for a CUDA card they are pinned, and for no other, since pinning starts CUDA.

    In a shuffled epoch an image that would make a last batch of its own waits for the next epoch: batch norm cannot
    train on one image.
    """
    order = indices
    if shuffle:
        order = np.random.default_rng([seed, epoch]).permutation(indices)
        if len(order) > size and len(order) % size == 1:
            order = order[:-1]
    pin = device is not None and device.type == "cuda"
    view = _View(pixels, labels, augment, (seed, epoch), pin)
    if augment and workers:
        return DataLoader(
            view,
            batch_size=size,
            sampler=order.tolist(),
            num_workers=workers,
            pin_memory=pin,
            generator=torch.Generator(),
        )
    return _Ahead(view, [order[start : start + size] for start in range(0, len(order), size)])


@dataclass(frozen=True)
class _Ahead:
    """The batches of `chunks` in order; with augmentation, `_AHEAD` of them are made before they are asked for.

    By one thread: transforms may keep state, and must not run twice at a time.
    """

    view: _View
    chunks: Sequence[npt.NDArray[np.intp]]

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Batch]:
        if not self.view.augment:
            yield from map(self.view.batch, self.chunks)
            return
        with ThreadPoolExecutor(1) as pool:
            waiting: deque[Future[Batch]] = deque()
            try:
                for chunk in self.chunks:
                    waiting.append(pool.submit(self.view.batch, chunk))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:  # who asks no more waits for the batch in work alone
                    future.cancel()
