"""Build a model from names; save it to a folder and load it again."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from mammozoo.config.names import Spec, call, parse, parse_sum
from mammozoo.config.requirements import installed_version, requirements_of
from mammozoo.data.preprocessing import LESION, Input
from mammozoo.errors import IncompatibleError, NotFoundError, UsageError
from mammozoo.files import given_path, write_json
from mammozoo.models.backbone import Backbone, load_exactly
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.models.ensemble import Ensemble
from mammozoo.models.model import Model, assemble
from mammozoo.models.predictor import Foreign, predictor_at
from mammozoo.models.strategy import Composite
from mammozoo.models.weight_map import load_published
from mammozoo.models.weights import read_shapes, read_tensors, refuse_non_finite, write_tensors
from mammozoo.plugins import registry
from mammozoo.plugins.blame import blame

#: Finds the folder of a model by a reference. The zoo is above this floor, so callers pass it in.
Resolve = Callable[[str], Path]
#: Largest input image of a model, in numbers (channels × height × width).
MAX_INPUT = 2**26
_SPARE, _SMALL = 4, 10**7  # a strategy may remove parts of a backbone, and small networks are never refused
_FACTORIES = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn}


@dataclass(frozen=True)
class Lineage:
    """Origin of starting weights: their description, and the hashes of the images used to train or select them."""

    weights: str
    seen: tuple[str, ...] = ()
    synthetic: bool = False


def build_backbone(name: str | Spec) -> Backbone:
    """The backbone `name[:options]` with random weights.

    Raises:
        NotFoundError, UsageError: unknown backbone or option.
        IncompatibleError: its library cannot build it without its own pooling or head.
    """
    spec = _spec(name)
    try:
        return call(registry().get("backbones", spec.name).build, spec)
    except (AssertionError, AttributeError, TypeError) as error:
        if not registry().provider("backbones", spec.name).builtin:  # those of timm's catalogue are ours
            raise
        raise IncompatibleError(
            f"Backbone '{spec}' cannot be built without its own classifier ({error or type(error).__name__})."
        ) from error


def build_strategy(text: str) -> Composite:
    """The strategy that `drs+last-blocks:1` names.

    Raises:
        NotFoundError, UsageError: unknown name or option.
    """
    return Composite([call(registry().get("strategies", spec.name), spec) for spec in parse_sum(text)])


def build_model(
    backbone: Backbone, strategy: str | Composite, head: str | Spec, classes: tuple[str, ...], input: Input
) -> tuple[Model, Composite]:
    """`backbone` for `input` with a new head, adapted by the strategy; only what the strategy trains requires gradients.

    A copy of the model by `copy.deepcopy` is a model of its own; the strategy keeps no state and serves all copies.
    """
    backbone.input = input
    spec = _spec(head)
    model = assemble(backbone, registry().get("heads", spec.name), spec, classes)
    chosen = build_strategy(strategy) if isinstance(strategy, str) else strategy
    chosen.adapt(model)
    chosen.freeze(model)
    return model, chosen


def _spec(name: str | Spec) -> Spec:
    return parse(name) if isinstance(name, str) else name


def default_weights(backbone_name: str) -> str:
    """What `weights: auto` means for a backbone."""
    recommended: str = registry().get("backbones", parse(backbone_name).name).default_weights
    return recommended


def load_starting_weights(backbone: Backbone, backbone_name: str, weights: str, resolve: Resolve) -> Lineage:
    """Put `weights` (`random`, `imagenet`, `file:PATH`, `zoo:NAME`, `hub:ORG/NAME@SHA[:FILE]`, `run:…`) into an unadapted backbone.

    Raises:
        UnreachableError: ImageNet weights are neither cached nor available. They are never replaced by random ones.
        UsageError: `weights` is not of one of these forms, or not safetensors.
        NotFoundError, NotVerifiedError, IncompatibleError: the weights are missing, damaged or not finite, or of another network.
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
        path = given_path(rest)
        if path.suffix != ".safetensors":
            raise UsageError(
                f"'{path}': mammozoo loads safetensors only; pickled weights can run code. Of a file that you trust: import torch; "
                f"from safetensors.torch import save_file; state = torch.load('{path.name}', weights_only=True); "
                f"save_file(state.get('state_dict', state), '{path.stem}.safetensors')."
            )
        load_published(backbone, path)
        return Lineage(f"file:{path.name}")
    if kind in ("zoo", "hub", "run") and rest:
        folder = resolve(weights)
        if folder.is_file():  # of others
            load_published(backbone, folder)
            return Lineage(weights if weights.endswith(folder.name) else f"{weights}:{folder.name}")
        config = read_config(folder)
        if config.backbone != backbone_name:
            raise IncompatibleError(f"The model '{rest}' is a '{config.backbone}', not a '{backbone_name}'.")
        refuse_ensemble(config, "start a training")
        tensors = read_tensors(folder / "model.safetensors")
        refuse_non_finite(tensors, folder / "model.safetensors")
        own = {name for name in tensors if name.startswith("backbone.")}
        state = {name.removeprefix("backbone."): tensors[name] for name in own}
        try:
            load_exactly(backbone, state)
        except IncompatibleError:  # maybe of a network that depends on the size of its images
            if backbone.input.size == config.input.size:
                raise
            backbone.input = backbone.input.model_copy(update={"size": config.input.size})
            load_exactly(backbone, state)
        origin = f"run:{folder.resolve().name}" if kind == "run" else weights
        return Lineage(origin, config.training.seen, config.training.synthetic)
    raise UsageError(
        f"Unknown weights '{weights}': say imagenet, random, file:PATH, zoo:NAME, hub:ORG/NAME@SHA[:FILE], or the folder of a run "
        f"(run:FOLDER, or its path).{f' Did you mean file:{weights}?' * Path(weights).is_file()}"
    )


@torch.no_grad()
def round_weights(model: Model, dtype: torch.dtype) -> None:
    """Round every weight to `dtype`, so that scores are those of the weights as they will be stored."""
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(_as_stored(tensor, dtype))


def _as_stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The tensor in `dtype`; as it is if a number of it is beyond that type's range, as a running variance may be."""
    stored = tensor.to(dtype)
    return stored if bool(torch.isfinite(stored).all()) else tensor


def save_model(model: Model, config: ModelConfig, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `model.safetensors` and `config.json`; floating-point tensors in `dtype` where all their numbers fit into it."""
    tensors = {
        name: _as_stored(tensor, dtype) if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_tensors(folder / "model.safetensors", tensors)
    write_json(folder / "config.json", config.to_json())


def load_model(folder: Path) -> tuple[Model, ModelConfig]:
    """The model in `folder`, in evaluation mode, float32, and its config; also one of another program, which may be a file.

    The files may come from anywhere: a config that needs far more memory than its weights fill is refused before it is allocated.

    Raises:
        NotFoundError: there is no model.
        IncompatibleError: config and weights do not fit each other or this mammozoo, or a plugin that they need is not
            installed (the message names it).
        NotVerifiedError: the weights are damaged, or not finite.
    """
    if (spec := predictor_at(folder)) is not None:
        network, config = spec.build(folder)
        _refuse_large(config, folder)
        return Foreign(network, config).eval(), config
    config, path = read_config(folder), folder / "model.safetensors"
    if not path.is_file() and (folder / "adapter.safetensors").is_file():
        raise NotFoundError(
            f"'{folder}' holds an adapter, which needs its base model. Use its name in the zoo: --model {config.name}."
        )
    _refuse_large(config, folder)
    with _Bounded(config, read_shapes(path)):
        model = _build(config, folder)
    tensors = read_tensors(path)
    load_exactly(model, tensors)
    refuse_non_finite(tensors, path)
    return model.eval(), config


def _refuse_large(config: ModelConfig, folder: Path) -> None:
    height, width = config.input.size
    if height * width * config.input.channels > MAX_INPUT:
        raise IncompatibleError(
            f"The config of the model in '{folder}' asks for an input of {config.input.channels} × {height} × {width} numbers; "
            f"the limit is {MAX_INPUT}."
        )


def refuse_ensemble(config: ModelConfig, what: str) -> None:
    """Raise UsageError for an ensemble, which cannot `what`, since that takes one network."""
    if config.members:
        raise UsageError(
            f"'{config.name}' is an ensemble of {len(config.members)} models and cannot {what}; one of them can."
        )


def _build(config: ModelConfig, folder: Path) -> Model:
    """The network that a config describes; every failure becomes IncompatibleError."""
    try:
        for step in map(parse, config.input.preprocess):  # looked up here, where a missing plugin can be named
            if step.name != LESION:
                registry().get("transforms", step.name)
        return _network(config)
    except NotFoundError as error:
        raise IncompatibleError(f"The model in '{folder}' needs {_needed(config)}. {error}") from None
    except UsageError as error:
        raise IncompatibleError(
            f"The config of the model in '{folder}' does not fit this mammozoo. It was made with {_needed(config)}. {error}"
        ) from None
    except IncompatibleError:
        raise
    except Exception as error:
        why = blame(error) or f"{type(error).__name__}: {error}"
        raise IncompatibleError(
            f"The network that the config in '{folder}' describes cannot be built: {why}"
        ) from error


def _network(config: ModelConfig) -> Model:
    if config.members:
        whole = config.model_copy(update={"members": ()})
        each = [_network(whole.model_copy(update={"strategy": m.strategy, "head": m.head})) for m in config.members]
        return Ensemble(each, [member.temperature for member in config.members])
    backbone = build_backbone(config.backbone)
    return build_model(backbone, config.strategy, config.head, config.classes, config.input)[0]


def _needed(config: ModelConfig) -> str:
    """The packages of a model's plugins: those that are not installed, or all if none is missing."""
    missing = {name: version for name, version in config.plugins.items() if installed_version(name) is None}
    listed = ", ".join(
        f"{name} (a file, given with --plugin)" if version == "file" else f"{name} {version}"
        for name, version in (missing or config.plugins).items()
    )
    text = f"plugins of: {listed or 'packages that it does not name'}{' (not installed)' if missing else ''}"
    requirements = requirements_of(missing)
    return f"{text}. If you trust them, run: pip install {shlex.join(requirements)}" if requirements else text


class _Bounded(TorchFunctionMode):
    """Refuse to allocate more numbers than a network with these weights could need."""

    def __init__(self, config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]):
        super().__init__()
        stored = sum(map(prod, shapes.values()))
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
