"""From an entry point or a file to its module and distribution; damaged installations raise nothing unexpected."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

from mammozoo.errors import NotFoundError, UsageError

#: The distribution of the built-in plugins.
DISTRIBUTION = "mammozoo"


def origin(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution of an entry point; `?` if its metadata are damaged."""
    return _facts(entry.dist) if entry.dist else ("?", "?")


@functools.cache  # each name and each version is a parse of all its metadata, of which the README is a part
def _facts(distribution: importlib.metadata.Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        return metadata["Name"] or "?", metadata["Version"] or "?"
    except Exception:  # whatever email's parser raises for a missing or damaged METADATA
        return "?", "?"


def import_entry(entry: importlib.metadata.EntryPoint) -> Any:
    """Import the object that an entry point names; UsageError if its value has neither of the two known forms."""
    if entry.pattern.match(entry.value) is None:
        raise UsageError(f"its entry point says '{entry.value}', which is neither a module nor module:object")
    return entry.load()


def import_file(file: Path) -> Any:
    """Import a Python file as the module `mammozoo_file_<stem>`; NotFoundError or UsageError if it is none."""
    if not file.is_file():
        raise NotFoundError(f"there is no file '{file}'")
    spec = importlib.util.spec_from_file_location(f"mammozoo_file_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # without it, nothing that the module defines can be pickled
    spec.loader.exec_module(module)
    return module


def cause(error: BaseException) -> str:
    """An exception in one line, such as `KeyError: 'lost'`."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # a __str__ of theirs may raise
        text = "(its message cannot be made)"
    kind = type(error).__name__
    return f"{kind}: {text if len(text) <= 500 else text[:497] + '...'}" if text else kind
