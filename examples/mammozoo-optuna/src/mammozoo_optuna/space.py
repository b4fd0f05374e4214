"""What may vary: a YAML file of dotted keys of a recipe, each with its choices or its range."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from mammozoo import UsageError

if TYPE_CHECKING:
    import optuna

_RANGE = {"low", "high", "log", "step"}
#: Key → a list of choices, or a range {low, high, log, step}; whole numbers if all of them are.
Space = dict[str, list[Any] | dict[str, Any]]


def read_space(path: Path) -> Space:
    """The space in a file.

    Raises:
        UsageError: it is not there, or is not of this form; with the key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"'{path}' cannot be read as YAML: {error}") from None
    if not isinstance(content, dict) or not content:
        raise UsageError(f"'{path}' is not a space: it holds no keys of a recipe with what they may be.")
    return {str(key): _checked(str(key), _numbers(values), path) for key, values in content.items()}


def _numbers(values: Any) -> Any:
    """YAML reads 1e-3 as a text."""
    if isinstance(values, dict):
        return {key: _numbers(value) for key, value in values.items()}
    try:
        return float(values) if isinstance(values, str) else values
    except ValueError:
        return values


def _checked(key: str, values: Any, path: Path) -> list[Any] | dict[str, Any]:
    if isinstance(values, list) and values:
        return [_numbers(value) for value in values]
    if isinstance(values, dict) and {"low", "high"} <= values.keys() <= _RANGE:
        low, high, log, step = values["low"], values["high"], values.get("log", False), values.get("step", 1)
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high, step))
        if (
            numbers
            and isinstance(log, bool)
            and low <= high
            and step > 0
            and (not log or (low > 0 and "step" not in values))
        ):
            return values
    raise UsageError(
        f"'{path}', {key}: choices are a list, such as [16, 32], and a range is {{low: 1e-4, high: 1e-2, log: true}} or "
        "{low: 0, high: 0.4, step: 0.1}."
    )


def sample(trial: optuna.Trial, space: Mapping[str, list[Any] | dict[str, Any]]) -> dict[str, Any]:
    """One point of the space, as Optuna proposes it: settings of a recipe by dotted key."""
    found: dict[str, Any] = {}
    for key, values in space.items():
        if isinstance(values, list):  # Optuna keeps plain values only, and a recipe has lists too
            found[key] = json.loads(trial.suggest_categorical(key, [json.dumps(value) for value in values]))
        elif all(isinstance(values.get(name, 1), int) for name in ("low", "high", "step")):
            found[key] = trial.suggest_int(key, values["low"], values["high"], **_how(values))
        else:
            found[key] = trial.suggest_float(key, values["low"], values["high"], **_how(values))
    return found


def _how(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in ("log", "step") if name in values}


def ends(space: Space) -> list[dict[str, Any]]:
    """Settings of one key each: every choice, and both ends of every range."""
    return [
        {key: value}
        for key, values in space.items()
        for value in (values if isinstance(values, list) else (values["low"], values["high"]))
    ]
