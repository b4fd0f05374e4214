"""Features of the frozen part of a network, computed once for every image; training continues from there.

    trunk = find_trunk(model, engine)                     # model placed and frozen as it will be trained; None: train as usual
    features = trunk and trunk.cached(pixels, views=8, augment=recipe.augment, seed=recipe.seed)
    kept = features.batch(chunk, features.view_of(epoch))
    logits = features.trunk.logits(kept)                  # in training mode, with gradients for the trainable part
    logits = features.logits(val, recipe.batch)           # evaluation mode, without augmentation

With augmentation, `views` fixed variants of each image are kept. View v is the one that epoch v would draw from
(seed, v, image), and epoch e uses view e mod `views`: with as many views as epochs nothing differs from training without
the cache. Features are stored in the dtype in which the network passes them on, so nothing is rounded.

Code that changes frozen weights afterwards (`round_weights`) must predict with the model itself, not from the features.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mammozoo.config.requirements import installed_distributions
from mammozoo.data.cache import Store, Stream
from mammozoo.data.decoding import code_of
from mammozoo.data.loader import batches
from mammozoo.data.on_card import fits
from mammozoo.data.preprocessing import Pixels
from mammozoo.data.transforms import build
from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.training.feature_cache.cut_point import CutPoint, find_cut_point, run_after, run_before

log = logging.getLogger(__name__)

#: Bytes that all views of a data set may take; more is not cached.
LIMIT = 4 * 10**9
_FORMAT = 2  # of stored features; raise it when their meaning changes
_MIN_SHARE = 0.2  # of a forward pass; below, reading features saves nothing
_SHARE_OF_DISK = 0.25  # of the free space
_BATCH = 32  # images of 224 × 224 at a time; not the recipe's, so that runs with other batches share the features
_LIBRARIES = ("torch", "timm", "torchvision", "numpy")

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class FrozenTrunk:
    """The frozen part of a model up to `cut`, and the rest of it; both are the model's own modules."""

    model: Model
    engine: Engine
    cut: CutPoint

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape of one image's features on disk: channels last if the network has them so."""
        shape = self.cut.shape
        return (*shape[1:], shape[0]) if self.cut.channels_last else shape

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the features on disk; NumPy has no bfloat16, so its bits are stored as integers."""
        dtype = torch.int16 if self.cut.dtype == torch.bfloat16 else self.cut.dtype
        return torch.empty(0, dtype=dtype).numpy().dtype

    @torch.inference_mode()
    def features(self, pixels: torch.Tensor) -> npt.NDArray[Any]:
        """(N, h, w, 1 or 3) uint8 → (N, *stored_shape)."""
        was_training = self.model.training
        self.model.eval()
        images = self.model.backbone.input.normalize(pixels.to(self.engine.device))
        with self.engine.autocast():
            output = run_before(self.model, self.cut.name, images)
        self.model.train(was_training)
        output = (output.permute(0, 2, 3, 1) if self.cut.channels_last else output).contiguous().cpu()
        stored: npt.NDArray[Any] = (output.view(torch.int16) if output.dtype == torch.bfloat16 else output).numpy()
        return stored

    def restored(self, stored: torch.Tensor) -> torch.Tensor:
        """Stored features as the network passes them on, on the device."""
        features = stored.to(self.engine.device)
        features = features.view(torch.bfloat16) if self.cut.dtype == torch.bfloat16 else features
        return features.permute(0, 3, 1, 2) if self.cut.channels_last else features

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """(N, outputs) float32 logits in the model's present mode, with gradients for its trainable part."""
        with self.engine.autocast():
            return run_after(self.model, self.cut, features)

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
        """The features of all images, each view computed at its first use; None if they would take too much room.

        Args:
            pixels: (N, h, w, 1 or 3) uint8.
            views: variants of each image to keep; without `augment` there is the plain one alone.
            augment: names of the transforms, as in the recipe.
            limit: bytes for everything; a quarter of the free space on the cache's disk is a limit too.
        """
        store = store or Store()
        count = 1 + (views if augment else 0)
        size = count * len(pixels) * int(np.prod(self.cut.shape)) * self.cut.dtype.itemsize
        if store.folder is not None:
            existing = next(folder for folder in (store.folder, *store.folder.parents) if folder.exists())
            limit = min(limit, int(_SHARE_OF_DISK * shutil.disk_usage(existing).free), store.limit)
        if size > limit or not len(pixels):
            log.info(
                "Frozen features are not cached: %d views of %d images are %.2f GB, the limit is %.2f GB.",
                count, len(pixels), size / 1e9, limit / 1e9,
            )  # fmt: skip
            return None
        key = self._key() | {"pixels": hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()}
        return FrozenFeatures(self, pixels, views if augment else 0, tuple(augment), seed, store, key)

    def _key(self) -> dict[str, Any]:
        """What the features of given pixels depend on, except the kernels that a machine chooses.

        All frozen tensors count. Code does not: a changed network is recognised by its output for the probe images.
        """
        trainable = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            if name not in trainable:
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        cut, device = self.cut, self.engine.device
        return {
            "what": "features of a frozen trunk",
            "format": _FORMAT,
            "cut": [cut.name, list(cut.shape), str(cut.dtype), cut.channels_last],
            "weights": digest.hexdigest(),
            "network": str(self.model.backbone),
            "libraries": sorted(f"{n} {v}" for n, v in installed_distributions().items() if n.lower() in _LIBRARIES),
            "input": self.model.backbone.input.model_dump(mode="json"),
            "dtype": str(self.engine.dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        }


@dataclass(frozen=True)
class FrozenFeatures:
    """The features of every image of a data set, from the store, or in memory if that does not work."""

    trunk: FrozenTrunk
    pixels: Pixels = field(repr=False)
    views: int
    augment: tuple[str, ...]
    seed: int
    store: Store = field(repr=False)
    key: Mapping[str, Any] = field(repr=False)
    _open: dict[int | None, npt.NDArray[Any] | torch.Tensor] = field(default_factory=dict, repr=False)

    def view_of(self, epoch: int) -> int | None:
        """The view on which epoch `epoch` (from 0) trains; None is the plain image."""
        return epoch % self.views if self.views else None

    def batch(self, indices: Indices, view: int | None = None) -> torch.Tensor:
        """The features of some images, on the device."""
        if view not in self._open:
            features = self._load(view)
            there = fits(features.nbytes, self.trunk.engine.device)
            self._open[view] = torch.tensor(features, device=self.trunk.engine.device) if there else features
        kept = self._open[view]
        if isinstance(kept, torch.Tensor):
            return self.trunk.restored(kept[self.trunk.engine.take(torch.from_numpy(indices))])
        return self.trunk.restored(torch.from_numpy(kept[indices]))

    @torch.inference_mode()
    def logits(self, indices: Indices, batch: int) -> torch.Tensor:
        """(len(indices), outputs) float32 logits of plain images in evaluation mode, on the CPU."""
        self.trunk.model.eval()
        chunks = [indices[start : start + batch] for start in range(0, len(indices), batch)]
        return torch.cat([self.trunk.logits(self.batch(chunk)).float().cpu() for chunk in chunks])

    def _load(self, view: int | None) -> npt.NDArray[Any]:
        drawn = None if view is None else {"view": view, "seed": self.seed, "code": code_of(self.augment)}
        key = {**self.key, "augment": drawn}
        probe = self.trunk.cut.probe.float().numpy()
        stored = self.store.get(key)
        if stored is not None and not _close(stored["probe"], probe):
            log.warning("Cached features differ from what the network gives now; they are computed again.")
            self.store.remove(key)
            stored = None
        if stored is None:
            stream = Stream((len(self.pixels), *self.trunk.stored_shape), self.trunk.stored_dtype, self._parts(view))
            stored = self.store.put(key, {"features": stream, "probe": probe})
        return np.concatenate(list(self._parts(view))) if stored is None else stored["features"]

    def _parts(self, view: int | None) -> Iterator[npt.NDArray[Any]]:
        """The features of a view, batch by batch."""
        order = np.arange(len(self.pixels))
        augment = [build(name) for name in self.augment] if view is not None else []
        height, width = self.pixels.shape[1:3]
        size = max(1, min(_BATCH, _BATCH * 224 * 224 // (height * width)))
        loader = batches(
            self.pixels, order, order, size,
            augment=augment, seed=self.seed, epoch=view or 0, device=self.trunk.engine.device,
        )  # fmt: skip
        for pixels, _, _ in loader:
            yield self.trunk.features(pixels)


def find_trunk(model: Model, engine: Engine) -> FrozenTrunk | None:
    """The frozen trunk of a model; None, with the reason in the log, if caching its output does not pay.

    The model must be placed and frozen as it will be trained; it is unchanged afterwards. The search takes about a dozen
    forward passes of two images per candidate, and mostly one candidate.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        return None
    try:
        cut = find_cut_point(model, engine)
    except Exception as error:  # an unusual network may refuse any of this; it then trains without a cache
        log.info("Frozen features are not cached: %s", error)
        return None
    if cut is None or cut.share < _MIN_SHARE:
        log.info(
            "Frozen features are not cached: the part before which nothing trains is %.0f %% of the work.",
            0 if cut is None else 100 * cut.share,
        )
        return None
    log.info("The frozen trunk ends at '%s', after %.0f %% of the work.", cut.name, 100 * cut.share)
    return FrozenTrunk(model, engine, cut)


def _close(stored: npt.NDArray[Any], now: npt.NDArray[Any]) -> bool:
    """Equal except for the rounding of other kernels."""
    return stored.shape == now.shape and float(np.abs(stored - now).max()) <= 1e-2 * float(np.abs(now).max())
