"""From an entry point or a file to the module behind it, and where it comes from; built to survive damaged installations."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

from mammozoo.errors import NotFoundError, UsageError

#: What the built-in plugins come with.
DISTRIBUTION = "mammozoo"


def origin(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point is of; `?` where its metadata are damaged."""
    try:
        return (entry.dist.name or "?", entry.dist.version or "?") if entry.dist else ("?", "?")
    except Exception:  # whatever email's parser makes of a missing or damaged METADATA
        return "?", "?"


def import_entry(entry: importlib.metadata.EntryPoint) -> Any:
    """What an entry point names, imported.

    Raises:
        UsageError: its value is of no known form.
    """
    if entry.pattern.match(entry.value) is None:
        raise UsageError(f"its entry point says '{entry.value}', which is neither a module nor module:object")
    return entry.load()


def import_file(file: Path) -> Any:
    """A Python file, imported as the module `mammozoo_file_<stem>`.

    Raises:
        NotFoundError, UsageError: there is no such file, or it is not Python.
    """
    if not file.is_file():
        raise NotFoundError(f"there is no file '{file}'")
    spec = importlib.util.spec_from_file_location(f"mammozoo_file_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # what it defines can be pickled only where its module is known
    spec.loader.exec_module(module)
    return module


def cause(error: BaseException) -> str:
    """An exception in one line, such as `KeyError: 'lost'`."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # of a class of theirs
        said = "(its message cannot be made)"
    kind = type(error).__name__
    return f"{kind}: {said if len(said) <= 500 else said[:497] + '...'}" if said else kind
