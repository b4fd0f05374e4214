"""Weights on disk: safetensors only, the same bytes for the same tensors, and nothing but finite numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from mammozoo.errors import NotVerifiedError
from mammozoo.files import write_bytes
from mammozoo.models.tensor_file import MAX_HEADER as MAX_HEADER
from mammozoo.models.tensor_file import Stored, read_header, to_bytes, unsound

_DTYPES = {
    torch.float64: "F64", torch.int64: "I64", torch.float32: "F32", torch.int32: "I32", torch.bfloat16: "BF16",
    torch.float16: "F16", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, as stored.

    Raises:
        NotFoundError: there is no such file.
        NotVerifiedError: it is not a sound safetensors file. Pickles (.pt, .pth, .bin) are never opened.
    """
    read_header(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise unsound(path, error) from None


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write tensors atomically; the bytes of the file depend on the tensors alone."""
    return write_bytes(path, to_bytes({name: _stored(tensor) for name, tensor in tensors.items()}))


def refuse_non_finite(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise unless every number is finite.

    Raises:
        NotVerifiedError: a NaN or an infinity is among them; no training of ours ends with one.
    """
    found = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise NotVerifiedError(
            f"'{path}' holds numbers that are not finite, in {', '.join(found[:3])}{more}: its predictions would mean nothing. "
            "Get it again from where it came from, or train again."
        )


def _stored(tensor: torch.Tensor) -> Stored:
    plain = tensor.detach().cpu().contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return Stored(_DTYPES[plain.dtype], tuple(plain.shape), data)
