"""The source of a plugin with one sound strategy of a given name, and short ways to the plugins of a registry."""

import importlib.metadata

from mammozoo.plugins import Plugin, Registry

STRATEGY = """
    from mammozoo import Strategy, hookimpl

    class Last(Strategy):
        \"\"\"Train the very last parameter.\"\"\"
        name = "{name}"

        def trainable(self, model):
            return list(model.backbone.parameters())[-1:]

    @hookimpl
    def register_strategies():
        return [Last]
"""


def ours() -> list[importlib.metadata.EntryPoint]:
    return [e for e in importlib.metadata.entry_points(group="mammozoo") if e.dist and e.dist.name == "mammozoo"]


def by_name(registry: Registry) -> dict[str, Plugin]:
    return {plugin.name: plugin for plugin in registry.plugins}
