"""From a plugin to its checks: everything that it brings, each with the rules of its kind."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mammozoo.data.sample import Dataset
from mammozoo.data.transform import TransformSpec
from mammozoo.errors import NotFoundError, UsageError, nearest
from mammozoo.evaluation.metric import Metric
from mammozoo.models.backbone import BackboneSpec
from mammozoo.models.strategy import Strategy
from mammozoo.plugins import KINDS, registry
from mammozoo.spec import Spec, parse
from mammozoo.testing import backbones, datasets, metrics, recipes, strategies, transforms
from mammozoo.testing.check import Check, Rule, Settings, Subject, bind, rule

#: The rules of each kind, in the order in which they are tried.
RULES: dict[str, Sequence[Rule[Any]]] = {
    "datasets": datasets.RULES,
    "backbones": backbones.RULES,
    "strategies": strategies.RULES,
    "metrics": metrics.RULES,
    "transforms": transforms.RULES,
    "recipes": recipes.RULES,
    "papers": recipes.PAPER_RULES,
}

Thing = tuple[str, str, Any]  # kind, name, value


@rule("Nothing of a plugin that fails is used.", "Correct what the reason names.")
def _loads(subject: Subject[str]) -> str | None:
    """The plugin can be imported, and its hooks answer."""
    return f"{subject.value}." if subject.value else None


def checks(
    plugin: str | ModuleType | object,
    *,
    only: Iterable[str] = (),
    specs: Iterable[str] = (),
    backbone: str = "test_resnet",
    root: Path | None = None,
) -> list[Check]:
    """Every check of everything that `plugin` brings; nothing is run yet.

    Args:
        plugin: name of an installed plugin, a module with hooks, or one thing: a strategy or data set class, a backbone,
            metric or transform, the path of a recipe.
        only: patterns of names (`resnet*`); empty for all.
        specs: names with the options to use for those that have no default: `gamma:layer=2`.
        backbone: the network on which strategies are tried.
        root: folder of the data, for a data set that needs one.

    Raises:
        NotFoundError: no such plugin, or nothing of it has a name of `only` or `specs`.
        UsageError: `plugin` is none of these.
    """
    settings, chosen = Settings(backbone, root), {spec.name: spec for spec in map(parse, specs)}
    patterns = tuple(only)
    if isinstance(plugin, str):
        reason = failure(plugin)
        things = [] if reason else things_of(plugin)
        found = [bind(_loads, "plugins", Subject(reason, Spec(plugin), settings))]
    else:
        things, found = _given(plugin), []
    known = {name for _, name, _ in things}
    for pattern in (*chosen, *patterns):
        if things and not fnmatch.filter(known, pattern):
            raise NotFoundError(
                f"Nothing of this plugin that can be checked is called '{pattern}'.{nearest(pattern, known)}"
            )
    for kind, name, value in things:
        if patterns and not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        subject = Subject(value, chosen.get(name, Spec(name)), settings)
        found += [bind(one, kind, subject) for one in RULES[kind]]
    return found


def parametrize_with_checks(plugin: str | ModuleType | object, **settings: Any) -> Any:
    """A pytest mark that runs a test with each of `checks(plugin, **settings)` as its argument `check`.

    A check that cannot be tried is a skip.
    """
    import pytest

    return pytest.mark.parametrize("check", checks(plugin, **settings), ids=str)


def failure(name: str) -> str:
    """Why the installed plugin `name` failed, empty where it works.

    Raises:
        NotFoundError: no such plugin is installed.
    """
    found = [plugin for plugin in registry().plugins if plugin.name == name]
    if not found:
        names = [plugin.name for plugin in registry().plugins]
        raise NotFoundError(f"There is no plugin '{name}'.{nearest(name, names)} `mammozoo plugins list` shows all.")
    for kind in KINDS:
        if found[0].state == "loaded":
            registry().items(kind)  # a hook that raises makes its plugin fail
    return found[0].reason


def things_of(name: str) -> list[Thing]:
    """What an installed plugin brings that has rules."""
    return [
        (kind, item.name, item.value)
        for kind in RULES
        for item in registry().items(kind).values()
        if item.plugin.name == name
    ]


def _given(plugin: Any) -> list[Thing]:
    if isinstance(plugin, ModuleType):
        hooks = {kind: getattr(plugin, KINDS[kind], None) for kind in RULES}
        return [(kind, _name(value), value) for kind, hook in hooks.items() if hook for value in hook()]
    return [(_kind(plugin), _name(plugin), plugin)]


def _name(value: Any) -> str:
    if isinstance(value, Path):
        return value.stem
    name = getattr(getattr(value, "info", value), "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{value!r} has no name.")
    return name


def _kind(value: Any) -> str:
    kinds: dict[str, type] = {
        "backbones": BackboneSpec,
        "metrics": Metric,
        "transforms": TransformSpec,
        "recipes": Path,
    }
    classes: dict[str, type] = {"strategies": Strategy, "datasets": Dataset}
    for kind, base in classes.items():
        if isinstance(value, type) and issubclass(value, base):
            return kind
    for kind, base in kinds.items():
        if isinstance(value, base):
            return kind
    raise UsageError(
        f"{value!r} is nothing that a plugin brings: give a plugin's name, its module, or one thing of it."
    )
