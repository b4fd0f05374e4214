"""Which tensors of a model are its base's, though they may have other names or another precision there."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mammozoo.models.weights import DTYPES, numbers

Tensors = Mapping[str, torch.Tensor]
_FLOATS = ("F16", "F32", "F64")


def common_dtype(full: Tensors, base: Tensors) -> str | None:
    """The one floating-point type of `full` if the base has another one that converts to it, else None."""
    convertible = {DTYPES[name]: name for name in _FLOATS}
    wanted = {tensor.dtype for tensor in full.values()} & convertible.keys()
    present = {tensor.dtype for tensor in base.values()} & convertible.keys()
    return None if len(wanted) != 1 or present <= wanted else convertible[wanted.pop()]


def converted(base: Tensors, dtype: str | None) -> dict[str, torch.Tensor]:
    """The base's tensors without batch norm's counters, which our models do not store; floating-point ones in `dtype`."""
    floats = {DTYPES[name] for name in _FLOATS}
    return {
        name: tensor.to(DTYPES[dtype]) if dtype and tensor.dtype in floats else tensor
        for name, tensor in base.items()
        if name.rpartition(".")[2] != "num_batches_tracked"
    }


def matches(full: Tensors, base: Tensors) -> dict[str, str]:
    """Name in the model → name in the base, for tensors with equal bytes; each tensor of the base at most once."""
    contents = {name: (tensor.dtype, tensor.shape, numbers(tensor)) for name, tensor in base.items()}
    wanted = {name: (tensor.dtype, tensor.shape, numbers(tensor)) for name, tensor in full.items()}
    pairs = {name: name for name, content in wanted.items() if contents.get(name) == content}
    free: dict[object, list[str]] = {}
    for name in sorted(base.keys() - pairs.keys()):
        free.setdefault(contents[name], []).append(name)
    for new in sorted(full.keys() - pairs.keys()):
        names = free.get(wanted[new], [])
        old = max(names, key=lambda name: _common_parts(new, name), default=None)
        if old is not None and _common_parts(new, old):
            names.remove(old)
            pairs[new] = old
    return pairs


def _common_parts(a: str, b: str) -> int:
    """The number of equal parts at the ends of two dotted names."""
    pairs = zip(reversed(a.split(".")), reversed(b.split(".")), strict=False)
    return next((n for n, (x, y) in enumerate(pairs) if x != y), min(a.count("."), b.count(".")) + 1)


def rules_for(names: Mapping[str, str]) -> dict[str, str]:
    """The shortest rules for these names (in the base → in the model): prefixes, and whole names where a prefix misleads."""
    rules: dict[str, str] = {}
    for old, new in sorted(names.items()):
        if old != new:
            common = _common_parts(old, new)
            olds, news = old.split("."), new.split(".")
            rules.setdefault(".".join(olds[: len(olds) - common]), ".".join(news[: len(news) - common]))
    return rules | {old: new for old, new in names.items() if rename(old, rules) != new}


def rename(name: str, rules: Mapping[str, str]) -> str:
    """The name in the model of a tensor of the base: its longest prefix that has a rule is replaced."""
    parts = name.split(".")
    for end in range(len(parts), -1, -1):
        prefix = ".".join(parts[:end])
        if prefix in rules:
            return ".".join(part for part in (rules[prefix], *parts[end:]) if part)
    return name
