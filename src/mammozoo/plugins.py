"""Finding plugins, loading them so that a broken one hurts nobody, and asking all of them by name.

Ours are loaded first and must work; a third party's that fails is recorded with its reason, named once in a
warning, in `mammozoo plugins list`, and in every "unknown name" error it may be the cause of.

`MAMMOZOO_PLUGINS` chooses among the installed: unset loads all, empty loads the built-ins only, and a
comma-separated list of entry-point names adds just those.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import inspect
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pluggy

import mammozoo
from mammozoo import hookspecs
from mammozoo.errors import ConflictError, NotFoundError, UsageError, nearest

log = logging.getLogger(__name__)

GROUP = "mammozoo"
DISTRIBUTION = "mammozoo"
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


@dataclass
class Plugin:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    state: Literal["loaded", "failed"] = "loaded"
    reason: str = ""
    adds: dict[str, list[str]] = field(default_factory=dict)

    @property
    def builtin(self) -> bool:
        """Whether it comes with mammozoo itself, so that its failure is our bug."""
        return self.distribution == DISTRIBUTION

    def fail(self, reason: str) -> None:
        """Record that the plugin is out of the game, and say so once."""
        self.state, self.reason = "failed", reason
        log.warning("Plugin '%s' (%s %s) is left out: %s", self.name, self.distribution, self.version, reason)


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
        if isinstance(self.value, Path):
            text = self.value.read_text(encoding="utf-8")
            if self.kind == "papers":
                title = re.search(r"^title: *(.+)$", text, re.MULTILINE)
                return title.group(1).strip("\"'") if title else ""
            first = text.partition("\n")[0]
            return first.lstrip("# ").partition(": ")[2] if first.startswith("#") else ""
        own = getattr(self.value, "summary", None) or getattr(getattr(self.value, "info", None), "title", None)
        return str(own or (inspect.getdoc(self.value) or "").partition("\n")[0])


class Registry:
    """Everything that the loaded plugins provide, by kind and name."""

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint], files: Iterable[Path] = ()):
        self._manager = pluggy.PluginManager("mammozoo")
        self._manager.add_hookspecs(hookspecs)
        self.plugins: list[Plugin] = []
        self._items: dict[str, dict[str, Item]] = {}
        for entry in entry_points:
            distribution = entry.dist.name if entry.dist else "?"
            version = entry.dist.version if entry.dist else "?"
            self._load(Plugin(entry.name, distribution, version), entry.load)
        for file in files:
            self._load(Plugin(file.stem, str(file), "file"), functools.partial(_import_file, file))

    def items(self, kind: str) -> dict[str, Item]:
        """Name → item, ours first, then by plugin and in the order given.

        Raises:
            ConflictError: two plugins provide one name.
        """
        if kind not in self._items:
            self._items[kind] = self._collect(kind)
        return self._items[kind]

    def get(self, kind: str, name: str) -> Any:
        """The thing called `name`.

        Raises:
            NotFoundError: nobody provides it; the message offers the nearest name and the plugins that failed.
        """
        items = self.items(kind)
        if name in items:
            return items[name].value
        singular = {"strategies": "strategy"}.get(kind, kind.removesuffix("s"))
        broken = "".join(
            f" Plugin '{plugin.name}' ({plugin.distribution}) could not be loaded: {plugin.reason}."
            for plugin in self.plugins
            if plugin.state == "failed"
        )
        raise NotFoundError(
            f"Unknown {singular} '{name}'.{nearest(name, items)} `mammozoo list {kind}` shows all.{broken}"
        )

    def provider(self, kind: str, name: str) -> Plugin:
        """The plugin that brought `name`."""
        self.get(kind, name)
        return self.items(kind)[name].plugin

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an event hook (`epoch_end`, `run_end`) on every plugin; errors are logged, never raised."""
        for plugin, implementation in self._implementations(hook):
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**accepted)
            except Exception as error:
                log.warning("Plugin '%s': %s raised %s; ignored.", plugin.name, hook, _cause(error))

    def _load(self, plugin: Plugin, load: Callable[[], Any]) -> None:
        self.plugins.append(plugin)
        try:
            with _quiet(plugin):
                module = load()
            wanted = getattr(module, "mammozoo_api", mammozoo.API)
            if not isinstance(wanted, int) or wanted > mammozoo.API:
                plugin.fail(f"it needs plugin API {wanted}, this mammozoo {mammozoo.__version__} has {mammozoo.API}")
                return
            self._register(plugin, module)
        except (Exception, SystemExit) as error:
            if plugin.builtin:
                raise
            plugin.fail(_cause(error))

    def _register(self, plugin: Plugin, module: Any) -> None:
        key = f"{plugin.distribution}:{plugin.name}"
        self._manager.register(module, name=key)
        try:
            known = {name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction)}
            for caller in self._manager.get_hookcallers(module) or []:
                if caller.name not in known:
                    raise UsageError(f"there is no hook '{caller.name}'.{nearest(caller.name, known)}")
        except Exception:
            self._manager.unregister(name=key)
            raise

    def _implementations(self, hook: str) -> Iterator[tuple[Plugin, pluggy.HookImpl]]:
        order = {f"{plugin.distribution}:{plugin.name}": plugin for plugin in self.plugins}
        implementations = {impl.plugin_name: impl for impl in getattr(self._manager.hook, hook).get_hookimpls()}
        for key, plugin in order.items():
            if key in implementations and plugin.state == "loaded":
                yield plugin, implementations[key]

    def _collect(self, kind: str) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for plugin, implementation in self._implementations(KINDS[kind]):
            try:
                with _quiet(plugin):
                    given: Any = implementation.function()
                    values = list(given)
                named = [(_name(kind, value), value) for value in values]
            except (Exception, SystemExit) as error:
                if plugin.builtin:
                    raise
                plugin.fail(f"{KINDS[kind]} raised {_cause(error)}")
                continue
            for name, value in named:
                if name in found:
                    other = found[name].plugin
                    raise ConflictError(
                        f"Two plugins provide the name '{name}' in {kind}: {other.distribution} {other.version} and "
                        f"{plugin.distribution} {plugin.version}. Uninstall one, or leave it out with MAMMOZOO_PLUGINS."
                    )
                found[name] = Item(kind, name, value, plugin)
            plugin.adds[kind] = [name for name, _ in named]
        return found


@functools.cache
def registry() -> Registry:
    """The plugins of this process: the built-ins, then the installed ones that `MAMMOZOO_PLUGINS` admits."""
    found = sorted(
        importlib.metadata.entry_points(group=GROUP),
        key=lambda entry: (entry.dist is None or entry.dist.name != DISTRIBUTION, entry.name),
    )
    chosen = os.environ.get("MAMMOZOO_PLUGINS")
    if chosen is not None:
        names = {name.strip() for name in chosen.split(",") if name.strip()}
        found = [e for e in found if (e.dist and e.dist.name == DISTRIBUTION) or e.name in names]
    files = [Path(name) for name in os.environ.get("MAMMOZOO_PLUGIN_FILES", "").split(os.pathsep) if name]
    return Registry(found, files)


def _name(kind: str, value: Any) -> str:
    """The name under which a thing is asked for: `info.name`, `name`, or a file's stem."""
    if isinstance(value, Path):
        return value.parent.name if kind == "zoos" else value.stem
    name = getattr(getattr(value, "info", value), "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(f"{value!r} has no name")
    return name


def _import_file(file: Path) -> Any:
    if not file.is_file():
        raise NotFoundError(f"there is no file '{file}'")
    spec = importlib.util.spec_from_file_location(f"mammozoo_file_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{file}' is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _quiet(plugin: Plugin) -> Iterator[None]:
    """Keep a plugin's prints out of our stdout, which may be somebody's JSON."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        yield
    if printed.getvalue():
        log.info("Plugin '%s' printed: %s", plugin.name, printed.getvalue().strip())


def _cause(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".strip().replace("\n", " ")
