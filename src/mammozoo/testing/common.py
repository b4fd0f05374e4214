"""Rules that hold for every kind of thing: a name that recipes can say, and options that flags can fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic

from mammozoo.config.names import parse
from mammozoo.data.dataset import Dataset
from mammozoo.errors import UsageError
from mammozoo.evaluation.metric import Metric
from mammozoo.models.head import HeadSpec
from mammozoo.testing.check import NotChecked, Subject, rule


@rule(
    "Recipes and flags name it by `name[:options]`, and lists show it in one line.",
    "Give it a name of letters, digits, '.', '_' and '-', and a summary or a docstring.",
)
def has_name_and_summary(subject: Subject[Any]) -> str | None:
    """The name can be written in a recipe, and there is a line that says what it is."""
    value = subject.value
    info = getattr(value, "info", value)
    name = value.stem if isinstance(value, Path) else info.name
    if not _can_be_written(name, is_score=isinstance(value, Metric)):
        return f"The name '{name}' cannot be written in a recipe."
    if isinstance(value, Path):
        return None
    own = getattr(info, "title", None) or getattr(value, "summary", None)
    if not own and isinstance(value, type):  # a spec's docstring is that of its class, and says nothing of it
        own = value.__doc__
    return None if own and str(own).strip() else "It has neither a summary nor a docstring."


@rule(
    "Options come as text, and their types say how to convert them.",
    "Annotate every option with a type that text can become, as in `def __init__(self, k: int = 1)`.",
)
def options_have_types(subject: Subject[Any]) -> str | None:
    """Every option of a class or of `build` has a type, and one to which text can be converted."""
    value = subject.value
    make: Callable[..., Any] = value if isinstance(value, type) else value.build
    for parameter in list(inspect.signature(make, eval_str=True).parameters.values())[_given(value) :]:
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.annotation is parameter.empty:
            return f"The option '{parameter.name}' has no type."
        try:
            pydantic.TypeAdapter(parameter.annotation)
        except pydantic.PydanticSchemaGenerationError:
            return f"No text can become the option '{parameter.name}', a {parameter.annotation}."
    return None


def _given(value: Any) -> int:
    """How many arguments it is given that are no options: the root of a data set, the four sizes of a head."""
    if isinstance(value, HeadSpec):
        return 4
    return 1 if isinstance(value, type) and issubclass(value, Dataset) else 0


def _can_be_written(name: str, *, is_score: bool) -> bool:
    if is_score:  # it takes no options, and stands alone: `monitor: sensitivity@90specificity`
        return not any(mark in name for mark in " [],:")
    try:
        return parse(name).name == name and "+" not in name
    except UsageError:
        return False


def needs_options(subject: Subject[Any], error: UsageError) -> NotChecked:
    """The skip that says which options to give."""
    return NotChecked(
        f"It does not go with these options: {error} Give others with --with {subject.spec.name}:OPTION=… "
        "(in pytest: specs=[...])."
    )
