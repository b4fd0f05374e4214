"""What a strategy must keep: it is rebuilt from its name, and it trains what it says and nothing else."""

from __future__ import annotations

import dataclasses
import math
import pickle
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from mammozoo.models.backbone import load_exactly
from mammozoo.models.model import Model
from mammozoo.models.strategy import Strategy
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins import registry
from mammozoo.testing.adapting import StrategySubject, adapted, loss, made, output, train
from mammozoo.testing.check import NotChecked, Rule, rule, said
from mammozoo.testing.common import has_name_and_summary, options_have_types
from mammozoo.testing.offline import offline

T = TypeVar("T")
StrategyRule = Rule[type[Strategy]]


@rule(
    "Nothing else of it can be tried, nor trained, before that.",
    "Correct what the error names; a network that it cannot work with it refuses with mammozoo.errors.IncompatibleError.",
)
def adapts_a_network(subject: StrategySubject) -> str | None:
    """It is made from its name, and adapts a small network and marks what trains."""
    adapted(subject)
    return None


@rule(
    "A model is rebuilt from its config by adapting anew.",
    "Use no clock, no hash order and only torch's generator.",
    needs=[adapts_a_network],
)
def adapt_is_deterministic(subject: StrategySubject) -> str | None:
    """Two like models, adapted from the same seed, are alike: weights, buffers and what trains."""
    (first, one), (second, two) = adapted(subject), adapted(subject)
    if _shapes(first) != _shapes(second):
        return f"`adapt` made two different networks: {_first_difference(_shapes(first), _shapes(second))}."
    for name, tensor in first.state_dict().items():
        if not torch.equal(tensor, second.state_dict()[name]):
            return f"`adapt` gave '{name}' other numbers the second time."
    names = [_names(model, set(chosen.trainable(model))) for model, chosen in ((first, one), (second, two))]
    return None if names[0] == names[1] else "`trainable` chose other parameters the second time."


@rule(
    "A saved model is rebuilt with random weights, offline, and its weights loaded afterwards.",
    "Let `adapt` depend on the shape of the network alone; state goes into parameters and buffers.",
    needs=[adapt_is_deterministic],
)
def adapt_needs_no_data(subject: StrategySubject) -> str | None:
    """`adapt` asks no network, and makes the same places whatever the weights are."""
    with offline() as tried:
        first, second = adapted(subject, seed=0)[0], adapted(subject, seed=1)[0]
    if tried:
        return f"`adapt` tried to connect to {tried[0]}."
    if _shapes(first) != _shapes(second):
        return f"With other weights it makes another network: {_first_difference(_shapes(first), _shapes(second))}."
    return None


@rule(
    "Only the backbone's parameters are saved with it and asked about; the head always trains.",
    "Take them from `model.backbone`.",
    needs=[adapts_a_network],
)
def trainable_is_in_the_backbone(subject: StrategySubject) -> str | None:
    """`trainable` gives parameters of the backbone, each once, or None."""
    model, _ = adapted(subject)
    opinion = made(subject).trainable(model)
    if opinion is None:
        return None
    inside, seen = set(model.backbone.parameters()), set[nn.Parameter]()
    for number, parameter in enumerate(opinion):
        if not isinstance(parameter, nn.Parameter):
            return f"Entry {number} of `trainable` is a {type(parameter).__name__}, no parameter."
        if parameter not in inside:
            where = _names(model, {parameter})
            what = f"'{where.pop()}'" if where else "a parameter of no module of the model"
            return f"Entry {number} of `trainable` is {what}, not of the backbone."
        if parameter in seen:
            return f"Entry {number} of `trainable` is there twice."
        seen.add(parameter)
    return None


@rule(
    "A parameter without a gradient never learns, and counts as trainable in every table.",
    "Use it in `forward`, or leave it out of `trainable`.",
    needs=[adapts_a_network],
)
def every_trainable_gets_a_gradient(subject: StrategySubject) -> str | None:
    """After a backward pass all that trains has a finite gradient."""
    model, _ = adapted(subject)
    torch.autograd.backward(loss(model.train()))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            return f"'{name}' trains and got no gradient."
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"The gradient of '{name}' is not finite."
    return None


@rule(
    "The optimizer takes the product of the recipe's rate and these factors.",
    "Return finite factors above 0; what must not learn is left out of `trainable`.",
    needs=[adapts_a_network],
)
def learning_rates_are_positive(subject: StrategySubject) -> str | None:
    """Every factor of `lr_scale` is finite and above 0, and belongs to a parameter of the model."""
    model, _ = adapted(subject)
    known = set(model.parameters())
    for parameter, factor in made(subject).lr_scale(model).items():
        if parameter not in known:
            return "`lr_scale` holds a parameter that is not of the model."
        if not (math.isfinite(factor) and factor > 0):
            return f"`lr_scale` gives '{_names(model, {parameter}).pop()}' the factor {factor}."
    return None


@rule(
    "A training that stops with an error, or with NaN, has cost its time for nothing.",
    "Look at what `adapt` put into the network, at `optimizer` and at the learning rates.",
    needs=[learning_rates_are_positive],
)
def training_goes_through(subject: StrategySubject) -> str | None:
    """Two steps of training raise nothing and leave every output finite."""
    model, chosen = adapted(subject)
    train(model, chosen)
    return None if bool(torch.isfinite(output(model)).all()) else "After two steps the outputs are not finite."


@rule(
    "What is said to be frozen is promised in every table, and adapters leave it out of the file.",
    "Change nothing that `trainable` does not name.",
    needs=[training_goes_through],
)
def frozen_weights_stay(subject: StrategySubject) -> str | None:
    """Two steps of training leave every frozen weight as it was."""
    model, chosen = adapted(subject)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    train(model, chosen)
    now = dict(model.named_parameters())
    moved = [name for name, before in frozen.items() if name not in now or not torch.equal(before, now[name])]
    return f"Training changed the frozen '{moved[0]}'." if moved else None


@rule(
    "Statistics that move under frozen weights are learning that nobody sees.",
    "Leave `model.train` as it is; use nn.BatchNorm2d or a subclass.",
    needs=[training_goes_through],
)
def frozen_statistics_stay(subject: StrategySubject) -> str | None:
    """Two steps of training leave the buffers of modules without trainable weights as they were."""
    model, chosen = adapted(subject)
    frozen = {
        f"{name}.{key}".lstrip("."): buffer.detach().clone()
        for name, module in model.named_modules()
        if not any(p.requires_grad for p in module.parameters(recurse=False))
        for key, buffer in module.named_buffers(recurse=False)
    }
    train(model, chosen)
    now = dict(model.named_buffers())
    moved = [name for name, before in frozen.items() if name not in now or not torch.equal(before, now[name])]
    return f"Training changed the statistic '{moved[0]}', whose layer is frozen." if moved else None


@rule(
    "A model is a safetensors file and a config; nothing else travels.",
    "Keep all state in registered parameters and buffers.",
    needs=[training_goes_through, adapt_needs_no_data],
)
def weights_reload(subject: StrategySubject) -> str | None:
    """A trained model, written and read into one built anew, gives the same output."""
    model, chosen = adapted(subject)
    train(model, chosen)
    with tempfile.TemporaryDirectory() as folder:
        path = write_tensors(Path(folder) / "model.safetensors", model.state_dict())
        again, _ = adapted(subject, seed=1)
        load_exactly(again, read_tensors(path))
    return None if torch.equal(output(model), output(again)) else "The model that was read gives other outputs."


@rule(
    "Processes that share the work get it as a pickle.",
    "Use no lambda or local class; define them at the top of a module.",
    needs=[adapts_a_network],
)
def pickles(subject: StrategySubject) -> str | None:
    """The strategy and the adapted model go through pickle and give the same output."""
    model, _ = adapted(subject)
    through_pickle(made(subject))
    again = through_pickle(model)
    return None if torch.equal(output(model), output(again)) else "The unpickled model gives other outputs."


def _composes(name: str) -> StrategyRule:
    """The rule that `name` can stand before or after it."""

    @rule(
        "Strategies add up with '+': what trains is the union.",
        "Answer for your own parameters alone, and expect others to be frozen or trained beside them.",
        needs=[training_goes_through],
    )
    def composes(subject: StrategySubject) -> str | None:
        own = _trains(adapted(subject)[0])
        for order in ("before", "after"):
            other: Strategy = registry().get("strategies", name)()
            parts = [made(subject), other] if order == "before" else [other, made(subject)]
            try:
                model, chosen = adapted(subject, parts=parts)
                plain = set(other.trainable(model) or ())
                missing = (own | _names(model, plain)) - _trains(model)
                # Without an opinion of its own the other's is the only one.
                if missing and made(subject).trainable(model) is not None:
                    return f"Placed {order} '{name}', '{sorted(missing)[0]}' no longer trains."
                train(model, chosen)
            except NotChecked as refusal:
                return f"Placed {order} '{name}' it refuses a network that it takes alone. {refusal}"
            except Exception as error:
                return f"Placed {order} '{name}' it cannot train: {said(error)}"
            if not bool(torch.isfinite(output(model)).all()):
                return f"Placed {order} '{name}', two steps of training give outputs that are not finite."
        return None

    composes.judge.__doc__ = (
        f"It adds up with `{name}`, before and after it: the union trains, and the outputs stay finite."
    )
    return dataclasses.replace(composes, name=f"composes-with-{name}")


RULES: list[StrategyRule] = [
    has_name_and_summary, options_have_types, adapts_a_network, adapt_is_deterministic, adapt_needs_no_data,
    trainable_is_in_the_backbone, every_trainable_gets_a_gradient, learning_rates_are_positive, training_goes_through,
    frozen_weights_stay, frozen_statistics_stay, weights_reload, pickles, *map(_composes, ("frozen", "last-blocks", "full")),
]  # fmt: skip


def through_pickle(thing: T) -> T:
    """What comes out of a pickle of our own making."""
    again: T = pickle.loads(pickle.dumps(thing))
    return again


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _first_difference(one: dict[str, tuple[int, ...]], two: dict[str, tuple[int, ...]]) -> str:
    name = next(name for name in {**one, **two} if one.get(name) != two.get(name))
    return f"'{name}' is {one.get(name, 'absent')} in one and {two.get(name, 'absent')} in the other"


def _names(model: Model, chosen: set[nn.Parameter]) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter in chosen}


def _trains(model: Model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}
