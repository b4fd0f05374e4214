"""Published data sets on disk: find their files in any folder, and state how a copy differs from the publication."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo
from mammozoo.data.io.listing import is_system, notes_of, some, walk
from mammozoo.data.splits.make import part_named
from mammozoo.errors import NotFoundError, UsageError


class files_under(list[Path]):  # noqa: N801 - it is called as a function
    """Files with one of the `suffixes` (lower case, with dot; any case on disk) up to `depth` folders below `root`.

    Within a folder files come before folders, by name, so the order is the same on every machine. `notes` names what was
    skipped: system files, and links and folders that cannot be read.
    """

    def __init__(self, root: Path, suffixes: Collection[str], depth: int = 6) -> None:
        skipped: dict[str, list[str]] = {}
        super().__init__(path for path in walk(root, skipped, depth) if path.suffix.lower() in suffixes)
        self.notes = notes_of(skipped)


def find_home(info: DatasetInfo, root: Path | None, wanted: Collection[str]) -> Path:
    """The one folder, `root` or up to four below it, that has all the `wanted` entries (lower case, any case on disk).

    The nearest level counts. `root` itself if there is no such folder.

    Raises:
        UsageError: several folders of one level have them: copies of the data set.
    """
    assert root is not None  # `Dataset` checks it
    level = [root]
    for _ in range(5):
        inside = {folder: _entries(folder) for folder in level}
        homes = [folder for folder, paths in inside.items() if {path.name.lower() for path in paths} >= {*wanted}]
        if len(homes) > 1 and all(part_named(folder.name) for folder in homes):
            return homes[0].parent  # parts of one copy, as some mirrors divide it
        if len(homes) > 1:
            copies = ", ".join(f"'{folder}'" for folder in homes[:3])
            raise UsageError(f"Data set '{info.name}': --root '{root}' holds {len(homes)} copies: {copies}. Name one.")
        if homes:
            return homes[0]
        level = [path for paths in inside.values() for path in paths if not is_system(path.name) and path.is_dir()]
    return root


def find_file(folder: Path, name: str) -> Path | None:
    """The file of that name (lower case, any case on disk) in a folder."""
    return next((path for path in _entries(folder) if path.name.lower() == name and path.is_file()), None)


def check_label(info: DatasetInfo, name: str, label: str) -> None:
    """Raise UsageError if a file of class `label`, by its own name, lies in a folder of another class."""
    if {part.lower() for part in name.split("/")[:-1]} & {*info.classes} - {label}:
        raise UsageError(
            f"Data set '{info.name}': '{name}' is {label} by its name and stands in a folder of another class. "
            "One of them is wrong; move the file or restore the original archive."
        )


def nothing_found(dataset: Dataset, advice: str = "") -> NotFoundError:
    """The error for a root without the data set's layout: the expected tree, the entries found, and advice."""
    info, root = dataset.info, dataset.root
    entries = _entries(root) if root is not None and root.is_dir() else [Path(str(root))]
    listing = "\n".join(f"      {entry.name}{'/' if entry.is_dir() else ''}" for entry in entries[:10])
    more = f"\n      … {len(entries) - 10} more" if len(entries) > 10 else ""
    return NotFoundError(
        f"Data set '{info.name}': nothing under --root '{root}' is laid out like it. Expected",
        f"\n{info.layout}\n  and found in '{root}'\n{listing or '      nothing'}{more}\n  {advice or info.access}",
    )


def count_notes(present: Mapping[str, int], published: Mapping[str, int], unit: str = "images") -> list[str]:
    """A note if the numbers of `unit` by class (or part) differ from the published ones."""
    counts = {name: present.get(name, 0) for name in published}
    if counts == published:
        return []
    listed = ", ".join(f"{counts[name]} of the published {n} {name}" for name, n in published.items())
    return [
        f"{sum(counts.values())} {unit}, published are {sum(published.values())}: {listed}. "
        "Scores are not comparable with those on the whole set."
    ]


def left_out(names: Sequence[str], text: str) -> list[str]:
    """A note about these names, `text` with their number before and the first few after it; none for no names."""
    return [f"{len(names)} {text}: {some(names)}."] if names else []


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted; none for a file or a folder without permission."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
