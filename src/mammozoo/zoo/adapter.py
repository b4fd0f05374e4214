"""Adapters: a model as its difference to a pinned base, for networks whose trunk stayed frozen.

    adapter.safetensors    the tensors that the base does not have: inserted layers, unfrozen blocks, the head
    config.json            of the whole model; the section `adapter` says how the two are joined
    README.md              the card

Base and whole model are pinned by SHA-256: `join` restores the very file that `split` was given, or refuses.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Literal, cast

import pydantic

from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.files import sha256, write_bytes, write_json
from mammozoo.models.config import CONFIG, read_content
from mammozoo.models.weights import read_tensors, to_bytes
from mammozoo.zoo.difference import Tensors, common_dtype, converted, matches, rename, rules_for
from mammozoo.zoo.entry import Part, Sha256

WEIGHTS, DIFFERENCE, CARD = "model.safetensors", "adapter.safetensors", "README.md"
_MIN_SHARE = 0.1  # of a model's bytes that must be the base's


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
    """How the adapter in `folder` is joined with its base.

    Raises:
        NotFoundError: there is no `config.json`, or it has no section `adapter`.
        IncompatibleError: it is damaged, or of another version.
    """
    content = read_content(folder)
    if "adapter" not in content:
        raise NotFoundError(f"'{folder / CONFIG}' describes a whole model, not an adapter.")
    try:
        return Adapter.model_validate(content["adapter"])
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("adapter", *first["loc"]))
        raise IncompatibleError(
            f"'{folder / CONFIG}' is not an adapter of this mammozoo: {where}: {first['msg']}."
        ) from None


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
            f"'{model_folder / WEIGHTS}' was not written by this mammozoo, so an adapter cannot restore it bit by bit. Load and "
            "save the model once, or publish it whole."
        )
    dtype = common_dtype(full, base)
    theirs = converted(base, dtype)
    shared = matches(full, theirs)
    if sum(full[new].nbytes for new in shared) < _MIN_SHARE * len(whole):
        raise UsageError(
            f"The model in '{model_folder}' has little in common with its base '{base_folder}'. An adapter takes a network "
            "whose trunk stayed frozen (strategies frozen, drs, last-blocks); publish this one whole."
        )
    renamed = rules_for({old: new for new, old in shared.items()})
    own = {name: tensor for name, tensor in full.items() if name not in shared}
    unused = sorted(theirs.keys() - shared.values())
    adapter = Adapter(
        base=Pinned(name=base_name or _name_of(base_folder), sha256=sha256(base_folder / WEIGHTS)),
        full_sha256=hashlib.sha256(whole).hexdigest(),
        tensors=tuple(sorted(own)),
        renamed=renamed,
        dropped=tuple(name for name in unused if rename(name, renamed) not in own),
        dtype=cast(Any, dtype),
    )
    if to_bytes(_joined(adapter, own, base)) != whole:
        raise UsageError(
            f"The names in '{model_folder}' and '{base_folder}' cannot be told apart; publish the model whole."
        )
    write_bytes(out / DIFFERENCE, to_bytes(own))
    _copy_card(model_folder, out)
    write_json(out / CONFIG, content | {"adapter": adapter.model_dump(mode="json")})


def join(adapter_folder: Path, base_folder: Path, out: Path) -> None:
    """Write the whole model that the adapter in `adapter_folder` makes with the base in `base_folder` to `out`.

    If `out` holds it already, nothing is done. Each file is written atomically and always with the same bytes, so any number of
    processes may join at once.

    Raises:
        NotFoundError: one of the two is missing.
        NotVerifiedError: the base is not the pinned one, or the result does not have the pinned SHA-256.
        IncompatibleError: the adapter's `config.json` is damaged.
        AccessError, FailedError: `out` cannot be written.
    """
    adapter = read_adapter(adapter_folder)
    config = {key: value for key, value in read_content(adapter_folder).items() if key != "adapter"}
    if _holds(out, adapter, config, adapter_folder):
        return
    _check_base(adapter, base_folder)
    own = read_tensors(adapter_folder / DIFFERENCE)
    whole = to_bytes(_joined(adapter, own, read_tensors(base_folder / WEIGHTS)))
    if set(own) != set(adapter.tensors) or hashlib.sha256(whole).hexdigest() != adapter.full_sha256:
        raise NotVerifiedError(
            f"The adapter in '{adapter_folder}' and its base do not make the model that it promises. Get the adapter again."
        )
    write_bytes(out / WEIGHTS, whole)
    _copy_card(adapter_folder, out)
    write_json(out / CONFIG, config)


def _joined(adapter: Adapter, own: Tensors, base: Tensors) -> dict[str, Any]:
    """The tensors of the whole model."""
    from_base = {
        rename(name, adapter.renamed): tensor
        for name, tensor in converted(base, adapter.dtype).items()
        if name not in adapter.dropped
    }
    return from_base | dict(own)


def _name_of(folder: Path) -> str:
    """The model's name in the `config.json` of `folder`."""
    with contextlib.suppress(NotFoundError, IncompatibleError):
        name = read_content(folder)["mammozoo"].get("name")
        if isinstance(name, str) and name:
            return name
    raise UsageError(f"The base in '{folder}' does not say its name. Say which zoo model it is.")


def _check_base(adapter: Adapter, folder: Path) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise NotFoundError(f"The adapter needs its base '{adapter.base.name}', and '{folder}' holds no {WEIGHTS}.")
    if sha256(path) != adapter.base.sha256:
        raise NotVerifiedError(
            f"'{path}' is not the base that the adapter was made for: '{adapter.base.name}' with the SHA-256 "
            f"{adapter.base.sha256[:16]}…. Take the version of the base that the adapter's card names."
        )


def _holds(folder: Path, adapter: Adapter, config: dict[str, Any], source: Path) -> bool:
    """Whether `folder` holds the model that the adapter in `source` makes, byte by byte."""
    if not (folder / WEIGHTS).is_file() or sha256(folder / WEIGHTS) != adapter.full_sha256:
        return False
    try:
        same_config = read_content(folder) == config
    except (NotFoundError, IncompatibleError):
        return False
    cards = [path.read_bytes() if path.is_file() else None for path in (folder / CARD, source / CARD)]
    return same_config and cards[0] == cards[1]


def _copy_card(source: Path, folder: Path) -> None:
    if (source / CARD).is_file():
        write_bytes(folder / CARD, (source / CARD).read_bytes())
    else:
        (folder / CARD).unlink(missing_ok=True)
