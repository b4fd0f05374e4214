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

from mammozoo.config.names import call, parse_sum
from mammozoo.errors import UsageError
from mammozoo.models.model import Model
from mammozoo.plugins import registry


class Strategy:
    """Base of every strategy; each answer defaults to "no opinion". The head always trains.

    Attributes:
        name: by which recipes ask for it.
        init: weights that it insists on (`scratch` says `random`), None for the recipe's.
    """

    name: ClassVar[str]
    init: ClassVar[str | None] = None

    def adapt(self, model: Model) -> None:
        """Change the network in place. Needs no data and no weights, so that a saved model can be rebuilt."""

    def trainable(self, model: Model) -> Iterable[nn.Parameter] | None:
        """Backbone parameters that learn; None for no opinion."""
        return None

    def lr_scale(self, model: Model) -> Mapping[nn.Parameter, float]:
        """Factors on the learning rate; parameters left out have 1."""
        return {}

    def optimizer(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> torch.optim.Optimizer | None:
        """An optimizer of its own for these parameter groups; None for the recipe's."""
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
        """The union of the opinions, in the backbone's order; everything when nobody has one."""
        opinions = [part.trainable(model) for part in self.parts]
        chosen = {parameter for opinion in opinions if opinion is not None for parameter in opinion}
        everything = all(opinion is None for opinion in opinions)
        return [p for p in model.backbone.parameters() if everything or p in chosen]

    def lr_scale(self, model: Model) -> dict[nn.Parameter, float]:
        """The product of the factors."""
        scale: dict[nn.Parameter, float] = {}
        for part in self.parts:
            for parameter, factor in part.lr_scale(model).items():
                scale[parameter] = scale.get(parameter, 1.0) * factor
        return scale

    def optimizer(self, groups: list[dict[str, Any]], lr: float, weight_decay: float) -> torch.optim.Optimizer | None:
        """That of the one part that has one."""
        made = [o for o in (part.optimizer(groups, lr, weight_decay) for part in self.parts) if o is not None]
        if len(made) > 1:
            raise UsageError("Two of the strategies choose the optimizer; at most one may.")
        return made[0] if made else None

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


def strategy(text: str) -> Composite:
    """The strategy that `drs+last-blocks:1` names.

    Raises:
        NotFoundError, UsageError: unknown name, or options that it does not take.
    """
    return Composite([call(registry().get("strategies", spec.name), spec) for spec in parse_sum(text)])
