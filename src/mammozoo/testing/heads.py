"""What a head promises: a logit for each output, from maps of any size, and a gradient for all of its parameters."""

from __future__ import annotations

import torch
from torch import nn

from mammozoo.models.head import HeadSpec
from mammozoo.testing.check import NotChecked, describe, needs, rule
from mammozoo.testing.common import (
    GRADIENT,
    PICKLE,
    RELOAD,
    WithOptions,
    check_gradients,
    no_connection,
    noise,
    through_file,
)
from mammozoo.testing.strategies import through_pickle

Size = tuple[int, int, int, int]

_USUAL: Size = (8, 4, 4, 1)
#: (channels, height, width, outputs): two classes and more; maps that are square, oblong and a single position.
_SIZES: tuple[Size, ...] = (_USUAL, (12, 3, 5, 3), (6, 1, 1, 1), (16, 7, 7, 5))


class HeadRules(WithOptions[HeadSpec]):
    """Tried on maps of noise, (3, 8, 4, 4) where the size does not matter."""

    @rule("It must fit every backbone. Size the layers by the arguments, or raise mammozoo.errors.IncompatibleError.")
    def builds_for_every_size(self) -> None:
        """`build(channels, height, width, outputs)` gives a module for maps that are square, oblong and a single position."""
        for size in _SIZES:
            try:
                head = self._built(size)
            except (NotChecked, KeyboardInterrupt):
                raise
            except Exception as error:
                raise AssertionError(f"`build{size}`: {describe(error, self.value)}") from error
            assert isinstance(head, nn.Module), f"`build{size}` gives a {type(head).__name__}, not a torch.nn.Module."

    @needs(builds_for_every_size)
    @rule("A saved model is rebuilt where there is no network. Build with random weights.")
    def builds_offline(self) -> None:
        """`build` makes no connection."""
        with no_connection("`build`"):
            self._built()

    @needs(builds_for_every_size)
    @rule("Two trainings from one seed must end alike. Draw from torch's generator alone: no numpy, no clock.")
    def build_is_deterministic(self) -> None:
        """Two heads built from the same seed of torch have the same weights."""
        first, second = self._built().state_dict(), self._built().state_dict()
        for name in first:
            same = name in second and torch.equal(first[name], second[name])
            assert same, f"'{name}' has other numbers the second time."

    @needs(builds_for_every_size)
    @rule("Losses need it. End with a layer of `outputs` columns and no activation; use flatten(1), not squeeze().")
    def gives_a_logit_for_each_output(self) -> None:
        """(N, channels, height, width) maps become (N, outputs) floats, for one image as for three."""
        for size in _SIZES:
            head, outputs = self._built(size).eval(), size[3]
            for images in (1, 3):
                maps = (images, *size[:3])
                try:
                    logits = _logits(head, noise(*maps))
                except Exception as error:
                    raise AssertionError(f"Maps {maps}: {describe(error, self.value)}") from error
                form, promised = tuple(logits.shape), (images, outputs)
                kept = form == promised and logits.is_floating_point()
                assert kept, f"Maps {maps} become {form} {logits.dtype}; promised are {promised} floats."

    @needs(gives_a_logit_for_each_output)
    @rule("A loss of NaN ends the training. Add a small number where you divide or take a logarithm.")
    def logits_are_finite(self) -> None:
        """Maps of noise, of large values and of zeros, as behind a ReLU that is off, give finite logits."""
        head = self._built().eval()
        for factor in (1, 1000, 0):
            finite = torch.isfinite(_logits(head, factor * _maps())).all()
            assert finite, f"Maps of noise times {factor:,} give logits that are not finite."

    @needs(gives_a_logit_for_each_output)
    @rule(GRADIENT)
    def every_parameter_gets_a_gradient(self) -> None:
        """It has parameters, and after a backward pass from the logits none is without a gradient."""
        head = self._built().eval()  # in eval mode no dropout leaves out a weight
        assert any(True for _ in head.parameters()), "It has no parameters: with `frozen` nothing would train."
        torch.autograd.backward(_logits(head, _maps()).square().sum())
        check_gradients(head)

    @needs(gives_a_logit_for_each_output)
    @rule("The backbone learns through the head. Use no detach, no torch.no_grad and no numpy in `forward`.")
    def gradient_reaches_the_maps(self) -> None:
        """A backward pass from the logits gives the maps a gradient that is finite and not zero everywhere."""
        maps = _maps().requires_grad_()
        logits = _logits(self._built().eval(), maps)
        if logits.requires_grad:
            torch.autograd.backward(logits.square().sum())
        assert maps.grad is not None, "The maps get no gradient."
        assert torch.isfinite(maps.grad).all() and maps.grad.any(), "The gradient is zero or not finite."

    @needs(gives_a_logit_for_each_output)
    @rule("A prediction must not change by the day or its neighbours. Put dropout and norms in modules.")
    def eval_is_deterministic(self) -> None:
        """In eval mode the same maps give the same logits, twice in a row and alone or in a batch."""
        head, maps = self._built().eval(), _maps()
        first = _logits(head, maps)
        assert torch.equal(first, _logits(head, maps)), "The same maps give other logits the second time."
        alone = torch.cat([_logits(head, one[None]) for one in maps])
        assert torch.allclose(first, alone, rtol=1e-4, atol=1e-5), "An image alone has other logits than in a batch."

    @needs(gives_a_logit_for_each_output, eval_is_deterministic, build_is_deterministic)
    @rule(RELOAD)
    def weights_reload(self) -> None:
        """Its weights, written and read into one built anew, give the same logits."""
        head = self._built().eval()
        again = through_file(head, self._built(seed=1).eval())
        assert torch.equal(_logits(head, _maps()), _logits(again, _maps())), (
            "The head that was read gives other logits."
        )

    @needs(gives_a_logit_for_each_output, eval_is_deterministic)
    @rule(PICKLE)
    def pickles(self) -> None:
        """It goes through pickle and gives the same logits."""
        head = self._built().eval()
        again = through_pickle(head)
        assert torch.equal(_logits(head, _maps()), _logits(again, _maps())), "The unpickled head gives other logits."

    @needs(gives_a_logit_for_each_output)
    @rule("Maps of a frozen network are used again. Use no in-place operation on what comes in, such as `relu_`.")
    def leaves_its_input_alone(self) -> None:
        """The maps that were given are as before, in training as in eval mode."""
        for training in (True, False):
            maps = _maps()
            with torch.no_grad():
                self._built().train(training)(maps)
            assert torch.equal(maps, _maps()), "It changes the maps that it is given."

    def _built(self, size: Size = _USUAL, seed: int = 0) -> nn.Module:
        return self._make(self.value.build, *size, seed=seed)


def _maps() -> torch.Tensor:
    return noise(3, *_USUAL[:3])


def _logits(head: nn.Module, maps: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = head(maps * 1)  # a copy: whether the head changes its input is another rule
    return logits
