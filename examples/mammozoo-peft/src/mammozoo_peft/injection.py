"""Giving chosen layers of a network an adapter of `peft`, and finding its parameters again.

`peft` puts a wrapper in the place of each layer, so the layer's weights get a new name: `conv1.weight` becomes
`conv1.base_layer.weight`. Starting weights are loaded before `adapt`, so only the names in a saved model change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mammozoo import Model
from mammozoo.errors import IncompatibleError, UsageError
from torch import nn

if TYPE_CHECKING:
    from peft import PeftConfig


def inject(model: Model, config: PeftConfig) -> None:
    """Wrap every layer of the backbone that `config.target_modules` names; in place, and the model's outputs stay as they are."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, model.backbone)


def exactly(names: Sequence[str]) -> str:
    """The pattern for `target_modules` that fits these names and no others; from a list `peft` also takes names that end alike."""
    return "|".join(map(re.escape, names))


def free_layers(model: Model, kinds: type[nn.Module] | tuple[type[nn.Module], ...], strategy: str) -> dict[str, Any]:
    """Name → layer, of the backbone's layers of these kinds, in the order in which they were registered.

    Raises:
        UsageError: the network has adapters of `peft` already; where two of them meet, one would wrap the other's parts.
        IncompatibleError: there is no such layer.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    modules = dict(model.backbone.named_modules())
    if any(isinstance(module, BaseTunerLayer) for module in modules.values()):
        raise UsageError(
            f"{strategy}: this network has adapters of peft already. One strategy of peft at a time; others (drs, last-blocks …) "
            "can be added with '+'."
        )
    found = {name: module for name, module in modules.items() if isinstance(module, kinds)}
    if not found:
        raise IncompatibleError(f"{strategy}: {type(model.backbone).__name__} has no layer that it could adapt.")
    return found


def parameters(model: Model, prefix: str) -> Iterable[nn.Parameter]:
    """The parameters that `peft` has added: one part of their name begins with `prefix`."""
    return [
        parameter
        for name, parameter in model.backbone.named_parameters()
        if any(part.startswith(prefix) for part in name.split("."))
    ]
