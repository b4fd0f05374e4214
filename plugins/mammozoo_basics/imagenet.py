"""ImageNet weights from timm's repositories on the Hugging Face Hub, as safetensors only."""

from __future__ import annotations

from typing import Any

import torch

from mammozoo.errors import UnreachableError
from mammozoo.models.weights import read_tensors
from mammozoo.zoo.hub import fetch

_INSTEAD = (
    "Give weights that are on this machine (--weights file:PATH), a zoo model (--weights zoo:NAME), or start from "
    "random ones (--weights random)."
)


def load_from_hub(config: Any, name: str) -> dict[str, torch.Tensor]:
    """The ImageNet tensors of timm's network `name`, from the Hub's cache or the Hub.

    Raises:
        UnreachableError: the Hub does not answer, or the network has no safetensors.
    """
    repository = getattr(config, "hf_hub_id", None)
    if not repository:
        raise UnreachableError(f"timm publishes no ImageNet weights of '{name}' as safetensors. {_INSTEAD}")
    repository = repository.removesuffix("/")
    if repository == "timm":
        repository = f"timm/{config.architecture}" + (f".{config.tag}" if config.tag else "")
    try:
        path = fetch(repository, "model.safetensors")
    except UnreachableError as error:
        raise UnreachableError(f"ImageNet weights of '{name}' cannot be loaded: {error} {_INSTEAD}") from error
    return read_tensors(path)
