"""Weights on disk: safetensors only, the same bytes for the same tensors, and finite numbers only.

    8 bytes    length of the header, little-endian
    header     JSON {"__metadata__": {"format": "pt"}, name: {"dtype", "shape", "data_offsets": [from, to]}, …}, spaces to 8 bytes
    data       of the tensors, one after the other

The order is the safetensors library's: wider types first, then by name. We write the file ourselves because the SHA-256 of a
model must not depend on the version of a library. The header holds no time, path or version.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load, load_file

from mammozoo.errors import NotFoundError, NotVerifiedError
from mammozoo.files import absent, read_promised, write_bytes

#: Longest header that is read, in bytes: far above any model's, far below what would hurt.
MAX_HEADER = 4 * 2**20
#: Types of numbers that a model may have, by their names in a file and in the order of the file.
DTYPES = {
    "I64": torch.int64, "F64": torch.float64, "F32": torch.float32, "I32": torch.int32, "BF16": torch.bfloat16,
    "F16": torch.float16, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors in a safetensors file, by name; the numbers are not read.

    Raises:
        NotFoundError: there is no such file.
        NotVerifiedError: it is not a valid safetensors file, or has numbers of a type that no model has.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no weights file '{path}'.{absent(path)}")
    with _sound(path):
        with path.open("rb") as handle:
            if int.from_bytes(handle.read(8), "little") > MAX_HEADER:
                raise ValueError("its header is too long")
        with safetensors.safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            for name, part in slices.items():
                if part.get_dtype() not in DTYPES:
                    raise ValueError(
                        f"'{name}' holds numbers of type {part.get_dtype()}; a model has {', '.join(DTYPES)}"
                    )
            return {name: tuple(part.get_shape()) for name, part in slices.items()}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, as stored.

    Raises:
        NotFoundError: there is no such file.
        NotVerifiedError: it is not a valid safetensors file. Pickles (.pt, .pth, .bin) are never opened.
    """
    read_shapes(path)
    with _sound(path):
        content = read_promised(path)
        return load_file(path) if content is None else load(content)


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write tensors atomically; the bytes of the file depend on the tensors alone."""
    return write_bytes(path, to_bytes(tensors))


def to_bytes(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The content of the safetensors file of these tensors."""
    order = {dtype: number for number, dtype in enumerate(DTYPES.values())}
    ordered = sorted(tensors.items(), key=lambda item: (order[item[1].dtype], item[0]))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    data = []
    end = 0
    for name, tensor in ordered:
        data.append(numbers(tensor))
        start, end = end, end + len(data[-1])
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names and numbers, in the order of the names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(numbers(tensor))
    return found.hexdigest()


def numbers(tensor: torch.Tensor) -> bytes:
    """The numbers of a tensor as a file holds them: little-endian, in rows."""
    plain = tensor.detach().cpu().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def refuse_non_finite(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise unless every number is finite.

    Raises:
        NotVerifiedError: a NaN or an infinity is among them; no training of ours ends with one.
    """
    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise NotVerifiedError(
            f"'{path}' holds numbers that are not finite, in {', '.join(bad[:3])}{more}: its predictions would mean nothing. "
            "Get it again from its source, or train again."
        )


@contextlib.contextmanager
def _sound(path: Path) -> Iterator[None]:
    """Turn the errors of reading a safetensors file into NotVerifiedError."""
    try:
        yield
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise NotVerifiedError(
            f"'{path}' is not a valid safetensors file: {error}. Get it again from its source."
        ) from None
