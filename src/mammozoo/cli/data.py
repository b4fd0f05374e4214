"""`mammozoo data`."""

from __future__ import annotations

import dataclasses
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.options import Command, Group, Json, Root, Roots, read_roots
from mammozoo.cli.output import note, note_failed_plugins, print_json, print_table, progress, say
from mammozoo.errors import UsageError
from mammozoo.files import refuse_to_replace, write_table, write_text

if TYPE_CHECKING:
    from mammozoo.data.dataset import Dataset
    from mammozoo.data.splits.audit import Audit

_SHOWN = 5  # patients and pairs of one split that the terminal shows

CHECKS = """
mammozoo data check busi --root ~/BUSI --html pairs.html
mammozoo data check ~/clinic --with runs/five --write-exclusions exclude.csv
"""

app = typer.Typer(
    help="Data sets: list, show, check, make a table of DICOM files, and audit a split.",
    no_args_is_help=True,
    cls=Group,
)


@app.command("list", cls=Command, epilog="mammozoo data list")
def list_data(as_json: Json = False) -> None:
    """List the data sets that mammozoo can read: what they are, how large, under which licence."""
    from mammozoo.plugins import registry

    facts = [_facts(name, item.value) for name, item in registry().items("datasets").items()]
    if as_json:
        print_json({"datasets": facts})
        return
    columns = ["name", "title", "modality", "classes", "images", "patients", "license"]
    cells = [f | {"classes": ", ".join(f["classes"]) or "yours"} for f in facts]
    print_table("", [*columns[:-1], "licence"], [[cell[key] or "" for key in columns] for cell in cells])
    note_failed_plugins()


@app.command(
    "show", cls=Command, epilog="mammozoo data show busi\nmammozoo data show busi --root ~/BUSI --html sheet.html"
)
def show_data(
    name: str = typer.Argument(
        ..., help="Data set, as in `mammozoo data list` (options count with --root), or your folder."
    ),
    root: Root = None,
    html: Path | None = typer.Option(
        None, metavar="FILE", help="Write classes, devices, sizes and a contact sheet to this page; reads every image."
    ),
    as_json: Json = False,
) -> None:
    """Show what a data set is, how to get it, its layout on disk and its options."""
    from mammozoo.config.names import parse
    from mammozoo.data.joined import is_joined, kind_of, open_dataset, parse_datasets
    from mammozoo.data.layouts import located
    from mammozoo.data.quality.description import contents, options

    name, place = located(name, root)
    root = place if isinstance(place, Path) else root
    if is_joined(parse_datasets(name)):
        raise UsageError(f"One data set at a time, not '{name}'; `mammozoo data check` takes several.")
    short = parse(name).name
    kind = kind_of(short)
    facts = _facts(short, kind)
    opened = open_dataset(name, root) if root is not None or html is not None or not kind.needs_root else None
    if html is not None and opened is not None:
        from mammozoo.data.quality.sheet import sheet

        refuse_to_replace(html, "contact sheet", [root], option="--html")
        with progress() as shown:
            write_text(html, sheet(opened, shown))
        note(f"wrote {html}")
    found = None if opened is None else contents(opened)
    knobs = options(kind)
    if as_json:
        listed = [dataclasses.asdict(knob) for knob in knobs]
        print_json(facts | {"options": listed, "found": None if found is None else dataclasses.asdict(found)})
        return
    for fact, value in facts.items():
        word = {"license": "licence", "access": "get it", "marks": "known by"}.get(fact, fact)
        if isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, list):
            value = ", ".join(value) or ("--dataset alone" if fact == "marks" else "those found there")
        if fact != "layout":
            say(f"{word:<13} {'not stated' if value in (None, '') else value}")
    if kind.info.layout:
        say(f"\nlayout\n{kind.info.layout}")
    if knobs:
        example = f"\noptions, as in {short}:{knobs[0].name}={knobs[0].default or '…'}"
        print_table(example, ["option", "values", "default", "meaning"], [dataclasses.astuple(knob) for knob in knobs])
    if found is not None:
        rows = [(part, *counts.values(), sum(counts.values())) for part, counts in found.parts.items()]
        rows.append(("all", *found.classes.values(), found.images))
        where = "generated" if root is None else f"in {root}"
        print_table(f"\n{where}", ["official part" if found.parts else "", *found.classes, "images"], rows)
        named = "no patient is named" if found.patients is None else f"{found.patients} patients"
        if found.patients is not None and found.nameless:
            named += f", {found.nameless} images without one"
        say(f"{named}; {found.masks} of {found.images} images with a mask file")
        for text in found.notes:
            note(text)


def _facts(name: str, kind: type[Dataset]) -> dict[str, Any]:
    """What a data set states about itself, and the plugin that brings it, or its own file."""
    from mammozoo.data.declared import is_file
    from mammozoo.plugins import registry

    info = kind.info
    stated = dataclasses.asdict(info) | {"classes": list(info.classes), "marks": list(info.marks)}
    if is_file(name):
        return stated | {"plugin": name, "distribution": None}
    plugin = registry().provider("datasets", name)
    return stated | {"plugin": plugin.name, "distribution": plugin.distribution}


@app.command("check", cls=Command, epilog=CHECKS)
def check_data(
    name: str = typer.Argument(
        ..., help="Data set, as in `mammozoo list datasets`, several (a+b), or your folder or table."
    ),
    root: Roots = None,
    html: Path | None = typer.Option(None, metavar="FILE", help="Write the near-duplicates side by side to this page."),
    run: str = typer.Option(
        None, "--with", metavar="RUN", help="Find labels that this run's models contradict on their own test images."
    ),
    exclusions: Path = typer.Option(
        None,
        "--write-exclusions",
        metavar="FILE.csv",
        help="Write a list of images that you may leave out, with reasons; edit it, then use `train --exclude FILE.csv`.",
    ),
    as_json: Json = False,
) -> None:
    """Find damaged files, near-duplicates, contradicting labels and shortcuts; exit code 1 if there is an error."""
    from mammozoo.data.joined import open_dataset, places
    from mammozoo.data.layouts import located
    from mammozoo.data.quality.check import check

    name, roots = located(name, read_roots(root))
    if html is not None:
        refuse_to_replace(html, "page of pairs", places(roots), option="--html")
    if exclusions is not None and exclusions.suffix != ".csv":
        raise UsageError(f"--write-exclusions is a file .csv, not '{exclusions}'.")
    if exclusions is not None:  # never in place of one, which somebody may have edited
        refuse_to_replace(exclusions, None, [*places(roots), html], option="--write-exclusions")
    scores = None
    if run is not None:
        from mammozoo.evaluation.out_of_fold import out_of_fold

        scores = out_of_fold(run)
    with progress() as shown:
        result = check(open_dataset(name, roots), roots, shown, scores)
        if html is not None:
            write_text(html, result.page(shown))
    if html is not None:
        note(f"wrote {html}")
    if exclusions is not None:
        from mammozoo.data.quality.to_exclude import to_exclude
        from mammozoo.data.splits.exclusions import counted, reasons, write_exclusions

        found = to_exclude(result)
        write_exclusions(exclusions, found)
        why = f": {counted(reasons(found))}. Look at each, and remove the rows of images to keep" if found else ""
        note(f"wrote {exclusions}: {len(found)} images{why}")
    if as_json:
        print_json(result.content())
    else:
        rows = []
        for one in result.findings:
            text = "\n".join([one.detail, *one.files[:3], *(["…"] if one.files[3:] else [])])
            rows.append((one.kind, one.severity, len(one.files) or "", text))
        print_table(f"{len(result.facts)} images", ["kind", "severity", "files", "detail"], rows)
    if result.failed:
        raise typer.Exit(1)


@app.command("from-dicom", cls=Command, epilog="mammozoo data from-dicom export/ --out table.csv --secret key.txt")
def from_dicom(
    folder: Path = typer.Argument(..., help="Folder with DICOM files under any names, at any depth."),
    out: Path = typer.Option(..., metavar="TABLE.csv", help="Table to write; its paths are relative to its folder."),
    secret: Path | None = typer.Option(
        None,
        metavar="FILE",
        help="Secret text; the same secret gives the same pseudonyms. Without it they are new each time.",
    ),
    keep_ids: bool = typer.Option(False, "--keep-ids", help="Write PatientID and StudyInstanceUID unchanged."),
) -> None:
    """Write a table of the DICOM images in a folder, without names or dates, for the data set csv."""
    from mammozoo.data.io.dicom_table import rows_of

    refuse_to_replace(out, None)
    if secret is not None and keep_ids:
        raise UsageError("--secret makes pseudonyms, and --keep-ids keeps the identifiers: give one of them.")
    key = secrets.token_bytes(32) if secret is None else _secret(secret)
    with progress() as shown:
        rows, notes = rows_of(folder, out.parent, None if keep_ids else key, shown)
    write_table(out, rows)
    for text in notes:
        note(text)
    patients = len({row["patient"] for row in rows if row["patient"]})
    say(f"{out}: {len(rows)} images of {patients} patients. Fill in the column label before you train.")


def _secret(file: Path) -> bytes:
    try:
        content = file.read_bytes().strip()
    except OSError as error:
        raise UsageError(f"--secret: '{file}' cannot be read: {error.strerror or error}.") from None
    if len(content) < 8:
        raise UsageError(
            f"--secret: '{file}' holds {len(content)} characters; 8 or more keep the pseudonyms from being guessed."
        )
    return content


@app.command("audit-split", cls=Command, epilog="mammozoo data audit-split split.csv --dataset busi --root ~/BUSI")
def audit_split(
    file: Path = typer.Argument(..., help="splits.json, nnU-Net's splits_final.json, or a table with sample and part."),
    dataset: str = typer.Option(..., help="Data set whose images the file splits."),
    root: Roots = None,
    as_json: Json = False,
) -> None:
    """Check a split for patients and near-duplicates on both sides; exit code 1 if there are any."""
    from mammozoo.data.joined import open_dataset
    from mammozoo.data.layouts import located
    from mammozoo.data.quality.check import duplicates_among
    from mammozoo.data.quality.survey import survey
    from mammozoo.data.splits.audit import audit_splits, content
    from mammozoo.data.splits.files import read_splits

    opened = open_dataset(*located(dataset, read_roots(root)))
    samples = list(opened.samples())
    listed = read_splits(file, [sample.image for sample in samples])
    with progress() as shown:
        shown.start("reading images", len(samples))
        facts = survey(opened, samples, shown.advance, masks=False)
    for problem in [image.problem for image in facts if image.problem is not None]:
        note(f"not compared: {problem}")
    audit = audit_splits(samples, duplicates_among(opened, facts), listed.splits, listed.unknown)
    if as_json:
        print_json(content(audit))
    else:
        _print_audit(audit)
    if audit.leaky:
        raise typer.Exit(1)


def _print_audit(audit: Audit) -> None:
    from mammozoo.data.quality.findings import some

    rows = [
        (split.name, part, *counts.values(), sum(counts.values()))
        for split in audit.splits
        for part, counts in split.counts.items()
        if any(counts.values())
    ]
    print_table("", ["split", "part", *audit.splits[0].counts["train"], "images"], rows)
    for split in audit.splits:
        say(split.verdict)
        patients = [f"patient {name} is in {' and '.join(parts)}" for name, parts in split.patients.items()]
        pairs = [
            f"{one.files[0]} ({one.parts[0]}) and {one.files[1]} ({one.parts[1]}): {one.pair.how}"
            for one in split.pairs
        ]
        for what, lines in (("patients", patients), ("pairs", pairs), ("shares", split.uneven)):
            for line in lines[:_SHOWN]:
                say(f"  {line}")
            if len(lines) > _SHOWN:
                say(f"  … {len(lines) - _SHOWN} more {what}; --json names all")
        if split.unlisted:
            say(f"  {len(split.unlisted)} images of the data set are in no part: {some(split.unlisted)}")
    if audit.unknown:
        say(f"{len(audit.unknown)} listed images are not in the data set: {some(audit.unknown)}")
    say(audit.verdict)
