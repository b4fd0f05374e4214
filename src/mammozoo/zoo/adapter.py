"""Adapters: a model as its difference to a pinned base, for networks whose trunk stayed frozen.

    adapter.safetensors    the tensors that the base does not have: inserted layers, unfrozen blocks, the head
    config.json            of the whole model, and under `adapter` how the two are joined
    README.md              the card

The base is named and pinned by SHA-256, and so is the model that comes out: `join` gives the very file that `split` was given,
or refuses. Nothing here needs torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.errors import IncompatibleError, NotFoundError, NotVerifiedError, UsageError
from mammozoo.files import disk_error, sha256, write_bytes, write_json
from mammozoo.models.tensor_file import Stored, read_stored, to_bytes
from mammozoo.zoo.difference import Tensors, common_dtype, converted, is_counter, matches, rename, rules_for

WEIGHTS, DIFFERENCE, CONFIG, CARD = "model.safetensors", "adapter.safetensors", "config.json", "README.md"
#: Bytes of a `config.json` that are read; the hashes of a million images would fit.
MAX_CONFIG = 32 * 2**20
_WORTH_IT = 0.1  # share of a model's bytes that must be the base's
_ATTEMPTS = 5  # at putting a folder into a place where others put theirs

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Pinned(_Part):
    """A model by its name in a zoo and the SHA-256 of its `model.safetensors`."""

    name: str
    sha256: Sha256


class Adapter(_Part):
    """The section `adapter` of a `config.json`.

    Attributes:
        full_sha256: of the `model.safetensors` that the adapter and its base make.
        tensors: names of the tensors in `adapter.safetensors`; they stand in for the base's of the same name.
        renamed: beginnings of names, in the base → in the model; the longest that fits counts.
        dropped: tensors of the base that the model does not have.
        dtype: to which the base's floating-point numbers are converted; None to leave them.
    """

    base: Pinned
    full_sha256: Sha256
    tensors: tuple[str, ...]
    renamed: dict[str, str] = {}
    dropped: tuple[str, ...] = ()
    dtype: Literal["F16", "F32", "F64"] | None = None


def is_adapter(folder: Path) -> bool:
    """Whether `folder` holds an adapter, and so no whole model."""
    return (folder / DIFFERENCE).is_file() and not (folder / WEIGHTS).is_file()


def read_adapter(folder: Path) -> Adapter:
    """How the adapter in `folder` is joined with its base.

    Raises:
        NotFoundError: there is no `config.json`, or none of an adapter.
        IncompatibleError: it is damaged, or of another version.
    """
    content = _read_config(folder)
    if "adapter" not in content:
        raise NotFoundError(f"'{folder / CONFIG}' is that of a whole model, and no adapter's.")
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

    A tensor is the base's when its bytes are, under the same name or, as in a block that a layer was put behind, another one.
    `base_name` is the base's name in the zoo, by default that of its `config.json`.

    Raises:
        NotFoundError, NotVerifiedError: one of the two is missing or damaged.
        UsageError: the two have nothing or little in common, so that the whole model is what to publish.
    """
    content = _read_config(model_folder)
    full, base = read_stored(model_folder / WEIGHTS), read_stored(base_folder / WEIGHTS)
    whole = to_bytes(full)
    if whole != (model_folder / WEIGHTS).read_bytes():
        raise UsageError(
            f"'{model_folder / WEIGHTS}' was not written by this mammozoo, so an adapter could not give it back bit by bit. Load "
            "and save the model once, or publish it whole."
        )
    dtype = common_dtype(full, base)
    kept = matches(full, converted(base, dtype))
    if sum(len(full[new].data) for new in kept) < _WORTH_IT * len(whole):
        raise UsageError(
            f"The model in '{model_folder}' has little in common with its base '{base_folder}'. An adapter takes a network "
            "whose trunk stayed frozen (strategies frozen, drs, last-blocks); publish this one whole."
        )
    renamed = rules_for({old: new for new, old in kept.items()})
    own = {name: tensor for name, tensor in full.items() if name not in kept}
    used = set(kept.values())
    adapter = Adapter(
        base=Pinned(name=base_name or _name_of(base_folder), sha256=sha256(base_folder / WEIGHTS)),
        full_sha256=hashlib.sha256(whole).hexdigest(),
        tensors=tuple(sorted(own)),
        renamed=renamed,
        dropped=tuple(n for n in sorted(base) if n not in used and not is_counter(n) and rename(n, renamed) not in own),
        dtype=dtype,
    )
    if to_bytes(_joined(adapter, own, base)) != whole:
        raise UsageError(
            f"The names in '{model_folder}' and '{base_folder}' cannot be told apart; publish the model whole."
        )
    write_bytes(out / DIFFERENCE, to_bytes(own))
    _copy_card(model_folder, out)
    write_json(out / CONFIG, content | {"adapter": adapter.model_dump(mode="json")})


def join(adapter_folder: Path, base_folder: Path, out: Path) -> None:
    """Make the whole model in `out`, of which the adapter in `adapter_folder` is the difference to the one in `base_folder`.

    What is there already, and is right, stays. It comes into place as a whole, so any number of processes may join at once.

    Raises:
        NotFoundError: one of the two is not there.
        NotVerifiedError: the base is not the one that the adapter was made for, or the result not the model that it promises.
        IncompatibleError: the adapter's `config.json` is damaged.
        AccessError, FailedError: `out` cannot be written.
    """
    adapter = read_adapter(adapter_folder)
    config = {key: value for key, value in _read_config(adapter_folder).items() if key != "adapter"}
    if _holds(out, adapter, config, adapter_folder):
        return
    _check_base(adapter, base_folder)
    own = read_stored(adapter_folder / DIFFERENCE)
    if set(own) != set(adapter.tensors):
        raise NotVerifiedError(_not_promised(adapter_folder))
    whole = to_bytes(_joined(adapter, own, read_stored(base_folder / WEIGHTS)))
    if hashlib.sha256(whole).hexdigest() != adapter.full_sha256:
        raise NotVerifiedError(_not_promised(adapter_folder))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent, ignore_cleanup_errors=True) as beside:
            made = Path(beside) / out.name
            write_bytes(made / WEIGHTS, whole)
            _copy_card(adapter_folder, made)
            write_json(made / CONFIG, config)
            _put(made, out, lambda: _holds(out, adapter, config, adapter_folder))
    except OSError as error:
        raise disk_error(error, out) from None


# ---------------------------------------------------------------- folders


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise IncompatibleError(f"'{path}' is longer than {MAX_CONFIG // 2**20} MiB; no config of a model is.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFoundError(f"There is no model in '{folder}': it has no config.json.") from None
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, IncompatibleError):
            raise
        raise IncompatibleError(f"'{path}' is not a mammozoo config: {error}.") from None
    if not isinstance(content, dict) or not isinstance(content.get("mammozoo"), dict):
        raise IncompatibleError(f"'{path}' is not a mammozoo config: it has no section 'mammozoo'.")
    return content


def _name_of(folder: Path) -> str:
    try:
        name = _read_config(folder)["mammozoo"].get("name")
    except (NotFoundError, IncompatibleError):
        name = None
    if not isinstance(name, str) or not name:
        raise UsageError(f"The base in '{folder}' does not say its name. Say which zoo model it is.")
    return name


def _check_base(adapter: Adapter, folder: Path) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise NotFoundError(f"The adapter needs its base '{adapter.base.name}', and '{folder}' holds no {WEIGHTS}.")
    if sha256(path) != adapter.base.sha256:
        raise NotVerifiedError(
            f"'{path}' is not the base that the adapter was made for: '{adapter.base.name}' with the SHA-256 "
            f"{adapter.base.sha256[:16]}…. Take the version of the base that the adapter's card names."
        )


def _not_promised(folder: Path) -> str:
    return f"The adapter in '{folder}' and its base do not make the model that it promises. Get the adapter again."


def _holds(folder: Path, adapter: Adapter, config: dict[str, Any], source: Path) -> bool:
    """Whether `folder` is what the adapter in `source` makes, byte by byte."""
    if not (folder / WEIGHTS).is_file() or sha256(folder / WEIGHTS) != adapter.full_sha256:
        return False
    try:
        same_config = json.loads((folder / CONFIG).read_text(encoding="utf-8")) == config
    except (OSError, ValueError, RecursionError):
        return False
    cards = [path.read_bytes() if path.is_file() else None for path in (folder / CARD, source / CARD)]
    return same_config and cards[0] == cards[1]


def _copy_card(source: Path, folder: Path) -> None:
    if (source / CARD).is_file():
        write_bytes(folder / CARD, (source / CARD).read_bytes())


def _put(made: Path, out: Path, right: Callable[[], bool]) -> None:
    """Rename a finished folder into its place; one that stands there and is not right goes, one that is right stays."""
    for attempt in range(_ATTEMPTS):
        try:
            made.rename(out)
            return
        except OSError:
            if not out.exists() or attempt == _ATTEMPTS - 1:
                raise
        if right():  # another process was faster with the same thing
            return
        with contextlib.suppress(FileNotFoundError):  # another process has just moved it
            out.rename(made.with_name(f"wrong-{attempt}"))


# ---------------------------------------------------------------- tensors


def _joined(adapter: Adapter, own: Tensors, base: Tensors) -> dict[str, Stored]:
    gone = set(adapter.dropped)
    from_base = {
        rename(name, adapter.renamed): tensor
        for name, tensor in converted(base, adapter.dtype).items()
        if name not in gone and not is_counter(name)
    }
    return from_base | dict(own)
