"""A plugin and its state, and the named things that plugins provide."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import mammozoo
from mammozoo.config.names import parse
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.plugins.command_spec import is_typed
from mammozoo.plugins.discovery import DISTRIBUTION, cause

log = logging.getLogger("mammozoo.plugins")

#: Seconds from which an import or a hook is noted as slow.
SLOW = 1.0
#: Kind → class in `mammozoo` of what its hook gives; the other kinds are files.
TYPES = {
    "datasets": "Dataset", "backbones": "BackboneSpec", "heads": "HeadSpec", "strategies": "Strategy", "metrics": "Metric",
    "transforms": "TransformSpec", "losses": "LossSpec", "predictors": "PredictorSpec",
    "commands": "CommandSpec",
    "weight_maps": "WeightMap",
}  # fmt: skip
_CLASSES = ("datasets", "strategies")  # whose things are subclasses of it


@dataclass
class Plugin:
    """One entry point and its state.

    Attributes:
        state: a `failed` plugin is left out altogether; in a `conflict` only the names that another plugin provides too.
        reason: why it is not simply loaded.
        adds: kind → names that it provides, for the kinds that were looked up so far.
        notes: for its authors: deprecated hooks, slow imports.
        seconds: that its import and its hooks took.
    """

    name: str
    distribution: str
    version: str
    state: Literal["loaded", "conflict", "failed"] = "loaded"
    reason: str = ""
    adds: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def builtin(self) -> bool:
        """Whether it comes with mammozoo itself, so that its failure is our bug."""
        return self.distribution == DISTRIBUTION

    @property
    def brings(self) -> str:
        """The number of things of each kind: `2 strategies, 1 recipes`."""
        return ", ".join(f"{len(names)} {kind}" for kind, names in self.adds.items() if names)

    def fail(self, reason: str) -> None:
        """Leave the plugin out, with a warning."""
        self.state, self.reason = "failed", reason
        log.warning("Plugin '%s' (%s %s) is left out: %s", self.name, self.distribution, self.version, reason)

    def lose(self, reason: str) -> None:
        """Leave one of its names out, with a warning."""
        self.state, self.reason = "conflict", "; ".join(filter(None, [self.reason, reason]))
        log.warning("Plugin '%s' (%s %s): %s", self.name, self.distribution, self.version, reason)

    @contextlib.contextmanager
    def guarded(self, what: str = "") -> Iterator[None]:
        """Leave the plugin out if the code inside raises anything; a built-in plugin must work."""
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, such as SystemExit
            if self.builtin:
                raise
            self.fail(what + cause(error))

    @contextlib.contextmanager
    def calling(self, step: str) -> Iterator[None]:
        """Run code of the plugin: what it prints goes to the log instead of stdout, and slow code is noted."""
        started, printed = time.perf_counter(), io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                yield
        finally:
            seconds = time.perf_counter() - started
            self.seconds += seconds
            if text := printed.getvalue().strip():
                log.info("Plugin '%s' printed: %s", self.name, text)
            if seconds >= SLOW and not self.builtin:
                remedy = "import heavy libraries in the functions that use them, not before"
                self.notes.append(f"{step} took {seconds:.1f} s: {remedy}")


@dataclass(frozen=True)
class Item:
    """A named thing that a plugin provides."""

    kind: str
    name: str
    value: Any
    plugin: Plugin

    @property
    def summary(self) -> str:
        """One line: its own `summary`, a data set's or paper's title, a recipe's first comment, or its docstring's first line."""
        value = self.value
        try:
            if isinstance(value, Path):
                title = r"^title: *[\"']*(.+?)[\"']*$" if self.kind == "papers" else r"\A#.*?: (.*)$"
                found = re.search(title, value.read_text(encoding="utf-8"), re.MULTILINE)
                return found[1] if found else ""
            stated = getattr(value, "summary", None) or getattr(getattr(value, "info", None), "title", None)
            return str(stated or (inspect.getdoc(value) or "").partition("\n")[0])
        except Exception as error:
            if self.plugin.builtin:
                raise
            return f"({cause(error)})"  # a list of names must not end with one of them


def name_of(kind: str, value: Any) -> str:
    """The name of a thing in recipes and lists: `info.name`, `name`, or a file's stem.

    Raises UsageError for another type than the hook promises or a name that no recipe can write, NotFoundError for a missing file.
    """
    if kind not in TYPES:
        if not isinstance(value, Path):
            raise UsageError(f"it gives {value!r}, which is not a pathlib.Path")
        if not value.is_file():
            raise NotFoundError(f"there is no file '{value}'")
        return value.parent.name if kind == "zoos" else value.stem
    if not is_one_of(kind, value):
        raise UsageError(
            f"it gives {value!r}, which is not a {'subclass of ' * (kind in _CLASSES)}mammozoo.{TYPES[kind]}"
        )
    if kind == "datasets" and not isinstance(getattr(value, "info", None), _type("DatasetInfo")):
        raise UsageError(f"{value!r} has no `info` that is a mammozoo.DatasetInfo")
    function = {"metrics": "value", "commands": "run"}.get(kind, "build")
    if kind not in _CLASSES and not callable(getattr(value, function)):
        raise UsageError(f"`{function}` of {value!r} is not a function")
    name = given_name(value)
    if not is_writable(kind, name):
        where = "as a command: small letters, digits and hyphens" if kind == "commands" else "in a recipe"
        raise UsageError(f"the name '{name}' cannot be written {where}")
    return name


def is_one_of(kind: str, value: Any) -> bool:
    """Whether a thing has the type that the hook of `kind` promises."""
    given = value if isinstance(value, type) else type(value)
    return isinstance(value, type) == (kind in _CLASSES) and issubclass(given, _type(TYPES[kind]))


def given_name(value: Any) -> str:
    """The name that a thing says of itself; UsageError if it says none."""
    name = getattr(getattr(value, "info", value), "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{value!r} has no name")
    return name


def is_writable(kind: str, name: str) -> bool:
    """Whether a recipe can write this name. Metrics take no options, so their names may hold more: `sensitivity@90specificity`."""
    if kind == "commands":
        return is_typed(name)
    if kind == "metrics":
        return not any(mark in name for mark in " [],:")
    try:
        return parse(name).name == name
    except UsageError:
        return False


def _type(name: str) -> Any:
    """A public type of ours, or () if nobody has imported it: then nothing is of that type, and torch stays out."""
    return getattr(sys.modules.get(mammozoo._PUBLIC[name]), name, ())
