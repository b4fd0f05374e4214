"""Predictions for images: in order, in flat memory, and an unreadable file does not stop the others.

Before the model answers, each image is judged: whether it is one for this model (`suitable.py`).
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mammozoo.config.names import reference_to
from mammozoo.data.io.dicom import frame_note
from mammozoo.data.io.dicom_frames import split_frame
from mammozoo.data.io.images import checked, image_from_memory, read_image
from mammozoo.data.io.listing import is_system, list_images
from mammozoo.data.io.several import read_many
from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import FailedError, MammozooError, NotFoundError, UsageError, reason
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.suitable import Suitable
from mammozoo.evaluation.thresholds import abstains
from mammozoo.files import absent, given_path, sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine
from mammozoo.models.ensemble import answers
from mammozoo.models.model import Model, check_probabilities
from mammozoo.progress import Progress

if TYPE_CHECKING:
    from mammozoo.evaluation.predict_journal import Journal
    from mammozoo.evaluation.predict_units import UnitPredictions

log = logging.getLogger(__name__)

#: With `abstain`, an ensemble of which a smaller share of models agrees gives no label.
AGREE = 0.8
_SAME = 1e-4  # probabilities that differ by no more count as the same


@dataclass(frozen=True)
class MemoryImage:
    """An image in memory: its name in messages, and its pixels as `image_from_memory` gives them."""

    name: str
    pixels: npt.NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """A model's answer for one image.

    Attributes:
        file: the path, or the name of an image in memory.
        label: None if the file cannot be read or the model does not answer (`error` has the reason) or abstains (`abstained`).
        warnings: the model's stamps, and why this image may not be one for this model.
        agreement: of an ensemble the share of its models that decide as it does.
    """

    file: str
    sha256: str | None
    label: str | None
    probabilities: dict[str, float] | None
    threshold: float | None
    warnings: list[str] = field(default_factory=list)
    error: str | None = None
    abstained: bool = False
    agreement: float | None = None


@dataclass(frozen=True)
class PredictResult:
    """The predictions of the model in `folder`, a remark on all of them together, and those of units, if there are any."""

    folder: Path
    config: ModelConfig = field(repr=False)
    predictions: list[Prediction]
    remark: str | None
    units: UnitPredictions | None = None


#: An image as users give it: a path or pattern, an array, or a Pillow image.
Picture = str | Path | npt.NDArray[Any] | Image.Image
#: A prediction that still lacks its answer, the hash of its image, and the prepared pixels, None if it is unreadable.
_Read = tuple[Prediction, str, Pixels | None]


def find_images(paths: Iterable[str]) -> list[Path]:
    """Files as given, images anywhere below folders, and matches of patterns; sorted within each.

    Of a folder, lesion masks and system files are left out, and a warning counts and names what is. A path that exists is a
    name, whatever it contains. A DICOMDIR stands for its folder, and `FILE#frame` for one of a DICOM file's frames.

    Raises:
        NotFoundError: one of `paths` leads to nothing.
        UsageError: one of `paths` is empty, or no path of this machine.
    """
    found: list[Path] = []
    for text in paths:
        path = given_path(text)
        path = path.parent if path.name.upper() == "DICOMDIR" and path.is_file() else path
        if path.is_dir():
            if (path / "config.json").is_file() and not list_images(path).images:
                raise UsageError(
                    f"'{text}' is a model or run, not an image. Name it with --model: --model {reference_to(path)}."
                )
            if not (inside := _inside(path)):
                raise NotFoundError(f"There is no image in the folder '{text}'.")
            found += inside
        elif os.path.lexists(split_frame(path)[0]):
            found.append(path)
        else:
            found += _matches(path, text)
    return list(dict.fromkeys(found))


def folders_of(paths: Iterable[str]) -> list[Path]:
    """Those of `paths` that are folders."""
    return [path for text in paths if (path := given_path(text)).is_dir()]


def _inside(folder: Path) -> list[Path]:
    listing = list_images(folder)
    for note in listing.notes:
        log.warning("%s: %s", folder, note)
    return listing.images


def _matches(path: Path, text: str) -> Iterator[Path]:
    """What a pattern leads to; the folders before it that exist are names."""
    base = next(folder for folder in path.parents if folder.is_dir())
    pattern = path.relative_to(base).as_posix()
    try:
        matches = sorted(base.glob(pattern)) if re.search(r"[*?[]", pattern) else []
    except (ValueError, NotImplementedError) as error:
        raise UsageError(f"'{text}' is not a valid pattern: {error}.") from None
    matches = [match for match in matches if not any(map(is_system, match.relative_to(base).parts))]
    if not matches:
        raise NotFoundError(f"There is no file '{text}'.{absent(text)}")
    for match in matches:
        yield from _inside(match) if match.is_dir() else [match]


def predict_images(
    model: Model,
    config: ModelConfig,
    images: Picture | Iterable[Picture],
    engine: Engine,
    batch: int = 32,
    *,
    abstain: bool = False,
    force: bool = False,
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> tuple[list[Prediction], str | None]:
    """What `mammozoo.Classifier.predict` returns and raises, and a remark if all images got the same answer.

    A model of cropped lesions takes each image for such a crop, and logs that. What `journal` knows is not predicted again.
    """
    if abstain and config.abstention is None:
        raise UsageError(
            f"The model '{config.name}' has no uncertain band, so it cannot abstain. Leave --abstain out, or train it "
            "again with this version, which chooses a band on validation."
        )
    if config.input.region is not None:
        log.warning(
            "The model '%s' was trained on lesions cropped from their images (%s). The position of the lesion in these files "
            "is unknown: each is treated as such a crop. A whole image gives no meaningful answer.",
            config.name, ", ".join(config.input.preprocess),
        )  # fmt: skip
    engine.place(model)
    prepare, suitable = config.input.preparer(), Suitable(config)
    threshold = config.cut() if len(config.classes) == 2 else None

    def read(image: Path | MemoryImage) -> _Read:
        file = image.as_posix() if isinstance(image, Path) else image.name
        if journal is not None and isinstance(image, Path) and (known := journal.find(image)):
            return known, "", None
        try:
            if isinstance(image, Path):
                pixels, notes = read_image(image), [note] if (note := frame_note(image)) else []
                stated = digest = sha256(split_frame(image)[0])
            else:
                pixels = checked(image.pixels, file)
                stated, digest, notes = None, hashlib.sha256(pixels.tobytes()).hexdigest(), []
            refusal, warnings = suitable.judge(pixels, image if isinstance(image, Path) else None)
            warnings = [*config.stamps, *notes, *warnings]
            if refusal and not force:
                return Prediction(file, stated, None, None, None, warnings, _refused(file, refusal)), "", None
            warnings += [refusal] if refusal else []
            return Prediction(file, stated, None, None, threshold, warnings), digest, prepare(pixels)
        except Exception as error:  # whatever a reader or a step raises
            why = reason(error) if isinstance(error, MammozooError) else f"'{file}' cannot be read: {reason(error)}."
        return Prediction(file, None, None, None, None, error=why), "", None

    predictions, by_image = [], {}
    with contextlib.closing(read_many(read, _opened(images))) as files:
        while rows := list(islice(files, batch)):
            prepared = [pixels for _, _, pixels in rows if pixels is not None]
            answers = iter(_answers(model, config, prepared, engine, abstain) if prepared else [])
            for prediction, digest, pixels in rows:
                if pixels is not None:
                    answer, label, agreement = next(answers)
                    try:
                        check_probabilities(np.array([[*answer.values()]]), config.name)
                    except FailedError as error:
                        prediction = replace(prediction, threshold=None, error=f"'{prediction.file}': {error}")
                    else:
                        by_image[digest] = answer
                        prediction = replace(
                            prediction, label=label, probabilities=answer, abstained=label is None, agreement=agreement
                        )
                elif prediction.probabilities and prediction.sha256:  # as the journal has it
                    by_image[prediction.sha256] = prediction.probabilities
                predictions.append(prediction)
            if journal is not None:
                journal.add(predictions[-len(rows) :])
            if progress is not None:
                progress.advance(len(rows))
    return predictions, same_answer(by_image)


def same_answer(answers: Mapping[str, Mapping[str, float]]) -> str | None:
    """A remark if three or more images (hash → probabilities) got the same answer: the model may not depend on the image."""
    rows = [list(p.values()) for p in answers.values()]
    if len(rows) < 3 or np.ptp(rows, axis=0).max() > _SAME:
        return None
    return (
        f"All {len(rows)} different images got the same probabilities: the model does not tell them apart. "
        "Its training may have collapsed, or these images are nothing to it."
    )


def _opened(images: Picture | Iterable[Picture]) -> Iterator[Path | MemoryImage]:
    """Every file that `images` names, as often as it does, and every image in memory."""
    several: Iterable[Any] = [images] if isinstance(images, str | Path | np.ndarray | Image.Image) else images
    listed = several if isinstance(several, Sequence) else ()
    files = {image: find_images([str(image)]) for image in listed if isinstance(image, str | Path)}  # before any work
    for number, image in enumerate(several):
        if isinstance(image, str | Path):
            yield from files.get(image) or find_images([str(image)])
        else:
            name = f"images[{number}]"
            yield MemoryImage(name, image_from_memory(image, name))


def _refused(file: str, why: str) -> str:
    return f"'{file}' gets no answer: {why}. If that is wrong, `mammozoo predict --force` (force=True in Python) gives one."


@torch.inference_mode()
def _answers(
    model: Model, config: ModelConfig, images: Sequence[Pixels], engine: Engine, abstain: bool
) -> Iterator[tuple[dict[str, float], str | None, float | None]]:
    """Probabilities, label and agreement of each image; no label in the uncertain band, and where members disagree."""
    with engine.autocast():
        x = config.input.normalize(torch.from_numpy(np.stack(images)).to(engine.device))
        mean, each = answers(model, x, config.temperature)
    p = mean.numpy()
    decisions = decide(p, config.cut())
    agreement: list[float | None] = [None] * len(p)
    unsure = np.zeros(len(p), bool)
    if each is not None:
        shares = np.mean([decide(one, config.cut()) == decisions for one in each.numpy()], axis=0)
        agreement, unsure = shares.tolist(), shares < AGREE
    if abstain and config.abstention is not None:
        unsure |= abstains(p, config.cut(), config.abstention)
    labels = [None if abstain and un else config.classes[k] for k, un in zip(decisions, unsure, strict=True)]
    rows = [dict(zip(config.classes, map(float, row), strict=True)) for row in p]
    return zip(rows, labels, agreement, strict=True)
