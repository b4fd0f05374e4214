"""A check: one named promise of the plugin contract, and what is said when something breaks it."""

from __future__ import annotations

import inspect
import unittest
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from mammozoo.config.names import Spec
from mammozoo.errors import FailedError
from mammozoo.plugins.isolation import contained
from mammozoo.testing.limit import TooLong, limited
from mammozoo.testing.place import place
from mammozoo.testing.quiet import captured

S = TypeVar("S")
State = Literal["passed", "failed", "skipped"]


class BrokenContractError(FailedError, AssertionError):
    """A thing of a plugin does not keep a promise of the contract."""


class NotChecked(unittest.SkipTest):
    """A check does not apply, or needs what it was not given."""


@dataclass(frozen=True)
class Settings:
    """What the checks may use.

    Attributes:
        backbone: the network on which strategies are tried, with options.
        root: the folder of the data, for data sets that need one.
    """

    backbone: str = "test_resnet"
    root: Path | None = None


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what was raised where something was."""

    sentence: str
    cause: BaseException | None = None


@dataclass(frozen=True)
class Subject(Generic[S]):
    """One named thing of a plugin under check: its value, the spec with the options to use, and the settings.

    `known` holds what came of the rules that others need, so that each is tried once.
    """

    value: S
    spec: Spec
    settings: Settings
    known: dict[str, Problem | None] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One promise: `judge` gives the sentence that says what is wrong, None where all is well.

    Where a rule that it `needs` is broken it is not tried: one mistake is one failure.
    """

    name: str
    why: str
    advice: str
    judge: Callable[[Subject[S]], str | None]
    needs: Sequence[Rule[Any]] = ()

    @property
    def summary(self) -> str:
        """What must hold, in one line."""
        return (inspect.getdoc(self.judge) or "").partition("\n")[0]


@dataclass(frozen=True)
class Check:
    """A rule about one thing: `run` raises BrokenContractError where it is broken and NotChecked where it cannot be tried.

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
    """What came of a check; `reason` is empty where it passed."""

    check: str
    kind: str
    item: str
    state: State
    reason: str = ""


def rule(
    why: str, advice: str, needs: Sequence[Rule[Any]] = ()
) -> Callable[[Callable[[Subject[S]], str | None]], Rule[S]]:
    """Make a function a rule of its own name; `why` it matters and what to do (`advice`) follow every complaint."""

    def make(judge: Callable[[Subject[S]], str | None]) -> Rule[S]:
        return Rule(judge.__name__.strip("_").replace("_", "-"), why, advice, judge, needs)

    return make


def bind(rule: Rule[S], kind: str, subject: Subject[S]) -> Check:
    """The check of `rule` on one thing."""

    def run() -> None:
        __tracebackhide__ = True  # pytest shows the test and the message, and the plugin's own error above them
        if problem := _problem(rule, subject):
            said = f"'{subject.spec}' breaks '{rule.name}': {problem.sentence} {rule.why} {rule.advice}"
            raise BrokenContractError(said) from problem.cause

    return Check(rule.name, kind, str(subject.spec), run)


def run(check: Check, seconds: float = 0) -> Result:
    """Run one check; what the plugin prints meanwhile is dropped, and what it changes of the process is put back.

    Args:
        check: one of `checks`.
        seconds: after which it fails; 0 for no limit. Only the main thread has one, and not on Windows.
    """
    state: State = "passed"
    reason = ""
    try:
        with captured(), contained(), limited(seconds):
            check.run()
    except NotChecked as skipped:
        state, reason = "skipped", str(skipped)
    except (BrokenContractError, TooLong) as error:
        state, reason = "failed", str(error)
    return Result(check.name, check.kind, check.item, state, reason)


def said(error: BaseException) -> str:
    """An exception in a sentence: its type, where in the plugin's own code it was raised, and the first line of its text."""
    try:
        first = str(error).strip().partition("\n")[0].rstrip(".")
    except Exception:  # a __str__ can be broken too
        first = ""
    if isinstance(error, TooLong):
        return f"{first}{place(error)}."
    return f"{type(error).__name__} was raised{place(error)}{f': {first}' if first else ''}."


def _problem(rule: Rule[S], subject: Subject[S]) -> Problem | None:
    """What is wrong, None where nothing is.

    Raises:
        NotChecked: it cannot be tried, or a rule that it needs is broken.
    """
    for other in rule.needs:
        if _problem(other, subject):
            raise NotChecked(f"Not tried on '{subject.spec}', because '{other.name}' fails; mend that first.")
    if rule.name not in subject.known:
        subject.known[rule.name] = _judged(rule, subject)
    return subject.known[rule.name]


def _judged(rule: Rule[S], subject: Subject[S]) -> Problem | None:
    try:
        sentence = rule.judge(subject)
    except (NotChecked, KeyboardInterrupt):
        raise
    except BaseException as error:  # a plugin may raise anything, sys.exit and what derives from BaseException too
        return Problem(said(error), error)
    return Problem(sentence) if sentence else None
