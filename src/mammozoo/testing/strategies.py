"""What a strategy must keep: it is rebuilt from its name, and it trains what it says and nothing else."""

from __future__ import annotations

import math
import pickle
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.backbone import load_exactly
from mammozoo.models.build import build_backbone
from mammozoo.models.model import Model, assemble
from mammozoo.models.strategy import Composite, Strategy
from mammozoo.models.weights import read_tensors, write_tensors
from mammozoo.plugins import registry
from mammozoo.spec import call, parse
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.common import has_name_and_summary, needs_options, options_have_types
from mammozoo.testing.offline import offline
from mammozoo.training.optimizer import make_optimizer
from mammozoo.training.settings import Optimizer

_CLASSES = ("benign", "malignant")
_SIDE = 64  # pixels; the strategy is on trial, not the network
_RATE = 0.05

StrategyRule = Rule[type[Strategy]]
StrategySubject = Subject[type[Strategy]]


@rule("A model is rebuilt from its config by adapting anew.", "Use no clock, no hash order and only torch's generator.")
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
            where = _names(model, {parameter}) or {"no module of the model"}
            return f"Entry {number} of `trainable` belongs to {where.pop()}."
        if parameter in seen:
            return f"Entry {number} of `trainable` is there twice."
        seen.add(parameter)
    return None


@rule(
    "A parameter without a gradient never learns, and counts as trainable in every table.",
    "Use it in `forward`, or leave it out of `trainable`.",
)
def every_trainable_gets_a_gradient(subject: StrategySubject) -> str | None:
    """After a backward pass all that trains has a finite gradient."""
    model, _ = adapted(subject)
    torch.autograd.backward(_loss(model.train()))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            return f"'{name}' trains and got no gradient."
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"The gradient of '{name}' is not finite."
    return None


@rule(
    "What is said to be frozen is promised in every table, and adapters leave it out of the file.",
    "Change nothing that `trainable` does not name.",
)
def frozen_weights_stay(subject: StrategySubject) -> str | None:
    """Two steps of training leave every frozen weight as it was."""
    model, chosen = adapted(subject)
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not p.requires_grad}
    _train(model, chosen)
    now = dict(model.named_parameters())
    moved = [name for name, before in frozen.items() if name not in now or not torch.equal(before, now[name])]
    return f"Training changed the frozen '{moved[0]}'." if moved else None


@rule(
    "Statistics that move under frozen weights are learning that nobody sees.",
    "Leave `model.train` as it is; use nn.BatchNorm2d or a subclass.",
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
    _train(model, chosen)
    now = dict(model.named_buffers())
    moved = [name for name, before in frozen.items() if name not in now or not torch.equal(before, now[name])]
    return f"Training changed the statistic '{moved[0]}', whose layer is frozen." if moved else None


@rule(
    "The optimizer takes the product of the recipe's rate and these factors.",
    "Return finite factors above 0; what must not learn is left out of `trainable`.",
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
    "A model is a safetensors file and a config; nothing else travels.",
    "Keep all state in registered parameters and buffers.",
)
def weights_reload(subject: StrategySubject) -> str | None:
    """A trained model, written and read into one built anew, gives the same output."""
    model, chosen = adapted(subject)
    _train(model, chosen)
    with tempfile.TemporaryDirectory() as folder:
        path = write_tensors(Path(folder) / "model.safetensors", model.state_dict())
        again, _ = adapted(subject, seed=1)
        load_exactly(again, read_tensors(path))
    return None if torch.equal(_output(model), _output(again)) else "The model that was read gives other outputs."


@rule(
    "Processes that share the work get it as a pickle.",
    "Use no lambda or local class; define them at the top of a module.",
)
def pickles(subject: StrategySubject) -> str | None:
    """The strategy and the adapted model go through pickle and give the same output."""
    model, _ = adapted(subject)
    pickle.loads(pickle.dumps(made(subject)))
    again: Model = pickle.loads(pickle.dumps(model))
    return None if torch.equal(_output(model), _output(again)) else "The unpickled model gives other outputs."


def _composes(name: str) -> StrategyRule:
    """The rule that `name` can stand before or after it."""

    @rule(
        "Strategies add up with '+': what trains is the union.",
        "Answer for your own parameters alone, and expect others to be frozen or trained beside them.",
    )
    def composes(subject: StrategySubject) -> str | None:
        """It adds up with another strategy in both orders."""
        alone, _ = adapted(subject)
        own = _trains(alone)
        for order in ("before", "after"):
            other: Strategy = registry().get("strategies", name)()
            parts = [made(subject), other] if order == "before" else [other, made(subject)]
            model, chosen = adapted(subject, parts=parts)
            plain = set(other.trainable(model) or ())
            missing = (own | _names(model, plain)) - _trains(model)
            # Without an opinion of its own the other's is the only one.
            if missing and made(subject).trainable(model) is not None:
                return f"Placed {order} '{name}', '{sorted(missing)[0]}' no longer trains."
            _train(model, chosen)
            if not bool(torch.isfinite(_output(model)).all()):
                return f"Placed {order} '{name}', two steps of training give outputs that are not finite."
        return None

    return Rule(f"composes-with-{name}", composes.why, composes.advice, composes.judge)


RULES: list[StrategyRule] = [
    has_name_and_summary, options_have_types, adapt_is_deterministic, adapt_needs_no_data, trainable_is_in_the_backbone,
    every_trainable_gets_a_gradient, frozen_weights_stay, frozen_statistics_stay, learning_rates_are_positive, weights_reload,
    pickles, *map(_composes, ("frozen", "last-blocks", "full")),
]  # fmt: skip


def made(subject: StrategySubject) -> Strategy:
    """The strategy with its options; skips where it refuses them."""
    try:
        strategy: Strategy = call(subject.value, subject.spec)
    except UsageError as error:
        raise needs_options(subject, error) from error
    return strategy


def adapted(subject: StrategySubject, *, seed: int = 0, parts: list[Strategy] | None = None) -> tuple[Model, Composite]:
    """A small model under the strategy (or `parts`), marked for training; skips where it refuses this network.

    `seed` is that of the backbone's weights; `adapt` always draws from the same one.
    """
    chosen = Composite(parts or [made(subject)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build_backbone(subject.settings.backbone)
        backbone.input = backbone.input.model_copy(update={"size": (_SIDE, _SIDE)})
        model = assemble(backbone, registry().get("heads", "gap"), parse("gap"), _CLASSES)
        torch.manual_seed(2)
        try:
            chosen.adapt(model)
            chosen.freeze(model)
        except (UsageError, IncompatibleError) as error:
            raise NotChecked(
                f"It refuses '{subject.settings.backbone}': {error} Name another with --backbone, or options with --with."
            ) from error
    return model, chosen


def _images(model: Model) -> torch.Tensor:
    shape = (4, model.backbone.input.channels, _SIDE, _SIDE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def _loss(model: Model) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return binary_cross_entropy_with_logits(model(_images(model)), torch.tensor([[0.0], [1.0], [1.0], [0.0]]))


def _train(model: Model, chosen: Composite) -> None:
    """Two steps with the strategy's own optimizer, or SGD with weight decay, which shows what slipped in."""
    optimizer = make_optimizer(chosen, model, Optimizer(name="sgd", lr=_RATE, weight_decay=0.1))
    model.train()
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(_loss(model))
        optimizer.step()


@torch.no_grad()
def _output(model: Model) -> torch.Tensor:
    return model.eval()(_images(model))


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _first_difference(one: dict[str, tuple[int, ...]], two: dict[str, tuple[int, ...]]) -> str:
    name = next(name for name in {**one, **two} if one.get(name) != two.get(name))
    return f"'{name}' is {one.get(name, 'absent')} in one and {two.get(name, 'absent')} in the other"


def _names(model: Model, chosen: set[nn.Parameter]) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter in chosen}


def _trains(model: Model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}
