"""`mammozoo zoo ...`: which trained models there are, getting them, checking them, carrying them elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.options import Command, Group, Json, ModelNames
from mammozoo.cli.output import figure, note, print_json, print_table, say
from mammozoo.cli.zoo_push import EXAMPLES as PUSH_EXAMPLES
from mammozoo.cli.zoo_push import push
from mammozoo.errors import MammozooError

if TYPE_CHECKING:
    from mammozoo.zoo.entry import ZooModel

app = typer.Typer(help="Trained models: list, get, check, copy, publish.", no_args_is_help=True, cls=Group)
app.command("push", cls=Command, epilog=PUSH_EXAMPLES)(push)


@app.command("list", cls=Command, epilog="mammozoo zoo list")
def list_models(as_json: Json = False) -> None:
    """Show every model of every zoo. Asks no server."""
    from mammozoo.zoo.registry import catalogue

    models = [_summary(model) for model in catalogue().values()]
    if as_json:
        print_json({"models": models})
        return
    columns = ["model", "version", "MB", "source", "state", "score (95 % interval)", "licence"]
    keys = ("name", "version", "bytes", "source", "state", "score", "license")
    rows = [[f"{m[key] / 1e6:.2f}" if key == "bytes" else m[key] for key in keys] for m in models]
    print_table("", columns, rows)


@app.command("info", cls=Command, epilog="mammozoo zoo info busi-resnet9")
def info(name: str = typer.Argument(..., help="Name of a model."), as_json: Json = False) -> None:
    """Show the entry of a model: files with their SHA-256, data, scores, terms. Asks no server."""
    from mammozoo.evaluation.metric import printed
    from mammozoo.zoo.registry import listed

    model = listed(name)
    if as_json:
        place = {"zoo": str(model.zoo), "state": model.state, "folder": _folder(model)}
        print_json({**model.entry.model_dump(mode="json"), **place})
        return
    print_table(f"{model.entry.name} {model.entry.version}", ["", ""], _facts(model))
    print_table("files", ["file", "bytes", "SHA-256"], [(n, f.size, f.sha256) for n, f in model.entry.files.items()])
    rows = [
        (e.dataset, e.part, e.n if s.n is None else s.n, printed(metric), figure(s.value, s.low, s.high))
        for e in model.entry.evaluation
        for metric, s in e.scores.items()
    ]
    if rows:
        print_table("scores", ["data set", "part", "n", "score", "value (95 % interval)"], rows)


@app.command("pull", cls=Command, epilog="mammozoo zoo pull NAME\nmammozoo zoo pull hub:ORG/NAME@COMMIT")
def pull(
    names: list[str] = typer.Argument(..., help="Names of models, or hub:ORG/NAME@COMMIT."),
    yes: bool = typer.Option(False, "--yes", help="Do not ask before downloading more than 1 GB of a hub: model."),
    as_json: Json = False,
) -> None:
    """Get models from the Hub, with the base of an adapter, and check every file. Asks nothing if all files are here.

    Shows the licence of the weights and the terms of their data.
    """
    from mammozoo import progress
    from mammozoo.zoo.card import licence_of
    from mammozoo.zoo.registry import listed, pull_model, with_bases

    if yes:
        progress.confirm = progress.agree
    folders: dict[str, Path] = {}
    for name in names:
        for entry in [] if name.startswith("hub:") else [model.entry for model in with_bases(listed(name))]:
            terms = f"Weights: {entry.license}. Data: {entry.data_terms}"
            note(f"{entry.name} {entry.version}, {entry.size / 1e6:.1f} MB. {terms}")
        folders[name] = pull_model(name)
        if name.startswith("hub:"):
            note(f"{name}: {licence_of(name, folders[name]) or 'Its card states no licence.'}")
    if as_json:
        print_json({"folders": {name: str(folder) for name, folder in folders.items()}})
        return
    for folder in folders.values():
        say(folder)


@app.command("verify", cls=Command, epilog="mammozoo zoo verify --deep")
def verify(
    names: list[str] = typer.Argument(None, help="Names of models; by default all models on this machine."),
    deep: bool = typer.Option(False, "--deep", help="Also build each model and check every weight."),
    remote: bool = typer.Option(False, "--remote", help="Also ask the Hub whether it still has the same files."),
    as_json: Json = False,
) -> None:
    """Compare every file of models with their zoo. Continues after a damaged model."""
    from mammozoo.zoo.registry import catalogue, check, listed

    models = [listed(name) for name in names] if names else list(catalogue().values())
    rows: list[dict[str, Any]] = []
    worst: MammozooError | None = None
    for model in models:
        row: dict[str, Any] = {"name": model.entry.name, "state": "not pulled", "checked": [], "problem": None}
        rows.append(row)
        if names or model.state != "not pulled":
            try:
                row["checked"] = check(model, deep=deep, remote=remote)
                row["state"] = "right"
            except MammozooError as error:
                row["state"], row["problem"] = "wrong", str(error)
                worst = worst or error
    if as_json:
        print_json({"models": rows})
    else:
        print_table("", ["model", "state", "checked"], [(r["name"], r["state"], ", ".join(r["checked"])) for r in rows])
    for problem in [row["problem"] for row in rows if row["problem"]][1:]:
        note(f"! {problem}")
    if worst:
        raise worst


@app.command("export", cls=Command, epilog="mammozoo zoo export busi-resnet9 --to /mnt/zoo")
def export(
    names: ModelNames,
    to: Path = typer.Option(..., "--to", help="Folder of the directory zoo; an existing one is extended."),
    with_base: bool = typer.Option(False, "--with-base", help="Also export the bases of adapters."),
) -> None:
    """Copy models into a folder for use without a network: MAMMOZOO_ZOO=FOLDER."""
    from mammozoo.zoo.directory import export as write
    from mammozoo.zoo.registry import listed, with_bases

    chosen: dict[str, ZooModel] = {}
    for name in names:
        for model in with_bases(listed(name)) if with_base else [listed(name)]:
            chosen[model.entry.name] = model
    write(chosen.values(), to)
    for entry in (model.entry for model in chosen.values()):
        if entry.base and (base := entry.base.name) not in chosen:
            note(f"'{entry.name}' is an adapter; where it is used, '{base}' must be there too (--with-base).")
    note(f"{len(chosen)} models, {sum(m.entry.size for m in chosen.values()) / 1e6:.2f} MB. Use: MAMMOZOO_ZOO={to}")
    say(to)


@app.command("rm", cls=Command, epilog="mammozoo zoo rm NAME")
def rm(names: list[str] = typer.Argument(..., help="Names of pulled models, or hub:ORG/NAME@COMMIT.")) -> None:
    """Remove pulled models from this machine."""
    from mammozoo.zoo.cache import remove
    from mammozoo.zoo.pull import parse_reference
    from mammozoo.zoo.registry import listed

    for name in names:
        freed = remove(parse_reference(name) if name.startswith("hub:") else listed(name))
        note(f"{name}: {freed / 1e6:.2f} MB freed" if freed else f"{name}: was not there")


@app.command("clean", cls=Command, epilog="mammozoo zoo clean")
def clean() -> None:
    """Remove the leftovers of killed downloads."""
    from mammozoo.zoo.cache import clean as sweep

    files, freed = sweep()
    note(f"{files} left-over files removed, {freed / 1e6:.2f} MB freed")


def _summary(model: ZooModel) -> dict[str, Any]:
    from mammozoo.evaluation.metric import printed

    entry, headline = model.entry, ""
    if entry.evaluation:  # the first score: AUC, if it has one
        first = entry.evaluation[0]
        name = "auc" if "auc" in first.scores else next(iter(first.scores))
        score = first.scores[name]
        n, whose = first.n if score.n is None else score.n, "" if first.part == "test" else f", {first.part}"
        headline = f"{printed(name)} {figure(score.value, score.low, score.high)}, n = {n}{whose}"
    return {
        "name": entry.name, "version": entry.version, "bytes": entry.size, "source": model.where, "state": model.state,
        "score": headline, "license": entry.license, "summary": entry.summary,
        "base": entry.base.name if entry.base else None, "withdrawn": entry.withdrawn,
    }  # fmt: skip


def _facts(model: ZooModel) -> list[tuple[str, object]]:
    entry, trained_on = model.entry, ""
    if training := entry.training:
        parts = ", ".join(f"{count} {part}" for part, count in training.images.items())
        trained_on = f"{training.dataset}: {parts}" if parts else training.dataset
    rows: list[tuple[str, object]] = [
        ("summary", entry.summary),
        ("intended use", entry.intended_use),
        ("licence", entry.license),
        ("data terms", entry.data_terms),
        ("source", f"{hub.hub} @ {hub.revision}" if (hub := model.from_hub) else model.where),
        ("listed by", model.zoo),
        ("state", f"{model.state}: {_folder(model)}"),
        ("classes", ", ".join(entry.classes)),
        ("input", "×".join(map(str, entry.input_size or ()))),
        ("threshold", (t := entry.threshold) and f"{t.value:.3f} ({t.name}, {t.chosen_on})"),
        ("trained on", trained_on),
        ("split, SHA-256", entry.training and entry.training.split_sha256),
        ("adapter of", entry.base and f"{entry.base.name}, SHA-256 {entry.base.sha256}"),
        ("whole, SHA-256", entry.full_sha256),
        ("needs mammozoo", entry.requires),
        ("withdrawn", entry.withdrawn),
        *(("stamp", stamp) for stamp in entry.stamps),
    ]
    return [(name, value) for name, value in rows if value]


def _folder(model: ZooModel) -> str:
    try:
        return str(model.folder)
    except MammozooError as error:
        return str(error)
