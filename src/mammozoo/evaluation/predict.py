"""A model's opinion on image files: in order, in flat memory, and one bad file does not stop the others."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from mammozoo.data.input import Pixels
from mammozoo.data.reading import IMAGE_SUFFIXES, read_image
from mammozoo.errors import MammozooError, NotFoundError
from mammozoo.evaluation.outcome import decide
from mammozoo.files import sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.engine import Engine
from mammozoo.models.model import Model, probabilities

_MASK = re.compile(r"(.+)_mask(_\d+)?")


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file; `error` says why it says nothing."""

    file: str
    sha256: str | None
    label: str | None
    probabilities: dict[str, float] | None
    threshold: float | None
    warnings: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None


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
    model: Model, config: ModelConfig, files: Sequence[Path], engine: Engine, batch: int = 32
) -> Iterator[Prediction]:
    """A prediction for each file, in order. Files are read ahead by threads, a batch at a time."""
    engine.place(model)
    prepare = config.input.preparer()

    def read(path: Path) -> tuple[Path, str | None, Pixels | None, str | None]:
        try:
            return path, sha256(path), prepare(read_image(path)), None
        except MammozooError as error:
            return path, None, None, str(error)
        except OSError as error:
            return path, None, None, f"'{path}' cannot be read: {error.strerror or error}."

    remaining = iter(files)
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(read, path) for path in islice(remaining, batch)]
        while waiting:
            done = [future.result() for future in waiting]
            waiting = [pool.submit(read, path) for path in islice(remaining, batch)]
            good = [pixels for _, _, pixels, _ in done if pixels is not None]
            rows = iter(_opinions(model, config, good, engine) if good else [])
            for path, digest, pixels, error in done:
                if pixels is None:
                    yield Prediction(path.as_posix(), digest, None, None, None, [], error)
                    continue
                p, label = next(rows)
                cut = config.cut() if len(config.classes) == 2 else None
                yield Prediction(path.as_posix(), digest, label, p, cut, list(config.stamps))


def _is_mask_of(path: Path, stems: set[Path]) -> bool:
    """Whether `path` is named as the mask of one of the images `stems`."""
    named = _MASK.fullmatch(path.stem)
    return named is not None and path.with_name(named[1]) in stems


@torch.inference_mode()
def _opinions(
    model: Model, config: ModelConfig, images: list[Pixels], engine: Engine
) -> list[tuple[dict[str, float], str]]:
    pixels = torch.from_numpy(np.stack(images)).to(engine.device)
    with engine.autocast():
        p = probabilities(model(config.input.normalize(pixels))).double().cpu().numpy()
    labels = [config.classes[k] for k in decide(p, config.cut())]
    return [
        (dict(zip(config.classes, map(float, row), strict=True)), label) for row, label in zip(p, labels, strict=True)
    ]
