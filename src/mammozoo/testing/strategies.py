"""What a strategy promises: it is rebuilt from its name, and it trains what it names and nothing else."""

from __future__ import annotations

import math
import pickle
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mammozoo.config.names import parse
from mammozoo.config.sections import Optimizer
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly
from mammozoo.models.factory import build_backbone
from mammozoo.models.model import Model, assemble
from mammozoo.models.randomness import seed_generators, seeded
from mammozoo.models.strategy import Composite, Strategy
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins import registry
from mammozoo.testing.check import NotChecked, Rule, Subject, describe, rule
from mammozoo.testing.common import build, has_name_and_summary, noise, options_have_types
from mammozoo.testing.sandbox import offline
from mammozoo.training.optimizer import make_optimizer

_SIDE = 64  # pixels; the strategy is tested, not the network

T = TypeVar("T")
StrategySubject = Subject[type[Strategy]]


@rule()
def adapts_a_network(subject: StrategySubject) -> None:
    """It is made from its name, and adapts a small network and marks what trains.

    Nothing else of it can be tried, nor trained, before that. Correct what the error names; a network that it cannot work with
    it refuses with mammozoo.errors.IncompatibleError.
    """
    _adapted(subject)


@rule(adapts_a_network)
def adapt_is_deterministic(subject: StrategySubject) -> None:
    """Two like models, adapted from the same seed, are alike: weights, buffers and what trains.

    A model is rebuilt from its config by adapting anew. Use no clock, no hash order and only torch's generator.
    """
    (first, one), (second, two) = _adapted(subject), _adapted(subject)
    difference = _difference(first, second)
    assert not difference, f"`adapt` made two different networks: {difference}."
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), f"`adapt` gave '{name}' other numbers the second time."
    assert _names(first, set(one.trainable(first))) == _names(second, set(two.trainable(second))), (
        "`trainable` chose other parameters the second time."
    )


@rule(adapt_is_deterministic)
def adapt_needs_no_data(subject: StrategySubject) -> None:
    """`adapt` makes no connection, and makes the same network whatever the weights are.

    A saved model is rebuilt with random weights, offline, and its weights loaded afterwards. Let `adapt` depend on the shape of
    the network alone; state goes into parameters and buffers.
    """
    with offline() as attempts:
        first, second = _adapted(subject, seed=0)[0], _adapted(subject, seed=1)[0]
    assert not attempts, f"`adapt` tried to connect to {attempts[0]}."
    difference = _difference(first, second)
    assert not difference, f"With other weights it makes another network: {difference}."


@rule(adapts_a_network)
def trainable_is_in_the_backbone(subject: StrategySubject) -> None:
    """`trainable` gives parameters of the backbone, each once, or None.

    A strategy decides on the parameters of the backbone alone; the head always trains. Take them from `model.backbone`.
    """
    model, _ = _adapted(subject)
    backbone, before = set(model.backbone.parameters()), set[nn.Parameter]()
    for number, parameter in enumerate(_strategy(subject).trainable(model) or ()):
        entry = f"Entry {number} of `trainable`"
        assert isinstance(parameter, nn.Parameter), f"{entry} is a {type(parameter).__name__}, not a parameter."
        if parameter not in backbone:
            name = next(iter(_names(model, {parameter})), "a parameter of no module of the model")
            raise AssertionError(f"{entry} is '{name}', not of the backbone.")
        assert parameter not in before, f"{entry} is there twice."
        before.add(parameter)


@rule(adapts_a_network)
def every_trainable_gets_a_gradient(subject: StrategySubject) -> None:
    """After a backward pass all that trains has a finite gradient.

    A parameter without a gradient never learns, and counts as trainable in every table. Use it in `forward`, or leave it out of
    `trainable`.
    """
    model, _ = _adapted(subject)
    torch.autograd.backward(_loss(model.train()))
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None or not parameter.requires_grad, f"'{name}' trains and got no gradient."
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), (
            f"The gradient of '{name}' is not finite."
        )


@rule(adapts_a_network)
def learning_rates_are_positive(subject: StrategySubject) -> None:
    """Every factor of `lr_scale` is finite and above 0, and belongs to a parameter of the model.

    The optimizer takes the product of the recipe's rate and these factors. Return finite factors above 0; what must not learn is
    left out of `trainable`.
    """
    model, _ = _adapted(subject)
    names = {parameter: name for name, parameter in model.named_parameters()}
    for parameter, factor in _strategy(subject).lr_scale(model).items():
        assert parameter in names, "`lr_scale` holds a parameter that is not of the model."
        assert 0 < factor < math.inf, f"`lr_scale` gives '{names[parameter]}' the factor {factor}."


@rule(learning_rates_are_positive)
def training_goes_through(subject: StrategySubject) -> None:
    """Two steps of training raise nothing and leave every output finite.

    A training that stops with an error, or with NaN, has cost its time for nothing. Look at what `adapt` put into the network,
    at `optimizer` and at the learning rates.
    """
    model, _ = _trained(*_adapted(subject))
    assert torch.isfinite(_output(model)).all(), "After two steps the outputs are not finite."


@rule(training_goes_through)
def frozen_weights_stay(subject: StrategySubject) -> None:
    """Two steps of training leave every frozen weight as it was.

    Every table names what is frozen, and adapter files leave it out. Change nothing that `trainable`
    does not name.
    """
    model, chosen = _adapted(subject)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    changed = _first_change(frozen, dict(_trained(model, chosen)[0].named_parameters()))
    assert not changed, f"Training changed the frozen '{changed}'."


@rule(training_goes_through)
def frozen_statistics_stay(subject: StrategySubject) -> None:
    """Two steps of training leave the buffers of modules without trainable weights as they were.

    Statistics that change under frozen weights are hidden learning. Leave `model.train` as it is; use nn.BatchNorm2d or a
    subclass.
    """
    model, chosen = _adapted(subject)
    frozen = {
        f"{name}.{key}".lstrip("."): buffer.detach().clone()
        for name, module in model.named_modules()
        if not any(p.requires_grad for p in module.parameters(recurse=False))
        for key, buffer in module.named_buffers(recurse=False)
    }
    changed = _first_change(frozen, dict(_trained(model, chosen)[0].named_buffers()))
    assert not changed, f"Training changed the statistic '{changed}', whose layer is frozen."


@rule(training_goes_through, adapt_needs_no_data)
def weights_reload(subject: StrategySubject) -> None:
    """A trained model, written and read into one built anew, gives the same output.

    A model is a safetensors file and a config; nothing else travels. Keep all state in registered parameters and buffers.
    """
    model, _ = _trained(*_adapted(subject))
    with tempfile.TemporaryDirectory() as folder:
        path = write_tensors(Path(folder) / "model.safetensors", model.state_dict())
        again, _ = _adapted(subject, seed=1)
        load_exactly(again, read_tensors(path))
    assert torch.equal(_output(model), _output(again)), "The model that was read gives other outputs."


@rule(adapts_a_network)
def pickles(subject: StrategySubject) -> None:
    """The strategy and the adapted model go through pickle and give the same output.

    Processes that share the work get it as a pickle. Use no lambda or local class; define them at the top of a module.
    """
    model, _ = _adapted(subject)
    through_pickle(_strategy(subject))
    assert torch.equal(_output(model), _output(through_pickle(model))), "The unpickled model gives other outputs."


def _composes_with(name: str) -> Rule[type[Strategy]]:
    """The rule that a strategy can stand before and after the strategy `name`."""

    def composes(subject: StrategySubject) -> None:
        alone = _trainable_names(_adapted(subject)[0])
        for order in ("before", "after"):
            other: Strategy = registry().get("strategies", name)()
            parts = [_strategy(subject), other] if order == "before" else [other, _strategy(subject)]
            try:
                model, chosen = _adapted(subject, parts=parts)
                lost = (alone | _names(model, set(other.trainable(model) or ()))) - _trainable_names(model)
                if _strategy(subject).trainable(model) is None:  # then the other's parameters are all that train
                    lost = set()
                _trained(model, chosen)
            except NotChecked as refusal:
                raise AssertionError(
                    f"Placed {order} '{name}' it refuses a network that it takes alone. {refusal}"
                ) from refusal
            except Exception as error:
                problem = describe(error, subject.value)
                raise AssertionError(f"Placed {order} '{name}' it cannot train: {problem}") from error
            assert not lost, f"Placed {order} '{name}', '{min(lost)}' no longer trains."
            assert torch.isfinite(_output(model)).all(), (
                f"Placed {order} '{name}', two steps of training give outputs that are not finite."
            )

    return Rule(
        f"composes-with-{name}",
        f"It adds up with `{name}`, before and after it: the union trains, and the outputs stay finite.",
        "Strategies add up with '+': what trains is the union. Answer for your own parameters alone, and expect others to be "
        "frozen or trained beside them.",
        composes,
        [training_goes_through],
    )


RULES: list[Rule[type[Strategy]]] = [
    has_name_and_summary, options_have_types, adapts_a_network, adapt_is_deterministic, adapt_needs_no_data,
    trainable_is_in_the_backbone, every_trainable_gets_a_gradient, learning_rates_are_positive, training_goes_through,
    frozen_weights_stay, frozen_statistics_stay, weights_reload, pickles, *map(_composes_with, ("frozen", "last-blocks", "full")),
]  # fmt: skip


def through_pickle(value: T) -> T:
    """A copy by way of a pickle that this process writes."""
    copy: T = pickle.loads(pickle.dumps(value))
    return copy


def _strategy(subject: StrategySubject) -> Strategy:
    return build(subject, subject.value)


def _adapted(
    subject: StrategySubject, *, seed: int = 0, parts: list[Strategy] | None = None
) -> tuple[Model, Composite]:
    """A small model under the strategy (or `parts`), marked for training; skips if it refuses this network.

    `seed` is that of the backbone's weights; `adapt` always draws from the same one.
    """
    chosen = Composite(parts or [_strategy(subject)])
    with seeded(seed):
        backbone = build_backbone(subject.settings.backbone)
        backbone.input = backbone.input.model_copy(update={"size": (_SIDE, _SIDE)})
        model = assemble(backbone, registry().get("heads", "gap"), parse("gap"), ("benign", "malignant"))
        seed_generators(2)
        try:
            chosen.adapt(model)
            chosen.freeze(model)
        except (UsageError, IncompatibleError) as error:
            raise NotChecked(
                f"It refuses '{subject.settings.backbone}': {error} Name another with --backbone (in pytest: "
                "backbone=...), or options with --with (specs=[...])."
            ) from error
    return model, chosen


def _trained(model: Model, chosen: Composite) -> tuple[Model, Composite]:
    """Two steps with the strategy's own optimizer, or SGD with weight decay, which moves whatever was not frozen."""
    optimizer = make_optimizer(chosen, model, Optimizer(name="sgd", lr=0.05, weight_decay=0.1))
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(model))
        optimizer.step()
    return model, chosen


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
