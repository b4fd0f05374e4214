"""Split files: our `splits.json`, nnU-Net's `splits_final.json`, or a table; each lists images by name.

    splits.json           {"schema": 1, "splits": [{"name", "sha256", "train": [image, …], "val": […], "test": […]}, …]}
    splits_final.json     [{"train": [case, …], "val": [case, …]}, …]      (nnU-Net; its `val` is the scored part)
    table.csv             sample,part[,split]; also .tsv and .xlsx         (part is train, val or test)

An image may be named by its path below the data set's root, or by any unique end of that path, with or
without its suffix: `benign/benign (1).png`, `benign (1).png` and `benign (1)` are the same image. An image with another suffix
than the listed one is taken, with a warning, if there is none with that suffix: the data may have been converted since.

Splits named `site/1` and `site/2` are inner splits of one outer fold `site` if they share a test part; else each is a fold.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mammozoo.data.splits.make import PARTS, Indices, Split, digest
from mammozoo.documents import parse_json
from mammozoo.errors import NotFoundError, NotVerifiedError, UsageError
from mammozoo.files import absent, write_json
from mammozoo.tables import WORKBOOKS, Row, read_rows

log = logging.getLogger(__name__)
# Not the names of a run's own folders.
_NAME = re.compile(r"(?!(ensemble|refit|stages)\b)[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SUFFIX = re.compile(r"\.[A-Za-z]{3,5}")
AMBIGUOUS = -1  #: stands for an end of a path that several images share


@dataclass(frozen=True)
class SplitFile:
    """The splits in a file, and the listed images that the data set does not have.

    A part that the file leaves out is empty; nnU-Net's splits have no separate validation part.
    """

    splits: list[Split]
    unknown: list[str]


def write_splits(path: Path, splits: Sequence[Split], names: Sequence[str]) -> Path:
    """Write `splits.json`; each split with its digest."""
    content = []
    for split in splits:
        images: dict[str, Any] = {part: [names[i] for i in split.part(part)] for part in PARTS}
        content.append({"name": split.name, "sha256": split.digest(names)} | images)
    return write_json(path, {"schema": 1, "splits": content})


def read_splits(path: Path, names: Sequence[str]) -> SplitFile:
    """The splits in `path`, for the data set whose images are `names`.

    Raises:
        NotFoundError: no such file.
        UsageError: not a split file, or a split that lists an image twice.
        NotVerifiedError: one of our splits was changed after it was written.
    """
    known = ImageNames(names)
    other: dict[str, int] = {}  # listed with another suffix → index of the image
    unknown: dict[str, None] = {}
    splits: list[Split] = []
    for number, entry in enumerate(_entries(path)):
        name = str(entry.get("name") or f"fold-{number}")
        if not _NAME.fullmatch(name):
            use = "cannot be the name of a split; use letters, digits, '-' and '_'"
            raise UsageError(f"Split file '{path}': '{name}' {use}.")
        if any(split.name == name for split in splits):
            raise UsageError(f"Split file '{path}' has two splits of one name, '{name}'.")
        parts: dict[str, Indices] = {}
        for part in PARTS:
            indices: dict[str, int | None] = {}
            for image in map(str, entry.get(part, [])):
                index = indices[image] = known.index(image)
                if index is not None and known.has_another_suffix(image):
                    other[image] = index
            ambiguous = [image for image, index in indices.items() if index == AMBIGUOUS]
            if ambiguous:
                more = "write more of its path, or its suffix"
                raise UsageError(f"Split file '{path}': '{ambiguous[0]}' names several images; {more}.")
            unknown |= {image: None for image, index in indices.items() if index is None}
            parts[part] = np.array([index for index in indices.values() if index is not None], np.intp)
        split = Split(name, parts["train"], parts["val"], parts["test"])
        listed, times = np.unique(np.concatenate([split.train, split.val, split.test]), return_counts=True)
        if (times > 1).any():
            image = names[listed[times > 1][0]]
            raise UsageError(f"Split file '{path}': '{name}' lists '{image}' twice. An image has one part.")
        if "sha256" in entry and entry["sha256"] != digest({part: map(str, entry.get(part, [])) for part in PARTS}):
            raise NotVerifiedError(
                f"Split file '{path}': '{name}' was changed after it was written (its SHA-256 differs). Restore the file, or "
                "remove the key sha256 if you changed the split on purpose."
            )
        splits.append(split)
    if other:
        listed_as, index = next(iter(other.items()))
        text = "Split file '%s' lists %d images with another suffix than the data set: '%s' is taken as '%s'."
        log.warning(text, path, len(other), listed_as, names[index])
    tests: dict[str, set[frozenset[int]]] = {}
    for split in splits:
        tests.setdefault(split.outer, set()).add(frozenset(split.test.tolist()))
    return SplitFile([replace(split, alone=len(tests[split.outer]) > 1) for split in splits], list(unknown))


class ImageNames:
    """Which image of a data set a name in a file means: its path, or any end of it that no other image has."""

    def __init__(self, names: Sequence[str]) -> None:
        self._known, self._plain = _ends(names, _exact), _ends(names, _plain)

    def index(self, image: str) -> int | None:
        """Place among the names, `AMBIGUOUS` if several end so, None if there is none."""
        exact = _exact(image)  # `case.left` is a name without its suffix as well as one with a suffix
        return self._known.get(exact, self._plain.get(exact, self._plain.get(_plain(image))))

    def has_another_suffix(self, image: str) -> bool:
        """Whether the image that is meant has not the suffix that was written."""
        exact = _exact(image)
        return exact not in self._known and exact not in self._plain and exact != _plain(image)


def _ends(names: Sequence[str], form: Callable[[str], str]) -> dict[str, int]:
    """Every end of every path in one form → index of its image, or `AMBIGUOUS`."""
    ends: dict[str, int] = {}
    whole: dict[str, int] = {}
    for index, name in enumerate(names):
        path = form(name)
        whole[path] = AMBIGUOUS if path in whole else index
        parts = PurePosixPath(path).parts
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            ends[end] = AMBIGUOUS if end in ends else index
    return ends | whole  # a whole path is unambiguous, even if another path ends with it


def _exact(image: str) -> str:
    """A path in one Unicode form, with forward slashes and the suffix of an image, if it has one, in small letters."""
    path = PurePosixPath(unicodedata.normalize("NFC", image.replace("\\", "/")))
    return path.with_suffix(path.suffix.lower()).as_posix() if _SUFFIX.fullmatch(path.suffix) else path.as_posix()


def _plain(image: str) -> str:
    """The same without the suffix."""
    path = PurePosixPath(_exact(image))
    return path.with_suffix("").as_posix() if _SUFFIX.fullmatch(path.suffix) else path.as_posix()


def _entries(path: Path) -> list[dict[str, Any]]:
    """The splits of any of the three formats, as dictionaries of part → images."""
    if path.suffix.lower() in (".csv", ".tsv", *WORKBOOKS):
        if not path.is_file():
            raise NotFoundError(f"There is no split file '{path}'.{absent(path)}")
        return _from_table(read_rows(path, (), exact=True), path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"There is no split file '{path}'.{absent(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Split file '{path}' cannot be read: {error}.") from None
    try:
        content = parse_json(text)
    except ValueError as error:
        raise UsageError(f"Split file '{path}' is neither JSON nor a .csv table: {error}.") from None
    if isinstance(content, dict):
        content = content.get("splits")
    lists = isinstance(content, list) and content and all(isinstance(entry, dict) for entry in content)
    if not lists or not all(isinstance(entry.get(part, []), list) for entry in content for part in PARTS):
        raise UsageError(
            f"Split file '{path}' has neither mammozoo's format ({{schema, splits: [{{name, train, val, test}}]}}) nor nnU-Net's "
            "([{train, val}, …])."
        )
    if not all("test" in entry for entry in content):  # nnU-Net scores its folds on the part that it calls val
        return [{"name": e.get("name"), "train": e.get("train", []), "test": e.get("val", [])} for e in content]
    return content


def _from_table(rows: Iterable[tuple[int, Row]], path: Path) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for line, row in rows:
        image, part = row.get("sample") or row.get("path"), row.get("part")
        if not image or part not in PARTS:
            needed = "needs the columns sample and part (train, val or test)"
            raise UsageError(f"Split file '{path}', line {line}: {needed}; got {row}.")
        name = row.get("split") or "holdout"
        entries.setdefault(name, {"name": name, **{known: [] for known in PARTS}})[part].append(image)
    if not entries:
        raise UsageError(f"Split file '{path}' lists nothing.")
    return list(entries.values())
