"""Adapters: a model as its difference to a pinned base, for networks whose trunk stayed frozen.

    adapter.safetensors    the tensors that the base does not have: inserted layers, unfrozen blocks, the head
    config.json            of the whole model; the section `adapter` says how the two are joined
    README.md              the card

Base and whole model are pinned by SHA-256: `join` restores the very file that `split` was given, or refuses.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import pydantic
import torch

from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError, UsageError, problems
from mammozoo.files import json_text, locked, promise, sha256, write_bytes, write_json
from mammozoo.models.config import CONFIG, read_content
from mammozoo.models.weights import DTYPES, numbers, read_tensors, to_bytes
from mammozoo.zoo.cache import LOCK
from mammozoo.zoo.entry import Part, Sha256
from mammozoo.zoo.verify import has_hash

WEIGHTS, DIFFERENCE, CARD = "model.safetensors", "adapter.safetensors", "README.md"
PARENT = "parent.txt"  #: beside an adapter whose base is in no zoo: where that lies
_MIN_SHARE = 0.1  # of a model's bytes that must be the base's
_FLOATS = {DTYPES[name]: name for name in ("F16", "F32", "F64")}

Tensors = Mapping[str, torch.Tensor]


class Pinned(Part):
    """A model by its name in a zoo and the SHA-256 of its `model.safetensors`."""

    name: str
    sha256: Sha256


class Adapter(Part):
    """The section `adapter` of a `config.json`.

    Attributes:
        full_sha256: SHA-256 of the `model.safetensors` that the adapter and its base make.
        tensors: names of the tensors in `adapter.safetensors`; they replace the base's of the same name.
        renamed: prefixes of names, in the base → in the model; the longest match counts.
        dropped: tensors of the base that the model does not have.
        dtype: type to which the base's floating-point numbers are converted; None to leave them.
    """

    base: Pinned
    full_sha256: Sha256
    tensors: tuple[str, ...]
    renamed: dict[str, str] = pydantic.Field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    dtype: Literal["F16", "F32", "F64"] | None = None


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter and not a whole model."""
    return (folder / DIFFERENCE).is_file() and not (folder / WEIGHTS).is_file()


def read_adapter(folder: Path) -> Adapter:
    """How the adapter in `folder` is joined; NotFoundError if it is none, IncompatibleError if its `config.json` is damaged."""
    content = read_content(folder)
    if "adapter" not in content:
        raise NotFoundError(f"'{folder / CONFIG}' describes a whole model, not an adapter.")
    try:
        return Adapter.model_validate(content["adapter"])
    except pydantic.ValidationError as error:
        what = f"'{folder / CONFIG}' is not an adapter of this mammozoo: adapter.{problems(error, most=1)}."
        raise IncompatibleError(what) from None


def parent_of(folder: Path, name: str) -> Path | None:
    """The folder of an adapter's base, as `parent.txt` says; None if it is to be in a zoo.

    Raises:
        NotFoundError: it is not there any more.
    """
    note = folder / PARENT
    if not note.is_file():
        return None
    parent = folder / note.read_text(encoding="utf-8").strip()
    if not (parent / WEIGHTS).is_file():
        raise NotFoundError(
            f"'{folder}' needs its parent '{name}', which is not at '{parent}'. Write where it is into '{note}'."
        )
    return parent


def split(model_folder: Path, base_folder: Path, out: Path, *, base_name: str | None = None) -> None:
    """Write the model in `model_folder` (or the run's) to `out` as its difference to the one in `base_folder`.

    A tensor is the base's if its bytes are, under the same name or another one, as in a block that a layer was put behind.
    `base_name` is the base's name in the zoo, by default the one in its `config.json`.

    Raises:
        NotFoundError, NotVerifiedError: one of the two is missing or damaged.
        UsageError: the two have too little in common, or the base has no name.
    """
    content = read_content(model_folder)
    full, base = read_tensors(model_folder / WEIGHTS), read_tensors(base_folder / WEIGHTS)
    whole = to_bytes(full)
    if whole != (model_folder / WEIGHTS).read_bytes():
        raise UsageError(
            f"'{model_folder / WEIGHTS}' was not written by this mammozoo, so an adapter cannot restore it bit by bit. "
            "Load and save the model once, or publish it whole."
        )
    dtype = _common_dtype(full, base)
    theirs = _converted(base, dtype)
    shared = _matches(full, theirs)
    if sum(full[new].nbytes for new in shared) < _MIN_SHARE * len(whole):
        raise UsageError(
            f"The model in '{model_folder}' has little in common with its base '{base_folder}'. An adapter takes a network "
            "whose trunk stayed frozen (strategies frozen, drs, last-blocks); publish this one whole."
        )
    renamed = _rules_for({old: new for new, old in shared.items()})
    own = {name: tensor for name, tensor in full.items() if name not in shared}
    unused = sorted(theirs.keys() - shared.values())
    adapter = Adapter(
        base=Pinned(name=base_name or _name_of(base_folder), sha256=sha256(base_folder / WEIGHTS)),
        full_sha256=hashlib.sha256(whole).hexdigest(),
        tensors=tuple(sorted(own)),
        renamed=renamed,
        dropped=tuple(name for name in unused if _rename(name, renamed) not in own),
        dtype=cast(Any, dtype),
    )
    if _joined(adapter, own, base) != whole:
        raise UsageError(f"The names in '{model_folder}' and '{base_folder}' cannot be told apart; publish it whole.")
    write_bytes(out / DIFFERENCE, to_bytes(own))
    _copy_card(model_folder, out)
    write_json(out / CONFIG, content | {"adapter": adapter.model_dump(mode="json")})


def join(adapter_folder: Path, base_folder: Path, out: Path) -> None:
    """Write the whole model that the adapter in `adapter_folder` makes with the base in `base_folder` to `out`.

    If `out` holds it already, nothing is done. Each file is written atomically and always with the same bytes, so any number of
    processes may join at once; the lock in `out` tells `zoo clean` that somebody is at work.

    Raises:
        NotFoundError, IncompatibleError: one of the two is missing, or the adapter's `config.json` is damaged.
        NotVerifiedError: the base is not the pinned one, or the result does not have the pinned SHA-256.
        AccessError, FailedError: `out` cannot be written.
    """
    adapter = read_adapter(adapter_folder)
    config = {key: value for key, value in read_content(adapter_folder).items() if key != "adapter"}
    wanted = {WEIGHTS: adapter.full_sha256, CONFIG: hashlib.sha256(json_text(config).encode()).hexdigest()}
    for file, digest in wanted.items():
        promise(out / file, digest)
    if _card(out) == _card(adapter_folder) and all(has_hash(out / file, digest) for file, digest in wanted.items()):
        return
    name, weights = adapter.base.name, base_folder / WEIGHTS
    if not weights.is_file():
        raise NotFoundError(f"The adapter needs its base '{name}', and '{base_folder}' holds no {WEIGHTS}.")
    if sha256(weights) != adapter.base.sha256:
        raise NotVerifiedError(
            f"'{weights}' is not the base that the adapter was made for: '{name}' with the SHA-256 "
            f"{adapter.base.sha256[:16]}…. Take the version of the base that the adapter's card names."
        )
    own = read_tensors(adapter_folder / DIFFERENCE)
    whole = _joined(adapter, own, read_tensors(weights))
    if set(own) != set(adapter.tensors) or hashlib.sha256(whole).hexdigest() != adapter.full_sha256:
        raise NotVerifiedError(
            f"The adapter in '{adapter_folder}' and its base do not give the model that the adapter states. Get the adapter again."
        )
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(TimeoutError):
            stack.enter_context(locked(out / LOCK))
        write_bytes(out / WEIGHTS, whole)
        _copy_card(adapter_folder, out)
        write_json(out / CONFIG, config)


def _joined(adapter: Adapter, own: Tensors, base: Tensors) -> bytes:
    """The `model.safetensors` of the whole model."""
    theirs = _converted(base, adapter.dtype).items()
    kept = {_rename(name, adapter.renamed): tensor for name, tensor in theirs if name not in adapter.dropped}
    return to_bytes(kept | dict(own))


def _name_of(folder: Path) -> str:
    """The model's name in the `config.json` of `folder`."""
    with contextlib.suppress(NotFoundError, IncompatibleError):
        name = read_content(folder)["mammozoo"].get("name")
        if isinstance(name, str) and name:
            return name
    raise UsageError(f"The base in '{folder}' does not say its name. Say which zoo model it is.")


def _card(folder: Path) -> bytes | None:
    return (folder / CARD).read_bytes() if (folder / CARD).is_file() else None


def _copy_card(source: Path, folder: Path) -> None:
    if (card := _card(source)) is not None:
        write_bytes(folder / CARD, card)
    else:
        (folder / CARD).unlink(missing_ok=True)


def _common_dtype(full: Tensors, base: Tensors) -> str | None:
    """The one floating-point type of `full` if the base has another one that converts to it, else None."""
    wanted, present = ({tensor.dtype for tensor in tensors.values()} & _FLOATS.keys() for tensors in (full, base))
    return None if len(wanted) != 1 or present <= wanted else _FLOATS[wanted.pop()]


def _converted(base: Tensors, dtype: str | None) -> dict[str, torch.Tensor]:
    """The base's tensors without batch norm's counters, which our models do not store; floating-point ones in `dtype`."""
    return {
        name: tensor.to(DTYPES[dtype]) if dtype and tensor.dtype in _FLOATS else tensor
        for name, tensor in base.items()
        if name.rpartition(".")[2] != "num_batches_tracked"
    }


def _matches(full: Tensors, base: Tensors) -> dict[str, str]:
    """Name in the model → name in the base, for tensors with equal bytes; each tensor of the base at most once."""
    wanted, contents = (
        {name: (tensor.dtype, tensor.shape, numbers(tensor)) for name, tensor in tensors.items()}
        for tensors in (full, base)
    )
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


def _rules_for(names: Mapping[str, str]) -> dict[str, str]:
    """The shortest rules for these names (in the base → in the model): prefixes, and whole names where a prefix misleads."""
    rules: dict[str, str] = {}
    for old, new in sorted(names.items()):
        if old != new:
            common = _common_parts(old, new)
            olds, news = old.split("."), new.split(".")
            rules.setdefault(".".join(olds[: len(olds) - common]), ".".join(news[: len(news) - common]))
    return rules | {old: new for old, new in names.items() if _rename(old, rules) != new}


def _rename(name: str, rules: Mapping[str, str]) -> str:
    """The name in the model of a tensor of the base: its longest prefix that has a rule is replaced."""
    parts = name.split(".")
    for end in range(len(parts), -1, -1):
        prefix = ".".join(parts[:end])
        if prefix in rules:
            return ".".join(part for part in (rules[prefix], *parts[end:]) if part)
    return name
