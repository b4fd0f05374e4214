"""`mammozoo zoo push`."""

from __future__ import annotations

import functools
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.options import Json, output_option
from mammozoo.cli.output import note, print_json, print_table, say
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.zoo.entry import Entry

EXAMPLES = """
mammozoo zoo push runs/first --repo our-hospital/first --license Apache-2.0 --dry-run
mammozoo zoo push runs/first --to /mnt/zoo --license Apache-2.0
"""
_description = functools.partial(typer.Option, rich_help_panel="Description")


class Kind(StrEnum):
    """The part of a model that is published."""

    full = "full"
    adapter = "adapter"
    backbone = "backbone"


def push(
    source: Path = typer.Argument(..., help="Run folder, or the folder of a model."),
    repo: str = typer.Option("", help="Repository on the Hub, ORG/NAME; created if it does not exist."),
    to: Path | None = typer.Option(None, help="Folder of a directory zoo, instead of the Hub; asks no server."),
    as_: Kind = typer.Option(
        Kind.full, "--as", help="full (the whole model), adapter (its difference from a base), or backbone (for timm)."
    ),
    base: str = typer.Option(
        "", help="Zoo name of an adapter's base; by default the model that the training started from."
    ),
    public: bool = typer.Option(False, "--public", help="Make the repository public; by default it is private."),
    replace: bool = typer.Option(
        False, "--replace", help="Also publish to a repository with other content; this removes that content."
    ),
    zoo: Path | None = typer.Option(None, help="A zoo.yaml to write the entry into."),
    allow_stamped: bool = typer.Option(
        False,
        "--allow-stamped",
        help="Publish a model with a stamp, such as for a leaky split; card and entry carry the stamp.",
    ),
    allow: list[str] = typer.Option(
        [],
        "--allow",
        metavar="FINDING",
        help="Publish despite a finding; give the name that the message shows; repeatable.",
    ),
    name: str = _description("", help="Name in a zoo; by default the repository's, or the run folder's."),
    version: str = _description("1.0.0", help="Version; becomes the tag vVERSION."),
    license: str = _description("", help="SPDX identifier of the weights' licence, such as Apache-2.0."),
    data_terms: str = _description("", help="Terms of the data; by default those that the data set states."),
    evaluated: list[Path] = _description(
        [], metavar="FILE", help="Output of `evaluate MODEL --dataset NAME --json`, for the card; repeatable."
    ),
    limits: Path | None = _description(
        None, help="Text or Markdown for the card: what the model must not be used for."
    ),
    summary: str = _description("", help="One line for the list; by default made from the config."),
    dry_run: bool = output_option(False, "--dry-run", help="Show what would be sent; ask no server."),
    yes: bool = output_option(False, "--yes", help="Do not ask."),
    as_json: Json = False,
) -> None:
    """Publish a run's model to the Hugging Face Hub or into a folder, with its entry for a zoo.yaml. Shows everything first."""
    import tempfile

    from mammozoo.models.config import read_config
    from mammozoo.zoo.adapter import is_adapter, read_adapter
    from mammozoo.zoo.directory import entry_text, put, write_entries
    from mammozoo.zoo.elsewhere import read_elsewhere, read_limits
    from mammozoo.zoo.entry import HubSource
    from mammozoo.zoo.push import push as send
    from mammozoo.zoo.registry import find_model
    from mammozoo.zoo.staging import complete, stage

    if is_adapter(source):  # such as a recalibrated model
        base = base or read_adapter(source).base.name
    folder_of_model = find_model(source)
    config = read_config(folder_of_model)
    if bool(repo) == (to is not None):
        raise UsageError("Name the target: --repo ORG/NAME for the Hub, or --to FOLDER for a directory zoo.")
    for option, given in {"--public": public, "--replace": replace, "--zoo": zoo is not None}.items():
        if to is not None and given:
            raise UsageError(f"{option} is for the Hub; a directory zoo has its own zoo.yaml.")
    if to is not None and as_ is Kind.backbone:
        raise UsageError("A zoo lists whole models; a backbone alone is published on the Hub, for timm.")
    publication = complete(
        config,
        name=name or (repo.partition("/")[2] if repo else source.resolve().name).lower().replace("_", "-"),
        version=version,
        repository=repo,
        license=license,
        data_terms=data_terms,
        kind=as_.value,
        base=base,
    )
    if not (to or dry_run or yes or (sys.stdin.isatty() and not as_json)):
        raise UsageError(
            "Publishing asks you to confirm, but there is no terminal. Check the output of --dry-run, then add --yes."
        )
    with tempfile.TemporaryDirectory(prefix="mammozoo-push-") as folder:
        base_folder = find_model(f"zoo:{publication.base}") if publication.base else None
        staged = stage(
            folder_of_model,
            publication,
            Path(folder) / "model",
            base=base_folder,
            allow_stamped=allow_stamped,
            allow=allow,
            elsewhere=read_elsewhere(evaluated, folder_of_model),
            limits=read_limits(limits) if limits else "",
        )
        if not as_json:
            visible = f"{repo}, {'public' if public else 'private'}, tag v{version}"
            say(visible if repo else f"{publication.name} {version}")
            print_table("", ["file", "bytes"], [(n, f"{path.stat().st_size:,}") for n, path in staged.files.items()])
            say(staged.files["README.md"].read_text(encoding="utf-8"))
        entry: Entry | None = None
        revision = None
        if dry_run:
            note(f"Nothing was {'written' if to else 'sent'} (--dry-run).")
        elif to is not None:
            entry = put(staged, to, summary)
            note(f"Put into '{to}': {entry.name} {entry.version}, {entry.size / 1e6:.2f} MB. Use: MAMMOZOO_ZOO={to}")
        else:

            def agreed(lost: list[str]) -> bool:
                if lost:
                    note(f"Files that will be deleted or replaced there: {', '.join(lost)}.")
                question = f"Send this to {repo}, {'public' if public else 'private'}?"
                return yes or typer.confirm(question, err=True)

            pushed = send(staged, private=not public, replace=replace, agreed=agreed)
            if pushed is None:
                note("Nothing was sent.")
                raise typer.Exit(1)
            revision = pushed.revision
            entry = staged.entry(HubSource(hub=repo, revision=revision), summary)
            done = "Published" if pushed.new else "Already there, nothing was sent"
            note(f"{done}: {repo}, {pushed.tag}, commit {revision}, {'private' if pushed.private else 'public'}.")
            if zoo is not None and entry is not None:
                write_entries(zoo, [entry])
            if entry is None and not as_json:
                note(f'Use it with timm.create_model("hf-hub:{repo}@{revision}", pretrained=True).')
            elif zoo is not None and not as_json:
                note(f"Written into '{zoo}'.")
            elif entry is not None and not as_json:
                note("For a zoo.yaml, under `models`:")
                say(entry_text(entry), nl=False)
        if as_json:
            print_json(
                {
                    "repository": repo or None,
                    "private": not public if repo else None,
                    "tag": f"v{version}",
                    "revision": revision,
                    "files": {name: path.stat().st_size for name, path in staged.files.items()},
                    "card": staged.files["README.md"].read_text(encoding="utf-8"),
                    "entry": entry.model_dump(mode="json", exclude_defaults=True) if entry else None,
                }
            )
