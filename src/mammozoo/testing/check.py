"""A check: one named promise of the plugin contract, tried on one thing of a plugin."""

from __future__ import annotations

import contextlib
import functools
import traceback
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from mammozoo.config.names import Spec
from mammozoo.errors import FailedError
from mammozoo.testing.sandbox import TooLong, captured, limited

S = TypeVar("S")
Test = Callable[[Any], None]
State = Literal["passed", "failed", "skipped"]


class BrokenContractError(FailedError, AssertionError):
    """A thing of a plugin breaks a promise of the contract."""


class NotChecked(unittest.SkipTest):
    """A check does not apply, or needs options or data that were not given."""


@dataclass(frozen=True)
class Settings:
    """What the checks may use.

    Attributes:
        backbone: the network on which strategies are tried, with options.
        root: the folder of the data, for data sets that need one, or the path of a model, for predictors.
    """

    backbone: str = "test_resnet"
    root: Path | None = None


@dataclass(frozen=True)
class Check:
    """A rule about one thing: `run` raises BrokenContractError if it is broken, and NotChecked if it cannot be tried.

    Attributes:
        name: of the rule, `adapt-is-deterministic`.
        kind: `strategies`, `backbones`, … as in `mammozoo list`, or `plugins` and `events`.
        item: name of the thing, with the options that were used.
    """

    name: str
    kind: str
    item: str
    run: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.kind}-{self.item}-{self.name}"


@dataclass(frozen=True)
class Result:
    """The outcome of a check; `reason` is empty if it passed."""

    check: str
    kind: str
    item: str
    state: State
    reason: str = ""


class Rule:
    """One promise: a method of `Rules` whose docstring says what must hold; the advice says why, and what to do.

    It raises AssertionError with a sentence if the promise is broken, NotChecked if it cannot be tried.
    """

    def __init__(self, advice: str, test: Test, needs: Sequence[Rule] = ()):
        self.advice, self.test, self.needs = advice, test, needs
        self.name, self.summary = test.__name__.replace("_", "-"), test.__doc__ or ""


def rule(advice: str) -> Callable[[Test], Rule]:
    """Make a method a rule, with advice for whoever breaks it."""
    return functools.partial(Rule, advice)


def needs(*rules: Rule) -> Callable[[Rule], Rule]:
    """Try a rule only where these hold: one mistake is one failure."""
    return lambda rule: Rule(rule.advice, rule.test, rules)


@dataclass
class Rules(Generic[S]):
    """One named thing of a plugin, and the rules of its kind.

    Attributes:
        spec: the thing's name, with the options to use.
        tried: name of a rule → its error, or None if it holds; each rule is tried once.
    """

    kind: str
    value: S
    spec: Spec
    settings: Settings = Settings()
    tried: dict[str, BrokenContractError | None] = field(default_factory=dict)

    @classmethod
    def rules(cls) -> list[Rule]:
        """In the order of their definition, those of the base class first."""
        return [value for base in reversed(cls.__mro__) for value in vars(base).values() if isinstance(value, Rule)]


def bind(rule: Rule, thing: Rules[Any]) -> Check:
    """The check of `rule` on one thing."""

    def run() -> None:
        __tracebackhide__ = True  # pytest shows the test and the message, and the plugin's own error above them
        if error := _error(rule, thing):
            raise error from error.__cause__

    return Check(rule.name, thing.kind, str(thing.spec), run)


def run(check: Check, seconds: float = 0) -> Result:
    """Run one check; what the plugin prints is dropped, and the working folder stays.

    Args:
        check: one of `checks`.
        seconds: after which it fails; 0 for no limit. Only the main thread has one, and not on Windows.
    """
    state: State = "passed"
    reason = ""
    try:
        with captured(), contextlib.chdir("."), limited(seconds):
            check.run()
    except NotChecked as skipped:
        state, reason = "skipped", str(skipped)
    except (BrokenContractError, TooLong) as error:
        state, reason = "failed", str(error)
    return Result(check.name, check.kind, check.item, state, reason)


def describe(error: BaseException, value: Any) -> str:
    """An error in one sentence: its type, the line of the plugin that provides `value`, and the first line of its text."""
    try:
        text = str(error).strip().partition("\n")[0].rstrip(".")
    except Exception:  # a __str__ of theirs may raise
        text = ""
    if isinstance(error, TooLong):
        return f"{text}{_place(error, value)}."
    return f"{type(error).__name__} was raised{_place(error, value)}{f': {text}' if text else ''}."


def _place(error: BaseException, value: Any) -> str:
    """The innermost frame in the package that defines `value`: ` (strategy.py, line 14, in adapt)`; empty without one."""
    function = next((getattr(value, part) for part in ("build", "value", "run") if hasattr(value, part)), value)
    make = value if isinstance(value, type) else function
    make = make.func if isinstance(make, functools.partial) else make
    package = (getattr(make, "__module__", None) or "").partition(".")[0]
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        if package and (frame.f_globals.get("__name__") or "").partition(".")[0] == package:
            return f" ({Path(frame.f_code.co_filename).name}, line {line}, in {frame.f_code.co_name})"
    return ""


def _error(rule: Rule, thing: Rules[Any]) -> BrokenContractError | None:
    """The error of a broken rule, or None if it holds.

    Raises:
        NotChecked: it cannot be tried, or a rule that it needs is broken.
    """
    for other in rule.needs:
        if _error(other, thing):
            raise NotChecked(f"Not tried on '{thing.spec}', because '{other.name}' fails; mend that first.")
    if rule.name in thing.tried:
        return thing.tried[rule.name]
    broken = None
    try:
        rule.test(thing)
    except (NotChecked, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin may raise anything, such as SystemExit
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        is_ours = isinstance(error, AssertionError) and frame.f_globals["__name__"].startswith("mammozoo.testing.")
        sentence = str(error) if is_ours else describe(error, thing.value)
        broken = BrokenContractError(f"'{thing.spec}' breaks '{rule.name}': {sentence} {rule.advice}")
        broken.__cause__ = None if is_ours else error
    thing.tried[rule.name] = broken
    return broken
