"""A backbone as timm publishes one: its own names for the weights, its own keys in `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch

from mammozoo.config.names import parse
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly

_PREFIX = "backbone.net."
#: What timm's `pretrained_cfg` may say of weights that are not timm's own.
_KEPT = (
    "input_size",
    "mean",
    "std",
    "interpolation",
    "crop_pct",
    "fixed_input_size",
    "pool_size",
    "first_conv",
    "classifier",
)


def timm_state(backbone: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The backbone's weights among a model's, under timm's names: just those of `timm.create_model(backbone, num_classes=0)`.

    Raises:
        UsageError: timm does not know this backbone, or a strategy has changed its layers.
    """
    name = _name(backbone)
    state = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items() if key.startswith(_PREFIX)}
    try:
        load_exactly(timm.create_model(name, num_classes=0), state)
    except IncompatibleError as error:
        raise _unlike(backbone, error) from None
    return state


def timm_config(backbone: str, license: str) -> dict[str, Any]:
    """timm's keys of `config.json`, for a network without a classifier."""
    net: Any = timm.create_model(_name(backbone), num_classes=0)
    own = {key: net.pretrained_cfg[key] for key in _KEPT if net.pretrained_cfg.get(key) is not None}
    return {
        "architecture": _name(backbone),
        "num_classes": 0,
        "num_features": net.num_features,
        "pretrained_cfg": {**own, "num_classes": 0, "license": license.lower()},
    }


def _name(backbone: str) -> str:
    spec = parse(backbone)
    if not timm.is_model(spec.name) or backbone != spec.name:
        raise UsageError(
            f"'{backbone}' is no network of timm; only such a backbone can be published alone. Publish the whole model."
        )
    return spec.name


def _unlike(backbone: str, error: Exception) -> UsageError:
    return UsageError(
        f"The layers of this '{backbone}' are not timm's own any more, so it cannot be published alone ({error}). Publish the "
        "whole model, or an adapter."
    )
