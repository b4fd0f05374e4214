"""What a strategy promises: it is rebuilt from its name, and it trains what it names and nothing else."""

from __future__ import annotations

import math
import pickle
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mammozoo.config.names import parse
from mammozoo.config.sections import Optimizer
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.factory import build_backbone
from mammozoo.models.model import Model, assemble
from mammozoo.models.randomness import seed_generators, seeded
from mammozoo.models.strategy import Composite, Strategy
from mammozoo.plugins import registry
from mammozoo.testing.check import NotChecked, Rule, describe, needs, rule
from mammozoo.testing.common import PICKLE, RELOAD, WithOptions, no_connection, noise, through_file
from mammozoo.training.optimizer import make_optimizer

_SIDE = 64  # pixels; the strategy is tested, not the network

T = TypeVar("T")


def _composes_with(name: str) -> Rule:
    """The rule that a strategy can stand before and after the strategy `name`."""

    def composes(self: StrategyRules) -> None:
        alone = _trainable_names(self._adapted()[0])
        for order in ("before", "after"):
            other: Strategy = registry().get("strategies", name)()
            parts = [self._strategy(), other] if order == "before" else [other, self._strategy()]
            where = f"Placed {order} '{name}'"
            try:
                model, chosen = self._adapted(parts=parts)
                lost = (alone | _names(model, set(other.trainable(model) or ()))) - _trainable_names(model)
                if self._strategy().trainable(model) is None:  # then the other's parameters are all that train
                    lost = set()
                _trained(model, chosen)
            except NotChecked as refusal:
                raise AssertionError(f"{where} it refuses a network that it takes alone. {refusal}") from refusal
            except Exception as error:
                raise AssertionError(f"{where} it cannot train: {describe(error, self.value)}") from error
            assert not lost, f"{where}, '{min(lost)}' no longer trains."
            finite = torch.isfinite(_output(model)).all()
            assert finite, f"{where}, two steps of training give outputs that are not finite."

    composes.__name__ = f"composes_with_{name}"
    composes.__doc__ = f"It adds up with `{name}`, before and after it: the union trains, and the outputs stay finite."
    return Rule("Strategies add up. Answer for your own parameters alone; others may be frozen or trained.", composes)


class StrategyRules(WithOptions[type[Strategy]]):
    """Tried on a small network of two classes with random weights, in two steps of training."""

    @rule("All else needs it. Correct what is named, or refuse a network by mammozoo.errors.IncompatibleError.")
    def adapts_a_network(self) -> None:
        """It is made from its name, and adapts a small network and marks what trains."""
        self._adapted()

    @needs(adapts_a_network)
    @rule("A model is rebuilt by adapting anew. Use no clock, no hash order and only torch's generator.")
    def adapt_is_deterministic(self) -> None:
        """Two like models, adapted from the same seed, are alike: weights, buffers and what trains."""
        (first, one), (second, two) = self._adapted(), self._adapted()
        difference = _difference(first, second)
        assert not difference, f"`adapt` made two different networks: {difference}."
        changed = _first_change(first.state_dict(), second.state_dict())
        assert not changed, f"`adapt` gave '{changed}' other numbers the second time."
        same = _names(first, set(one.trainable(first))) == _names(second, set(two.trainable(second)))
        assert same, "`trainable` chose other parameters the second time."

    @needs(adapt_is_deterministic)
    @rule("A saved model is rebuilt offline, with random weights. Look at shapes alone; keep state in buffers.")
    def adapt_needs_no_data(self) -> None:
        """`adapt` makes no connection, and makes the same network whatever the weights are."""
        with no_connection("`adapt`"):
            first, second = self._adapted(seed=0)[0], self._adapted(seed=1)[0]
        difference = _difference(first, second)
        assert not difference, f"With other weights it makes another network: {difference}."

    @needs(adapts_a_network)
    @rule("It decides on the backbone alone; the head always trains. Take them from `model.backbone`.")
    def trainable_is_in_the_backbone(self) -> None:
        """`trainable` gives parameters of the backbone, each once, or None."""
        model, _ = self._adapted()
        backbone, before = set(model.backbone.parameters()), set[nn.Parameter]()
        for number, parameter in enumerate(self._strategy().trainable(model) or ()):
            entry = f"Entry {number} of `trainable`"
            assert isinstance(parameter, nn.Parameter), f"{entry} is a {type(parameter).__name__}, not a parameter."
            name = next(iter(_names(model, {parameter})), "a parameter of no module of the model")
            assert parameter in backbone, f"{entry} is '{name}', not of the backbone."
            assert parameter not in before, f"{entry} is there twice."
            before.add(parameter)

    @needs(adapts_a_network)
    @rule("A parameter without a gradient never learns. Use it in `forward`, or leave it out of `trainable`.")
    def every_trainable_gets_a_gradient(self) -> None:
        """After a backward pass all that trains has a finite gradient."""
        model, _ = self._adapted()
        torch.autograd.backward(_loss(model.train()))
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            assert gradient is not None or not parameter.requires_grad, f"'{name}' trains and got no gradient."
            assert gradient is None or torch.isfinite(gradient).all(), f"The gradient of '{name}' is not finite."

    @needs(adapts_a_network)
    @rule("Factors multiply the recipe's rate. Make them positive; leave what must not learn out of `trainable`.")
    def learning_rates_are_positive(self) -> None:
        """Every factor of `lr_scale` is finite and above 0, and belongs to a parameter of the model."""
        model, _ = self._adapted()
        names = {parameter: name for name, parameter in model.named_parameters()}
        for parameter, factor in self._strategy().lr_scale(model).items():
            assert parameter in names, "`lr_scale` holds a parameter that is not of the model."
            assert 0 < factor < math.inf, f"`lr_scale` gives '{names[parameter]}' the factor {factor}."

    @needs(learning_rates_are_positive)
    @rule("A training that stops has cost time for nothing. Look at `adapt`, `optimizer` and the learning rates.")
    def training_goes_through(self) -> None:
        """Two steps of training raise nothing and leave every output finite."""
        model = _trained(*self._adapted())
        assert torch.isfinite(_output(model)).all(), "After two steps the outputs are not finite."

    @needs(training_goes_through)
    @rule("Tables name what is frozen, adapters leave it out. Change nothing that `trainable` does not name.")
    def frozen_weights_stay(self) -> None:
        """Two steps of training leave every frozen weight as it was."""
        model, chosen = self._adapted()
        frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
        changed = _first_change(frozen, dict(_trained(model, chosen).named_parameters()))
        assert not changed, f"Training changed the frozen '{changed}'."

    @needs(training_goes_through)
    @rule("Statistics that change are hidden learning. Leave `model.train` alone; use nn.BatchNorm2d or a subclass.")
    def frozen_statistics_stay(self) -> None:
        """Two steps of training leave the buffers of modules without trainable weights as they were."""
        model, chosen = self._adapted()
        frozen = {
            f"{name}.{key}".lstrip("."): buffer.detach().clone()
            for name, module in model.named_modules()
            if not any(p.requires_grad for p in module.parameters(recurse=False))
            for key, buffer in module.named_buffers(recurse=False)
        }
        changed = _first_change(frozen, dict(_trained(model, chosen).named_buffers()))
        assert not changed, f"Training changed the statistic '{changed}', whose layer is frozen."

    @needs(training_goes_through, adapt_needs_no_data)
    @rule(RELOAD)
    def weights_reload(self) -> None:
        """A trained model, written and read into one built anew, gives the same output."""
        model = _trained(*self._adapted())
        again = through_file(model, self._adapted(seed=1)[0])
        assert torch.equal(_output(model), _output(again)), "The model that was read gives other outputs."

    @needs(adapts_a_network)
    @rule(PICKLE)
    def pickles(self) -> None:
        """The strategy and the adapted model go through pickle and give the same output."""
        model, _ = self._adapted()
        through_pickle(self._strategy())
        assert torch.equal(_output(model), _output(through_pickle(model))), "The unpickled model gives other outputs."

    composes_with_frozen, composes_with_last_blocks, composes_with_full = map(
        needs(training_goes_through), map(_composes_with, ("frozen", "last-blocks", "full"))
    )

    def _strategy(self) -> Strategy:
        return self._make(self.value)

    def _adapted(self, *, seed: int = 0, parts: list[Strategy] | None = None) -> tuple[Model, Composite]:
        """A small model under the strategy (or `parts`), marked for training; skips if it refuses this network.

        `seed` is that of the backbone's weights; `adapt` always draws from the same one.
        """
        chosen = Composite(parts or [self._strategy()])
        with seeded(seed):
            backbone = build_backbone(self.settings.backbone)
            backbone.input = backbone.input.model_copy(update={"size": (_SIDE, _SIDE)})
            model = assemble(backbone, registry().get("heads", "gap"), parse("gap"), ("benign", "malignant"))
            seed_generators(2)
            try:
                chosen.adapt(model)
                chosen.freeze(model)
            except (UsageError, IncompatibleError) as error:
                remedy = "Name another with --backbone (in pytest: backbone=...), or options with --with (specs=[...])."
                raise NotChecked(f"It refuses '{self.settings.backbone}': {error} {remedy}") from error
        return model, chosen


def through_pickle(value: T) -> T:
    """A copy by way of a pickle that this process writes."""
    copy: T = pickle.loads(pickle.dumps(value))
    return copy


def _trained(model: Model, chosen: Composite) -> Model:
    """Two steps with the strategy's own optimizer, or SGD with weight decay, which moves whatever was not frozen."""
    optimizer = make_optimizer(chosen, model, Optimizer(name="sgd", lr=0.05, weight_decay=0.1))
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(model))
        optimizer.step()
    return model


def _images(model: Model) -> torch.Tensor:
    return noise(4, model.backbone.input.channels, _SIDE, _SIDE, seed=3)


def _loss(model: Model) -> torch.Tensor:
    with seeded(4):
        return binary_cross_entropy_with_logits(model(_images(model)), torch.tensor([[0.0], [1.0], [1.0], [0.0]]))


@torch.no_grad()
def _output(model: Model) -> torch.Tensor:
    """Logits (4, 1) in eval mode."""
    return model.eval()(_images(model))


def _difference(first: Model, second: Model) -> str:
    """The first tensor in which two networks differ in shape, in words; empty if they have the same shapes."""
    one, two = ({name: tuple(t.shape) for name, t in model.state_dict().items()} for model in (first, second))
    names = [name for name in {**one, **two} if one.get(name) != two.get(name)]
    return f"'{names[0]}' is {one.get(names[0])} in one and {two.get(names[0])} in the other" if names else ""


def _first_change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> str | None:
    return next((name for name in before if name not in after or not torch.equal(before[name], after[name])), None)


def _names(model: Model, parameters: set[nn.Parameter]) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter in parameters}


def _trainable_names(model: Model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}
