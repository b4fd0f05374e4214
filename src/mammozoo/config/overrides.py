"""Dotted keys of a recipe's fields; a number is an index into a list: `stages.0.root`."""

from __future__ import annotations

from typing import Any

from mammozoo.errors import UsageError


def assign(fields: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key; missing mappings on the way are created.

    Raises:
        UsageError: a part is not an entry of a list, or holds a value and not further keys.
    """
    here: Any = fields
    *parents, last = key.split(".")
    for parent in parents:
        place = _place(here, parent, key)
        if isinstance(here, dict) and here.get(place) is None:
            here[place] = {}
        here = here[place]
        if not isinstance(here, dict | list):
            raise UsageError(f"--set {key}: '{parent}' holds a value, not further keys.")
    here[_place(here, last, key)] = value


def _place(fields: dict[str, Any] | list[Any], part: str, key: str) -> Any:
    """A part of a dotted key as an index."""
    if isinstance(fields, dict):
        return part
    if not part.isdecimal() or int(part) >= len(fields):
        raise UsageError(f"--set {key}: '{part}' is not an entry of a list of {len(fields)}; they count from 0.")
    return int(part)


def value_at(fields: dict[str, Any], key: str) -> Any:
    """The value at a dotted key; raises as `assign`."""
    here: Any = fields
    for part in key.split("."):
        here = here[_place(here, part, key)]
    return here
