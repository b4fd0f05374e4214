"""From samples to arrays: each image read once, at the working size, and kept for the next time."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import parse
from mammozoo.config.requirements import installed_distributions
from mammozoo.data import dataset as sample
from mammozoo.data import ood as profile
from mammozoo.data import preprocessing as input_module
from mammozoo.data import transforms as transform
from mammozoo.data.cache import Store
from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.duplicates import fingerprint as fingerprint_module
from mammozoo.data.duplicates.fingerprint import Fingerprint, Fingerprints, collect, fingerprint
from mammozoo.data.io import images as reading
from mammozoo.data.io import regions as region
from mammozoo.data.io.regions import Box
from mammozoo.data.ood import NAMES, Features, features
from mammozoo.data.preprocessing import LESION, Input, Pixels
from mammozoo.errors import UsageError
from mammozoo.files import sha256
from mammozoo.plugins import registry

log = logging.getLogger(__name__)

_FORMAT = 1  # of a stored `Images`; raise it when its meaning changes and the code below does not show it
_CODE = (fingerprint_module, input_module, profile, reading, region, sample, transform)
_LIBRARIES = ("numpy", "scipy", "pillow", "imagehash", "pydicom")


@dataclass(frozen=True)
class Images:
    """All images of a data set as a model will see them. Those from the cache are read-only and shared by processes.

    Attributes:
        pixels: (N, h, w, 1 or 3) uint8.
        prints: fingerprints of the images as stored, whole.
        features: (N, 16) statistics of the images as stored (where lesions are cut out, of what is cut out), for the
            model's input guard.
    """

    pixels: Pixels
    prints: Fingerprints
    features: Features


def decode(
    dataset: Dataset, samples: Sequence[Sample], input: Input, advance: Callable[[], object] = lambda: None
) -> Images:
    """Read every sample once. `advance` is called after each, for a progress bar.

    Raises:
        UnreadableImageError: of the first image that cannot be read.
        UsageError: lesions are to be cut out, and a sample has none or one outside its image.
    """
    return _decode(dataset, samples, input, advance, lesion_boxes(dataset, samples, input))


def lesion_boxes(dataset: Dataset, samples: Sequence[Sample], input: Input) -> list[Box | None]:
    """The box of each sample's lesion where the input cuts lesions out; None of each where it does not.

    Raises:
        UnreadableImageError: of the first mask that cannot be read.
        UsageError: a sample has no lesion.
    """
    if input.region is None:
        return [None] * len(samples)
    with _pool() as pool:
        boxes = list(pool.map(dataset.box, samples))
    bare = [sample.image for sample, box in zip(samples, boxes, strict=True) if box is None]
    if bare:
        raise UsageError(
            f"`preprocess` cuts out the lesion, and {len(bare)} of {len(samples)} samples have neither a lesion box nor a mask "
            f"with a lesion in it; the first is '{bare[0]}'. Choose `classes` that all have one, or leave out the step 'lesion'."
        )
    return boxes


def _decode(
    dataset: Dataset,
    samples: Sequence[Sample],
    input: Input,
    advance: Callable[[], object],
    boxes: Sequence[Box | None],
) -> Images:
    prepare, cutting = input.preparer(), input.region

    def one(sample: Sample, box: Box | None) -> tuple[Pixels, Fingerprint, Features]:
        image = dataset.read(sample)
        try:
            pixels = prepare(image, box)
            looked_at = image if cutting is None or box is None else cutting.cut(image, box)
        except UsageError as error:
            raise UsageError(f"'{sample.image}': {error}") from error
        result = pixels, fingerprint(image), features(looked_at)
        advance()
        return result

    with _pool() as pool:
        results = list(pool.map(one, samples, boxes))
    shape = (*input.size, 1 if input.color == "grey" else 3)
    pixels = np.stack([r[0] for r in results]) if results else np.empty((0, *shape), np.uint8)
    seen = np.stack([r[2] for r in results]) if results else np.empty((0, len(NAMES)), np.float32)
    return Images(pixels, collect([r[1] for r in results]), seen)


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1))


def decode_cached(
    dataset: Dataset,
    samples: Sequence[Sample],
    input: Input,
    advance: Callable[[], object] = lambda: None,
    store: Store | None = None,
) -> Images:
    """`decode`, or what it gave for the same bytes in the same files' names, boxes, input, code and libraries before.

    Data sets that generate their images, or read them in a way of their own, are decoded each time.

    Raises:
        UnreadableImageError, UsageError: as `decode`.
    """
    store = store or Store()
    boxes = lesion_boxes(dataset, samples, input)
    description = _description(dataset, samples, input, boxes)
    if description is None:
        return _decode(dataset, samples, input, advance, boxes)
    if (arrays := store.get(description)) is not None:
        log.debug("%d decoded images come from the cache", len(samples))
        for _ in samples:
            advance()
        return _images(arrays)
    images = _decode(dataset, samples, input, advance, boxes)
    if _description(dataset, samples, input, boxes) != description:  # a file was replaced while we read
        return images
    prints = images.prints
    arrays = {
        "pixels": images.pixels,
        "whole": prints.whole,
        "views": prints.views,
        "thumbs": prints.thumbs,
        "features": images.features,
    }
    stored = store.put(description, arrays)
    return images if stored is None else _images(stored)


def code_of(transforms: Sequence[str], modules: Iterable[ModuleType] = ()) -> dict[str, Any]:
    """What decides the result of these transforms and modules besides their input: source code and versions.

    A transform's code is every Python file of its plugin's package. Which libraries that uses we cannot know, so with
    transforms all installed ones count.
    """
    names = [parse(text).name for text in transforms]
    built = [registry().get("transforms", name).build for name in names if name != LESION]
    files = {Path(inspect.getfile(module)) for module in modules}
    for build in built:
        files |= _package_files(inspect.getmodule(build))
    versions = sorted(
        f"{name} {version}"
        for name, version in installed_distributions().items()
        if built or name.lower() in _LIBRARIES
    )
    return {
        "transforms": list(transforms),
        "source": sorted(sha256(path) for path in files),
        "versions": hashlib.sha256("\n".join(versions).encode()).hexdigest(),
        "python": sys.version,
    }


def _package_files(module: ModuleType | None) -> set[Path]:
    """The Python files of the package that a module is part of; its own file where it is part of none."""
    if module is None or module.__file__ is None:
        return set()
    top = sys.modules.get(module.__name__.partition(".")[0])
    if top is None or top.__file__ is None or not hasattr(top, "__path__"):
        return {Path(module.__file__)}
    return set(Path(top.__file__).parent.rglob("*.py"))


def _description(
    dataset: Dataset, samples: Sequence[Sample], input: Input, boxes: Sequence[Box | None]
) -> Mapping[str, Any] | None:
    """All that the decoded images depend on; None where that is not files alone.

    The files' whole content is hashed: 0.05 s for the 680 images of BUSI that take 4 s to decode, and nothing that
    changes can be missed, as it can by size and time.
    """
    own = type(dataset)
    if not samples or own.read is not Dataset.read or own.path is not Dataset.path:
        return None
    try:
        files = [[sample.image, sha256(dataset.path(sample.image))] for sample in samples]
    except OSError:  # `decode` says it better
        return None
    return {
        "what": "decoded images",
        "format": _FORMAT,
        "files": files,
        "boxes": [box and list(box) for box in boxes],
        "input": input.model_dump(mode="json", include={"size", "color", "fit", "preprocess"}),
        "code": code_of(input.preprocess, _CODE),
    }


def _images(arrays: Mapping[str, npt.NDArray[Any]]) -> Images:
    prints = Fingerprints(arrays["whole"], arrays["views"], arrays["thumbs"])
    return Images(arrays["pixels"], prints, arrays["features"])
