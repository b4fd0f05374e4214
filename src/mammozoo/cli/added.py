"""Commands that plugins add. Plugins are loaded only for a word that is no command of mammozoo itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from mammozoo.cli.options import Command, Group
from mammozoo.errors import FailedError, NotFoundError, UsageError, nearest


class Commands(Group):
    """The commands of mammozoo, then those of plugins."""

    #: Applies the options before the command: which plugins there are, and where a warning goes.
    set_up: Callable[..., object]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command; None if there is none. FailedError for one that its plugin has written so that it cannot be read."""
        if (own := super().get_command(ctx, cmd_name)) is not None or cmd_name.startswith("-"):
            return own
        type(self).set_up(ctx, **ctx.params)
        from mammozoo.plugins import registry

        try:
            spec = registry().get("commands", cmd_name)
        except NotFoundError:  # the warnings have said which plugins could not be loaded
            if hint := nearest(cmd_name, registry().items("commands")):
                raise UsageError(f"No such command '{cmd_name}'.{hint}") from None
            return None
        return command(spec, registry().provider("commands", cmd_name).name)


def command(spec: Any, plugin: str) -> Any:
    """What runs a plugin's command; FailedError if typer cannot make one of it."""
    try:
        app = spec.run
        if not isinstance(app, typer.Typer):
            app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            app.command(
                spec.name, cls=Command, epilog=spec.examples, context_settings={"help_option_names": ["-h", "--help"]}
            )(spec.run)
        made = typer.main.get_command(app)
    except Exception as error:
        raise FailedError(
            f"Plugin '{plugin}': its command '{spec.name}' cannot be read ({type(error).__name__}: {error})."
        ) from error
    made.name = spec.name
    return made
