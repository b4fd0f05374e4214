"""What a head promises: a logit for each output, from maps of any size, and a gradient for all of its parameters."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from mammozoo.models.backbone import load_exactly
from mammozoo.models.head import HeadSpec
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.testing.check import NotChecked, Rule, Subject, describe, rule
from mammozoo.testing.common import build, check_gradients, has_name_and_summary, noise, options_have_types
from mammozoo.testing.sandbox import offline
from mammozoo.testing.strategies import through_pickle

HeadSubject = Subject[HeadSpec]
Size = tuple[int, int, int, int]

_USUAL: Size = (8, 4, 4, 1)
#: (channels, height, width, outputs): two classes and more; maps that are square, oblong and a single position.
_SIZES: tuple[Size, ...] = (_USUAL, (12, 3, 5, 3), (6, 1, 1, 1), (16, 7, 7, 5))


@rule()
def builds_for_every_size(subject: HeadSubject) -> None:
    """`build(channels, height, width, outputs)` gives a module for maps that are square, oblong and a single position.

    Every backbone has maps of another size, and `--set head=NAME` must go with each. Size the layers by `channels`, `height`,
    `width` and `outputs`; what cannot be is refused with mammozoo.errors.IncompatibleError.
    """
    for size in _SIZES:
        try:
            head = _built(subject, size)
        except (NotChecked, KeyboardInterrupt):
            raise
        except Exception as error:
            raise AssertionError(f"`build{size}`: {describe(error, subject.value)}") from error
        assert isinstance(head, nn.Module), f"`build{size}` gives a {type(head).__name__}, not a torch.nn.Module."


@rule(builds_for_every_size)
def builds_offline(subject: HeadSubject) -> None:
    """`build` makes no connection.

    A saved model is rebuilt where there is no network. Build with random weights.
    """
    with offline() as attempts:
        _built(subject)
    assert not attempts, f"`build` tried to connect to {attempts[0]}."


@rule(builds_for_every_size)
def build_is_deterministic(subject: HeadSubject) -> None:
    """Two heads built from the same seed of torch have the same weights.

    Two trainings from one seed must end alike. Draw starting weights from torch's generator alone: no numpy, no clock.
    """
    first, second = _built(subject).state_dict(), _built(subject).state_dict()
    for name in first:
        assert name in second and torch.equal(first[name], second[name]), f"'{name}' has other numbers the second time."


@rule(builds_for_every_size)
def gives_a_logit_for_each_output(subject: HeadSubject) -> None:
    """(N, channels, height, width) maps become (N, outputs) floats, for one image as for three.

    Losses and probabilities take one row for each image and one column for each output, also for a single image. End with a
    layer of `outputs` columns and no activation; use flatten(1), not squeeze().
    """
    for size in _SIZES:
        head, outputs = _built(subject, size).eval(), size[3]
        for images in (1, 3):
            maps = (images, *size[:3])
            try:
                logits = _logits(head, noise(*maps))
            except Exception as error:
                raise AssertionError(f"Maps {maps}: {describe(error, subject.value)}") from error
            assert tuple(logits.shape) == (images, outputs) and logits.is_floating_point(), (
                f"Maps {maps} become {tuple(logits.shape)} {logits.dtype}; promised are ({images}, {outputs}) floats."
            )


@rule(gives_a_logit_for_each_output)
def logits_are_finite(subject: HeadSubject) -> None:
    """Maps of noise, of large values and of zeros, as behind a ReLU that is off, give finite logits.

    One logit that is not finite makes the loss NaN and ends the training. Add a small number where you divide or take a logarithm.
    """
    head = _built(subject).eval()
    for factor in (1, 1000, 0):
        assert torch.isfinite(_logits(head, factor * _maps())).all(), (
            f"Maps of noise times {factor:,} give logits that are not finite."
        )


@rule(gives_a_logit_for_each_output)
def every_parameter_gets_a_gradient(subject: HeadSubject) -> None:
    """It has parameters, and after a backward pass from the logits none is without a gradient.

    The head always trains: a parameter without a gradient is counted, stored, and never used. Drop layers that `forward` does
    not call.
    """
    head = _built(subject).eval()  # in eval mode no dropout leaves out a weight
    assert any(True for _ in head.parameters()), "It has no parameters: with `frozen` nothing would train."
    torch.autograd.backward(_logits(head, _maps()).square().sum())
    check_gradients(head)


@rule(gives_a_logit_for_each_output)
def gradient_reaches_the_maps(subject: HeadSubject) -> None:
    """A backward pass from the logits gives the maps a gradient that is finite and not zero everywhere.

    What the backbone learns, it learns through the head. Use no detach, no torch.no_grad and no numpy in `forward`.
    """
    maps = _maps().requires_grad_()
    logits = _logits(_built(subject).eval(), maps)
    if logits.requires_grad:
        torch.autograd.backward(logits.square().sum())
    assert maps.grad is not None, "The maps get no gradient."
    assert torch.isfinite(maps.grad).all() and maps.grad.any(), "The gradient is zero or not finite."


@rule(gives_a_logit_for_each_output)
def eval_is_deterministic(subject: HeadSubject) -> None:
    """In eval mode the same maps give the same logits, twice in a row and alone or in a batch.

    A prediction must be the same today and tomorrow, and for an image alone as among others. Put dropout and norms in modules,
    which know of eval mode, not in functions.
    """
    head, maps = _built(subject).eval(), _maps()
    first = _logits(head, maps)
    assert torch.equal(first, _logits(head, maps)), "The same maps give other logits the second time."
    alone = torch.cat([_logits(head, one[None]) for one in maps])
    assert torch.allclose(first, alone, rtol=1e-4, atol=1e-5), "An image alone has other logits than in a batch."


@rule(gives_a_logit_for_each_output, eval_is_deterministic, build_is_deterministic)
def weights_reload(subject: HeadSubject) -> None:
    """Its weights, written and read into one built anew, give the same logits.

    A model is a safetensors file and a config; nothing else travels. Keep all state in registered parameters and buffers.
    """
    first, second = _built(subject).eval(), _built(subject, seed=1).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = write_tensors(Path(folder) / "head.safetensors", first.state_dict())
        load_exactly(second, read_tensors(path))
    assert torch.equal(_logits(first, _maps()), _logits(second, _maps())), "The head that was read gives other logits."


@rule(gives_a_logit_for_each_output, eval_is_deterministic)
def pickles(subject: HeadSubject) -> None:
    """It goes through pickle and gives the same logits.

    Processes that share the work get it as a pickle. Use no lambda or local class; define them at the top of a module.
    """
    head = _built(subject).eval()
    again = through_pickle(head)
    assert torch.equal(_logits(head, _maps()), _logits(again, _maps())), "The unpickled head gives other logits."


@rule(gives_a_logit_for_each_output)
def leaves_its_input_alone(subject: HeadSubject) -> None:
    """The maps that were given are as before, in training as in eval mode.

    The maps of a frozen network are kept and used again in the next epoch, and explanations look at them. Use no in-place
    operation on what comes in, such as `relu_` or `+=`.
    """
    for training in (True, False):
        maps = _maps()
        with torch.no_grad():
            _built(subject).train(training)(maps)
        assert torch.equal(maps, _maps()), "It changes the maps that it is given."


RULES: list[Rule[HeadSpec]] = [
    has_name_and_summary, options_have_types, builds_for_every_size, builds_offline, build_is_deterministic,
    gives_a_logit_for_each_output, logits_are_finite, every_parameter_gets_a_gradient, gradient_reaches_the_maps,
    eval_is_deterministic, weights_reload, pickles, leaves_its_input_alone,
]  # fmt: skip


def _built(subject: HeadSubject, size: Size = _USUAL, seed: int = 0) -> nn.Module:
    return build(subject, subject.value.build, *size, seed=seed)


def _maps() -> torch.Tensor:
    """(3, 8, 4, 4) noise, the same at every call."""
    return noise(3, *_USUAL[:3])


def _logits(head: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = head(maps * 1)  # a copy: whether the head changes its input is another rule
    return logits
