"""The files in a fit's folder that are read again: the table `split.csv`, and the hash of each in `key.json`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mammozoo.errors import IncompatibleError, NotVerifiedError, reason
from mammozoo.files import encode, read_table, table_text
from mammozoo.models.weights import read_shapes

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
                f"'{folder / name}' does not have the SHA-256 that is recorded in key.json: it is damaged, or was changed. "
                f"Remove the folder '{folder}', and this fit is trained again."
            )


def read_split(folder: Path) -> list[tuple[str, int, str]]:
    """(sample, group, part) of every image of a fit, from its `split.csv`; IncompatibleError if it is damaged."""
    path = folder / "split.csv"
    try:
        return [(row["sample"], int(row["group"]), row["part"]) for row in read_table(path)]
    except (OSError, KeyError, ValueError) as error:
        raise IncompatibleError(f"'{path}' is not the split of a fit: {reason(error)}.") from None
