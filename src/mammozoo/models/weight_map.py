"""Weights that another library has published: a plugin's map gives them the names of a backbone's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mammozoo.models.backbone import Backbone
from mammozoo.models.weights import read_tensors, refuse_non_finite
from mammozoo.plugins import registry

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class WeightMap:
    """From the names in a file of weights to those of `Backbone.load_pretrained`.

    Attributes:
        fits: whether it knows a file, by the names of its tensors.
        build: the tensors under the backbone's names; what the backbone has no place for is left out.
    """

    name: str
    summary: str
    build: Callable[[Tensors, Backbone], Tensors]
    fits: Callable[[Collection[str]], bool]


def mapped(tensors: Mapping[str, torch.Tensor], backbone: Backbone) -> Tensors:
    """The tensors under the backbone's names, by the first map that knows them; as they are if none does."""
    for item in registry().items("weight_maps").values():
        if item.value.fits(tensors.keys()):
            found: Tensors = item.value.build(dict(tensors), backbone)
            return found
    return dict(tensors)


def load_published(backbone: Backbone, path: Path) -> None:
    """Load a file of weights under names of their own, or of a library that a plugin's map knows.

    Raises:
        NotFoundError, NotVerifiedError, IncompatibleError: it is missing, damaged or not finite, or of another network.
    """
    tensors = read_tensors(path)
    refuse_non_finite(tensors, path)
    # The prefixes of DataParallel and torch.compile.
    while tensors and all(name.startswith(("module.", "_orig_mod.")) for name in tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
    backbone.load_pretrained(mapped(tensors, backbone))
