"""The files in a fit's folder that are read again: the tables `history.csv` and `split.csv`, and the hash of each in `key.json`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mammozoo.errors import IncompatibleError, NotVerifiedError, reason
from mammozoo.files import encode, read_table, table_text
from mammozoo.models.weights import read_shapes
from mammozoo.training.trainer import EpochRow

_FILES = ("model.safetensors", "config.json", "history.csv", "predictions.csv")  # split.csv is compared row by row
_TIMES = ("seconds", "rate")  # of an epoch: they differ between two runs that are otherwise equal


def digests(folder: Path, **texts: str) -> dict[str, str]:
    """File name → SHA-256 of each file of a complete fit; `texts` are those that have still to be written. Times do not count.

    Raises:
        NotFoundError, NotVerifiedError: there are no weights, or they are no sound file.
        FileNotFoundError: another file is missing.
    """
    read_shapes(folder / _FILES[0])
    found = {}
    for name in _FILES:
        content = encode(texts[name]) if name in texts else (folder / name).read_bytes()
        if name == "history.csv":
            rows = read_table(folder / name)
            content = encode(table_text({key: row[key] for key in row if key not in _TIMES} for row in rows))
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def check_digests(folder: Path, key: Mapping[str, Any]) -> None:
    """Compare the files of a complete fit with what its `key.json` promises; a fit of before promises nothing.

    Raises:
        NotFoundError, NotVerifiedError: one is missing, damaged or changed.
    """
    for name, now in digests(folder).items():
        if key.get(name, now) != now:
            raise NotVerifiedError(
                f"'{folder / name}' has not the SHA-256 that its fit has written into key.json: it is damaged, or was changed. "
                f"Remove the folder '{folder}', and this fit is trained again."
            )


def read_history(folder: Path) -> list[EpochRow]:
    """The epochs in a fit's `history.csv`, one or more; IncompatibleError if it is damaged."""
    kinds = {field.name: str(field.type) for field in dataclasses.fields(EpochRow)}
    read: dict[str, Callable[[str], Any]] = {
        "str": str,
        "int": int,
        "float": float,
        "bool": {"True": True, "False": False}.__getitem__,
    }
    path = folder / "history.csv"
    try:
        rows = [EpochRow(**{name: read[kinds[name]](cell) for name, cell in row.items()}) for row in read_table(path)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise IncompatibleError(f"'{path}' is not the history of a fit: {reason(error)}.") from None
    if not any(row.best for row in rows):
        raise IncompatibleError(f"'{path}' is not the history of a fit: no epoch is the best.")
    return rows


def read_split(folder: Path) -> list[tuple[str, int, str]]:
    """(sample, group, part) of every image of a fit, from its `split.csv`; IncompatibleError if it is damaged."""
    path = folder / "split.csv"
    try:
        return [(row["sample"], int(row["group"]), row["part"]) for row in read_table(path)]
    except (OSError, KeyError, ValueError) as error:
        raise IncompatibleError(f"'{path}' is not the split of a fit: {reason(error)}.") from None


def history_table(history: Iterable[EpochRow]) -> list[dict[str, Any]]:
    """The rows of `history.csv`: values in full precision, times rounded."""
    return [vars(row) | {"seconds": round(row.seconds, 2), "rate": round(row.rate, 1)} for row in history]
