"""Where the frozen part of a network ends: the last module before which nothing learns and after which no image is needed.

    image ──▶ frozen, the same in training and evaluation ──▶ [border] ──▶ what learns ──▶ logits

No knowledge of families goes in. Candidates are the modules that gave a tensor without gradients in one forward pass,
latest first, and one is taken only when all of this holds on a batch of random images:

1. in training mode, the pass up to it changes no buffer, draws no random number, and gives the bits of evaluation mode;
2. with its output held fixed, the graph of autograd does not lead from the logits to the image, so no branch passes it by;
3. with everything before it replaced by empty stand-ins, the logits are, bit for bit, those of the whole network, in
   evaluation and in training mode.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.models.randomness import generator_states, seed_generators
from mammozoo.training.feature_cache.unchanged import Buffers, restore_buffers, set_modes, untouched
from mammozoo.training.feature_cache.watch import Call, watch

_IMAGES = 2  # of the batch on which a border is tried; batch norms that train need more than one
_TRIES = 40  # candidates


@dataclass(frozen=True)
class CutPoint:
    """A place at which a model can be cut.

    Attributes:
        name: of the module whose output is all that the rest needs.
        before: names of the outermost modules that are done before it, itself not among them.
        shape: of its output for one image.
        channels_last: whether that output lies in memory as (N, h, w, C).
        dtype: of its output, as the engine computes it.
        tiny: whether the stand-ins may have one value an image.
        probe: its output for the probe images, on the CPU: what tells this trunk from another of the same name.
        share: of the multiplications of a forward pass that lie before it.
    """

    name: str
    before: tuple[str, ...]
    shape: tuple[int, ...]
    channels_last: bool
    dtype: torch.dtype
    tiny: bool
    probe: torch.Tensor = field(repr=False)
    share: float
    #: Shape of the output of each module in `before`, for one image.
    shapes: tuple[tuple[int, ...], ...] = field(repr=False)


def find_cut_point(model: Model, engine: Engine) -> CutPoint | None:
    """The latest border of a model that is placed and frozen as it will be trained; None where there is none.

    The model is left as it was: weights, buffers, modes and torch's random state.
    """
    generator = torch.Generator().manual_seed(0)
    size, channels = model.backbone.input.size, 1 if model.backbone.input.color == "grey" else 3
    pixels = torch.randint(0, 256, (_IMAGES, *size, channels), generator=generator, dtype=torch.uint8)
    images = model.backbone.input.normalize(pixels.to(engine.device))
    with untouched(model, engine), engine.autocast():
        seen = watch(model, images)
        candidates = [name for name, call in seen.items() if _possible(call)]
        candidates.sort(key=lambda name: -seen[name].ended)
        for name in candidates[:_TRIES]:
            border = _try(model, engine, images, name, seen)
            if border is not None:
                return border
    return None


def run_before(model: Model, border_name: str, images: torch.Tensor) -> torch.Tensor:
    """The border's output for (N, C, H, W) images; what comes after it is not computed."""

    def stop(module: nn.Module, given: object, output: torch.Tensor) -> None:
        raise _ReachedError(output)

    handle = model.get_submodule(border_name).register_forward_hook(stop)
    try:
        model(images)
    except _ReachedError as reached:
        return reached.output
    finally:
        handle.remove()
    raise AssertionError(f"the model did not pass through '{border_name}'")


def run_after(
    model: Model, border: CutPoint, activations: torch.Tensor, through: nn.Module | None = None
) -> torch.Tensor:
    """The logits from the border's output; what comes before it is not computed. Not for two threads at a time.

    `through` is what to call in the model's place, where something is wrapped around it (DistributedDataParallel).
    """
    n = len(activations)

    def standing_in(shape: tuple[int, ...]) -> Callable[..., torch.Tensor]:
        filled = (1,) * len(shape) if border.tiny else shape
        return lambda *args, **kwargs: activations.new_zeros((n, *filled))

    stands_in: dict[nn.Module, Callable[..., torch.Tensor]] = {
        model.get_submodule(name): standing_in(shape) for name, shape in zip(border.before, border.shapes, strict=True)
    }
    stands_in[model.get_submodule(border.name)] = lambda *args, **kwargs: activations
    input = model.backbone.input
    size = (1, 1) if border.tiny else input.size
    nothing = torch.zeros((n, input.channels, *size), device=activations.device)
    own = {module: module.__dict__["forward"] for module in stands_in if "forward" in module.__dict__}
    try:
        for module, forward in stands_in.items():
            module.__dict__["forward"] = forward
        logits: torch.Tensor = (through or model)(nothing)
        return logits
    finally:
        for module in stands_in:
            module.__dict__.pop("forward", None)
            if module in own:
                module.__dict__["forward"] = own[module]


def state_before(model: Model, border: CutPoint) -> dict[str, torch.Tensor]:
    """Every frozen tensor of the model that may act before the border: all but those of modules that start after it."""
    images = torch.zeros((2, model.backbone.input.channels, *model.backbone.input.size))
    device = next(model.parameters()).device
    was = {module: module.training for module in model.modules()}
    try:
        seen = watch(model.eval(), images.to(device))
    finally:
        set_modes(was)
    after = {name for name, call in seen.items() if call.started > seen[border.name].ended}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name not in trained and name.rpartition(".")[0] not in after
    }


class _ReachedError(Exception):
    """Ends a forward pass at the border."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output


def _possible(call: Call) -> bool:
    output = call.output
    return (
        call.calls == 1
        and output is not None
        and not output.requires_grad
        and output.is_floating_point()
        and output.ndim >= 2
        and len(output) == _IMAGES
    )


def _try(model: Model, engine: Engine, images: torch.Tensor, name: str, seen: dict[str, Call]) -> CutPoint | None:
    """The border at `name` if it passes the three tests."""
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    output = run_before(model.eval(), name, images).clone()
    drawn = generator_states(engine.device)
    in_training = run_before(model.train(), name, images)
    moved = any(not torch.equal(value, buffers[key]) for key, value in model.named_buffers())
    restore_buffers(model, buffers)
    if output.requires_grad or moved or not torch.equal(output, in_training):
        return None
    if any(not torch.equal(state, drawn[kind]) for kind, state in generator_states(engine.device).items()):
        return None
    if _passes_by(model, name, images, output, buffers):
        return None
    end = seen[name].ended
    done = [other for other, call in seen.items() if call.calls == 1 and 0 <= call.ended < end]
    done = [other for other in done if not other.startswith(f"{name}.")]
    outermost = [other for other in done if not any(other.startswith(f"{outer}.") for outer in done)]
    shapes = []
    for other in outermost:
        given = seen[other].output
        if given is None or len(given) != _IMAGES:
            return None
        shapes.append(tuple(given.shape[1:]))
    last = output.ndim == 4 and output.is_contiguous(memory_format=torch.channels_last)
    for tiny in (True, False):
        border = CutPoint(
            name=name,
            before=tuple(outermost),
            shape=tuple(output.shape[1:]),
            channels_last=last and not output.is_contiguous(),
            dtype=output.dtype,
            tiny=tiny,
            probe=output.cpu(),
            share=0.0,
            shapes=tuple(shapes),
        )
        if _same_logits(model, engine, images, border, output, buffers):
            rest = _flops(model, functools.partial(run_after, model, border, output.clone()))
            whole = _flops(model, functools.partial(model, images))
            return dataclasses.replace(border, share=1 - rest / max(1, whole))
    return None


def _passes_by(model: Model, name: str, images: torch.Tensor, output: torch.Tensor, buffers: Buffers) -> bool:
    """Whether the image reaches the logits by another way than through `name`; zeros on that way do not hide it."""
    handle = model.get_submodule(name).register_forward_hook(lambda module, given, made: output.detach().clone())
    try:
        for mode in (False, True):
            given = images.clone().requires_grad_()
            logits = model.train(mode)(given)
            if torch.autograd.grad(logits.sum(), given, allow_unused=True)[0] is not None:
                return True
    finally:
        handle.remove()
        restore_buffers(model, buffers)
    return False


def _same_logits(
    model: Model, engine: Engine, images: torch.Tensor, border: CutPoint, output: torch.Tensor, buffers: Buffers
) -> bool:
    """Whether the rest alone gives the whole network's logits, and its gradients: behind a zero weight they would differ."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for mode in (False, True):
        model.train(mode)
        found = []
        for run in (functools.partial(model, images), functools.partial(run_after, model, border, output.clone())):
            seed_generators(0, engine.device)
            try:
                logits = run()
                found.append((logits.detach(), torch.autograd.grad(logits.sum(), trained, allow_unused=True)))
            except (RuntimeError, ValueError, TypeError, AssertionError, IndexError):
                return False  # it looked at the shape of a stand-in
            finally:
                restore_buffers(model, buffers)
        (whole, slopes), (rest, own_slopes) = found
        if not torch.equal(whole, rest) or not all(map(_close, slopes, own_slopes)):
            return False
    return True


def _close(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """Gradients may differ by rounding: some are summed in no fixed order on a GPU."""
    if a is None or b is None:
        return a is b
    return float((a - b).abs().max()) <= 1e-2 * float(a.abs().max())


@torch.no_grad()
def _flops(model: Model, run: Callable[[], Any]) -> int:
    model.eval()
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
