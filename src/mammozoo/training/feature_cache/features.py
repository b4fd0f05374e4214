"""The frozen trunk of a network, run once: what it makes of every image is kept, and training starts from there.

    trunk = plan_trunk(model, engine)                     # model placed, frozen, `freeze_batch_norm` set; None: train as usual
    kept = trunk and trunk.cached(pixels, views=8, augment=recipe.augment, seed=recipe.seed)
    if kept is not None:
        model.train()
        for chunk in chunks:                              # positions among `pixels`, in the order of `batches`
            with engine.autocast():
                logits = trunk.logits(kept.batch(chunk, kept.view_of(epoch)))
            value = loss(logits, labels[chunk])           # gradients reach all that learns
            ...
        logits = kept.logits(val, recipe.batch)           # (len(val), outputs) float32 on the CPU, evaluation mode, no augmentation

With augmentation, `views` fixed variants of each image are kept: view v is what epoch v would have shown, drawn from
(seed, v, image). Epoch e uses view e mod `views`; with as many views as epochs nothing differs from training without cache.
What the trunk gives is stored in the dtype in which the network would have passed it on, so nothing is rounded.

Whoever changes frozen weights afterwards (`round_weights`) must predict with the model itself, not from the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mammozoo.config.requirements import installed_distributions
from mammozoo.data.cache import Store, Stream
from mammozoo.data.decoding import code_of
from mammozoo.data.loader import batches
from mammozoo.data.preprocessing import Pixels
from mammozoo.data.transforms import build
from mammozoo.files import sha256
from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.training.feature_cache.cut_point import CutPoint, find_cut_point, run_after, run_before, state_before

log = logging.getLogger(__name__)

#: Bytes that all views of a data set may take; more is not cached.
LIMIT = 4 * 10**9
_FORMAT = 1  # of stored activations; raise it when their meaning changes
_WORTH = 0.2  # share of a forward pass that the trunk must have
_SHARE_OF_DISK = 0.25  # of what is free
_BATCH = 32  # images at a time, of 224 × 224; not the recipe's, whose runs shall share what is stored
_LIBRARIES = ("torch", "timm", "torchvision", "numpy")

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class FrozenTrunk:
    """The frozen part of a model up to `border`, and the rest of it; both are the model's own modules."""

    model: Model
    engine: Engine
    border: CutPoint

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Of one image's activations as `activations` gives them."""
        shape = self.border.shape
        return (*shape[1:], shape[0]) if self.border.channels_last else shape

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Of the activations as `activations` gives them."""
        dtype = torch.int16 if self.border.dtype == torch.bfloat16 else self.border.dtype
        return torch.empty(0, dtype=dtype).numpy().dtype

    @torch.inference_mode()
    def activations(self, pixels: torch.Tensor) -> npt.NDArray[Any]:
        """(N, h, w, 1 or 3) uint8 → (N, …) as it is stored: channels last where the network has them so, bfloat16 as its bits."""
        self.model.eval()
        images = self.model.backbone.input.normalize(pixels.to(self.engine.device))
        with self.engine.autocast():
            made = run_before(self.model, self.border.name, images)
        made = made.permute(0, 2, 3, 1) if self.border.channels_last else made
        made = made.contiguous().cpu()
        found: npt.NDArray[Any] = (made.view(torch.int16) if made.dtype == torch.bfloat16 else made).numpy()
        return found

    def restored(self, stored: npt.NDArray[Any]) -> torch.Tensor:
        """Stored activations as the network passed them on, on the device."""
        made = torch.from_numpy(stored).to(self.engine.device)
        made = made.view(torch.bfloat16) if self.border.dtype == torch.bfloat16 else made
        return made.permute(0, 3, 1, 2) if self.border.channels_last else made

    def logits(self, activations: torch.Tensor, through: nn.Module | None = None) -> torch.Tensor:
        """(N, outputs) float32 logits, in the model's present mode, with gradients for what learns.

        `through` is called in the model's place, where something is wrapped around it (DistributedDataParallel).
        """
        with self.engine.autocast():
            return run_after(self.model, self.border, activations, through)

    def cached(
        self,
        pixels: Pixels,
        *,
        views: int = 1,
        augment: Sequence[str] = (),
        seed: int = 0,
        limit: int = LIMIT,
        store: Store | None = None,
    ) -> FrozenFeatures | None:
        """The activations of all images, each view made when it is first asked for; None where they would take too much room.

        Args:
            pixels: (N, h, w, 1 or 3) uint8.
            views: how many variants of each image to keep; without `augment` there is the plain one alone.
            augment: names of the transforms, as the recipe has them.
            limit: bytes for everything; a quarter of what is free on the cache's disk is a limit too.
        """
        store = store or Store()
        count = 1 + (views if augment else 0)
        size = count * len(pixels) * int(np.prod(self.border.shape)) * self.border.dtype.itemsize
        if store.folder is not None:
            limit = min(limit, int(_SHARE_OF_DISK * _free(store)), store.limit)
        if size > limit or not len(pixels):
            log.info(
                "The frozen trunk is not cached: %d views of %d images are %.2f GB, the limit is %.2f GB.",
                count, len(pixels), size / 1e9, limit / 1e9,
            )  # fmt: skip
            return None
        made_from = self._description() | {"pixels": _hash_array(pixels)}
        return FrozenFeatures(self, pixels, views if augment else 0, tuple(augment), seed, store, made_from)

    def _description(self) -> dict[str, Any]:
        """All that the activations of given pixels depend on, but for the kernels that a machine chooses."""
        state = state_before(self.model, self.border)
        digest = hashlib.sha256()
        for name, tensor in sorted(state.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        border, device = self.border, self.engine.device
        passed = {name: repr(self.model.get_submodule(name)) for name in (*border.before, border.name)}
        return {
            "what": "activations of a frozen trunk",
            "format": _FORMAT,
            "border": [border.name, list(border.shape), str(border.dtype), border.channels_last],
            "weights": digest.hexdigest(),
            "network": hashlib.sha256(f"{self.model.backbone}{passed}".encode()).hexdigest(),
            "code": sorted(_sources(self.model)),
            "libraries": sorted(
                f"{name} {version}" for name, version in installed_distributions().items() if name.lower() in _LIBRARIES
            ),
            "input": self.model.backbone.input.model_dump(mode="json"),
            "dtype": str(self.engine.dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }


@dataclass(frozen=True)
class FrozenFeatures:
    """What a trunk makes of every image of a data set, from the store, or in memory where that does not work."""

    trunk: FrozenTrunk
    pixels: Pixels = field(repr=False)
    views: int
    augment: tuple[str, ...]
    seed: int
    store: Store = field(repr=False)
    made_from: Mapping[str, Any] = field(repr=False)
    _open: dict[int | None, npt.NDArray[Any]] = field(default_factory=dict, repr=False)

    def view_of(self, epoch: int) -> int | None:
        """Which view epoch `epoch` (from 0) trains on; None is the plain image."""
        return epoch % self.views if self.views else None

    def batch(self, indices: Indices, view: int | None = None) -> torch.Tensor:
        """The activations of some images, on the device, for `FrozenTrunk.logits`."""
        return self.trunk.restored(self._activations(view)[indices])

    @torch.inference_mode()
    def logits(self, indices: Indices, batch: int) -> torch.Tensor:
        """(len(indices), outputs) float32 logits of plain images in evaluation mode, on the CPU."""
        self.trunk.model.eval()
        chunks = [indices[start : start + batch] for start in range(0, len(indices), batch)]
        return torch.cat([self.trunk.logits(self.batch(chunk)).float().cpu() for chunk in chunks])

    def _activations(self, view: int | None) -> npt.NDArray[Any]:
        if view not in self._open:
            self._open[view] = self._load(view)
        return self._open[view]

    def _load(self, view: int | None) -> npt.NDArray[Any]:
        drawn = None if view is None else {"view": view, "seed": self.seed, "code": code_of(self.augment)}
        description = {**self.made_from, "augment": drawn}
        probe = self.trunk.border.probe.float().numpy()
        found = self.store.get(description)
        if found is not None and not _alike(found["probe"], probe):
            log.warning("A cached trunk gives other values than the network does now; it is made again.")
            self.store.remove(description)
            found = None
        if found is None:
            stream = Stream((len(self.pixels), *self.trunk.stored_shape), self.trunk.stored_dtype, self._parts(view))
            found = self.store.put(description, {"activations": stream, "probe": probe})
        return np.concatenate(list(self._parts(view))) if found is None else found["activations"]

    def _parts(self, view: int | None) -> Iterator[npt.NDArray[Any]]:
        """The activations of a view, batch by batch; the model's mode is afterwards what it was."""
        everything = np.arange(len(self.pixels))
        augment = [build(name) for name in self.augment] if view is not None else []
        height, width = self.pixels.shape[1:3]
        size = max(1, min(_BATCH, _BATCH * 224 * 224 // (height * width)))
        loader = batches(
            self.pixels, everything, everything, size,
            augment=augment, seed=self.seed, epoch=view or 0, device=self.trunk.engine.device,
        )  # fmt: skip
        for pixels, _, _ in loader:
            was = self.trunk.model.training
            made = self.trunk.activations(pixels)
            self.trunk.model.train(was)
            yield made


def find_trunk(model: Model, engine: Engine) -> FrozenTrunk | None:
    """The trunk of a model that is placed and frozen as it will be trained; None, with the reason in the log, if it pays not.

    Takes about a dozen forward passes of two images for each place that is tried, mostly one. The model is left as it was.
    """
    if not any(not parameter.requires_grad for parameter in model.parameters()):
        return None
    try:
        border = find_cut_point(model, engine)
    except Exception as error:  # an unusual network may refuse any of this; it then trains without a cache
        log.info("The frozen trunk is not cached: %s", error)
        return None
    if border is None:
        log.info(
            "The frozen trunk is not cached: no place was found before which nothing learns and after which no image is used."
        )
        return None
    if border.share < _WORTH:
        log.info("The frozen trunk is not cached: it is only %.0f %% of the work.", 100 * border.share)
        return None
    log.info("The frozen trunk ends at '%s', after %.0f %% of the work.", border.name, 100 * border.share)
    return FrozenTrunk(model, engine, border)


def _sources(model: Model) -> set[str]:
    """SHA-256 of the files in which the classes of a model's modules are written."""
    found = set()
    for kind in {type(module) for module in model.modules()}:
        with contextlib.suppress(TypeError, OSError):  # a class that has no file
            found.add(sha256(Path(inspect.getfile(kind))))
    return found


def _alike(stored: npt.NDArray[Any], now: npt.NDArray[Any]) -> bool:
    """The same but for rounding, which other kernels may do otherwise."""
    return stored.shape == now.shape and float(np.abs(stored - now).max()) <= 1e-2 * float(np.abs(now).max())


def _hash_array(array: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _free(store: Store) -> int:
    """Bytes free on the store's disk."""
    folder = store.folder
    while folder is not None and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free if folder is not None else 0
