"""From names to a model, and between a model and its folder."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mammozoo.config.names import call, parse
from mammozoo.config.requirements import installed_version, requirements_of
from mammozoo.data.preprocessing import LESION, Input
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.files import write_json
from mammozoo.models.backbone import Backbone, load_exactly
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.models.model import Model, assemble
from mammozoo.models.strategy import Composite, strategy
from mammozoo.models.tensor_file import Layout, read_header
from mammozoo.models.weights import read_tensors, refuse_non_finite, write_tensors
from mammozoo.plugins import registry
from mammozoo.plugins.blame import blame

#: Finds the folder of a zoo model by its name; the zoo stands above this floor and hands it in.
Resolve = Callable[[str], Path]
#: Numbers in one input image (channels × height × width) that a model may ask for.
MAX_INPUT = 2**26
_SPARE, _SMALL = 4, 10**7  # a strategy may leave out some of a backbone, and nothing small is worth refusing
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


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
        if not registry().provider("backbones", spec.name).builtin:  # those of timm's catalogue are ours
            raise
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
    """Put `weights` (`random`, `imagenet`, `file:PATH`, `zoo:NAME`, `hub:ORG/NAME@SHA`) into an unadapted backbone.

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
    if kind in ("zoo", "hub") and rest:
        folder = resolve(rest if kind == "zoo" else weights)
        config = read_config(folder)
        if config.backbone != backbone_name:
            raise IncompatibleError(f"The model '{rest}' is a '{config.backbone}', not a '{backbone_name}'.")
        prefix = "backbone."
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in read_tensors(folder / "model.safetensors").items()
            if name.startswith(prefix)
        }
        load_exactly(backbone, state)
        return Lineage(weights, config.training.seen, config.training.synthetic)
    raise UsageError(
        f"Unknown weights '{weights}': say imagenet, random, file:PATH, zoo:NAME, "
        "hub:ORG/NAME@SHA, or the folder of a run."
    )


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

    The files may come from anywhere: a config that asks for far more memory than its weights fill is refused before any is taken.

    Raises:
        NotFoundError: no model there.
        IncompatibleError: config and weights do not fit each other or this mammozoo, or a plugin that they need is not
            installed (the message says which).
        NotVerifiedError: the weights are damaged, or not finite.
    """
    config, path = read_config(folder), folder / "model.safetensors"
    if not path.is_file() and (folder / "adapter.safetensors").is_file():
        raise NotFoundError(
            f"'{folder}' holds an adapter, the difference to another model, and no whole one. Name it as the zoo does, as in "
            f"--model {config.name}."
        )
    _refuse_huge_input(config, folder)
    with _Bounded(config, read_header(path)):
        model = _built(config, folder)
    tensors = read_tensors(path)
    load_exactly(model, tensors)
    refuse_non_finite(tensors, path)
    return model.eval(), config


def _built(config: ModelConfig, folder: Path) -> Model:
    """The network that a config describes; whatever goes wrong, the config is to blame."""
    try:
        for step in map(parse, config.input.preprocess):  # asked for here, where a missing plugin can be named
            if step.name != LESION:
                registry().get("transforms", step.name)
        backbone = build_backbone(config.backbone)
        return build_model(backbone, config.strategy, config.head, config.classes, config.input)[0]
    except NotFoundError as error:
        raise IncompatibleError(f"The model in '{folder}' needs {_needed(config)}. {error}") from None
    except UsageError as error:
        raise IncompatibleError(
            f"The config of the model in '{folder}' does not suit this mammozoo. It was made with {_needed(config)}. {error}"
        ) from None
    except IncompatibleError:
        raise
    except Exception as error:
        why = blame(error) or f"{type(error).__name__}: {error}"
        raise IncompatibleError(
            f"The network that the config in '{folder}' describes cannot be built: {why}"
        ) from error


def _needed(config: ModelConfig) -> str:
    """The packages that brought what a model is made of: those that are not here, or else all."""
    missing = {name: version for name, version in config.plugins.items() if installed_version(name) is None}
    listed = ", ".join(
        f"{name} (a file, given with --plugin)" if version == "file" else f"{name} {version}"
        for name, version in (missing or config.plugins).items()
    )
    said = f"plugins of: {listed or 'packages that it does not name'}{' (not installed)' if missing else ''}"
    wanted = requirements_of(missing)
    return f"{said}. If you trust them, run: pip install {shlex.join(wanted)}" if wanted else said


def _refuse_huge_input(config: ModelConfig, folder: Path) -> None:
    height, width = config.input.size
    if min(height, width, config.input.channels) < 1 or height * width * config.input.channels > MAX_INPUT:
        raise IncompatibleError(
            f"The config of the model in '{folder}' asks for an input of {config.input.channels} × {height} × {width} numbers; "
            f"mammozoo goes up to {MAX_INPUT}."
        )


class _Bounded(TorchFunctionMode):
    """Refuses to make more numbers than a network of these weights could need, before there is room for them."""

    def __init__(self, config: ModelConfig, header: Mapping[str, Layout]):
        super().__init__()
        stored = sum(prod(layout.shape) for layout in header.values())
        self.left = _SPARE * (stored + config.input.channels * prod(config.input.size)) + _SMALL
        self.message = f"the config asks for far more numbers than the {stored:,} of the weights"

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _FACTORIES:
            size = (kwargs or {}).get("size", args)
            first = size[0] if size and not isinstance(size[0], int) else size
            self.left -= prod(first) if isinstance(first, tuple | list) else 0
            if self.left < 0:
                raise IncompatibleError(f"One of the model's two files belongs to another model: {self.message}.")
        return func(*args, **(kwargs or {}))
