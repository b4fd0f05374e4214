"""What a head must keep: a logit for each output, from maps of any size, and a gradient for all that it holds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from mammozoo.config.names import call
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly
from mammozoo.models.head import HeadSpec
from mammozoo.models.randomness import seeded
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.testing.check import NotChecked, Rule, Subject, rule, said
from mammozoo.testing.common import has_name_and_summary, needs_options, options_have_types
from mammozoo.testing.offline import offline
from mammozoo.testing.strategies import through_pickle

HeadSubject = Subject[HeadSpec]
Size = tuple[int, int, int, int]

_USUAL: Size = (8, 4, 4, 1)
#: (channels, height, width, outputs): two classes and more, maps that are square, oblong and a single position.
_SIZES: tuple[Size, ...] = (_USUAL, (12, 3, 5, 3), (6, 1, 1, 1), (16, 7, 7, 5))


@rule(
    "Every backbone has maps of another size, and `--set head=NAME` must go with each.",
    "Size the layers by `channels`, `height`, `width` and `outputs`; what cannot be is refused with "
    "mammozoo.errors.IncompatibleError.",
)
def builds_for_every_size(subject: HeadSubject) -> str | None:
    """`build(channels, height, width, outputs)` gives a module for maps that are square, oblong and a single position."""
    for size in _SIZES:
        try:
            head = built(subject, size)
        except (NotChecked, KeyboardInterrupt):
            raise
        except Exception as error:
            return f"`build{size}`: {said(error)}"
        if not isinstance(head, nn.Module):
            return f"`build{size}` gives a {type(head).__name__}, no torch.nn.Module."
    return None


@rule(
    "A saved model is rebuilt where there is no network.",
    "Build with random weights.",
    needs=[builds_for_every_size],
)
def builds_offline(subject: HeadSubject) -> str | None:
    """`build` makes no connection."""
    with offline() as tried:
        built(subject)
    return f"`build` tried to connect to {tried[0]}." if tried else None


@rule(
    "Two trainings from one seed must end alike.",
    "Draw starting weights from torch's generator alone: no numpy, no clock.",
    needs=[builds_for_every_size],
)
def build_is_deterministic(subject: HeadSubject) -> str | None:
    """Two heads built from the same seed of torch have the same weights."""
    first, second = built(subject).state_dict(), built(subject).state_dict()
    different = [name for name in first if name not in second or not torch.equal(first[name], second[name])]
    return f"'{different[0]}' has other numbers the second time." if different else None


@rule(
    "Losses and probabilities take one row for each image and one column for each output, also for a single image.",
    "End with a layer of `outputs` columns and no activation; use flatten(1), not squeeze().",
    needs=[builds_for_every_size],
)
def gives_a_logit_for_each_output(subject: HeadSubject) -> str | None:
    """(N, channels, height, width) maps become (N, outputs) floats, for one image as for three."""
    for size in _SIZES:
        head, outputs = built(subject, size).eval(), size[3]
        for images in (1, 3):
            maps = (images, *size[:3])
            try:
                logits = _logits(head, _maps(size, images))
            except Exception as error:
                return f"Maps {maps}: {said(error)}"
            if tuple(logits.shape) != (images, outputs) or not logits.is_floating_point():
                return f"Maps {maps} become {tuple(logits.shape)} {logits.dtype}; promised are ({images}, {outputs}) floats."
    return None


@rule(
    "One logit that is not finite makes the loss NaN and ends the training.",
    "Add a small number where you divide or take a logarithm.",
    needs=[gives_a_logit_for_each_output],
)
def logits_are_finite(subject: HeadSubject) -> str | None:
    """Maps of noise, of large values and of zeros, as behind a ReLU that is off, give finite logits."""
    head = built(subject).eval()
    noise = _maps(_USUAL, 3)
    for what, maps in {"noise": noise, "noise times 1,000": 1000 * noise, "zeros": torch.zeros_like(noise)}.items():
        if not bool(torch.isfinite(_logits(head, maps)).all()):
            return f"Maps of {what} give logits that are not finite."
    return None


@rule(
    "The head always trains: a parameter without a gradient is counted, stored, and never used.",
    "Drop layers that `forward` does not call.",
    needs=[gives_a_logit_for_each_output],
)
def every_parameter_gets_a_gradient(subject: HeadSubject) -> str | None:
    """It has parameters, and after a backward pass from the logits none is without a gradient."""
    head = built(subject).eval()  # no dropout: each weight takes part
    named = dict(head.named_parameters())
    if not named:
        return "It has no parameters: with `frozen` nothing would train."
    torch.autograd.backward(_logits(head, _maps(_USUAL, 3)).square().sum())
    without = [name for name, parameter in named.items() if parameter.grad is None]
    return f"{len(without)} parameters get no gradient, '{without[0]}' the first." if without else None


@rule(
    "What the backbone learns, it learns through the head.",
    "Use no detach, no torch.no_grad and no numpy in `forward`.",
    needs=[gives_a_logit_for_each_output],
)
def gradient_reaches_the_maps(subject: HeadSubject) -> str | None:
    """A backward pass from the logits gives the maps a gradient that is finite and not zero everywhere."""
    maps = _maps(_USUAL, 3).requires_grad_()
    logits = _logits(built(subject).eval(), maps)
    if logits.requires_grad:
        torch.autograd.backward(logits.square().sum())
    if maps.grad is None:
        return "The maps get no gradient."
    return (
        None
        if bool(torch.isfinite(maps.grad).all()) and bool(maps.grad.any())
        else "The gradient is zero or not finite."
    )


@rule(
    "A prediction must be the same today and tomorrow, and for an image alone as among others.",
    "Put dropout and norms in modules, which know of eval mode, not in functions.",
    needs=[gives_a_logit_for_each_output],
)
def eval_is_deterministic(subject: HeadSubject) -> str | None:
    """In eval mode the same maps give the same logits, twice in a row and alone or in a batch."""
    head, maps = built(subject).eval(), _maps(_USUAL, 3)
    first, second = _logits(head, maps), _logits(head, maps)
    if not torch.equal(first, second):
        return "The same maps give other logits the second time."
    alone = torch.cat([_logits(head, one[None]) for one in maps])
    return (
        None
        if torch.allclose(first, alone, rtol=1e-4, atol=1e-5)
        else "An image alone has other logits than in a batch."
    )


@rule(
    "A model is a safetensors file and a config; nothing else travels.",
    "Keep all state in registered parameters and buffers.",
    needs=[gives_a_logit_for_each_output, eval_is_deterministic, build_is_deterministic],
)
def weights_reload(subject: HeadSubject) -> str | None:
    """Its weights, written and read into one built anew, give the same logits."""
    first, second, maps = built(subject).eval(), built(subject, seed=1).eval(), _maps(_USUAL, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = write_tensors(Path(folder) / "head.safetensors", first.state_dict())
        load_exactly(second, read_tensors(path))
    return (
        None
        if torch.equal(_logits(first, maps), _logits(second, maps))
        else "The head that was read gives other logits."
    )


@rule(
    "Processes that share the work get it as a pickle.",
    "Use no lambda or local class; define them at the top of a module.",
    needs=[gives_a_logit_for_each_output, eval_is_deterministic],
)
def pickles(subject: HeadSubject) -> str | None:
    """It goes through pickle and gives the same logits."""
    head, maps = built(subject).eval(), _maps(_USUAL, 3)
    again = through_pickle(head)
    return None if torch.equal(_logits(head, maps), _logits(again, maps)) else "The unpickled head gives other logits."


@rule(
    "The maps of a frozen network are kept and used again in the next epoch, and explanations look at them.",
    "Use no in-place operation on what comes in, such as `relu_` or `+=`.",
    needs=[gives_a_logit_for_each_output],
)
def leaves_its_input_alone(subject: HeadSubject) -> str | None:
    """The maps that were given are as before, in training as in eval mode."""
    given = _maps(_USUAL, 3)
    for training in (True, False):
        maps = given.clone()
        with torch.no_grad():
            built(subject).train(training)(maps)
        if not torch.equal(maps, given):
            return "It changes the maps that it is given."
    return None


RULES: list[Rule[HeadSpec]] = [
    has_name_and_summary, options_have_types, builds_for_every_size, builds_offline, build_is_deterministic,
    gives_a_logit_for_each_output, logits_are_finite, every_parameter_gets_a_gradient, gradient_reaches_the_maps,
    eval_is_deterministic, weights_reload, pickles, leaves_its_input_alone,
]  # fmt: skip


def built(subject: HeadSubject, size: Size = _USUAL, seed: int = 0) -> nn.Module:
    """The head with its options for maps of one size; skips where it refuses them."""
    with seeded(seed):
        try:
            head: nn.Module = call(subject.value.build, subject.spec, *size)
        except UsageError as error:
            raise needs_options(subject, error) from error
        except IncompatibleError as error:
            raise NotChecked(f"It refuses maps of {size[:3]}: {error}") from error
    return head


def _maps(size: Size, images: int) -> torch.Tensor:
    return torch.randn((images, *size[:3]), generator=torch.Generator().manual_seed(0))


def _logits(head: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = head(maps * 1)  # a copy: what is done to it is another rule's business
    return logits
