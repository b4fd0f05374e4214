"""Finding files below a root: the same ones in the same order on every machine, whichever folder the user pointed at."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from mammozoo.errors import UsageError


def files_under(root: Path, suffixes: Collection[str], depth: int = 6) -> Iterator[Path]:
    """Files with one of the `suffixes` (lower case, with dot; any case on disk) up to `depth` folders below `root`.

    Hidden files and folders and macOS' `__MACOSX` are left out. Within a folder files come before folders, by name.
    """
    for folder, folders, names in os.walk(root, followlinks=True):
        here = Path(folder)
        deep = len(here.relative_to(root).parts) >= depth
        folders[:] = [] if deep else sorted(name for name in folders if _visible(name))
        for name in sorted(filter(_visible, names)):
            if Path(name).suffix.lower() in suffixes:
                yield here / name


def home(dataset: str, root: Path, wanted: Collection[str], depth: int = 4) -> Path:
    """The one folder, `root` or up to `depth` below it, that has all the `wanted` entries (lower case, any case on disk).

    The nearest level counts. `root` itself where there is none.

    Raises:
        UsageError: several folders of one level have them: copies of the data set.
    """
    level = [root]
    for _ in range(depth + 1):
        inside = {folder: _entries(folder) for folder in level}
        found = [folder for folder, paths in inside.items() if {path.name.lower() for path in paths} >= {*wanted}]
        if len(found) > 1:
            copies = ", ".join(f"'{folder}'" for folder in found[:3])
            raise UsageError(f"Data set '{dataset}': --root '{root}' holds {len(found)} copies: {copies}. Name one.")
        if found:
            return found[0]
        level = [path for paths in inside.values() for path in paths if _visible(path.name) and path.is_dir()]
    return root


def by_number(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `us2` before `us10`."""
    return tuple((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name.lower()))


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted; nothing for a file or a folder that we may not open."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _visible(name: str) -> bool:
    return not name.startswith((".", "__MACOSX"))
