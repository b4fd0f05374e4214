"""From names to a model, and between a model and its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mammozoo.data.input import Input
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.files import write_json
from mammozoo.models.backbone import Backbone, load_exactly
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.models.model import Model, assemble
from mammozoo.models.strategy import Composite, strategy
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins import registry
from mammozoo.spec import call, parse

#: Finds the folder of a zoo model by its name; the zoo stands above this floor and hands it in.
Resolve = Callable[[str], Path]


@dataclass(frozen=True)
class Lineage:
    """What starting weights bring with them: their description, and the hashes of the images they have seen."""

    weights: str
    seen: tuple[str, ...] = ()
    synthetic: bool = False


def build_backbone(name: str) -> Backbone:
    """The backbone that `name[:options]` names, with random weights.

    Raises:
        NotFoundError, UsageError: no such backbone or option.
        IncompatibleError: its library cannot build it without its own pooling or head.
    """
    spec = parse(name)
    try:
        return call(registry().get("backbones", spec.name).build, spec)
    except (AssertionError, AttributeError, TypeError) as error:
        raise IncompatibleError(
            f"Backbone '{name}' cannot be built without its own classifier ({error or type(error).__name__})."
        ) from error


def build_model(
    backbone: Backbone, strategy_name: str, head: str, classes: tuple[str, ...], input: Input
) -> tuple[Model, Composite]:
    """`backbone` for `input`, with a fresh head, adapted by its strategy, and what may learn already marked."""
    backbone.input = input
    spec = parse(head)
    model = assemble(backbone, registry().get("heads", spec.name), spec, classes)
    chosen = strategy(strategy_name)
    chosen.adapt(model)
    chosen.freeze(model)
    return model, chosen


def default_weights(backbone_name: str) -> str:
    """What `weights: auto` means for a backbone."""
    recommended: str = registry().get("backbones", parse(backbone_name).name).default_weights
    return recommended


def load_starting_weights(backbone: Backbone, backbone_name: str, weights: str, resolve: Resolve) -> Lineage:
    """Put `weights` (`random`, `imagenet`, `file:PATH`, `zoo:NAME`) into an unadapted backbone.

    Raises:
        UnreachableError: ImageNet weights are neither cached nor to be had. Random ones never stand in for them.
        NotFoundError, NotVerifiedError, IncompatibleError: as they say.
    """
    kind, _, rest = weights.partition(":")
    if kind == "random" and not rest:
        return Lineage("random")
    if kind == "imagenet" and not rest:
        spec = registry().get("backbones", parse(backbone_name).name)
        if spec.imagenet is None:
            raise NotFoundError(
                f"Backbone '{backbone_name}' has no ImageNet weights that mammozoo can load. Give --weights file:PATH "
                "(safetensors), zoo:NAME or random."
            )
        spec.imagenet(backbone)
        return Lineage("imagenet")
    if kind == "file" and rest:
        path = Path(rest).expanduser()
        if path.suffix != ".safetensors":
            raise UsageError(f"'{path}': mammozoo loads safetensors only; pickled weights can run code.")
        backbone.load_pretrained(read_tensors(path))
        return Lineage(f"file:{path.name}")
    if kind == "zoo" and rest:
        folder = resolve(rest)
        config = read_config(folder)
        if config.backbone != backbone_name:
            raise IncompatibleError(f"Zoo model '{rest}' is a '{config.backbone}', not a '{backbone_name}'.")
        prefix = "backbone."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in read_tensors(folder / "model.safetensors").items()
            if name.startswith(prefix)
        }
        load_exactly(backbone, state)
        return Lineage(weights, config.training.seen, config.training.synthetic)
    raise UsageError(f"Unknown weights '{weights}': say imagenet, random, file:PATH or zoo:NAME.")


@torch.no_grad()
def round_weights(model: Model, dtype: torch.dtype) -> None:
    """Round every weight to what `dtype` can hold, so that scores are those of the weights as they will be stored."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(dtype))


def save_model(model: Model, config: ModelConfig, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `model.safetensors` and `config.json`; floating-point tensors in `dtype`."""
    tensors = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_tensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", config.to_json())


def load_model(folder: Path) -> tuple[Model, ModelConfig]:
    """The model in `folder`, in evaluation mode, float32, and its config.

    Raises:
        NotFoundError: no model there, or a plugin that it needs is not installed (the message says which).
        IncompatibleError, NotVerifiedError: config or weights do not fit.
    """
    config = read_config(folder)
    try:
        model, _ = build_model(
            build_backbone(config.backbone), config.strategy, config.head, config.classes, config.input
        )
    except NotFoundError as error:
        needs = ", ".join(f"{name} {version}" for name, version in config.plugins.items())
        raise IncompatibleError(f"The model in '{folder}' needs plugins of: {needs}. {error}") from None
    load_exactly(model, read_tensors(folder / "model.safetensors"))
    return model.eval(), config
