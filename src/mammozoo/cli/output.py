"""What commands print: tables and JSON on stdout, progress and notes on stderr."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from mammozoo.progress import Progress
from mammozoo.text import interval, printable

if TYPE_CHECKING:
    from rich.progress import TaskID

    from mammozoo.training.history import EpochRow

_STARTED = time.perf_counter()  # of the command, before the heavy imports
quiet = False  # --quiet: no progress
_json_stream: TextIO | None = None  # where JSON goes while everything else goes to stderr


@contextlib.contextmanager
def json_alone(wanted: bool) -> Iterator[None]:
    """Keep stdout for `print_json`: what a plugin or a library prints meanwhile goes to stderr."""
    global _json_stream
    if not wanted:
        yield
        return
    before, _json_stream = _json_stream, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _json_stream = before


def print_json(content: dict[str, Any]) -> None:
    """One object with its schema number."""
    stream = _json_stream or sys.stdout
    plain = not str(stream.encoding).lower().startswith("utf")  # an escape of the stream's would not be JSON
    text = json.dumps({"schema": 1, **content}, indent=2, ensure_ascii=plain, allow_nan=False)
    _write(printable(text, lambda c: json.dumps(c)[1:-1]) + "\n", stream)


def say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """A line on stdout (or stderr), with escapes for what a terminal would obey."""
    _write(printable(str(text)) + "\n" * nl, sys.stderr if err else sys.stdout)


def _write(text: str, stream: TextIO) -> None:
    """Write at once, as `typer.echo` does; but that takes a terminal of ASCII for one of UTF-8."""
    stream.write(text)
    stream.flush()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as wide as the terminal, or 160 characters elsewhere; the widest columns are folded to fit.

    It is laid out here: rich takes half a second for a table of 1,500 rows of three cells.
    """
    cells = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(_width, column), default=0) for column in zip(*cells, strict=True)]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    while sum(widths) + 3 * len(widths) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    head, *body = ([_folded(cell, width) for cell, width in zip(row, widths, strict=True)] for row in cells)
    rule = "─" if str(sys.stdout.encoding).lower().startswith("utf") else "-"
    lines = [*_aligned(head, widths), " " + rule * (sum(widths) + 3 * len(widths) - 1)]
    for row in body:
        lines += _aligned(row, widths)
    say("\n".join([title, *lines, ""]))


def _width(text: str) -> int:
    """Places that a text takes on a terminal: two for a wide character, none for an accent by itself."""
    if text.isascii():
        return len(text)
    return sum((unicodedata.east_asian_width(c) in "WF") + (not unicodedata.combining(c)) for c in text)


def _folded(text: str, width: int) -> list[str]:
    """The text in lines of the width, or as it is where it fits."""
    if "\n" not in text and _width(text) <= width:
        return [text]
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width) or [""]]


def _aligned(row: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    """The lines of a row of folded cells."""
    for parts in itertools.zip_longest(*row, fillvalue=""):
        padded = [part + " " * (width - _width(part)) for part, width in zip(parts, widths, strict=True)]
        yield f"  {'   '.join(padded)}".rstrip()


#: Fields that only scores of several folds or repeats have → their columns.
SPREAD = {"pooled": "folds pooled", "sd": "SD of repeats"}


#: What a reader looks for first, of two classes and of more.
HEADLINE = ("auc", "sensitivity", "specificity", "balanced-accuracy", "brier")


def print_headline(scores: Mapping[str, Mapping[str, Any]], where: str) -> None:
    """The five scores of `HEADLINE`, as far as there are such; a note says where the others are."""
    chosen = {name: scores[name] for name in HEADLINE if name in scores}
    print_scores(chosen or scores)
    if chosen and len(chosen) < len(scores):
        note(f"{len(scores) - len(chosen)} more scores: {where}")


def print_scores(scores: Mapping[str, Mapping[str, Any]]) -> None:
    """Scores with intervals and n; of folds the pooled value and of repeats the spread, too."""
    from mammozoo.evaluation.metric import printed

    more = {key: title for key, title in SPREAD.items() if any(key in s for s in scores.values())}
    rows = [
        (
            printed(name),
            figure(s["value"]),
            "none" if s["low"] is None else interval(s["low"], s["high"]),
            s["n"],
            *(figure(s.get(key)) for key in more),
        )
        for name, s in scores.items()
    ]
    print_table("", ["score", "value", "95 % interval", "n", *more.values()], rows)


def figure(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A value with three digits and its interval, if it has one; a dash for an undefined value."""
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({interval(low, high)})"


def note(text: str) -> None:
    """A remark on stderr."""
    say(text, err=True)


def note_stamps(stamps: Iterable[str]) -> None:
    """The warning labels of a run or model, on stderr."""
    for stamp in stamps:
        note(f"! {stamp}")


def note_failed_plugins() -> None:
    """The plugins that could not be loaded, on stderr, with the reason."""
    from mammozoo.plugins import registry

    for plugin in registry().plugins:
        if plugin.state == "failed":
            note(f"Plugin '{plugin.name}' ({plugin.distribution} {plugin.version}) is left out: {plugin.reason}")


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Bars with images a second and time left on a terminal, plain lines elsewhere."""
    from rich.console import Console

    shown: Progress = _Bars() if Console(stderr=True).is_terminal else _Lines()
    if quiet:
        shown.stop()
        shown = Progress()
    shown.clock.since = _STARTED
    try:
        yield shown
    finally:
        shown.stop()


class _Lines(Progress):
    """A line for each stretch of work and each epoch."""

    def start(self, what: str, total: int, unit: str = "images") -> None:
        note(f"{what}: {total} {unit}")

    def epoch(self, row: EpochRow) -> None:
        note(f"  {row.split} epoch {row.epoch}: {_losses(row)}, {row.rate:.0f} images/s")

    def fit(self, name: str, row: EpochRow, epochs: int, worker: str) -> None:
        note(f"  {name} epoch {row.epoch} of {epochs}: {_losses(row)}, {row.rate:.0f} images/s, {worker}")

    def note(self, text: str) -> None:
        note(text)


def _losses(row: EpochRow) -> str:
    validated = "" if math.isnan(row.val_loss) else f", val loss {row.val_loss:.4f}{' (best)' if row.best else ''}"
    return f"train loss {row.train_loss:.4f}{validated}"


class _Bars(_Lines):
    """One bar, redrawn for each stretch, and one more for each of several fits at once."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.bars.add_task("", total=None, rate="")
        self.fits: dict[str, TaskID] = {}
        self.bars.start()
        self.started, self.done, self.unit = time.perf_counter(), 0, "images"

    def start(self, what: str, total: int, unit: str = "images") -> None:
        self.started, self.done, self.unit = time.perf_counter(), 0, unit
        self.bars.reset(self.task, description=what, total=total, rate="")

    def advance(self, images: int = 1) -> None:
        self.done += images
        rate = self.done / max(time.perf_counter() - self.started, 1e-6)
        self.bars.update(self.task, advance=images, rate=f"{rate:.3g} {self.unit}/s")
        if self.bars.tasks[0].finished:
            self.bars.refresh()

    def epoch(self, row: EpochRow) -> None:
        if row.best and not math.isnan(row.val_loss):
            self.bars.update(self.task, description=f"{row.split} best val loss {row.val_loss:.3f}")

    def fit(self, name: str, row: EpochRow, epochs: int, worker: str) -> None:
        if name not in self.fits:
            self.fits[name] = self.bars.add_task(name, total=epochs, rate="")
        self.bars.update(self.fits[name], completed=row.epoch, rate=f"epochs, val loss {row.val_loss:.4f}, {worker}")

    def fit_ended(self, name: str) -> None:
        if name in self.fits:
            self.bars.remove_task(self.fits.pop(name))

    def stop(self) -> None:
        self.bars.stop()
