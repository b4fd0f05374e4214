"""Fine-tuning from layer γ on (Falconí 2020): the layers before γ keep their ImageNet weights.

Falconí, Pérez, Aguilar, Conci, "Transfer Learning and Fine Tuning in Breast Mammogram Abnormalities Classification on
CBIS-DDSM Database", Advances in Science, Technology and Engineering Systems Journal 5(2) (2020) 154-165, section 2.3:
"the original weights from layer 0 to layer γ − 1 are preserved or frozen".

γ is a place in Keras's list of layers, which starts with the input as layer 0 and holds the pooling layers too:

    VGG16   0 input   1-2 block 1   3 pool   4-5 block 2   6 pool   7-9 block 3    10 pool   11-13 block 4   14 pool   15-17 block 5
    VGG19   0 input   1-2 block 1   3 pool   4-5 block 2   6 pool   7-10 block 3   11 pool   12-15 block 4   16 pool   17-20 block 5

    gamma:keras=8    VGG16-8     trains from the second convolution of block 3 on
    gamma:keras=10   VGG16-10    trains blocks 4 and 5
    gamma:keras=17   VGG19-17    trains block 5

mammozoo counts layers with weights alone, from 1, in any network: VGG16's keras=10 is `gamma:8`.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from mammozoo import Model, Strategy
from mammozoo.errors import UsageError

#: Network → (convolutions, their channels) of each block; a pooling layer follows each block.
VGG = {
    "VGG16": ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
    "VGG19": ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)),
}


class Gamma(Strategy):
    """Fine-tuning from layer γ on; those before γ are frozen. `layer` counts layers with weights from 1, `keras` as Keras does."""

    name = "gamma"

    def __init__(self, layer: int | None = None, keras: int | None = None):
        """One of the two is given; `keras` knows VGG16 and VGG19."""
        if layer is None and keras is None:
            raise UsageError(
                "'gamma' needs a value for 'layer', as in gamma:layer=8, or for 'keras', as in gamma:keras=10."
            )
        if layer is not None and keras is not None:
            raise UsageError("gamma: 'layer' and 'keras' are two ways of counting; give one of them.")
        self.layer, self.keras = layer, keras

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """The parameters of layer γ and of all later layers."""
        groups = model.backbone.groups("layer")
        layer = self.layer
        if layer is None:
            assert self.keras is not None
            layer = first_from(self.keras, [group.parameters[0].shape[0] for group in groups])
        if not 1 <= layer <= len(groups):
            raise UsageError(f"gamma: this backbone has layers 1 to {len(groups)}; {layer} is none of them.")
        return [parameter for group in groups[layer - 1 :] for parameter in group.parameters]


def first_from(keras: int, channels: list[int]) -> int:
    """The first layer with weights, counted from 1, at or behind Keras's layer `keras` in a VGG of these channels.

    Raises:
        UsageError: the network is neither VGG16 nor VGG19, or no layer with weights follows.
    """
    for name, blocks in VGG.items():
        if channels == [width for count, width in blocks for _ in range(count)]:
            places = keras_places(blocks)
            if not 0 <= keras <= places[-1]:
                raise UsageError(
                    f"gamma: Keras counts {name}'s layers from 0 to {places[-1]}, the last convolution; {keras} is none."
                )
            return next(layer for layer, place in enumerate(places, start=1) if place >= keras)
    raise UsageError(
        "gamma: Keras's counting is known for VGG16 and VGG19 alone, and this backbone is neither. Say gamma:layer=…, which "
        "counts layers with weights from 1."
    )


def keras_places(blocks: tuple[tuple[int, int], ...]) -> list[int]:
    """Keras's number of each convolution: the input is 0, and behind each block a pooling layer takes a number."""
    places: list[int] = []
    place = 1
    for count, _ in blocks:
        places += range(place, place + count)
        place += count + 1
    return places
