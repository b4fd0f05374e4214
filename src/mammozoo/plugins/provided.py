"""A plugin and what became of it, and the named things that plugins provide."""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import mammozoo
from mammozoo.config.names import parse
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.plugins.discovery import DISTRIBUTION, cause
from mammozoo.plugins.isolation import SLOW, contained

log = logging.getLogger("mammozoo.plugins")

#: The class in `mammozoo` of what a hook gives; of those in the second set it gives subclasses. The rest are files.
_TYPES = {
    "datasets": "Dataset",
    "backbones": "BackboneSpec",
    "heads": "HeadSpec",
    "strategies": "Strategy",
    "metrics": "Metric",
    "transforms": "TransformSpec",
}
_SUBCLASSES = {"datasets", "strategies"}


@dataclass
class Plugin:
    """One entry point and what became of it.

    Attributes:
        state: `failed` is left out altogether; of `conflict` a name is left out that another plugin provides too.
        reason: why it is not simply loaded.
        adds: what it brings, by kind; a hook that was not asked yet is not in it.
        notes: what its authors should know: deprecated hooks, slow imports, changed settings of the process.
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
        """What it adds, counted: `2 strategies, 1 recipes`."""
        return ", ".join(f"{len(names)} {kind}" for kind, names in self.adds.items() if names)

    def fail(self, reason: str) -> None:
        """Record that the plugin is out of the game, and say so once."""
        self.state, self.reason = "failed", reason
        log.warning("Plugin '%s' (%s %s) is left out: %s", self.name, self.distribution, self.version, reason)

    def lose(self, reason: str) -> None:
        """Record that one of its names is not used, and say so once."""
        self.state, self.reason = "conflict", "; ".join(filter(None, [self.reason, reason]))
        log.warning("Plugin '%s' (%s %s): %s", self.name, self.distribution, self.version, reason)

    @contextlib.contextmanager
    def visited(self, what: str) -> Iterator[None]:
        """Run its code, contained, and note what it did; slowness is for a list and no warning, for it harms nobody."""
        try:
            with contained() as visit:
                yield
        finally:
            self.seconds += visit.seconds
            if visit.printed:
                log.info("Plugin '%s' printed: %s", self.name, visit.printed)
            self.notes += [f"{what} changed {one}; that was put back" for one in visit.changed]
            if visit.seconds >= SLOW and not self.builtin:
                self.notes.append(
                    f"{what} took {visit.seconds:.1f} s: import heavy libraries in the functions that use them, not before"
                )


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
        try:
            return self._summary()
        except Exception as error:
            if self.plugin.builtin:
                raise
            return f"({cause(error)})"  # a list of names must not end with one of them

    def _summary(self) -> str:
        if isinstance(self.value, Path):
            text = self.value.read_text(encoding="utf-8")
            if self.kind == "papers":
                title = re.search(r"^title: *(.+)$", text, re.MULTILINE)
                return title.group(1).strip("\"'") if title else ""
            first = text.partition("\n")[0]
            return first.lstrip("# ").partition(": ")[2] if first.startswith("#") else ""
        own = getattr(self.value, "summary", None) or getattr(getattr(self.value, "info", None), "title", None)
        return str(own or (inspect.getdoc(self.value) or "").partition("\n")[0])


def name_of(kind: str, value: Any) -> str:
    """The name under which a thing is asked for: `info.name`, `name`, or a file's stem.

    Raises:
        UsageError: it is of another type than the hook gives, or its name cannot be written in a recipe.
        NotFoundError: it is a file that is not there.
    """
    if kind not in _TYPES:
        if not isinstance(value, Path):
            raise UsageError(f"it gives {value!r}, which is no pathlib.Path")
        if not value.is_file():
            raise NotFoundError(f"there is no file '{value}'")
        return value.parent.name if kind == "zoos" else value.stem
    wanted = _TYPES[kind]
    given = value if isinstance(value, type) else type(value)
    if not issubclass(given, _loaded(wanted)) or isinstance(value, type) != (kind in _SUBCLASSES):
        raise UsageError(f"it gives {value!r}, which is no {'subclass of ' * (kind in _SUBCLASSES)}mammozoo.{wanted}")
    if kind == "datasets" and not isinstance(getattr(value, "info", None), _loaded("DatasetInfo")):
        raise UsageError(f"{value!r} has no `info` that is a mammozoo.DatasetInfo")
    made = None if kind in _SUBCLASSES else "value" if kind == "metrics" else "build"
    if made and not callable(getattr(value, made)):
        raise UsageError(f"`{made}` of {value!r} is no function")
    name = getattr(getattr(value, "info", value), "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{value!r} has no name")
    # A score takes no options and stands alone: `monitor: sensitivity@90specificity`.
    if any(mark in name for mark in " [],:") if kind == "metrics" else "+" in name or parse(name).name != name:
        raise UsageError(f"the name '{name}' cannot be written in a recipe")
    return name


def _loaded(name: str) -> Any:
    """A public type of ours, if anybody has imported it: who made a thing of it has, and who has not must not pay for torch."""
    return getattr(sys.modules.get(mammozoo._PUBLIC[name]), name, ())
