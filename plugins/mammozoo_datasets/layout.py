"""What a loader says when a folder is not laid out as it should be: the expected tree beside the found one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mammozoo.errors import NotFoundError


def nothing_found(name: str, root: Path, expected: str, advice: str) -> NotFoundError:
    """The error that nothing of data set `name` is under `root`: `expected` is its tree, each line indented by four or more."""
    entries = sorted(root.glob("*")) if root.is_dir() else [root]
    found = "\n".join(f"      {entry.name}{'/' if entry.is_dir() else ''}" for entry in entries[:10])
    more = f"\n      … {len(entries) - 10} more" if len(entries) > 10 else ""
    return NotFoundError(
        f"Data set '{name}': nothing under --root '{root}' is laid out like it. Expected\n{expected}\n"
        f"  and found in '{root}'\n{found or '      nothing'}{more}\n  {advice}"
    )


def some(names: Sequence[str]) -> str:
    """The first few names, quoted."""
    return ", ".join(f"'{name}'" for name in names[:5]) + (" …" if len(names) > 5 else "")
