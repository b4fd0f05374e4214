"""What the plugins provide."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mammozoo.errors import UsageError, nearest

if TYPE_CHECKING:
    from mammozoo.models.backbone_spec import BackboneSpec


@dataclass(frozen=True)
class Listed:
    """A named thing that a plugin provides, and the plugin and distribution that it comes from."""

    name: str
    summary: str
    plugin: str
    distribution: str
    version: str


@dataclass(frozen=True)
class ListedBackbone(Listed):
    """A backbone, and what its plugin says of it, as `BackboneSpec` has it."""

    parameters: int | None
    input_size: tuple[int, int] | None
    weights: str
    licence: str


def list(kind: str, match: str = "", *, max_params: int | None = None, weights: str = "") -> builtins.list[Listed]:
    """What the plugins provide of a kind, the built-in ones first; `match` keeps the names that contain it.

    Kinds: datasets, backbones, heads, strategies, losses, metrics, transforms, predictors, recipes, papers, zoos, commands.

    Args:
        max_params: only backbones that are known to have no more parameters.
        weights: only backbones whose ImageNet weights are `here`, on the `hub`, from `pip`, or `none`.

    Raises:
        UsageError: there is no such kind, or it has no parameters and weights.
    """
    from mammozoo.plugins import KINDS, registry

    if kind not in KINDS:
        raise UsageError(f"There is no kind '{kind}'.{nearest(kind, KINDS)} There are {', '.join(KINDS)}.")
    if kind != "backbones" and (max_params is not None or weights):
        raise UsageError(f"--max-params and --weights choose among backbones, and {kind} have neither.")
    found: builtins.list[Listed] = []
    for item in registry().items(kind).values():
        facts = item.name, item.summary, item.plugin.name, item.plugin.distribution, item.plugin.version
        if match not in item.name:
            continue
        if kind != "backbones":
            found.append(Listed(*facts))
            continue
        spec: BackboneSpec = item.value
        few = max_params is None or (spec.parameters is not None and spec.parameters <= max_params)
        if few and spec.weights.partition(" ")[0].startswith(weights):
            found.append(ListedBackbone(*facts, spec.parameters, spec.input_size, spec.weights, spec.licence))
    return found
