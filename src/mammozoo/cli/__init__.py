"""The command line. torch, timm, scikit-learn and albumentations are imported inside commands only, so that `--help` is instant."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path
from typing import NoReturn, TextIO

import typer

from mammozoo.cli import (
    cite,
    compare,
    data,
    diagnose,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    init,
    list_,
    merge,
    output,
    plugins,
    predict,
    recalibrate,
    report,
    reproduce,
    serve,
    show,
    study,
    train,
    zoo,
)
from mammozoo.cli.added import Commands
from mammozoo.cli.options import Command
from mammozoo.cli.output import json_alone, say
from mammozoo.errors import MammozooError, memory_error
from mammozoo.files import path_error
from mammozoo.text import printable

app = typer.Typer(
    name="mammozoo",
    cls=Commands,
    help="Transfer learning for breast imaging: published strategies, guarded splits, honest scores, a model zoo.\n\n"
    "Research only: not a medical device.",
    epilog="Plugins may add commands: mammozoo list commands",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS = {
    "Train and use models": (init, train, merge, predict, evaluate, recalibrate, explain, embed, export, serve),
    "Look at runs": (compare, diagnose, report, cite, reproduce),
    "Look things up": (list_, show, doctor),
}
for _panel, _modules in _PANELS.items():
    for _module in _modules:  # each has a function of its own name, and EXAMPLES
        _name = _module.__name__.rpartition(".")[2]
        _function = getattr(_module, _name)
        app.command(_name.rstrip("_"), cls=Command, epilog=_module.EXAMPLES, rich_help_panel=_panel)(_function)
for _group, _name in ((data.app, "data"), (study.app, "study"), (plugins.app, "plugins"), (zoo.app, "zoo")):
    app.add_typer(_group, name=_name, rich_help_panel="Data sets, studies, plugins, models")


def _ask(question: str) -> bool:
    return typer.confirm(question, err=True)


class _Handler(logging.StreamHandler[TextIO]):
    """What is logged, on stderr."""

    def __init__(self, level: int):
        super().__init__()
        self.setLevel(level)
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))

    def format(self, record: logging.LogRecord) -> str:
        """The line, with escapes for what a terminal would obey."""
        return printable(super().format(record))


def _of_plugins(record: logging.LogRecord) -> bool:
    if record.name.startswith("mammozoo_") or "mammozoo.plugins" not in sys.modules:
        return record.name.startswith("mammozoo_")
    from mammozoo.plugins import registry

    return registry.cache_info().currsize > 0 and registry().owner(Path(record.pathname)) is not None


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks and debug messages."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Show log messages."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Show results, warnings and errors, but no progress."),
    plugin: list[str] = typer.Option([], "--plugin", metavar="FILE", help="Load a plugin from a Python file."),
) -> None:
    from mammozoo import progress

    progress.confirm = _ask if sys.stdin.isatty() and sys.stderr.isatty() else progress.agree
    if version:
        import mammozoo

        say(f"mammozoo {mammozoo.__version__}")
        raise typer.Exit
    if debug:
        os.environ["MAMMOZOO_DEBUG"] = "1"
    output.quiet = quiet
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    handler = _Handler(level)
    logger = logging.getLogger("mammozoo")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.handlers = [handler]
    others = _Handler(logging.WARNING)  # a plugin's warnings are for users, a library's for --debug
    others.addFilter(lambda record: record.name.partition(".")[0] != "mammozoo" and (debug or _of_plugins(record)))
    root = logging.getLogger()
    root.handlers = [*(one for one in root.handlers if not isinstance(one, _Handler)), others]
    logging.captureWarnings(True)
    if plugin:
        os.environ["MAMMOZOO_PLUGIN_FILES"] = os.pathsep.join(plugin)


Commands.set_up = staticmethod(_root)


def main() -> None:
    """Run a command; every known error is one paragraph on stderr and the exit code of its kind.

    An error in a third-party plugin is one paragraph too; it names the plugin, and the code is 1. A bug is one paragraph and exit
    code 70, with the traceback in a file.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what its encoding lacks
    try:
        with json_alone("--json" in sys.argv and "--help" not in sys.argv):
            app()
    except MammozooError as error:
        _end(error)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != 130:  # as which typer reports an interrupt
            if (known := _of_plugin(end)) is not None:
                _end(known)
            raise
        say("mammozoo: interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except BaseException as error:
        if (known := memory_error(error) or path_error(error) or _of_plugin(error)) is not None:
            _end(known)
        from mammozoo.cli import crash

        crash.report_crash(error)
        sys.exit(crash.CRASHED)


def _end(error: MammozooError) -> NoReturn:
    if os.environ.get("MAMMOZOO_DEBUG"):
        raise
    say(f"mammozoo: {error}", err=True)
    sys.exit(error.exit_code)


def _of_plugin(error: BaseException) -> MammozooError | None:
    """The error to report if a third-party plugin raised; without loaded plugins nothing is imported."""
    if "mammozoo.plugins" not in sys.modules:
        return None
    from mammozoo.plugins.blame import blame

    return blame(error)
