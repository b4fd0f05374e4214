"""A backbone in timm's own layout: timm's names for the weights, timm's keys in `config.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch

from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly

_PREFIX = "backbone.net."
#: Keys of timm's `pretrained_cfg` that also hold for other weights than timm's.
_KEPT = (
    "input_size", "mean", "std", "interpolation", "crop_pct", "fixed_input_size", "pool_size", "first_conv", "classifier",
)  # fmt: skip


def timm_state(backbone: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The backbone's weights among a model's, under the names of `timm.create_model(backbone, num_classes=0)`.

    Raises UsageError if timm does not know this backbone, or a strategy has changed its layers.
    """
    state = {key.removeprefix(_PREFIX): tensor for key, tensor in tensors.items() if key.startswith(_PREFIX)}
    try:
        load_exactly(_network(backbone), state)
    except IncompatibleError as error:
        what = f"The layers of this '{backbone}' are not timm's own any more, so it cannot be published alone ({error})"
        raise UsageError(f"{what}. Publish the whole model, or an adapter.") from None
    return state


def timm_config(backbone: str, license: str) -> dict[str, Any]:
    """timm's keys of `config.json`, for a network without a classifier."""
    net = _network(backbone)
    kept = {key: net.pretrained_cfg[key] for key in _KEPT if net.pretrained_cfg.get(key) is not None}
    return {
        "architecture": backbone,
        "num_classes": 0,
        "num_features": net.num_features,
        "pretrained_cfg": {**kept, "num_classes": 0, "license": license.lower()},
    }


def _network(backbone: str) -> Any:
    if ":" in backbone or not timm.is_model(backbone):
        what = f"'{backbone}' is not a network of timm; only such a backbone can be published alone"
        raise UsageError(f"{what}. Publish the whole model.")
    return timm.create_model(backbone, num_classes=0)
