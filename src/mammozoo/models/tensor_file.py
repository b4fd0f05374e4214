"""A safetensors file as names, types, shapes and bytes: read with care, written in one way only. Needs no torch.

    8 bytes    length of the header, little-endian
    header     JSON {"__metadata__": {"format": "pt"}, name: {"dtype", "shape", "data_offsets": [from, to]}, …}, spaces to 8 bytes
    data       of the tensors, one after the other

The order is the safetensors library's: wider types first, then by name. It is written down here because the SHA-256 of a
model must not hang on the version of a library. Nothing else is in the header: no time, no path, no version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import safetensors

from mammozoo.errors import NotFoundError, NotVerifiedError

#: Longest header that is read, in bytes: far above any model's, far below what would hurt.
MAX_HEADER = 4 * 2**20
#: Types of numbers that a model may have, and the bytes of one; in the order of the file.
BYTES = {"I64": 8, "F64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class Layout:
    """What a header says of a tensor."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a file: its numbers little-endian, in rows."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def read_header(path: Path) -> dict[str, Layout]:
    """What the file's tensors are, by name; the numbers are not read.

    Raises:
        NotFoundError: there is no such file.
        NotVerifiedError: it is not a sound safetensors file, or has numbers of a type that no model has.
    """
    refuse_long_header(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            found = {name: Layout(part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise unsound(path, error) from None
    for name, layout in found.items():
        _refuse_unknown(layout.dtype, name, path)
    return found


def read_stored(path: Path) -> dict[str, Stored]:
    """The file's tensors with their bytes, by name.

    Raises:
        NotFoundError, NotVerifiedError: as `read_header`.
    """
    refuse_long_header(path)
    try:
        content = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise unsound(path, error) from None
    for name, tensor in content:
        _refuse_unknown(tensor["dtype"], name, path)
    return {name: Stored(t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in content}


def to_bytes(tensors: Mapping[str, Stored]) -> bytes:
    """The file of these tensors; its bytes depend on nothing else."""
    rank = {dtype: number for number, dtype in enumerate(BYTES)}
    ordered = sorted(tensors.items(), key=lambda item: (rank[item[1].dtype], item[0]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in ordered:
        if len(tensor.data) != prod(tensor.shape) * BYTES[tensor.dtype]:
            raise ValueError(f"{name}: {len(tensor.data)} bytes do not fill {tensor.shape} of {tensor.dtype}")
        start, end = end, end + len(tensor.data)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(tensor.data for _, tensor in ordered)])


def refuse_long_header(path: Path) -> None:
    """Raise unless there is a file whose header is at most `MAX_HEADER` long; nothing else of it is read.

    Raises:
        NotFoundError, NotVerifiedError: as `read_header`.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no weights file '{path}'.")
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
    except OSError as error:
        raise unsound(path, error) from None
    if length > MAX_HEADER:
        raise unsound(path, "its header is too long")


def unsound(path: Path, why: object) -> NotVerifiedError:
    """The error for a file that cannot be trusted to be what it says."""
    return NotVerifiedError(f"'{path}' is not a sound safetensors file: {why}. Get it again from where it came from.")


def _refuse_unknown(dtype: str, name: str, path: Path) -> None:
    if dtype not in BYTES:
        raise unsound(path, f"'{name}' holds numbers of type {dtype}, and a model has {', '.join(BYTES)}")
