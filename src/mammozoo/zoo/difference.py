"""Which tensors of a model are its base's, though they may have other names or another precision there. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mammozoo.models.tensor_file import Stored

Tensors = Mapping[str, Stored]
_FLOATS: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_COUNTER = "num_batches_tracked"


def is_counter(name: str) -> bool:
    """Whether a tensor is one that batch norm counts with; models of ours are stored without it."""
    return name.rpartition(".")[2] == _COUNTER


def common_dtype(full: Tensors, base: Tensors) -> Literal["F16", "F32", "F64"] | None:
    """The one floating-point type of `full`, where the base has another one that converts to it; else None."""
    wanted = {t.dtype for t in full.values()} & _FLOATS.keys()
    there = {t.dtype for t in base.values()} & _FLOATS.keys()
    if len(wanted) != 1 or there <= wanted:
        return None
    found: Any = wanted.pop()
    return found


def converted(tensors: Tensors, dtype: str | None) -> dict[str, Stored]:
    """Floating-point numbers in `dtype`, rounded to nearest, ties to even, as everywhere."""
    if dtype is None:
        return dict(tensors)
    with np.errstate(over="ignore"):
        return {
            name: Stored(dtype, t.shape, np.frombuffer(t.data, _FLOATS[t.dtype]).astype(_FLOATS[dtype]).tobytes())
            if t.dtype in _FLOATS
            else t
            for name, t in tensors.items()
        }


def matches(full: Tensors, base: Tensors) -> dict[str, str]:
    """Name in the model → name in the base, of tensors that are equal; each of the base's once."""
    found = {name: name for name, tensor in full.items() if base.get(name) == tensor}
    free: dict[Stored, list[str]] = {}
    for name in sorted(base.keys() - found.keys()):
        free.setdefault(base[name], []).append(name)
    for new in sorted(full.keys() - found.keys()):
        names = free.get(full[new], [])
        old = max(names, key=lambda name: _alike(new, name), default=None)
        if old is not None and _alike(new, old):
            names.remove(old)
            found[new] = old
    return found


def _alike(a: str, b: str) -> int:
    """How many parts two dotted names have in common at their ends."""
    pairs = zip(reversed(a.split(".")), reversed(b.split(".")), strict=False)
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(a.count("."), b.count(".")) + 1)


def rules_for(names: Mapping[str, str]) -> dict[str, str]:
    """The shortest way to say these names (in the base → in the model): beginnings, and whole names where those mislead."""
    rules: dict[str, str] = {}
    for old, new in sorted(names.items()):
        if old != new:
            common = _alike(old, new)
            olds, news = old.split("."), new.split(".")
            rules.setdefault(".".join(olds[: len(olds) - common]), ".".join(news[: len(news) - common]))
    return rules | {old: new for old, new in names.items() if rename(old, rules) != new}


def rename(name: str, rules: Mapping[str, str]) -> str:
    """The name in the model of a tensor of the base: the longest beginning that a rule knows is replaced."""
    parts = name.split(".")
    for end in range(len(parts), -1, -1):
        beginning = ".".join(parts[:end])
        if beginning in rules:
            return ".".join(part for part in (rules[beginning], *parts[end:]) if part)
    return name
