"""`mammozoo zoo push`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mammozoo.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from mammozoo.models.config import ModelConfig
    from mammozoo.zoo.card import Publication
    from mammozoo.zoo.entry import Entry
    from mammozoo.zoo.staging import Staged


class Kind(StrEnum):
    """What of a model is published."""

    full = "full"
    adapter = "adapter"
    backbone = "backbone"


def push(
    source: Path = typer.Argument(..., help="Run folder, or a model's own."),
    repo: str = typer.Option("", help="Repository on the Hub, ORG/NAME; made if there is none."),
    to: Path | None = typer.Option(None, help="Folder of a directory zoo, instead of the Hub; asks no server."),
    name: str = typer.Option("", help="Name in a zoo; by default the repository's, or the run folder's."),
    version: str = typer.Option("1.0.0", help="Version; becomes the tag vVERSION."),
    public: bool = typer.Option(False, "--public", help="Let everybody see it; otherwise it is private."),
    license: str = typer.Option("", help="SPDX identifier of the weights' licence, such as Apache-2.0."),
    data_terms: str = typer.Option("", help="What the data asks for; by default what is known of the data set."),
    summary: str = typer.Option("", help="One line for the list; by default made from the config."),
    as_: Kind = typer.Option(
        Kind.full, "--as", help="The whole model, its difference to a base, or its backbone for timm."
    ),
    base: str = typer.Option("", help="Zoo name of an adapter's base; by default what the training started from."),
    zoo: Path | None = typer.Option(None, help="A zoo.yaml to write the entry into."),
    allow_stamped: bool = typer.Option(
        False,
        "--allow-stamped",
        help="Publish what carries a stamp, such as of a leaky split; card and entry carry it.",
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be sent; ask no server."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Publish a run's model to the Hugging Face Hub or into a folder, with its entry for a zoo.yaml. Shows everything first."""
    import tempfile

    from mammozoo.errors import UsageError
    from mammozoo.models.config import read_config
    from mammozoo.zoo.directory import entry_text, write_entries
    from mammozoo.zoo.entry import HubSource
    from mammozoo.zoo.push import push as send
    from mammozoo.zoo.staging import stage

    config = read_config(source)
    base = base or (config.training.weights.removeprefix("zoo:") if config.training.weights.startswith("zoo:") else "")
    _refuse_two_places(repo, to, public, zoo, as_)
    name = name or (repo.partition("/")[2] if repo else source.resolve().name).lower().replace("_", "-")
    publication = _publication(config, repo, name, version, license, data_terms, as_, base)
    if not (to or dry_run or yes or (sys.stdin.isatty() and not as_json)):
        raise UsageError(
            "Publishing shows and asks first, and here is nobody to ask. Look with --dry-run, then say --yes."
        )
    with tempfile.TemporaryDirectory(prefix="mammozoo-push-") as folder:
        staged = stage(
            source, publication, Path(folder) / "model", base=_base_folder(publication), allow_stamped=allow_stamped
        )
        if not as_json:
            _show(staged, public)
        if dry_run:
            note(f"Nothing was {'written' if to else 'sent'} (--dry-run).")
            if as_json:
                _print_json(staged, public, None, None)
            return
        if to is not None:
            _put(staged, to, summary, as_json)
            return
        if not yes and not typer.confirm(f"Send this to {repo}, {'public' if public else 'private'}?", err=True):
            note("Nothing was sent.")
            raise typer.Exit(1)
        pushed = send(staged, private=not public)
        entry = staged.entry(HubSource(hub=repo, revision=pushed.revision), summary)
        if zoo is not None and entry is not None:
            write_entries(zoo, [entry])
        note(
            f"{'Published' if pushed.new else 'Already there, nothing was sent'}: {repo}, {pushed.tag}, commit {pushed.revision}"
            f", {'private' if pushed.private else 'public'}."
        )
        if as_json:
            _print_json(staged, public, pushed.revision, entry)
        elif entry is None:
            note(f'Use it with timm.create_model("hf-hub:{repo}@{pushed.revision}", pretrained=True).')
        elif zoo is None:
            note("For a zoo.yaml, under `models`:")
            typer.echo(entry_text(entry), nl=False)
        else:
            note(f"Written into '{zoo}'.")


def _refuse_two_places(repo: str, to: Path | None, public: bool, zoo: Path | None, kind: Kind) -> None:
    from mammozoo.errors import UsageError

    if bool(repo) == (to is not None):
        raise UsageError("Say where to: --repo ORG/NAME for the Hub, or --to FOLDER for a directory zoo.")
    if to is not None and (public or zoo is not None):
        raise UsageError(f"{'--public' if public else '--zoo'} is for the Hub; a directory zoo has its own zoo.yaml.")
    if to is not None and kind is Kind.backbone:
        raise UsageError("A backbone alone is no model that a zoo could list; it is published on the Hub, for timm.")


def _put(staged: Staged, to: Path, summary: str, as_json: bool) -> None:
    from mammozoo.zoo.directory import put

    entry = put(staged, to, summary)
    note(f"Put into '{to}': {entry.name} {entry.version}, {entry.size / 1e6:.2f} MB. Use: MAMMOZOO_ZOO={to}")
    if as_json:
        _print_json(staged, False, None, entry)


def _publication(
    config: ModelConfig, repo: str, name: str, version: str, license: str, data_terms: str, kind: Kind, base: str
) -> Publication:
    import re

    from packaging.version import InvalidVersion, Version

    from mammozoo.errors import UsageError
    from mammozoo.zoo.card import Publication
    from mammozoo.zoo.entry import NAME, REPOSITORY

    if repo and not re.match(REPOSITORY, repo):
        raise UsageError(f"'{repo}' is no repository: say --repo ORG/NAME.")
    if not re.match(NAME, name):
        raise UsageError(f"'{name}' is no name for a model: small letters, digits, dots and dashes. Say --name.")
    try:
        Version(version)
    except InvalidVersion:
        raise UsageError(f"'{version}' is no version, such as 1.0.0.") from None
    base = base if kind is Kind.adapter else ""
    terms = data_terms or _known_terms(config)
    return Publication(
        name, version, _spdx(license), terms, repo, kind.value, base, _repository_of(base) if base else ""
    )


def _spdx(license: str) -> str:
    """The licence in SPDX's own spelling; nothing stays nothing, and is refused where the rest is."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    from mammozoo.errors import UsageError

    if not license:
        return ""
    try:
        return str(canonicalize_license_expression(license))
    except InvalidLicenseExpression:
        raise UsageError(
            f"'{license}' is no SPDX licence, such as Apache-2.0 or CC-BY-NC-4.0; a licence of your own is LicenseRef-NAME."
        ) from None


def _known_terms(config: ModelConfig) -> str:
    """What a data set's plugin says of its terms; nothing where it is not installed."""
    from mammozoo.config.names import parse
    from mammozoo.errors import NotFoundError
    from mammozoo.plugins import registry

    try:
        info = registry().get("datasets", parse(config.training.dataset).name).info
    except NotFoundError:
        return ""
    return f"{info.license} ({info.url})" if info.license and info.url else str(info.license)


def _repository_of(base: str) -> str:
    from mammozoo.zoo.registry import listed

    source = listed(base).from_hub
    return source.hub if source else ""


def _base_folder(publication: Publication) -> Path | None:
    if not publication.base:
        return None
    from mammozoo.zoo.registry import find_model

    return find_model(f"zoo:{publication.base}")


def _show(staged: Staged, public: bool) -> None:
    publication = staged.publication
    if publication.repository:
        typer.echo(f"{publication.repository}, {'public' if public else 'private'}, tag v{publication.version}")
    else:
        typer.echo(f"{publication.name} {publication.version}")
    print_table(
        "",
        ["file", "bytes"],
        [(name, f"{path.stat().st_size:,}") for name, path in staged.files.items()],
    )
    typer.echo(staged.files["README.md"].read_text(encoding="utf-8"))


def _print_json(staged: Staged, public: bool, revision: str | None, entry: Entry | None) -> None:
    print_json(
        {
            "repository": staged.publication.repository or None,
            "private": not public if staged.publication.repository else None,
            "tag": f"v{staged.publication.version}",
            "revision": revision,
            "files": {name: path.stat().st_size for name, path in staged.files.items()},
            "card": staged.files["README.md"].read_text(encoding="utf-8"),
            "entry": entry.model_dump(mode="json", exclude_defaults=True) if entry else None,
        }
    )
