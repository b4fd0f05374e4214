"""What commands print: tables and JSON on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from mammozoo.progress import Progress


_answers: TextIO | None = None  # where JSON goes while everything else goes to stderr


@contextlib.contextmanager
def json_alone(wanted: bool) -> Iterator[None]:
    """Keep stdout for `print_json`: what a plugin or a library prints meanwhile goes to stderr."""
    global _answers
    if not wanted:
        yield
        return
    before, _answers = _answers, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _answers = before


def print_json(content: dict[str, Any]) -> None:
    """One object with its schema number."""
    text = json.dumps({"schema": 1, **content}, indent=2, ensure_ascii=False, allow_nan=False)
    typer.echo(text, file=_answers)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table; plain columns when the output is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False)
    if not console.is_terminal:
        console = Console(width=160)
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))  # Text: a name[class] is no markup
    console.print(table)


def print_scores(scores: dict[str, dict[str, Any]]) -> None:
    """Scores with intervals and n."""
    rows = [
        (name, _number(s["value"]), f"{_number(s['low'])}–{_number(s['high'])}", s["n"]) for name, s in scores.items()
    ]
    print_table("", ["score", "value", "95 % interval", "n"], rows)


def note(text: str) -> None:
    """A remark on stderr."""
    typer.echo(text, err=True)


def progress() -> Progress:
    """Bars with images a second and time left on a terminal, plain lines elsewhere."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    from mammozoo.progress import Progress
    from mammozoo.training.trainer import EpochRow

    console = Console(stderr=True)

    class Lines(Progress):
        """A line for each stretch of work and each epoch."""

        def start(self, what: str, total: int, unit: str = "images") -> None:
            note(f"{what}: {total} {unit}")

        def epoch(self, row: EpochRow) -> None:
            note(
                f"  {row.split} epoch {row.epoch}: train loss {row.train_loss:.4f}, val loss {row.val_loss:.4f}"
                f"{' (best)' if row.best else ''}, {row.rate:.0f} images/s"
            )

        def note(self, text: str) -> None:
            note(text)

    class Drawn(Lines):
        """One bar, redrawn for each stretch."""

        def __init__(self) -> None:
            self.bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self.task = self.bars.add_task("", total=None, rate="")
            self.bars.start()
            self.started, self.done, self.unit = time.perf_counter(), 0, "images"

        def start(self, what: str, total: int, unit: str = "images") -> None:
            self.unit = unit
            self.started, self.done = time.perf_counter(), 0
            self.bars.reset(self.task, description=what, total=total, rate="")

        def advance(self, images: int = 1) -> None:
            self.done += images
            rate = self.done / max(time.perf_counter() - self.started, 1e-6)
            self.bars.update(self.task, advance=images, rate=f"{rate:.3g} {self.unit}/s")
            if self.bars.tasks[0].finished:
                self.bars.refresh()

        def epoch(self, row: EpochRow) -> None:
            if row.best:
                self.bars.update(self.task, description=f"{row.split} best val loss {row.val_loss:.3f}")

        def stop(self) -> None:
            self.bars.stop()

    return Drawn() if console.is_terminal else Lines()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
