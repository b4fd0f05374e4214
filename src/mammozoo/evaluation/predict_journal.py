"""Predictions kept as they are made, one JSON object a line, so that a call that was killed goes on where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mammozoo
from mammozoo.data.io.dicom_frames import split_frame
from mammozoo.errors import ConflictError
from mammozoo.evaluation.predict import Prediction
from mammozoo.files import disk_error, locked, sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine
from mammozoo.models.predictor import weights_of


class Journal:
    """The predictions in a file, by image; each counts as long as its file has the size and time that it had."""

    def __init__(self, path: Path, known: dict[str, tuple[list[int], Prediction]]):
        self.path, self._known = path, known
        self._file = path.open("a", encoding="utf-8")

    def find(self, image: Path) -> Prediction | None:
        """What was predicted for an image, if it has not changed since; nothing of one that could not be read: it may be now."""
        stood, prediction = self._known.get(image.as_posix(), (None, None))
        return prediction if prediction is not None and prediction.sha256 and stood == _standing(image) else None

    def add(self, predictions: Iterable[Prediction]) -> None:
        """Keep predictions of files that were just made; a kill of this process takes none of them back.

        Raises:
            FailedError: the disk is full.
        """
        try:
            for prediction in predictions:
                if self.find(image := Path(prediction.file)) is None:
                    self._file.write(json.dumps({"stands": _standing(image), **asdict(prediction)}) + "\n")
            self._file.flush()
        except OSError as error:
            raise disk_error(error, self.path) from error


def key_of(model: Path, config: ModelConfig, engine: Engine, **options: bool | str | None) -> dict[str, str]:
    """In what two calls must be alike to give the same answers: the model and its config, device, precision, version, options."""
    its = {
        "weights": sha256(weights_of(model)),
        "config": hashlib.sha256(json.dumps(config.to_json()).encode()).hexdigest(),
    }
    machine = {"device": engine.device.type, "precision": str(engine.dtype), "mammozoo": mammozoo.__version__}
    return its | machine | {name: str(value) for name, value in options.items()}


@contextlib.contextmanager
def journal(path: Path, key: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal `path` of calls that are alike in `key`: a new one, or one that such a call has left.

    Raises:
        ConflictError: it is of another call, or another process writes it.
        AccessError: it cannot be written.
    """
    begin = json.dumps(dict(key)) + "\n"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path.with_name(path.name + ".lock"), patience=0))
            known = _read(path, begin) if path.is_file() else {}
            if not known:
                path.write_text(begin, encoding="utf-8")
            made = Journal(path, known)
        except TimeoutError:
            raise ConflictError(f"Another process is writing '{path}'. Wait until it ends, or stop it.") from None
        except OSError as error:
            raise disk_error(error, path) from error
        with contextlib.closing(made._file):
            yield made


def _standing(image: Path) -> list[int]:
    """Size and time of a file; nothing of one that is not there."""
    try:
        of = split_frame(image)[0].stat()
    except OSError:
        return []
    return [of.st_size, of.st_mtime_ns]


def _read(path: Path, begin: str) -> dict[str, tuple[list[int], Prediction]]:
    """The predictions in a journal; cuts off a line that a killed process has left unfinished."""
    known, end = {}, 0
    with path.open("rb+") as file:
        for number, line in enumerate(file):
            if number == 0:
                if line.decode("utf-8", "replace") != begin:
                    raise ConflictError(
                        f"'{path}' holds predictions of an unfinished call with another model, version or option. "
                        "Repeat that call to end it, or remove the file."
                    )
            else:
                try:
                    row = json.loads(line)
                    known[row["file"]] = (row.pop("stands"), Prediction(**row))
                except (ValueError, KeyError, TypeError):
                    break
            end += len(line)
        file.truncate(end)
    return known
