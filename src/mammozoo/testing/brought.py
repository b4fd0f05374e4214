"""What a plugin brings, and what it must keep as a whole: it loads, and each of its hooks is heard."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from mammozoo import hookspecs
from mammozoo.data.dataset import Dataset
from mammozoo.data.transforms import TransformSpec
from mammozoo.errors import NotFoundError, UsageError, nearest
from mammozoo.evaluation.metric import Metric
from mammozoo.models.backbone import BackboneSpec
from mammozoo.models.head import HeadSpec
from mammozoo.models.strategy import Strategy
from mammozoo.plugins import KINDS, registry
from mammozoo.plugins.provided import name_of
from mammozoo.testing.check import Rule, Subject, rule, said
from mammozoo.testing.events import EVENTS

_CLASSES: dict[str, type] = {"datasets": Dataset, "strategies": Strategy}
_VALUES: dict[str, type] = {
    "backbones": BackboneSpec,
    "heads": HeadSpec,
    "metrics": Metric,
    "transforms": TransformSpec,
}


@dataclass(frozen=True)
class Thing:
    """One thing of a plugin; the rules of its `kind` are for it."""

    kind: str
    name: str
    value: Any


@dataclass(frozen=True)
class Brought:
    """What a plugin brings.

    Attributes:
        reason: why it, or a part of it, cannot be used; empty where all of it can.
        things: what its hooks give, and its event hooks.
        unmarked: functions that have a hook's name and no `@hookimpl`, so that nobody calls them.
    """

    reason: str = ""
    things: Sequence[Thing] = ()
    unmarked: Sequence[str] = ()


@rule("What does not load cannot be used, and is in no list.", "Correct what the reason names.")
def loads(subject: Subject[Brought]) -> str | None:
    """The plugin can be imported, its hooks give things of the types that they promise, and no name is another plugin's."""
    return f"{subject.value.reason.rstrip('.')}." if subject.value.reason else None


@rule(
    "What is not marked is never called.",
    "Write `@hookimpl` (from mammozoo) above each hook, in the module that the entry point names.",
    needs=[loads],
)
def hooks_are_heard(subject: Subject[Brought]) -> str | None:
    """Every function with the name of a hook is marked as one, and together they bring something."""
    if subject.value.unmarked:
        return f"`{subject.value.unmarked[0]}` is not marked as a hook."
    return None if subject.value.things else "It brings nothing: it has no hook, or its hooks give none."


RULES: list[Rule[Brought]] = [loads, hooks_are_heard]


def installed(name: str) -> Brought:
    """What the installed plugin `name` brings.

    Raises:
        NotFoundError: no such plugin is installed.
    """
    known = registry()
    found = next((plugin for plugin in known.plugins if plugin.name == name), None)
    if found is None:
        names = [plugin.name for plugin in known.plugins]
        raise NotFoundError(
            f"There is no plugin '{name}'.{nearest(name, names)} These are loaded: {', '.join(names)}. Install its package "
            "(`pip install -e FOLDER`) and give the name of its entry point; MAMMOZOO_PLUGINS, where it is set, must have it too."
        )
    items = [item for kind in KINDS for item in known.items(kind).values() if item.plugin is found]
    if found.state == "failed":  # as some of its hooks may have told just now
        return Brought(found.reason)
    module = registry().hooks(found)
    things = [*(Thing(item.kind, item.name, item.value) for item in items), *_events(module)]
    return Brought(found.reason, things, _unmarked(module))


def of_module(module: ModuleType) -> Brought:
    """What the hooks of a module give; they are called."""
    unmarked = _unmarked(module)
    things = []
    for kind, hook in KINDS.items():
        if hook in unmarked or not hasattr(module, hook):
            continue
        try:
            things += [Thing(kind, name_of(kind, value), value) for value in getattr(module, hook)()]
        except Exception as error:
            return Brought(f"{hook}: {said(error)}")
    return Brought("", [*things, *_events(module)], unmarked)


def of_value(value: Any) -> Thing:
    """One thing by itself, its kind told from its type or from its file.

    Raises:
        UsageError: it is nothing that a plugin brings, or has no name that can be written.
    """
    kind = _kind_of_file(value) if isinstance(value, Path) else _kind(value)
    if kind is None:
        raise UsageError(
            f"{value!r} is nothing that a plugin brings: give a plugin's name, its module, or one thing of it."
        )
    return Thing(kind, _name(kind, value), value)


def _events(module: Any) -> list[Thing]:
    return [Thing("events", hook, getattr(module, hook)) for hook in EVENTS if _marked(module, hook)]


def _unmarked(module: Any) -> list[str]:
    hooks = [name for name, hook in inspect.getmembers(hookspecs) if hasattr(hook, "mammozoo_spec")]
    return [hook for hook in hooks if inspect.isfunction(_own(module, hook)) and not _marked(module, hook)]


def _marked(module: Any, hook: str) -> bool:
    return hasattr(_own(module, hook), "mammozoo_impl")


def _own(module: Any, name: str) -> Any:
    return inspect.getattr_static(module, name, None)  # asks no `__getattr__`, which may answer anything


def _kind(value: Any) -> str | None:
    known, fits = (_CLASSES, issubclass) if isinstance(value, type) else (_VALUES, isinstance)
    return next((kind for kind, base in known.items() if fits(value, base)), None)


def _name(kind: str, value: Any) -> str:
    """Its name, though it cannot be written in a recipe: that is a rule's business here."""
    if isinstance(value, Path):
        return value.parent.name if kind == "zoos" else value.stem
    name = getattr(getattr(value, "info", value), "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{value!r} has no name.")
    return name


def _kind_of_file(path: Path) -> str:
    """`zoo.yaml` is a zoo, what has rows and protocols is a paper, and all else is meant to be a recipe."""
    if path.name == "zoo.yaml":
        return "zoos"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return "recipes"
    return "papers" if isinstance(content, dict) and {"rows", "protocols"} <= content.keys() else "recipes"
