"""Weights that another library has published: a plugin's map gives them the names of a backbone's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch

from mammozoo.models.backbone import Backbone
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
