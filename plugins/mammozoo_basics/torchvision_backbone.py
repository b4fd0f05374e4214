"""torchvision's networks as backbones, if their feature extractor is one `features` module."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mammozoo.data.preprocessing import Input
from mammozoo.errors import IncompatibleError
from mammozoo.models.backbone import Backbone, Followed, Make, load_exactly, output_shapes
from mammozoo.models.imports import without_dynamo

with without_dynamo():
    import torchvision


class TorchvisionBackbone(Backbone):
    """`torchvision.models.<name>().features`: every child is a block, a drop in resolution starts a stage."""

    def __init__(self, name: str):
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # a classifier that is thrown away must not move the seed
            net = torchvision.models.get_model(name, weights=None)
        self.features: nn.Sequential = net.features
        self.input = Input(size=(224, 224))
        self._densenet = name.startswith("densenet")
        ((self.channels, _, _),) = output_shapes(self, [self], self.input)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) images → (N, channels, h, w) feature maps."""
        x = self.features(x)
        return torch.relu(x) if self._densenet else x  # torchvision's DenseNet has this ReLU outside `features`

    def block_names(self) -> list[str]:
        """One block for each child of `features`."""
        return [".".join(name.split(".")[:2]) for name, _ in self.named_parameters()]

    def stage_names(self) -> list[str]:
        """Consecutive blocks with outputs of one resolution are a stage."""
        children = dict(self.features.named_children())
        shapes = output_shapes(self, list(children.values()), self.input)
        names: dict[str, str] = {}
        stage, last = -1, None
        for child, (_, height, width) in zip(children, shapes, strict=True):
            if (height, width) != last:
                stage, last = stage + 1, (height, width)
            names[f"features.{child}"] = f"stage{stage}"
        return [names[block] for block in self.block_names()]

    def insert_before_final_activations(self, make: Make) -> list[nn.Module]:
        """At the end of every child that is more than one layer: these blocks keep their activations inside."""
        places = [name for name, child in self.features.named_children() if any(True for _ in child.children())]
        if not places:
            raise IncompatibleError("This network has no blocks to insert layers into; timm's of the same name may.")
        shapes = output_shapes(self, [self.features.get_submodule(name) for name in places], self.input)
        layers = [make(*shape) for shape in shapes]
        for name, layer in zip(places, layers, strict=True):
            self.features.add_module(name, Followed(self.features.get_submodule(name), layer))
        return layers

    def load_pretrained(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load torchvision's own weights of this network, with or without its classifier."""
        load_exactly(self, {name: tensor for name, tensor in state.items() if not name.startswith("classifier.")})
