"""A model's opinion on image files: in order, in flat memory, and one bad file does not stop the others.

Each file is also looked at by the input guard: whether it is of the kind that the model was trained on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from mammozoo.data.io.dicom import is_for_processing, read_modality
from mammozoo.data.io.images import IMAGE_SUFFIXES, read_image
from mammozoo.data.ood import features, ood_warnings
from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.evaluation.outcome import decide
from mammozoo.files import sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine
from mammozoo.models.model import Model, probabilities

log = logging.getLogger(__name__)

_MASK = re.compile(r"(.+)_mask(_\d+)?")
#: DICOM modalities (PS3.3 C.7.3.1.1.1) that fit a model's; OT is "other" and says nothing.
_FITTING = {
    "ultrasound": frozenset({"US", "OT"}),
    "mammography": frozenset({"MG", "OT"}),
    "microscopy": frozenset({"SM", "GM", "XC", "OT"}),
}
_AHEAD = 2  # batches; it evens out files that take long, and prepared pixels are small
_MOST_THREADS = 8  # beyond, Python's lock is what they wait for
_SAME = 1e-4  # probabilities that differ by no more are the same


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file; `error` says why it says nothing, `abstained` that it is too uncertain for a label."""

    file: str
    sha256: str | None
    label: str | None
    probabilities: dict[str, float] | None
    threshold: float | None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    abstained: bool = False


def find_images(paths: Sequence[str]) -> list[Path]:
    """Files as given, images anywhere below folders, and matches of patterns; sorted within each.

    In a folder a lesion mask beside its image (`NAME_mask.png`, `NAME_mask_1.png`) is no image.

    Raises:
        NotFoundError: one of `paths` leads to nothing.
    """
    found: list[Path] = []
    for text in paths:
        path = Path(text).expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            stems = {p.with_suffix("") for p in inside}
            inside = [p for p in inside if not _is_mask_of(p, stems)]
            if not inside:
                raise NotFoundError(f"There is no image in the folder '{text}'.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            base = Path(path.anchor) if path.is_absolute() else Path()
            pattern = path.relative_to(path.anchor).as_posix() if path.is_absolute() else path.as_posix()
            matches = sorted(base.glob(pattern)) if any(c in text for c in "*?[") else []
            if not matches:
                raise NotFoundError(f"There is no file '{text}'.")
            found += matches
    return list(dict.fromkeys(found))


def predict_files(
    model: Model, config: ModelConfig, files: Sequence[Path], engine: Engine, batch: int = 32, *, abstain: bool = False
) -> Iterator[Prediction]:
    """A prediction for each file, in order. Threads read files ahead of the network, a few batches at most.

    With `abstain` an image in the uncertain band gets no label. A model of lesions that were cut out takes each file for
    such a cut-out, and the log says so once.

    Raises:
        UsageError: `abstain`, and the model has no such band.
    """
    if abstain and config.abstention is None:
        raise UsageError(
            f"The model '{config.name}' has no uncertain band, so it cannot abstain. Leave --abstain out, or train it "
            "again: a band is chosen on validation since."
        )
    if config.input.region is not None:
        log.warning(
            "The model '%s' looks at lesions cut out of their images (%s). Where a lesion lies in these files is not known: "
            "each is taken to be such a cut-out. A whole image gives no meaningful answer.",
            config.name,
            ", ".join(config.input.preprocess),
        )
    return _predictions(model, config, files, engine, batch, abstain)


def same_answer(results: Iterable[Prediction]) -> str | None:
    """A remark when three or more different files got the same probabilities: the model may not look at the images."""
    answers = {r.sha256: list(r.probabilities.values()) for r in results if r.probabilities is not None}
    if len(answers) < 3 or np.ptp(list(answers.values()), axis=0).max() > _SAME:
        return None
    return (
        f"All {len(answers)} different images got the same probabilities: the model does not tell them apart. "
        "Its training may have collapsed, or these images are nothing to it."
    )


@dataclass(frozen=True)
class _Read:
    """One file, prepared for the model; without pixels there is an error."""

    path: Path
    sha256: str | None = None
    pixels: Pixels | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None


def _predictions(
    model: Model, config: ModelConfig, files: Sequence[Path], engine: Engine, batch: int, abstain: bool
) -> Iterator[Prediction]:
    engine.place(model)
    prepare = config.input.preparer()

    def read(path: Path) -> _Read:
        try:
            image = read_image(path)
            warnings = *_header_warnings(path, config.training.modality), *ood_warnings(features(image), config.guard)
            return _Read(path, sha256(path), prepare(image), warnings)
        except MammozooError as error:
            return _Read(path, error=str(error))
        except OSError as error:
            return _Read(path, error=f"'{path}' cannot be read: {error.strerror or error}.")

    cut = config.cut() if len(config.classes) == 2 else None
    with contextlib.closing(_read_ahead(read, files, batch)) as batches:
        for done in batches:
            good = [one.pixels for one in done if one.pixels is not None]
            rows = iter(_opinions(model, config, good, engine, abstain) if good else [])
            for one in done:
                file = one.path.as_posix()
                if one.pixels is None:
                    yield Prediction(file, one.sha256, None, None, None, [], one.error)
                    continue
                p, label = next(rows)
                warnings = [*config.stamps, *one.warnings]
                yield Prediction(file, one.sha256, label, p, cut, warnings, abstained=label is None)


def _read_ahead(read: Callable[[Path], _Read], files: Sequence[Path], batch: int) -> Generator[list[_Read], None, None]:
    """Batches of `read` files, in order. While the caller is at work on one, threads read the next `_AHEAD`, no more."""
    remaining = iter(files)
    pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
    try:
        waiting = deque(pool.submit(read, path) for path in islice(remaining, _AHEAD * batch))
        while waiting:
            waiting.extend(pool.submit(read, path) for path in islice(remaining, batch))
            yield [waiting.popleft().result() for _ in range(min(batch, len(waiting)))]
    finally:
        pool.shutdown(cancel_futures=True)


def _header_warnings(path: Path, modality: str) -> list[str]:
    """What a DICOM header says against a model of this modality."""
    found = []
    says = read_modality(path)
    if says is not None and modality in _FITTING and says not in _FITTING[modality]:
        found.append(f"the file's header says modality {says}; the model was trained on {modality}")
    if says == "MG" and is_for_processing(path):
        found.append("a mammogram for processing, the detector's raw values: use the one for presentation")
    return found


def _is_mask_of(path: Path, stems: set[Path]) -> bool:
    """Whether `path` is named as the mask of one of the images `stems`."""
    named = _MASK.fullmatch(path.stem)
    return named is not None and path.with_name(named[1]) in stems


@torch.inference_mode()
def _opinions(
    model: Model, config: ModelConfig, images: list[Pixels], engine: Engine, abstain: bool
) -> list[tuple[dict[str, float], str | None]]:
    """Probabilities and label of each image; no label in the uncertain band."""
    pixels = torch.from_numpy(np.stack(images)).to(engine.device)
    temperature = config.calibration.temperature if config.calibration else 1.0
    with engine.autocast():
        logits = model(config.input.normalize(pixels))
    p = probabilities(logits, temperature).numpy()
    labels: list[str | None] = [config.classes[k] for k in decide(p, config.cut())]
    if abstain and config.abstention is not None:
        from mammozoo.evaluation.abstention import abstains  # here, because it brings scipy

        for number in np.flatnonzero(abstains(p, config.cut(), config.abstention)):
            labels[number] = None
    return [
        (dict(zip(config.classes, map(float, row), strict=True)), label) for row, label in zip(p, labels, strict=True)
    ]
