"""`mammozoo study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mammozoo.cli.options import Command, Group
from mammozoo.cli.output import note, progress, say
from mammozoo.errors import UsageError

Folder = Annotated[Path, typer.Argument(help="Folder of the study.")]

app = typer.Typer(help="Studies: write a protocol, freeze it, run it, report.", no_args_is_help=True, cls=Group)


@app.command(
    "init",
    cls=Command,
    epilog="mammozoo study init mine --question 'Does it hold elsewhere?' --dataset busi --root ~/BUSI",
)
def init_study(
    folder: Folder,
    question: str = typer.Option(..., "--question", help="The question of the study, in one sentence."),
    dataset: str = typer.Option(..., "--dataset", help="Data set for development, such as busi; or a folder or table."),
    root: str = typer.Option(None, "--root", metavar="PATH", help="Folder of the data set."),
    external: list[str] = typer.Option(
        None,
        "--external",
        metavar="NAME=PATH",
        help="Data set (or folder or table) that stays locked, and its path; repeatable.",
    ),
) -> None:
    """Write a commented study.yaml. Without --external the test part of the split is locked."""
    from mammozoo.data.layouts import located
    from mammozoo.plugins import registry
    from mammozoo.study.template import init

    kinds = registry().items("datasets")
    generated = {name for name, item in kinds.items() if not item.value.needs_root}  # an `=` in them is of an option
    parts = dict(
        (text.removesuffix("="), "")
        if located(text, None)[1] or text.partition(":")[0] in generated
        else text.rpartition("=")[::2]
        for text in external or ()
    )
    if "" in parts:
        raise UsageError("--external takes NAME=PATH, as in bus-bra=~/BUSBRA, or a folder or table that is there.")
    say(init(folder, question, dataset, root, parts))


@app.command("freeze", cls=Command, epilog="mammozoo study freeze mine")
def freeze_study(folder: Folder) -> None:
    """Check the protocol; write its SHA-256, date and versions, and a page to deposit."""
    from mammozoo.study.freeze import freeze

    page = freeze(folder)
    note("Frozen. Deposit this page with a verifiable date before `study run`.")
    say(page)


@app.command(
    "run",
    cls=Command,
    epilog="mammozoo study run mine\nmammozoo study run mine --deviate 'The scanner was named wrongly.'",
)
def run_study(
    folder: Folder,
    deviate: str = typer.Option(
        None,
        "--deviate",
        metavar="REASON",
        help="Continue with a changed protocol, or open the data again; the report begins with this.",
    ),
) -> None:
    """Run the study, or continue it: train, choose, then open the locked data once."""
    from mammozoo.study.run import carry_out

    if deviate is not None and not deviate.strip():
        raise UsageError("--deviate takes the reason.")
    with progress() as shown:
        carry_out(folder, deviate, shown)
    say(folder / "ledger.jsonl")


@app.command("report", cls=Command, epilog="mammozoo study report mine")
def report_study(folder: Folder) -> None:
    """Write report.md, which begins with deviations, and tables, figures and paragraphs for each locked part."""
    from mammozoo.study.report import write_report

    with progress() as shown:
        path = write_report(folder, shown)
    say(path)
