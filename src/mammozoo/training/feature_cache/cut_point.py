"""Where the frozen part of a network ends: the last module before which nothing trains and after which no image is needed.

    image ──▶ frozen, the same in training and evaluation mode ──▶ [cut point] ──▶ trainable rest ──▶ logits

The search knows no families of networks. Candidates are the modules whose output carries no gradient in one forward pass,
latest first. A candidate is taken if all of this holds on a batch of random images:

1. Up to it, training mode gives the bits of evaluation mode, changes no buffer and draws no random number.
2. With everything before it replaced by placeholders, logits and gradients are those of the whole network, in evaluation
   and in training mode. A branch that passes the candidate by, behind a zero weight too, fails here.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.models.randomness import generator_states, kept_generators, seed_generators

_BATCH = 2  # random images per trial; batch norms in training mode need more than one
_MAX_TRIALS = 40


@dataclass(frozen=True)
class CutPoint:
    """A place at which a model can be cut.

    Attributes:
        name: of the module whose output is all that the rest needs.
        before: outermost modules that finish before it → shape of their output for one image.
        shape: of its output for one image.
        channels_last: whether that output lies in memory as (N, h, w, C).
        dtype: of its output, as the engine computes it.
        small_placeholders: whether one value an image is enough for the placeholders.
        probe: its output for the probe images, on the CPU; it tells two networks apart that share a description.
        share: fraction of the multiplications of a forward pass that lie before it.
    """

    name: str
    before: Mapping[str, tuple[int, ...]] = field(repr=False)
    shape: tuple[int, ...]
    channels_last: bool
    dtype: torch.dtype
    small_placeholders: bool
    probe: torch.Tensor = field(repr=False)
    share: float = 0.0


@dataclass
class _Call:
    """What one module does in a forward pass; `ended` counts the ends of all modules."""

    calls: int = 0
    ended: int = -1
    output: object = None


def find_cut_point(model: Model, engine: Engine) -> CutPoint | None:
    """The latest cut point of a model that is placed and frozen as it will be trained; None if there is none.

    Weights, buffers, modes and random generators are unchanged afterwards.
    """
    generator = torch.Generator().manual_seed(0)
    input = model.backbone.input
    channels = 1 if input.color == "grey" else 3
    pixels = torch.randint(0, 256, (_BATCH, *input.size, channels), generator=generator, dtype=torch.uint8)
    images = input.normalize(pixels.to(engine.device))
    with kept_generators(engine.device), _unchanged(model), engine.autocast():
        calls = _trace(model, images)
        candidates = [name for name, call in calls.items() if call.calls == 1 and _is_frozen_batch(call.output)]
        candidates.sort(key=lambda name: -calls[name].ended)
        for name in candidates[:_MAX_TRIALS]:
            if (point := _try(model, engine, images, name, calls)) is not None:
                return point
    return None


def run_before(model: Model, cut_point: str, images: torch.Tensor) -> torch.Tensor:
    """The output of the module `cut_point` for (N, C, H, W) images; what comes after it is not computed."""

    def stop(module: nn.Module, args: object, output: torch.Tensor) -> None:
        raise _ReachedError(output)

    handle = model.get_submodule(cut_point).register_forward_hook(stop)
    try:
        model(images)
    except _ReachedError as reached:
        return reached.output
    finally:
        handle.remove()
    raise AssertionError(f"the model did not pass through '{cut_point}'")


def run_after(model: Model, cut: CutPoint, activations: torch.Tensor) -> torch.Tensor:
    """The logits from the cut point's output; what comes before it is not computed. Not thread-safe."""
    n, small = len(activations), cut.small_placeholders

    def placeholder(shape: tuple[int, ...]) -> Callable[..., torch.Tensor]:
        return lambda *args, **kwargs: activations.new_zeros((n, *((1,) * len(shape) if small else shape)))

    replaced: dict[nn.Module, Callable[..., torch.Tensor]] = {
        model.get_submodule(name): placeholder(shape) for name, shape in cut.before.items()
    }
    replaced[model.get_submodule(cut.name)] = lambda *args, **kwargs: activations
    own = {module: module.__dict__["forward"] for module in replaced if "forward" in module.__dict__}
    input = model.backbone.input
    blank = torch.zeros((n, input.channels, *((1, 1) if small else input.size)), device=activations.device)
    try:
        for module, forward in replaced.items():
            module.__dict__["forward"] = forward
        logits: torch.Tensor = model(blank)
        return logits
    finally:
        for module in replaced:
            module.__dict__.pop("forward", None)
            if module in own:
                module.__dict__["forward"] = own[module]


class _ReachedError(Exception):
    """Ends a forward pass at the cut point."""

    def __init__(self, output: torch.Tensor):
        super().__init__()
        self.output = output


def _trace(model: Model, images: torch.Tensor) -> dict[str, _Call]:
    """One forward pass in evaluation mode: how often each module is called, when it ends, and its output."""
    calls = {name: _Call() for name, _ in model.named_modules() if name}
    ended = 0

    def record(call: _Call, module: nn.Module, args: object, output: object) -> None:
        nonlocal ended
        call.calls, call.ended, call.output = call.calls + 1, ended, output
        ended += 1

    handles = [
        model.get_submodule(name).register_forward_hook(functools.partial(record, call)) for name, call in calls.items()
    ]
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _is_frozen_batch(output: object) -> bool:
    return (
        isinstance(output, torch.Tensor)
        and not output.requires_grad
        and output.is_floating_point()
        and output.ndim >= 2
        and len(output) == _BATCH
    )


def _try(model: Model, engine: Engine, images: torch.Tensor, name: str, calls: dict[str, _Call]) -> CutPoint | None:
    """The cut point at `name` if it passes both tests."""
    output = run_before(model.eval(), name, images).clone()
    states = generator_states(engine.device)
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    in_training = run_before(model.train(), name, images)
    drawn = any(not torch.equal(states[key], now) for key, now in generator_states(engine.device).items())
    moved = any(not torch.equal(buffers[key], now) for key, now in model.named_buffers())
    _restore(model, buffers)
    if in_training.requires_grad or drawn or moved or not torch.equal(output, in_training):
        return None
    end = calls[name].ended
    done = [n for n, c in calls.items() if c.calls == 1 and c.ended < end and not n.startswith(f"{name}.")]
    before = {}
    for outer in (n for n in done if not any(n.startswith(f"{other}.") for other in done)):
        given = calls[outer].output
        if not isinstance(given, torch.Tensor) or len(given) != _BATCH:
            return None
        before[outer] = tuple(given.shape[1:])
    channels_last = output.ndim == 4 and not output.is_contiguous()
    channels_last &= output.is_contiguous(memory_format=torch.channels_last)
    shape = tuple(output.shape[1:])
    for small in (True, False):
        point = CutPoint(name, before, shape, channels_last, output.dtype, small, output.cpu())
        if _same_results(model, engine, images, point, output):
            rest = _flops(model, functools.partial(run_after, model, point, output.clone()))
            return replace(point, share=1 - rest / max(1, _flops(model, functools.partial(model, images))))
    return None


def _same_results(model: Model, engine: Engine, images: torch.Tensor, cut: CutPoint, output: torch.Tensor) -> bool:
    """Whether the rest alone gives the logits and the gradients of the whole network."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for mode in (False, True):
        results = []
        for forward in (functools.partial(model, images), functools.partial(run_after, model, cut, output.clone())):
            seed_generators(0, engine.device)
            try:
                with _unchanged(model):
                    model.train(mode)
                    logits = forward()
                    results.append((logits.detach(), torch.autograd.grad(logits.sum(), trainable, allow_unused=True)))
            except (RuntimeError, ValueError, TypeError, AssertionError, IndexError):
                return False  # code between modules looks at the shape of a placeholder
        (logits, gradients), (rest_logits, rest_gradients) = results
        if not torch.equal(logits, rest_logits) or not all(map(_close, gradients, rest_gradients)):
            return False
    return True


def _close(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """Gradients may differ by rounding: on a GPU some are summed in no fixed order."""
    if a is None or b is None:
        return a is b
    return float((a - b).abs().max()) <= 1e-2 * float(a.abs().max())


@contextlib.contextmanager
def _unchanged(model: Model) -> Iterator[None]:
    """Whatever happens inside, buffers and modes are restored."""
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        _restore(model, buffers)
        for module, mode in modes.items():
            module.training = mode


@torch.no_grad()
def _restore(model: Model, buffers: Mapping[str, torch.Tensor]) -> None:
    for key, value in model.named_buffers():
        value.copy_(buffers[key])


@torch.no_grad()
def _flops(model: Model, run: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # it imports Triton

    model.eval()
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
