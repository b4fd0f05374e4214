"""From a plugin to its checks: everything that it brings, each with the rules of its kind."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mammozoo.config.names import Spec, parse
from mammozoo.errors import MammozooError, NotFoundError, nearest
from mammozoo.plugins import registry
from mammozoo.testing import (
    backbones,
    brought,
    datasets,
    events,
    heads,
    metrics,
    recipes,
    strategies,
    transforms,
    zoos,
)
from mammozoo.testing.brought import Brought
from mammozoo.testing.check import Check, Rule, Settings, Subject, bind

if TYPE_CHECKING:
    import pytest

_FEW = 12  # names that a message can show

#: The rules of each kind, in the order in which they are tried.
RULES: dict[str, Sequence[Rule[Any]]] = {
    "plugins": brought.RULES,
    "datasets": datasets.RULES,
    "backbones": backbones.RULES,
    "heads": heads.RULES,
    "strategies": strategies.RULES,
    "metrics": metrics.RULES,
    "transforms": transforms.RULES,
    "recipes": recipes.RULES,
    "papers": recipes.PAPER_RULES,
    "zoos": zoos.RULES,
    "events": events.RULES,
}


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
            head, metric or transform, the path of a recipe, paper or `zoo.yaml`.
        only: patterns of names (`resnet*`) or of kinds and names (`heads:*`); empty for all.
        specs: names with the options to use for those that have no default: `gamma:layer=2`.
        backbone: the network on which strategies are tried.
        root: folder of the data, for a data set that needs one.

    Raises:
        NotFoundError: no such plugin, nothing of it has a name of `only` or `specs`, or there is no such backbone.
        UsageError: `plugin` is none of these.
    """
    settings, chosen = Settings(backbone, root), {spec.name: spec for spec in map(parse, specs)}
    patterns, found = tuple(only), list[Check]()
    if isinstance(plugin, str | ModuleType):
        brings = brought.installed(plugin) if isinstance(plugin, str) else brought.of_module(plugin)
        whole = Subject(brings, Spec(plugin if isinstance(plugin, str) else plugin.__name__), settings)
        found += [bind(one, "plugins", whole) for one in RULES["plugins"]]
    else:
        brings = Brought("", [brought.of_value(plugin)])
    _refuse_unknown(brings, (*chosen, *patterns))
    things = [thing for thing in brings.things if not patterns or any(_fits(thing, pattern) for pattern in patterns)]
    if any(thing.kind == "strategies" for thing in things):
        registry().get("backbones", parse(backbone).name)
    for thing in things:
        subject = Subject(thing.value, chosen.get(thing.name, Spec(thing.name)), settings)
        found += [bind(one, thing.kind, subject) for one in RULES[thing.kind]]
    return found


def parametrize_with_checks(plugin: str | ModuleType | object, **settings: Any) -> pytest.MarkDecorator:
    """A pytest mark that runs a test with each of `checks(plugin, **settings)` as its argument `check`.

    A check that cannot be tried is a skip. What `checks` refuses (a plugin that is not installed, a name that it does not
    have) is one error of collection, without a traceback.
    """
    import pytest

    try:
        found = checks(plugin, **settings)
    except MammozooError as error:
        raise pytest.Collector.CollectError(f"{type(error).__name__}: {error}") from error
    return pytest.mark.parametrize("check", found, ids=str)


def _fits(thing: brought.Thing, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (thing.name, f"{thing.kind}:{thing.name}"))


def _refuse_unknown(brings: Brought, patterns: Iterable[str]) -> None:
    """Raise NotFoundError for the first pattern that no thing has; of a plugin that failed nothing is known."""
    names = {thing.name for thing in brings.things}
    for pattern in patterns if names else ():
        if not any(_fits(thing, pattern) for thing in brings.things):
            count = Counter(thing.kind for thing in brings.things)
            some = ", ".join(sorted(names) if len(names) <= _FEW else (f"{n} {kind}" for kind, n in count.items()))
            raise NotFoundError(
                f"Nothing of this plugin is called '{pattern}'.{nearest(pattern, names)} It brings {some}; a kind is chosen as in "
                "'heads:*'."
            )
