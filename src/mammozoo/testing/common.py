"""Rules for every kind of thing, a name for recipes and options for flags, and what the rules of several kinds share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import torch
from torch import nn

from mammozoo.config.names import call
from mammozoo.data.dataset import Dataset
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.head import HeadSpec
from mammozoo.models.randomness import seeded
from mammozoo.plugins.provided import is_writable
from mammozoo.testing.check import NotChecked, Subject, rule

T = TypeVar("T")


@rule()
def has_name_and_summary(subject: Subject[Any]) -> None:
    """The name can be written in a recipe, and there is a line that says what it is.

    Recipes and flags name it by `name[:options]`, and lists show it in one line. Give it a name of letters, digits, '.', '_' and
    '-', and a summary or a docstring.
    """
    value, name = subject.value, subject.spec.name
    assert is_writable(subject.kind, name), f"The name '{name}' cannot be written in a recipe."
    if isinstance(value, Path):
        return
    summary = getattr(getattr(value, "info", value), "title", None) or getattr(value, "summary", None)
    if isinstance(value, type):  # the docstring of a spec is that of its class
        summary = summary or value.__doc__
    assert summary and str(summary).strip(), "It has neither a summary nor a docstring."


@rule()
def options_have_types(subject: Subject[Any]) -> None:
    """Every option of a class or of `build` has a type, and one to which text can be converted.

    Options come as text, and their types say how to convert them. Annotate every option with a type that text can become, as in
    `def __init__(self, k: int = 1)`.
    """
    value = subject.value
    make: Callable[..., Any] = value if isinstance(value, type) else value.build
    arguments = 4 if isinstance(value, HeadSpec) else int(isinstance(value, type) and issubclass(value, Dataset))
    for option in list(inspect.signature(make, eval_str=True).parameters.values())[arguments:]:
        if option.kind in (option.VAR_KEYWORD, option.VAR_POSITIONAL):
            continue
        assert option.annotation is not option.empty, f"The option '{option.name}' has no type."
        try:
            pydantic.TypeAdapter(option.annotation)
        except pydantic.PydanticSchemaGenerationError:
            raise AssertionError(f"No text can become the option '{option.name}', a {option.annotation}.") from None


def build(subject: Subject[Any], make: Callable[..., T], *arguments: Any, seed: int = 0) -> T:
    """`make(*arguments, …)` with the subject's options, from this seed of torch.

    Raises:
        NotChecked: it refuses the options or the arguments.
    """
    try:
        with seeded(seed):
            made: T = call(make, subject.spec, *arguments)
    except UsageError as error:
        raise NotChecked(
            f"It does not go with these options: {error} Give others with --with {subject.spec.name}:OPTION=… "
            "(in pytest: specs=[...])."
        ) from error
    except IncompatibleError as error:
        raise NotChecked(f"It refuses this: {error}") from error
    return made


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, the same at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def check_gradients(module: nn.Module) -> None:
    """Fail if a parameter got no gradient in the last backward pass."""
    missing = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert not missing, f"{len(missing)} parameters get no gradient, '{missing[0]}' the first."
