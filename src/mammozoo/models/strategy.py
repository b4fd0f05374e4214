"""Transfer strategies: four questions about a pretrained network, and how strategies add up.

drs                insert scaling layers, train them and the head
last-blocks:2      train the last two blocks and the head
drs+last-blocks:1  both: `adapt` in order, the union of what trains, the product of the learning-rate factors
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from mammozoo.errors import UsageError
from mammozoo.models.model import Model


class Strategy:
    """Base of every strategy; by default it leaves each question open. The head always trains.

    Attributes:
        name: the name in recipes.
        init: starting weights that it requires (`scratch` requires `random`), or None for the recipe's.
    """

    name: ClassVar[str]
    init: ClassVar[str | None] = None

    def adapt(self, model: Model) -> None:
        """Change the network in place. Needs no data and no weights, so that a saved model can be rebuilt."""

    def trainable(self, model: Model) -> Iterable[nn.Parameter] | None:
        """Backbone parameters that train, or None to leave it open."""
        return None

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """Factors on the learning rate; parameters left out have 1."""
        return {}

    def optimizer(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> torch.optim.Optimizer | None:
        """The strategy's optimizer for these parameter groups, or None for the recipe's."""
        return None


class Composite(Strategy):
    """Several strategies as one."""

    name = "composite"

    def __init__(self, parts: Sequence[Strategy]):
        self.parts = parts
        inits = {part.init for part in parts if part.init}
        if len(inits) > 1:
            raise UsageError(f"These strategies want different starting weights: {', '.join(sorted(inits))}.")
        self.starting_weights = inits.pop() if inits else None

    def adapt(self, model: Model) -> None:
        """Each part in turn."""
        for part in self.parts:
            part.adapt(model)

    def trainable(self, model: Model) -> list[nn.Parameter]:
        """The union over the parts, in the backbone's order; all parameters if every part leaves it open."""
        chosen = [part.trainable(model) for part in self.parts]
        union = {parameter for parameters in chosen if parameters is not None for parameter in parameters}
        everything = all(parameters is None for parameters in chosen)
        return [p for p in model.backbone.parameters() if everything or p in union]

    def lr_scale(self, model: Model) -> dict[nn.Parameter, float]:
        """The product of the factors."""
        scale: dict[nn.Parameter, float] = {}
        for part in self.parts:
            for parameter, factor in part.lr_scale(model).items():
                scale[parameter] = scale.get(parameter, 1.0) * factor
        return scale

    def optimizer(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> torch.optim.Optimizer | None:
        """The optimizer of the one part that has one, or None."""
        optimizers = [o for o in (part.optimizer(groups, lr, weight_decay) for part in self.parts) if o is not None]
        if len(optimizers) > 1:
            raise UsageError("Two of the strategies choose the optimizer; at most one may.")
        return optimizers[0] if optimizers else None

    def freeze(self, model: Model) -> None:
        """Let exactly the head and the trainable parameters require gradients."""
        chosen = {*self.trainable(model), *model.head.parameters()}
        for parameter in model.parameters():
            parameter.requires_grad_(parameter in chosen)

    def parameter_groups(self, model: Model, lr: float) -> list[dict[str, Any]]:
        """Optimizer groups, one for each learning rate, highest first; in the model's order within."""
        scale = self.lr_scale(model)
        by_rate: dict[float, list[nn.Parameter]] = {}
        for parameter in model.parameters():
            if parameter.requires_grad:
                by_rate.setdefault(lr * scale.get(parameter, 1.0), []).append(parameter)
        return [{"params": by_rate[rate], "lr": rate} for rate in sorted(by_rate, reverse=True)]
