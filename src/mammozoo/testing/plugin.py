"""From a plugin to its checks: the plugin as a whole, then every thing that it brings with the rules of its kind."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from mammozoo.config.names import Spec, parse
from mammozoo.documents import Document
from mammozoo.errors import MammozooError, NotFoundError, UsageError, nearest
from mammozoo.plugins import KINDS, Item, Plugin, Registry, registry
from mammozoo.plugins.provided import TYPES, given_name, is_one_of
from mammozoo.testing.backbones import BackboneRules
from mammozoo.testing.check import Check, Rules, Settings, bind, needs, rule
from mammozoo.testing.commands import CommandRules
from mammozoo.testing.datasets import DatasetRules
from mammozoo.testing.events import EVENTS, EventRules
from mammozoo.testing.heads import HeadRules
from mammozoo.testing.losses import LossRules
from mammozoo.testing.metrics import MetricRules
from mammozoo.testing.predictors import PredictorRules
from mammozoo.testing.recipes import PaperRules, RecipeRules
from mammozoo.testing.strategies import StrategyRules
from mammozoo.testing.transforms import TransformRules
from mammozoo.testing.weight_maps import WeightMapRules
from mammozoo.testing.zoos import ZooRules

if TYPE_CHECKING:
    import pytest

_FEW = 12  # names that a message can show


class Contents(NamedTuple):
    """Why a plugin cannot be used, if it cannot; what it brings; its functions with a hook's name and no `@hookimpl`."""

    reason: str
    things: Sequence[Item] = ()
    unmarked: Sequence[str] = ()


class PluginRules(Rules[Contents]):
    """Tried on the plugin as a whole."""

    @rule("What does not load cannot be used, and is in no list. Correct what the reason names.")
    def loads(self) -> None:
        """The plugin can be imported, its hooks give things of the types that they promise, and no name is another plugin's."""
        assert not self.value.reason, f"{self.value.reason.rstrip('.')}."

    @needs(loads)
    @rule("What is not marked is never called. Write `@hookimpl` above each hook, in the entry point's module.")
    def hooks_are_heard(self) -> None:
        """Every function with the name of a hook is marked as one, and together they bring something."""
        unmarked = self.value.unmarked
        assert not unmarked, f"`{unmarked[0]}` is not marked as a hook."
        assert self.value.things, "It brings nothing: it has no hook, or its hooks give none."


_KINDS: dict[str, type[Rules[Any]]] = {
    "plugins": PluginRules, "datasets": DatasetRules, "backbones": BackboneRules, "heads": HeadRules,
    "strategies": StrategyRules, "losses": LossRules, "metrics": MetricRules, "transforms": TransformRules, "recipes": RecipeRules,
    "predictors": PredictorRules, "papers": PaperRules, "zoos": ZooRules, "commands": CommandRules,
    "weight_maps": WeightMapRules, "events": EventRules,
}  # fmt: skip
#: The rules of each kind, in the order in which they are tried.
RULES = {kind: rules.rules() for kind, rules in _KINDS.items()}


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
        UsageError: `plugin` is none of these, or Python runs without assertions (`-O`).
    """
    if not __debug__:
        raise UsageError("The checks are assertions, which `python -O` skips. Run Python without -O.")
    settings, chosen = Settings(backbone, root), {spec.name: spec for spec in map(parse, specs)}
    patterns = tuple(only)
    subjects: list[Rules[Any]] = []
    if isinstance(plugin, str | ModuleType):
        contents = _contents(plugin)
        name = plugin if isinstance(plugin, str) else plugin.__name__
        subjects.append(PluginRules("plugins", contents, Spec(name), settings))
    else:
        contents = Contents("", [_single(plugin)])
    _refuse_unknown(contents.things, (*chosen, *patterns))
    for thing in contents.things:
        if patterns and not any(_fits(thing, pattern) for pattern in patterns):
            continue
        if thing.kind == "strategies":
            registry().get("backbones", parse(backbone).name)
        spec = chosen.get(thing.name, Spec(thing.name))
        subjects.append(_KINDS[thing.kind](thing.kind, thing.value, spec, settings))
    return [bind(rule, subject) for subject in subjects for rule in RULES[subject.kind]]


def parametrize_with_checks(plugin: str | ModuleType | object, **settings: Any) -> pytest.MarkDecorator:
    """A pytest mark that runs a test with each of `checks(plugin, **settings)` as its argument `check`.

    A check that cannot be tried is a skip; what `checks` refuses is one error of collection, without a traceback.
    """
    import pytest

    try:
        found = checks(plugin, **settings)
    except MammozooError as error:
        raise pytest.Collector.CollectError(f"{type(error).__name__}: {error}") from error
    return pytest.mark.parametrize("check", found, ids=str)


def _contents(named: str | ModuleType) -> Contents:
    if isinstance(named, str):
        known = registry()
        found = {plugin.name: plugin for plugin in reversed(known.plugins)}
        if named not in found:
            raise NotFoundError(
                f"There is no plugin '{named}'.{nearest(named, found)} These are loaded: {', '.join(reversed(found))}. Install its "
                "package (`pip install -e FOLDER`) and give its entry point's name; MAMMOZOO_PLUGINS, if set, must have it too."
            )
        plugin = found[named]
    else:
        known, plugin = Registry(), Plugin(named.__name__, "module", "?")
        known.load(plugin, lambda: named)
    things = [item for kind in KINDS for item in known.items(kind).values() if item.plugin is plugin]
    if plugin.state == "failed":  # perhaps in one of the hooks just called
        return Contents(plugin.reason)
    module = known.module(plugin)
    unmarked = known.unmarked(module)
    for hook in EVENTS:
        if hasattr(module, hook) and hook not in unmarked:
            things.append(Item("events", hook, getattr(module, hook), plugin))
    return Contents(plugin.reason, things, unmarked)


def _single(value: Any) -> Item:
    """One thing by itself, of the kind that its type or its file shows; a rule checks whether a recipe can write its name."""
    nobody = Plugin("?", "?", "?")
    if isinstance(value, Path):
        of_file = _kind_of_file(value)
        return Item(of_file, value.parent.name if of_file == "zoos" else value.stem, value, nobody)
    kind = next((kind for kind in TYPES if is_one_of(kind, value)), None)
    if kind is None:
        raise UsageError(f"A plugin cannot bring {value!r}: give a plugin's name, its module, or one thing of it.")
    return Item(kind, given_name(value), value, nobody)


def _kind_of_file(path: Path) -> str:
    """`zoo.yaml` is a zoo, a file with rows and protocols is a paper, and every other file is taken for a recipe."""
    if path.name == "zoo.yaml":
        return "zoos"
    try:
        content = Document.read(path, UsageError, aliases=True).content
    except UsageError:
        return "recipes"
    return "papers" if isinstance(content, dict) and {"rows", "protocols"} <= content.keys() else "recipes"


def _fits(thing: Item, pattern: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in (thing.name, f"{thing.kind}:{thing.name}"))


def _refuse_unknown(things: Sequence[Item], patterns: Iterable[str]) -> None:
    """Raise NotFoundError for the first pattern that fits no thing; a plugin that failed has no things to compare with."""
    names = {thing.name for thing in things}
    for pattern in patterns if names else ():
        if not any(_fits(thing, pattern) for thing in things):
            count = Counter(thing.kind for thing in things)
            some = ", ".join(sorted(names) if len(names) <= _FEW else (f"{n} {kind}" for kind, n in count.items()))
            nothing = f"Nothing of this plugin is called '{pattern}'.{nearest(pattern, names)}"
            raise NotFoundError(f"{nothing} It brings {some}; a kind is chosen as in 'heads:*'.")
