"""Weights on disk: safetensors only, and the same bytes for the same tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from mammozoo.errors import NotFoundError, NotVerifiedError
from mammozoo.files import write_bytes

#: Longest header that is read: far above any model's, far below what would hurt.
MAX_HEADER = 4 * 2**20


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, as stored.

    Raises:
        NotFoundError: there is no such file.
        NotVerifiedError: it is not a sound safetensors file. Pickles (.pt, .pth, .bin) are never opened.
    """
    try:
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
        if length > MAX_HEADER:
            raise NotVerifiedError(f"'{path}' is not a sound safetensors file: its header is too long.")
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise NotFoundError(f"There is no weights file '{path}'.") from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise NotVerifiedError(f"'{path}' is not a sound safetensors file: {error}.") from None


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write tensors (made contiguous, on the CPU) atomically, in an order that does not depend on the process."""
    content = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())},
        metadata={"format": "pt"},
    )
    return write_bytes(path, content)
