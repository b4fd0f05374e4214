"""Splits on disk: our `splits.json`, nnU-Net's `splits_final.json`, or a table; each names images, never counts them.

    splits.json           {"schema": 1, "splits": [{"name", "sha256", "train": [image, …], "val": […], "test": […]}, …]}
    splits_final.json     [{"train": [case, …], "val": [case, …]}, …]      (nnU-Net; its `val` is what is scored)
    table.csv             sample,part[,split]                              (part is train, val or test)

An image may be named by its path below the data set's root, or by whatever end of that path is unique, with or
without its suffix: `benign/benign (1).png`, `benign (1).png` and `benign (1)` are one.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mammozoo.data.splits.make import PARTS, Indices, Split
from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError
from mammozoo.files import write_json

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class SplitFile:
    """What a file says: its splits, and the images that it lists and the data set does not have.

    A part that the file leaves out is empty; nnU-Net's splits have no validation part of our kind.
    """

    splits: list[Split]
    unknown: list[str]


def write_splits(path: Path, splits: Sequence[Split], names: Sequence[str]) -> Path:
    """Write `splits.json`; each split with its digest."""
    content = [
        {
            "name": split.name,
            "sha256": split.digest(names),
            **{part: [names[i] for i in split.part(part)] for part in PARTS},
        }
        for split in splits
    ]
    return write_json(path, {"schema": 1, "splits": content})


def read_splits(path: Path, names: Sequence[str]) -> SplitFile:
    """The splits in `path`, for the data set whose images are `names`.

    Raises:
        NotFoundError: no such file.
        UsageError: not a split file, or a split that has an image twice.
        NotVerifiedError: a split of ours was changed after it was written.
    """
    entries = _entries(path)
    known = _ends(names)
    unknown: dict[str, None] = {}
    splits = []
    for number, entry in enumerate(entries):
        name = str(entry.get("name") or f"fold-{number}")
        if not _NAME.fullmatch(name):
            raise UsageError(f"Split file '{path}': '{name}' is no name for a split; use letters, digits, '-' and '_'.")
        parts: dict[str, Indices] = {}
        for part in PARTS:
            listed = [str(image) for image in entry.get(part, [])]
            found = {image: known.get(_plain(image)) for image in listed}
            ambiguous = [image for image, index in found.items() if index == _MANY]
            if ambiguous:
                raise UsageError(f"Split file '{path}': '{ambiguous[0]}' names several images; write more of its path.")
            unknown |= {image: None for image, index in found.items() if index is None}
            parts[part] = np.array([index for index in found.values() if index is not None], np.intp)
        split = Split(name, **parts)
        _refuse_repeated(split, names, path)
        if "sha256" in entry and not unknown and entry["sha256"] != split.digest(names):
            raise NotVerifiedError(
                f"Split file '{path}': '{name}' is not what was written (its SHA-256 differs). Restore the file, or "
                "remove the key sha256 if you changed the split on purpose."
            )
        splits.append(split)
    if len({split.name for split in splits}) < len(splits):
        raise UsageError(f"Split file '{path}' has two splits of one name.")
    return SplitFile(splits, list(unknown))


_MANY = -1  # an end of a path that several images share


def _ends(names: Sequence[str]) -> dict[str, int]:
    """Every end of every path, without suffix, → index of its image, or `_MANY`."""
    ends: dict[str, int] = {}
    for index, name in enumerate(names):
        parts = PurePosixPath(_plain(name)).parts
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            ends[end] = index if ends.get(end, index) == index else _MANY
    # A whole path is never ambiguous, though another may end with it.
    return ends | {_plain(name): index for index, name in enumerate(names)}


def _plain(image: str) -> str:
    """A path with forward slashes and without the suffix of an image."""
    path = PurePosixPath(image.replace("\\", "/"))
    return path.with_suffix("").as_posix() if re.fullmatch(r"\.[A-Za-z]{3,5}", path.suffix) else path.as_posix()


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"There is no split file '{path}'.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Split file '{path}' cannot be read: {error}.") from None
    if path.suffix.lower() == ".csv":
        return _from_table(csv.DictReader(text.splitlines()), path)
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageError(f"Split file '{path}' is neither JSON nor a .csv table: {error}.") from None
    if isinstance(content, dict):
        content = content.get("splits")
    lists = isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content)
    if not lists or not all(isinstance(entry.get(part, []), list) for entry in content for part in PARTS):
        raise UsageError(
            f"Split file '{path}' is neither ours ({{schema, splits: [{{name, train, val, test}}]}}) nor nnU-Net's "
            "([{train, val}, …])."
        )
    if not all("test" in entry for entry in content):  # nnU-Net scores its folds on what it calls val
        content = [
            {"name": entry.get("name"), "train": entry.get("train", []), "test": entry.get("val", [])}
            for entry in content
        ]
    return content


def _from_table(rows: Iterable[dict[str, str]], path: Path) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(rows, start=2):
        cells = {
            (key or "").strip().lower(): (cell or "").strip() for key, cell in row.items() if isinstance(cell, str)
        }
        image, part = cells.get("sample") or cells.get("path"), cells.get("part")
        if not image or part not in PARTS:
            raise UsageError(
                f"Split file '{path}', line {line}: needs the columns sample and part (train, val or test); got "
                f"{dict(cells)}."
            )
        name = cells.get("split") or "holdout"
        entries.setdefault(name, {"name": name, **{known: [] for known in PARTS}})[part].append(image)
    if not entries:
        raise UsageError(f"Split file '{path}' lists nothing.")
    return list(entries.values())


def _refuse_repeated(split: Split, names: Sequence[str], path: Path) -> None:
    everything = np.concatenate([split.part(part) for part in PARTS])
    found, times = np.unique(everything, return_counts=True)
    if (times > 1).any():
        image = names[found[times > 1][0]]
        raise UsageError(f"Split file '{path}': '{split.name}' lists '{image}' twice. An image has one part.")
