"""From samples to arrays: each image is read once, at the working size, and cached."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import parse
from mammozoo.config.requirements import installed_distributions
from mammozoo.data.cache import Store
from mammozoo.data.dataset import Dataset, Sample, reads_apart
from mammozoo.data.duplicates.fingerprint import BLANK, Fingerprint, Fingerprints, collect, fingerprint
from mammozoo.data.io.limits import UnreadableImageError
from mammozoo.data.io.regions import Box
from mammozoo.data.io.several import read_many
from mammozoo.data.ood import NAMES, Features, features
from mammozoo.data.preprocessing import LESION, Input, Pixels
from mammozoo.data.transforms import transform_spec
from mammozoo.errors import MammozooError, UsageError, reason, set_scene
from mammozoo.files import sha256

log = logging.getLogger(__name__)
T = TypeVar("T")

_FORMAT = 3  # of a stored `Images`; raise it when its meaning changes
_LIBRARIES = ("numpy", "scipy", "pillow", "imagehash", "pydicom", "simplejpeg", "python-gdcm", "opencv-python-headless")


@dataclass(frozen=True)
class Images:
    """All images of a data set as a model's input. Cached arrays are read-only and shared between processes."""

    pixels: Pixels  # (N, h, w, 1 or 3) uint8
    fingerprints: Fingerprints  # of the whole images as stored; blank if they are generated
    features: (
        Features  # (N, 16) statistics for the out-of-distribution check, of the images or of their cropped lesions
    )


def decode(
    dataset: Dataset,
    samples: Sequence[Sample],
    input: Input,
    advance: Callable[[], object] = lambda: None,
    boxes: Sequence[Box | None] | None = None,
) -> Images:
    """Read every sample once; `advance` is called after each. `boxes` default to `lesion_boxes`.

    Raises:
        UnreadableImageError: of the first image that cannot be read.
        UsageError: the input crops lesions, and a sample has none or one outside its image.
    """
    prepare, region = input.preparer(), input.region

    def one(item: tuple[Sample, Box | None]) -> tuple[Pixels, Fingerprint, Features]:
        sample, box = item
        image = _named(dataset.read, sample)
        try:
            pixels = prepare(image, box)
            crop = image if region is None or box is None else region.crop(image, box)
        except UsageError as error:
            raise UsageError(f"'{sample.image}': {error}") from error
        except Exception as error:
            set_scene(error, doing=f"preparing '{sample.image}'")
            raise
        return pixels, BLANK if dataset.info.synthetic else fingerprint(image), features(crop)

    if boxes is None:
        boxes = lesion_boxes(dataset, samples, input)
    results = []
    items = list(zip(samples, boxes, strict=True))
    with contextlib.closing(read_many(one, items, apart=reads_apart(dataset))) as images:
        for result in images:
            results.append(result)
            advance()
    if not results:
        empty = np.empty((0, *input.size, 1 if input.color == "grey" else 3), np.uint8)
        return Images(empty, collect([]), np.empty((0, len(NAMES)), np.float32))
    pixels, fingerprints, statistics = zip(*results, strict=True)
    return Images(np.stack(pixels), collect(fingerprints), np.stack(statistics))


def _named(read: Callable[[Sample], T], sample: Sample) -> T:
    """`read(sample)`; what a data set's own reader raises becomes an UnreadableImageError that names the sample."""
    try:
        return read(sample)
    except MammozooError:
        raise
    except Exception as error:
        raise UnreadableImageError(f"'{sample.image}' cannot be read: {reason(error)}.") from error


def unreadable_among(dataset: Dataset, samples: Sequence[Sample], input: Input) -> dict[str, str]:
    """The samples whose image, or mask if the input crops lesions, cannot be read, and why."""

    def why(sample: Sample) -> str | None:
        try:
            _named(dataset.read, sample)
            _named(dataset.box, sample) if input.region else None
        except UnreadableImageError as error:
            return str(error)
        return None

    with contextlib.closing(read_many(why, samples, processes=0)) as found:
        return {sample.image: text for sample, text in zip(samples, found, strict=True) if text is not None}


def lesion_boxes(dataset: Dataset, samples: Sequence[Sample], input: Input) -> list[Box | None]:
    """The lesion's box of each sample if the input crops lesions, else None for each.

    Raises:
        UnreadableImageError: of the first mask that cannot be read.
        UsageError: a sample has no lesion.
    """
    if input.region is None:
        return [None] * len(samples)
    with contextlib.closing(read_many(lambda sample: _named(dataset.box, sample), samples, processes=0)) as found:
        boxes = list(found)
    bare = [sample.image for sample, box in zip(samples, boxes, strict=True) if box is None]
    if bare:
        raise UsageError(
            f"`preprocess` crops the lesion, and {len(bare)} of {len(samples)} samples have neither a lesion box nor a mask "
            f"with a lesion in it; the first is '{bare[0]}'. Choose `classes` that all have one, or leave out the step 'lesion'."
        )
    return boxes


def decode_cached(
    dataset: Dataset,
    samples: Sequence[Sample],
    input: Input,
    advance: Callable[[], object] = lambda: None,
    store: Store | None = None,
) -> Images:
    """`decode`, from the cache if file names, bytes, boxes, input, code and library versions are the same as before.

    Data sets that generate their images, or override `read` or `path`, are not cached.

    Raises:
        UnreadableImageError, UsageError: as `decode`.
    """
    store = store or Store()
    if len(parts := _by_set(dataset, samples)) > 1 or any(part is not dataset for part in parts):
        decoded = [
            decode_cached(part, [own for _, own in members], input, advance, store) for part, members in parts.items()
        ]
        order = np.argsort([place for members in parts.values() for place, _ in members])
        return _joined(decoded, order)
    boxes = lesion_boxes(dataset, samples, input)
    states = _states(dataset, samples)
    description = _description(dataset, samples, input, boxes)
    arrays = None if description is None else store.get(description)
    if arrays is not None:
        log.debug("%d decoded images come from the cache", len(samples))
        for _ in samples:
            advance()
    else:
        images = decode(dataset, samples, input, advance, boxes)
        # A file may have been replaced while it was read.
        if description is not None and states == _states(dataset, samples):
            content: dict[str, npt.NDArray[Any]] = {
                "pixels": images.pixels,
                "features": images.features,
                **images.fingerprints.arrays(),
            }
            arrays = store.put(description, content)
        if arrays is None:
            return images
    prints = {name: array for name, array in arrays.items() if name not in ("pixels", "features")}
    return Images(arrays["pixels"], Fingerprints(**prints), arrays["features"])


def _by_set(dataset: Dataset, samples: Sequence[Sample]) -> dict[Dataset, list[tuple[int, Sample]]]:
    """Data set → (place, sample) of each sample that is of it; several if they were joined."""
    parts: dict[Dataset, list[tuple[int, Sample]]] = {}
    for place, sample in enumerate(samples):
        part, own = dataset.source(sample)
        parts.setdefault(part, []).append((place, own))
    return parts


def _joined(parts: Sequence[Images], order: npt.NDArray[np.intp]) -> Images:
    """The images of all parts, in this order."""

    def one(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate(arrays)[order]

    prints = [part.fingerprints.arrays() for part in parts]
    return Images(
        one([part.pixels for part in parts]),
        Fingerprints(**{name: one([arrays[name] for arrays in prints]) for name in prints[0]}),
        one([part.features for part in parts]),
    )


def code_of(transforms: Sequence[str]) -> dict[str, Any]:
    """Everything besides its input that determines the result of these transforms: source code and versions.

    The code of a transform is every Python file of its plugin's package. The libraries that it uses are unknown, so all
    installed ones count.
    """
    builders = [transform_spec(text).build for text in transforms if parse(text).name != LESION]
    files = {file for build in builders for file in _package_files(inspect.getmodule(build))}
    return {
        "transforms": list(transforms),
        "source": sorted(map(sha256, files)),
        "versions": _versions(every=bool(builders)),
    }


def _versions(every: bool = False) -> str:
    """SHA-256 of the versions of Python and of the libraries that decode images, or of every installed distribution."""
    installed = installed_distributions().items()
    chosen = sorted(f"{name} {version}" for name, version in installed if every or name.lower() in _LIBRARIES)
    return hashlib.sha256("\n".join([sys.version, *chosen]).encode()).hexdigest()


def _package_files(module: Any) -> set[Path]:
    """The Python files of the package to which a module belongs; the module's own file if it has no package."""
    if module is None or module.__file__ is None:
        return set()
    top = sys.modules.get(module.__name__.partition(".")[0])
    if top is None or top.__file__ is None or not hasattr(top, "__path__"):
        return {Path(module.__file__)}
    return set(Path(top.__file__).parent.rglob("*.py"))


def _states(dataset: Dataset, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
    """What changes when a file is written or replaced, of every file; empty if they cannot be asked."""
    if type(dataset).path is not Dataset.path or type(dataset).read is not Dataset.read:
        return []
    try:
        found = [path.stat() for path in dict.fromkeys(dataset.path(sample.image) for sample in samples)]
    except (OSError, UsageError):  # of data that have no files
        return []
    return [(one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found]


def _description(
    dataset: Dataset, samples: Sequence[Sample], input: Input, boxes: Sequence[Box | None]
) -> Mapping[str, Any] | None:
    """Everything that determines the decoded images; None if they depend on more than files.

    The whole content is hashed, 0.05 s for BUSI: size and time of a file could stay the same when its content changes. A file
    with several lesions is hashed once.
    """
    kind = type(dataset)
    if not samples or kind.read is not Dataset.read or kind.path is not Dataset.path:
        return None
    try:
        hashes = {path: sha256(path) for path in dict.fromkeys(dataset.path(sample.image) for sample in samples)}
        files = [[sample.image, hashes[dataset.path(sample.image)]] for sample in samples]
    except OSError:  # `decode` gives the better message
        return None
    return {
        "what": "decoded images",
        "format": _FORMAT,
        "files": files,
        "boxes": [box and list(box) for box in boxes],
        "input": input.model_dump(mode="json", include={"size", "color", "fit", "preprocess"}),
        "code": code_of(input.preprocess),
        "reader": [sorted(map(sha256, Path(__file__).parent.rglob("*.py"))), _versions()],
    }
