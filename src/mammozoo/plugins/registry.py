"""The plugins of this process, and everything that they provide, by kind and name.

Ours are loaded first and must work; a third party's that fails is recorded with its reason, named once in a
warning, in `mammozoo plugins list`, and in every "unknown name" error it may be the cause of. A name that two plugins
provide is refused to both, and one of ours stays ours; everything else of them works.

`MAMMOZOO_PLUGINS` chooses among the installed: unset loads all, empty loads the built-ins only, and a
comma-separated list of entry-point names adds just those.
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
from mammozoo.plugins.discovery import DISTRIBUTION, cause, import_entry, import_file, origin
from mammozoo.plugins.provided import Item, Plugin, name_of

log = logging.getLogger("mammozoo.plugins")

GROUP = "mammozoo"
#: What `mammozoo list KIND` knows, and the hook that provides it.
KINDS = {
    "datasets": "register_datasets",
    "backbones": "register_backbones",
    "heads": "register_heads",
    "strategies": "register_strategies",
    "metrics": "register_metrics",
    "transforms": "register_transforms",
    "recipes": "register_recipes",
    "papers": "register_papers",
    "zoos": "register_zoos",
}


class Registry:
    """Everything that the loaded plugins provide, by kind and name."""

    def __init__(
        self,
        entry_points: Iterable[importlib.metadata.EntryPoint],
        files: Iterable[Path] = (),
        *,
        specs: ModuleType = hookspecs,
        left_out: Iterable[str] = (),
    ):
        """Load the plugins; `specs` holds the hooks, and `left_out` names what is installed and was not asked for."""
        self._manager = pluggy.PluginManager("mammozoo")
        self._manager.add_hookspecs(specs)
        self._known = [name for name, hook in inspect.getmembers(specs) if hasattr(hook, "mammozoo_spec")]
        self._left_out = list(left_out)
        self._items: dict[str, dict[str, Item]] = {}
        self._contested: dict[tuple[str, str], list[Plugin]] = {}
        self._heard: set[tuple[str, str]] = set()
        self.plugins: list[Plugin] = []
        for entry in entry_points:
            self._load(Plugin(entry.name, *origin(entry)), functools.partial(import_entry, entry))
        for file in files:
            self._load(Plugin(file.stem, str(file), "file"), functools.partial(import_file, file))
        count = Counter(plugin.name for plugin in self.plugins)
        for plugin in self.plugins:
            if count[plugin.name] > 1 and not plugin.builtin:
                plugin.notes.append(f"{count[plugin.name]} plugins are called '{plugin.name}'; choose another name")

    def survey(self) -> list[Plugin]:
        """Every plugin, after all of its hooks were asked."""
        for kind in KINDS:
            self.items(kind)
        return self.plugins

    def items(self, kind: str) -> dict[str, Item]:
        """Name → item, ours first, then by plugin and in the order given; without the names that two others both provide."""
        if kind not in self._items:
            self._items[kind] = self._collect(kind)
        return self._items[kind]

    def get(self, kind: str, name: str) -> Any:
        """The thing called `name`.

        Raises:
            NotFoundError: nobody provides it; the message offers the nearest name and the plugins that failed.
            ConflictError: two plugins provide it.
        """
        items = self.items(kind)
        if name in items:
            return items[name].value
        if claimants := self._contested.get((kind, name)):
            raise ConflictError(
                f"Two plugins provide the name '{name}' in {kind}: {_listed(claimants)}. Uninstall one, or leave it out with "
                "MAMMOZOO_PLUGINS."
            )
        singular = {"strategies": "strategy"}.get(kind, kind.removesuffix("s"))
        broken = "".join(
            f" Plugin '{plugin.name}' ({plugin.distribution}) could not be loaded: {plugin.reason}."
            for plugin in self.plugins
            if plugin.state == "failed"
        )
        if self._left_out:
            broken += f" Installed and left out by MAMMOZOO_PLUGINS: {', '.join(self._left_out)}."
        raise NotFoundError(
            f"Unknown {singular} '{name}'.{nearest(name, items)} `mammozoo list {kind}` shows all.{broken}"
        )

    def provider(self, kind: str, name: str) -> Plugin:
        """The plugin that brought `name`."""
        self.get(kind, name)
        return self.items(kind)[name].plugin

    def hooks(self, plugin: Plugin) -> Any:
        """What holds a plugin's hooks: its module, or the object that its entry point names; None where it failed."""
        return self._manager.get_plugin(_key(plugin))

    def owner(self, file: Path) -> tuple[Plugin, str] | None:
        """The plugin of another that a Python file belongs to, and the file's name in it; None where it is nobody's or ours."""
        for plugin in self.plugins:
            module = inspect.getmodule(self.hooks(plugin))
            if plugin.builtin or module is None:
                continue
            top = sys.modules.get(module.__name__.partition(".")[0], module)
            for folder in map(Path, getattr(top, "__path__", ())):
                if file.is_relative_to(folder):
                    return plugin, file.relative_to(folder.parent).as_posix()
            if getattr(module, "__file__", None) == str(file):
                return plugin, file.name
        return None

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an event hook (`epoch_end`, `run_end`) on every plugin. What it prints goes to stderr.

        Errors are logged, never raised; of one hook in one plugin the first, for a training has many epochs.
        """
        for plugin, implementation in self._implementations(hook):
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                with contextlib.redirect_stdout(sys.stderr):
                    implementation.function(**accepted)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                again = (_key(plugin), hook) in self._heard
                self._heard.add((_key(plugin), hook))
                level = logging.DEBUG if again else logging.WARNING
                log.log(level, "Plugin '%s': %s raised %s; ignored.", plugin.name, hook, cause(error))

    def _load(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        self.plugins.append(plugin)
        try:
            with plugin.visited("its import"):
                module = load()
            wanted = inspect.getattr_static(module, "mammozoo_api", mammozoo.API)  # asks no `__getattr__`
            if not isinstance(wanted, int) or wanted > mammozoo.API:
                plugin.fail(f"it needs plugin API {wanted}, this mammozoo {mammozoo.__version__} has {mammozoo.API}")
                return
            self._register(plugin, module)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if plugin.builtin:
                raise
            plugin.fail(cause(error))

    def _register(self, plugin: Plugin, module: Any) -> None:
        key = _key(plugin)
        if self._manager.has_plugin(key) or self._manager.is_registered(module):
            raise UsageError("another entry point loads the same module, or has the same name in the same distribution")
        with warnings.catch_warnings(record=True) as told:  # of deprecated hooks and arguments
            warnings.simplefilter("always")
            self._manager.register(module, name=key)
        plugin.notes += dict.fromkeys(f"deprecated: {one.message}" for one in told)
        try:
            for caller in self._manager.get_hookcallers(module) or []:
                if caller.name not in self._known:
                    raise UsageError(f"there is no hook '{caller.name}'.{nearest(caller.name, self._known)}")
                if any(i.plugin is module and (i.wrapper or i.hookwrapper) for i in caller.get_hookimpls()):
                    raise UsageError(f"'{caller.name}' is a hook wrapper, and API {mammozoo.API} has none")
        except Exception:
            self._manager.unregister(name=key)
            raise
        for name in self._known:
            hook = inspect.getattr_static(module, name, None)
            if inspect.isfunction(hook) and not hasattr(hook, "mammozoo_impl"):
                plugin.notes.append(f"its function '{name}' is not marked @mammozoo.hookimpl, so it is not used")

    def _implementations(self, hook: str) -> Iterator[tuple[Plugin, pluggy.HookImpl]]:
        found = getattr(self._manager.hook, hook).get_hookimpls()
        for plugin in self.plugins:
            for implementation in found:
                if implementation.plugin_name == _key(plugin) and plugin.state != "failed":
                    yield plugin, implementation

    def _collect(self, kind: str) -> dict[str, Item]:
        claims: dict[str, list[Item]] = {}
        for plugin, implementation in self._implementations(KINDS[kind]):
            for name, value in self._asked(kind, plugin, implementation).items():
                claims.setdefault(name, []).append(Item(kind, name, value, plugin))
        found: dict[str, Item] = {}
        for name, claimants in claims.items():
            first, *others = claimants
            if not others or first.plugin.builtin:
                found[name] = first
                first.plugin.adds.setdefault(kind, []).append(name)
            else:
                self._contested[kind, name] = [item.plugin for item in claimants]
            losers = others if first.plugin.builtin else claimants if others else []
            for item in losers:
                rivals = [first.plugin] if first.plugin.builtin else [i.plugin for i in claimants if i is not item]
                if item.plugin.builtin:  # ours come first: two of ours
                    raise ConflictError(f"Two of our plugins provide the name '{name}' in {kind}.")
                item.plugin.lose(f"its name '{name}' in {kind} is not used, for it is also that of {_listed(rivals)}")
        return found

    def _asked(self, kind: str, plugin: Plugin, implementation: pluggy.HookImpl) -> dict[str, Any]:
        """Name → thing, as one plugin gives them; nothing where it fails."""
        hook = KINDS[kind]
        named: dict[str, Any] = {}
        try:
            with plugin.visited(hook):
                given: Any = implementation.function()
                for value in given:
                    name = name_of(kind, value)
                    if name in named:
                        raise UsageError(f"it gives the name '{name}' twice")
                    named[name] = value
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if plugin.builtin:
                raise
            plugin.fail(f"{hook} raised {cause(error)}")
            return {}
        plugin.adds.setdefault(kind, [])
        return named


@functools.cache
def registry() -> Registry:
    """The plugins of this process: the built-ins, then the installed ones that `MAMMOZOO_PLUGINS` admits."""
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
