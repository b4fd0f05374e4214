"""Rules that hold for every kind of thing: a name that recipes can say, and options that flags can fill."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mammozoo.errors import UsageError
from mammozoo.evaluation.metric import Metric
from mammozoo.spec import parse
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
    # A class without a docstring of its own would show that of its base.
    own = getattr(info, "title", None) or getattr(value, "summary", None) or getattr(value, "__doc__", None)
    return None if own and str(own).strip() else "It has neither a summary nor a docstring."


@rule(
    "Options come as text, and their types say how to convert them.",
    "Annotate every option, as in `def __init__(self, k: int = 1)`.",
)
def options_have_types(subject: Subject[Any]) -> str | None:
    """Every option of a class or of `build` has a type that can be resolved."""
    value = subject.value
    make: Callable[..., Any] = value if isinstance(value, type) else value.build
    bare = [
        parameter.name
        for parameter in inspect.signature(make, eval_str=True).parameters.values()
        if parameter.annotation is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    return f"The option '{bare[0]}' has no type." if bare else None


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
        f"It does not go with these options: {error} Give others with --with {subject.spec.name}:OPTION=…."
    )
