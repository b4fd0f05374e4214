"""`mammozoo data`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from mammozoo.data.audit import Audit, CutPair

_SHOWN = 5  # patients and pairs of one split that the terminal shows

app = typer.Typer(help="What is wrong with a data set, or with a split made elsewhere.", no_args_is_help=True)


@app.command("check")
def check_data(
    name: str = typer.Argument(..., help="Data set, as in `mammozoo list datasets`."),
    root: Path | None = typer.Option(None, help="Folder (or table) that holds the data set."),
    html: Path | None = typer.Option(None, metavar="FILE", help="Write the near-duplicates side by side to this page."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Find damaged files, near-duplicates, contradicting labels and shortcuts; exit code 1 if one is an error."""
    from mammozoo.data.check import check
    from mammozoo.data.collection import open_dataset

    bars = progress()
    try:
        result = check(open_dataset(name, root), root, bars)
        if html is not None:
            from mammozoo.data.pairs_page import render_page
            from mammozoo.files import write_text

            write_text(html, render_page(result, bars))
    finally:
        bars.stop()
    if html is not None:
        note(f"wrote {html}")
    if as_json:
        print_json(result.content())
    else:
        rows = [(f.kind, f.severity, len(f.files) or "", _with_files(f.detail, f.files)) for f in result.findings]
        print_table(f"{len(result.facts)} images", ["kind", "severity", "files", "detail"], rows)
    if result.failed:
        raise typer.Exit(1)


@app.command("audit-split")
def audit_split(
    file: Path = typer.Argument(..., help="splits.json, nnU-Net's splits_final.json, or a table with sample and part."),
    dataset: str = typer.Option(..., help="Data set whose images the file splits."),
    root: Path | None = typer.Option(None, help="Folder (or table) that holds the data set."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Judge a split made elsewhere: patients and near-duplicates on both sides; exit code 1 if there are any."""
    from mammozoo.data.audit import audit_splits, content
    from mammozoo.data.check import duplicates_among
    from mammozoo.data.collection import open_dataset
    from mammozoo.data.split_file import read_splits
    from mammozoo.data.survey import survey

    opened = open_dataset(dataset, root)
    samples = list(opened.samples())
    listed = read_splits(file, [sample.image for sample in samples])
    bars = progress()
    try:
        bars.start("reading images", len(samples))
        facts = survey(opened, samples, bars.advance, masks=False)
    finally:
        bars.stop()
    for image in facts:
        if image.problem is not None:
            note(f"not compared: {image.problem}")
    audit = audit_splits(samples, duplicates_among(opened, facts), listed.splits, listed.unknown)
    if as_json:
        print_json(content(audit))
    else:
        _print_audit(audit)
    if audit.leaky:
        raise typer.Exit(1)


def _print_audit(audit: Audit) -> None:
    from mammozoo.data.findings import some

    rows = [
        (split.name, part, *counts.values(), sum(counts.values()))
        for split in audit.splits
        for part, counts in split.counts.items()
        if any(counts.values())
    ]
    print_table("", ["split", "part", *audit.splits[0].counts["train"], "images"], rows)
    for split in audit.splits:
        typer.echo(split.verdict)
        _print_some(
            [f"patient {name} is in {' and '.join(parts)}" for name, parts in split.patients.items()], "patients"
        )
        _print_some([_pair(pair) for pair in split.pairs], "pairs")
        _print_some(split.uneven, "shares")
        if split.unlisted:
            typer.echo(f"  {len(split.unlisted)} images of the data set are in no part: {some(split.unlisted)}")
    if audit.unknown:
        typer.echo(f"{len(audit.unknown)} listed images are not in the data set: {some(audit.unknown)}")
    typer.echo(audit.verdict)


def _pair(pair: CutPair) -> str:
    (a, b), (part_a, part_b) = pair.files, pair.parts
    return f"{a} ({part_a}) and {b} ({part_b}): {pair.how}"


def _print_some(lines: Sequence[str], what: str) -> None:
    for line in lines[:_SHOWN]:
        typer.echo(f"  {line}")
    if len(lines) > _SHOWN:
        typer.echo(f"  … {len(lines) - _SHOWN} more {what}; --json names all")


def _with_files(detail: str, files: tuple[str, ...]) -> str:
    return "\n".join([detail, *files[:3], *(["…"] if len(files) > 3 else [])])
