"""What a command promises: typer can read it, its help comes at once, and it leaves mammozoo's own names alone."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from mammozoo.plugins.command_spec import OWN, CommandSpec
from mammozoo.testing.check import needs, rule
from mammozoo.testing.common import Named


class CommandRules(Named[CommandSpec]):
    """Asked for its help only: nobody but its author knows what it does without."""

    @rule("A command of mammozoo stays what it is. Choose another name.")
    def name_is_free(self) -> None:
        """No command of mammozoo has the name."""
        assert self.value.name not in OWN, f"mammozoo has a command '{self.value.name}'."

    @rule(
        "From parameters typer makes arguments and options. Annotate each: `def command(folder: Path, top: int = 5)`."
    )
    def can_be_read(self) -> None:
        """Its parameters can be read by typer."""
        typer.main.get_command(_app(self.value))

    @needs(can_be_read)
    @rule("`--help` is how it is found out about. Give the function a docstring, and do no work outside of it.")
    def has_help(self) -> None:
        """`--help` ends well and says what the command does."""
        done = CliRunner().invoke(_app(self.value), ["--help"])
        assert done.exit_code == 0, f"Its help ends with {done.exit_code}."
        function = self.value.run
        text = function.info.help if isinstance(function, typer.Typer) else function.__doc__
        assert isinstance(text, str) and text.strip(), "Its help says nothing."


def _app(spec: CommandSpec) -> typer.Typer:
    if isinstance(spec.run, typer.Typer):
        return spec.run
    app = typer.Typer(add_completion=False)
    app.command(spec.name)(spec.run)
    return app
