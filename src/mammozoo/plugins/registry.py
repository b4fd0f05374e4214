"""The plugins of this process, and everything that they provide, by kind and name.

Built-in plugins are loaded first and must work. A third-party plugin that fails is left out; a warning, `mammozoo plugins list`
and every "unknown name" error give the reason. A name that two third-party plugins provide is refused to both, and a built-in
name cannot be replaced; everything else of these plugins works.

`MAMMOZOO_PLUGINS` chooses among the installed plugins: unset loads all, empty loads only the built-in ones, and a
comma-separated list of entry-point names adds those.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import inspect
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

import mammozoo
from mammozoo import hookspecs
from mammozoo.errors import ConflictError, NotFoundError, UsageError, nearest
from mammozoo.plugins.command_spec import OWN
from mammozoo.plugins.discovery import DISTRIBUTION, cause, import_entry, import_file, origin
from mammozoo.plugins.provided import Item, Plugin, name_of

log = logging.getLogger("mammozoo.plugins")

GROUP = "mammozoo"
#: Kind, as in `mammozoo list KIND` → hook that provides it.
KINDS = {
    kind: f"register_{kind}"
    for kind in (
        "datasets",
        "backbones",
        "heads",
        "strategies",
        "losses",
        "predictors",
        "metrics",
        "transforms",
        "recipes",
        "papers",
        "zoos",
        "commands",
        "weight_maps",
    )
}


class Registry:
    """Everything that the loaded plugins provide, by kind and name."""

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint] = (),
        files: Iterable[Path] = (),
        *,
        specs: ModuleType = hookspecs,
        left_out: Iterable[str] = (),
    ):
        """Load the plugins; `specs` holds the hooks, and `left_out` names the installed plugins that are not loaded."""
        self._manager = pluggy.PluginManager("mammozoo")
        self._manager.add_hookspecs(specs)
        self._hooks = [name for name, hook in inspect.getmembers(specs) if hasattr(hook, "mammozoo_spec")]
        self._left_out = list(left_out)
        self._items: dict[str, dict[str, Item]] = {}
        self._contested: dict[tuple[str, str], list[Plugin]] = {}
        self._warned: set[tuple[str, str]] = set()
        self.plugins: list[Plugin] = []
        for entry in entry_points:
            self.load(Plugin(entry.name, *origin(entry)), functools.partial(import_entry, entry))
        for file in files:
            self.load(Plugin(file.stem, str(file), "file"), functools.partial(import_file, file))
        count = Counter(plugin.name for plugin in self.plugins)
        for plugin in self.plugins:
            if count[plugin.name] > 1 and not plugin.builtin:
                plugin.notes.append(f"{count[plugin.name]} plugins are called '{plugin.name}'; choose another name")

    def load(self, plugin: Plugin, import_module: Callable[[], Any]) -> None:
        """Import and register a plugin. A built-in plugin must work; any other that fails is left out with its reason."""
        self.plugins.append(plugin)
        with plugin.guarded():
            with plugin.calling("its import"):
                module = import_module()
            wanted = inspect.getattr_static(module, "mammozoo_api", mammozoo.API)  # calls no `__getattr__`
            if isinstance(wanted, int) and wanted <= mammozoo.API:
                self._register(plugin, module)
            else:
                plugin.fail(f"it needs plugin API {wanted}, this mammozoo {mammozoo.__version__} has {mammozoo.API}")

    def survey(self) -> list[Plugin]:
        """Every plugin, after all of its `register_…` hooks were called."""
        for kind in KINDS:
            self.items(kind)
        return self.plugins

    def items(self, kind: str) -> dict[str, Item]:
        """Name → item: built-in ones first, then by plugin in the order given. Names that two others both provide are left out."""
        if kind not in self._items:
            self._items[kind] = self._collect(kind)
        return self._items[kind]

    def get(self, kind: str, name: str) -> Any:
        """The thing called `name`; NotFoundError if nobody provides it, ConflictError if two plugins do."""
        return self._item(kind, name).value

    def provider(self, kind: str, name: str) -> Plugin:
        """The plugin that provides `name`; raises as `get` does."""
        return self._item(kind, name).plugin

    def _item(self, kind: str, name: str) -> Item:
        if (found := self._find_builtin(kind, name)) is not None:
            return found
        items = self.items(kind)
        if name in items:
            return items[name]
        if claimants := self._contested.get((kind, name)):
            remedy = "Uninstall one, or leave it out with MAMMOZOO_PLUGINS."
            raise ConflictError(f"Two plugins provide the name '{name}' in {kind}: {_listed(claimants)}. {remedy}")
        singular = {"strategies": "strategy", "losses": "loss"}.get(kind, kind.removesuffix("s"))
        hints = [
            f" Plugin '{plugin.name}' ({plugin.distribution}) could not be loaded: {plugin.reason}."
            for plugin in self.plugins
            if plugin.state == "failed"
        ]
        if self._left_out:
            hints.append(f" Installed and left out by MAMMOZOO_PLUGINS: {', '.join(self._left_out)}.")
        raise NotFoundError(
            f"Unknown {singular} '{name}'.{nearest(name, items)} `mammozoo list {kind}` shows all.{''.join(hints)}"
        )

    def _find_builtin(self, kind: str, name: str) -> Item | None:
        """The item of a built-in plugin without a list of all; None if there may be another claim to the name.

        A hook may return a catalogue: an iterable with a method `find(name)`, which makes one thing instead of a thousand.
        """
        implementations = list(self._implementations(KINDS[kind]))
        if kind in self._items or not all(plugin.builtin for plugin, _ in implementations):
            return None
        for plugin, implementation in implementations:
            things: Any = implementation.function()
            found = [things.find(name)] if hasattr(things, "find") else things
            for thing in found:
                if thing is not None and name_of(kind, thing) == name:
                    return Item(kind, name, thing, plugin)
        return None

    def module(self, plugin: Plugin) -> Any:
        """The module with a plugin's hooks, or the object that its entry point names; None if the plugin failed."""
        return self._manager.get_plugin(_key(plugin))

    def owner(self, file: Path) -> tuple[Plugin, str] | None:
        """The third-party plugin with this Python file, and the file's name in it; None if it belongs to none."""
        for plugin in self.plugins:
            module = inspect.getmodule(self.module(plugin))
            if plugin.builtin or module is None:
                continue
            top = sys.modules.get(module.__name__.partition(".")[0], module)
            for folder in map(Path, getattr(top, "__path__", ())):
                if file.is_relative_to(folder):
                    return plugin, file.relative_to(folder.parent).as_posix()
            if getattr(module, "__file__", None) == str(file):
                return plugin, file.name
        return None

    def notify(self, hook: str, **arguments: Any) -> list[Any]:
        """What an event hook (`epoch_end`, `run_scored`, `run_end`) of every plugin returns. What it prints goes to stderr.

        Errors are logged and not raised: the first of each hook and plugin as a warning, because a training has many epochs.
        """
        returned: list[Any] = []
        for plugin, implementation in self._implementations(hook):
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    returned.append(implementation.function(**accepted))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                level = logging.DEBUG if (_key(plugin), hook) in self._warned else logging.WARNING
                self._warned.add((_key(plugin), hook))
                log.log(level, "Plugin '%s': %s raised %s; ignored.", plugin.name, hook, cause(error))
        return returned

    def unmarked(self, module: Any) -> list[str]:
        """The functions of a module that have a hook's name and no `@hookimpl`, so that nobody calls them."""
        found = {name: inspect.getattr_static(module, name, None) for name in self._hooks}
        return [name for name in found if inspect.isfunction(found[name]) and not hasattr(found[name], "mammozoo_impl")]

    def _register(self, plugin: Plugin, module: Any) -> None:
        key = _key(plugin)
        if self._manager.has_plugin(key) or self._manager.is_registered(module):
            raise UsageError("another entry point loads the same module, or has the same name in the same distribution")
        with warnings.catch_warnings(record=True) as deprecations:
            warnings.simplefilter("always")
            self._manager.register(module, name=key)
        plugin.notes += dict.fromkeys(f"deprecated: {warning.message}" for warning in deprecations)
        try:
            for caller in self._manager.get_hookcallers(module) or []:
                if caller.name not in self._hooks:
                    raise UsageError(f"there is no hook '{caller.name}'.{nearest(caller.name, self._hooks)}")
                if any(i.plugin is module and (i.wrapper or i.hookwrapper) for i in caller.get_hookimpls()):
                    raise UsageError(f"'{caller.name}' is a hook wrapper, and API {mammozoo.API} has none")
        except Exception:
            self._manager.unregister(name=key)
            raise
        for name in self.unmarked(module):
            plugin.notes.append(f"its function '{name}' is not marked @mammozoo.hookimpl, so it is not used")

    def _implementations(self, hook: str) -> Iterator[tuple[Plugin, pluggy.HookImpl]]:
        implementations = {impl.plugin_name: impl for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        for plugin in self.plugins:
            if _key(plugin) in implementations and plugin.state != "failed":
                yield plugin, implementations[_key(plugin)]

    def _collect(self, kind: str) -> dict[str, Item]:
        """The items of one kind; a name of several plugins is the built-in one's, or nobody's."""
        claims: dict[str, list[Item]] = {}
        for plugin, implementation in self._implementations(KINDS[kind]):
            for name, value in self._things(kind, plugin, implementation).items():
                if kind == "commands" and name in OWN:
                    plugin.lose(f"its command '{name}' is not used, for mammozoo has one of that name")
                    continue
                claims.setdefault(name, []).append(Item(kind, name, value, plugin))
        items: dict[str, Item] = {}
        for name, claimants in claims.items():
            first, *others = claimants
            if not others or first.plugin.builtin:
                items[name] = first
                first.plugin.adds.setdefault(kind, []).append(name)
            else:
                self._contested[kind, name] = [item.plugin for item in claimants]
            for item in others if name in items else claimants:
                if item.plugin.builtin:
                    raise ConflictError(f"Two built-in plugins provide the name '{name}' in {kind}.")
                rivals = [first.plugin] if name in items else [i.plugin for i in claimants if i is not item]
                item.plugin.lose(f"its name '{name}' in {kind} is not used, for it is also that of {_listed(rivals)}")
        return items

    def _things(self, kind: str, plugin: Plugin, implementation: pluggy.HookImpl) -> dict[str, Any]:
        """Name → thing, as one plugin's hook gives them; empty if it fails."""
        hook = KINDS[kind]
        things: dict[str, Any] = {}
        with plugin.guarded(f"{hook} raised "), plugin.calling(hook):
            for value in implementation.function():  # type: ignore[attr-defined]
                name = name_of(kind, value)
                if name in things:
                    raise UsageError(f"it gives the name '{name}' twice")
                things[name] = value
            plugin.adds.setdefault(kind, [])
            return things
        return {}


@functools.cache
def registry() -> Registry:
    """The plugins of this process: the built-in ones, then the installed ones that `MAMMOZOO_PLUGINS` admits."""
    found = sorted(
        importlib.metadata.entry_points(group=GROUP),
        key=lambda entry: (origin(entry)[0] != DISTRIBUTION, entry.name, origin(entry)),
    )
    chosen = os.environ.get("MAMMOZOO_PLUGINS")
    names = {entry.name for entry in found} if chosen is None else {name.strip() for name in chosen.split(",")}
    admitted = [entry for entry in found if origin(entry)[0] == DISTRIBUTION or entry.name in names]
    files = [Path(name) for name in os.environ.get("MAMMOZOO_PLUGIN_FILES", "").split(os.pathsep) if name]
    return Registry(admitted, files, left_out=[entry.name for entry in found if entry not in admitted])


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}:{plugin.name}"


def _listed(plugins: Iterable[Plugin]) -> str:
    return " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
