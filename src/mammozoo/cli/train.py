"""`mammozoo train`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, print_json, print_scores, print_table, progress

if TYPE_CHECKING:
    from mammozoo.plan import Plan


def train(
    recipe: str = typer.Argument(None, help="Recipe name or YAML file; without one, the built-in default."),
    dataset: str = typer.Option(None, help="Data set with options, such as busi or phantom:n=400."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    backbone: str = typer.Option(None, help="Network: resnet9, resnet101, torchvision/squeezenet1_1 ..."),
    weights: str = typer.Option(None, help="imagenet, random, file:PATH or zoo:NAME."),
    strategy: str = typer.Option(None, help="Transfer strategy: drs, frozen, drs+last-blocks:1 ..."),
    head: str = typer.Option(None, help="Classifier: gap, gap-fc, flatten-2fc."),
    epochs: int = typer.Option(None, help="Epochs of training."),
    batch: int = typer.Option(None, help="Images in a batch."),
    lr: float = typer.Option(None, help="Learning rate."),
    split: Path = typer.Option(None, help="A split made before: splits.json of a run, nnU-Net's, or a table."),
    folds: int = typer.Option(None, help="Folds of cross-validation; 1 holds one test part out."),
    seed: int = typer.Option(None, help="Seed of everything random."),
    device: str = typer.Option(None, help="auto, cpu, cuda or mps."),
    out: Path = typer.Option(None, help="Folder of the run; must be new or empty."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Any recipe key, such as split.val=0.1."),
    report: bool = typer.Option(True, "--report/--no-report", help="Write report.html into the run."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be done, with one batch through the net."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Train a model by a recipe and score it on its test part."""
    from mammozoo import experiment
    from mammozoo.plan import plan
    from mammozoo.report.page import write_report
    from mammozoo.training.recipe import load

    flags = {
        "dataset": dataset, "root": root, "backbone": backbone, "weights": weights, "strategy": strategy, "head": head,
        "epochs": epochs, "batch": batch, "optimizer.lr": lr, "split.folds": folds,
        "split.file": split, "seed": seed, "device": device,
    }  # fmt: skip
    overrides = _settings(settings) | {key: value for key, value in flags.items() if value is not None}
    resolved = load(recipe, {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()})
    started = time.perf_counter()
    shown = progress()
    try:
        if dry_run:
            content = _dry(plan(resolved, shown))
        else:
            run = experiment.train(resolved, out, shown)
            if report:
                write_report(run.path, progress=shown)
    finally:
        shown.stop()
    if dry_run:
        _show_plan(content, as_json)
        return
    seconds = round(time.perf_counter() - started, 1)
    if as_json:
        print_json({"run": run.path.as_posix(), "scores": run.facts["scores"], "seconds": seconds})
        return
    for stamp in run.facts["stamps"]:
        note(f"! {stamp}")
    print_scores(run.facts["scores"])
    written = f", {run.path / 'report.html'}" if report else ""
    typer.echo(f"{run.path} ({seconds:.0f} s){written}\nTry: mammozoo predict IMAGE --model {run.path}")


def _settings(pairs: list[str]) -> dict[str, Any]:
    import yaml

    from mammozoo.errors import UsageError

    found = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not '{pair}'.")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {pair}: {' '.join(str(error).split())}.") from None
    return found


def _dry(plan: Plan) -> dict[str, Any]:
    """What a plan would do; one batch goes through the network to prove it."""
    import torch

    model, strategy = plan.build()
    plan.engine.place(model)
    pixels = torch.from_numpy(plan.data.images.pixels[plan.splits[0].train[: plan.recipe.batch]])
    with torch.no_grad(), plan.engine.autocast():
        model.eval()(plan.input.normalize(pixels.to(plan.engine.device)))
    names = {parameter: name for name, parameter in model.named_parameters()}
    groups = [
        {
            "lr": group["lr"],
            "parameters": sum(p.numel() for p in group["params"]),
            "layers": [names[p] for p in group["params"]],
        }
        for phase in plan.recipe.all_phases()
        for group in strategy.parameter_groups(model, phase.lr)
    ]
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "parameters": model.parameter_counts(),
        "groups": groups,
        "splits": plan.split_counts(),
        "stamps": list(plan.stamps),
    }


def _show_plan(content: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(content)
        return
    import yaml

    typer.echo(yaml.safe_dump(content["recipe"], sort_keys=False, allow_unicode=True))
    counts = content["parameters"]
    typer.echo(
        f"{counts['trainable']:,} of {counts['total']:,} parameters train, {counts['head']:,} of them in the head."
    )
    print_table(
        "Parameter groups",
        ["learning rate", "parameters", "tensors"],
        [(f"{g['lr']:g}", f"{g['parameters']:,}", len(g["layers"])) for g in content["groups"]],
    )
    print_table(
        "Splits",
        ["split", "train", "val", "test"],
        [
            (
                s["name"],
                *(", ".join(f"{n} {label}" for label, n in s[part].items()) for part in ("train", "val", "test")),
            )
            for s in content["splits"]
        ],
    )
    for stamp in content["stamps"]:
        note(f"! {stamp}")
