"""A check: one named promise of the plugin contract, and what is said when something breaks it."""

from __future__ import annotations

import contextlib
import inspect
import io
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from mammozoo.errors import FailedError
from mammozoo.spec import Spec

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
class Subject(Generic[S]):
    """One named thing of a plugin under check: its value, the spec with the options to use, and the settings."""

    value: S
    spec: Spec
    settings: Settings


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One promise: `judge` gives the sentence that says what is wrong, None where all is well."""

    name: str
    why: str
    advice: str
    judge: Callable[[Subject[S]], str | None]

    @property
    def summary(self) -> str:
        """What must hold, in one line."""
        return (inspect.getdoc(self.judge) or "").partition("\n")[0]


@dataclass(frozen=True)
class Check:
    """A rule about one thing: `run` raises BrokenContractError where it is broken and NotChecked where it cannot be tried.

    Attributes:
        name: of the rule, `adapt-is-deterministic`.
        kind: `strategies`, `backbones`, … as in `mammozoo list`.
        item: name of the thing, with the options that were used.
    """

    name: str
    kind: str
    item: str
    run: Callable[[], None]

    def __str__(self) -> str:
        return f"{self.item}-{self.name}"


@dataclass(frozen=True)
class Result:
    """What came of a check; `reason` is empty where it passed."""

    check: str
    kind: str
    item: str
    state: State
    reason: str = ""


def rule(why: str, advice: str) -> Callable[[Callable[[Subject[S]], str | None]], Rule[S]]:
    """Make a function a rule of its own name; `why` it matters and what to do (`advice`) follow every complaint."""

    def make(judge: Callable[[Subject[S]], str | None]) -> Rule[S]:
        return Rule(judge.__name__.strip("_").replace("_", "-"), why, advice, judge)

    return make


def bind(rule: Rule[S], kind: str, subject: Subject[S]) -> Check:
    """The check of `rule` on one thing."""

    def run() -> None:
        try:
            problem = rule.judge(subject)
        except NotChecked:
            raise
        except (Exception, SystemExit) as error:
            first = str(error).partition("\n")[0]
            problem = f"{type(error).__name__} was raised{f': {first}' if first else ''}."
            raise BrokenContractError(_message(rule, subject, problem)) from error
        if problem:
            raise BrokenContractError(_message(rule, subject, problem))

    return Check(rule.name, kind, str(subject.spec), run)


def run(check: Check) -> Result:
    """Run one check; what the plugin prints meanwhile is dropped."""
    state: State = "passed"
    reason = ""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check.run()
    except NotChecked as skipped:
        state, reason = "skipped", str(skipped)
    except BrokenContractError as error:
        state, reason = "failed", str(error)
    return Result(check.name, check.kind, check.item, state, reason)


def _message(rule: Rule[S], subject: Subject[S], problem: str) -> str:
    return f"'{subject.spec}' breaks '{rule.name}': {problem} {rule.why} {rule.advice}"
