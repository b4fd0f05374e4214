"""`mammozoo train`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, print_json, print_scores, print_table, progress
from mammozoo.cli.settings import read_settings, stopping

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.training.prepare import PreparedRun


def train(
    recipe: str = typer.Argument(None, help="Recipe name or YAML file; without one, the built-in default."),
    dataset: str = typer.Option(None, help="Data set with options, such as busi or phantom:n=400."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    backbone: str = typer.Option(None, help="Network: resnet9, resnet101, torchvision/squeezenet1_1 ..."),
    weights: str = typer.Option(None, help="imagenet, random, file:PATH, zoo:NAME, or the folder of a run."),
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
    resume: Path = typer.Option(None, metavar="RUN", help="Go on with a run that was killed or stopped."),
    extend: Path = typer.Option(None, metavar="RUN", help="Train a complete run for more --epochs, into a new folder."),
    keep_state: bool = typer.Option(False, "--keep-state", help="Keep what --extend needs when the run is complete."),
    compile_it: bool = typer.Option(
        False, "--compile", help="Train through torch.compile; pays in long trainings only."
    ),
    gpus: int = typer.Option(
        1, min=1, help="Processes that train together, each on a GPU (or, with --device cpu, a core)."
    ),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Any recipe key, such as split.val=0.1."),
    jobs: int = typer.Option(1, min=1, help="Fits (folds, points of a grid, repeats) at once, each in a process."),
    jobs_by: str = typer.Option("loky", help="Who runs the jobs: loky (this machine), dask or ray."),
    report: bool = typer.Option(True, "--report/--no-report", help="Write report.html into the run."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be done, with one batch through the net."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Train a model by a recipe and score it on its test part."""
    from mammozoo.config.recipe import load
    from mammozoo.errors import UsageError
    from mammozoo.training.distributed import check_processes
    from mammozoo.training.parallel import BACKENDS

    flags = {
        "dataset": dataset, "root": root, "backbone": backbone, "weights": weights, "strategy": strategy, "head": head,
        "epochs": epochs, "batch": batch, "optimizer.lr": lr, "split.folds": folds,
        "split.file": split, "seed": seed, "device": device, "compile": compile_it or None, "keep_state": keep_state or None,
    }  # fmt: skip
    overrides = read_settings(settings) | {key: value for key, value in flags.items() if value is not None}
    if resume is not None and (recipe or out or dry_run or overrides):
        raise UsageError("--resume goes on with a run as it was begun: give nothing else with it.")
    if extend is not None and (recipe or resume or dry_run or set(overrides) - {"epochs"} or epochs is None):
        raise UsageError("--extend RUN takes --epochs N, more than the run has, and nothing else but --out.")
    if jobs_by not in BACKENDS:
        raise UsageError(f"--jobs-by is {', '.join(BACKENDS)}, not '{jobs_by}'.")
    resolved = load(recipe, {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()})
    if gpus > 1 and "RANK" not in os.environ:
        if jobs > 1:
            raise UsageError("Several processes at one fit, or several fits at once: leave --gpus or --jobs out.")
        begun = resume or extend
        check_processes(resolved if begun is None else _recipe_of(begun), gpus)
        raise typer.Exit(_launch(gpus))
    from mammozoo.report.page import write_report
    from mammozoo.training import experiment
    from mammozoo.training.checkpoint import Stopped
    from mammozoo.training.prepare import prepare

    started = time.perf_counter()
    shown = progress()
    try:
        if dry_run:
            content = _dry(prepare(resolved, shown))
        else:
            side = experiment.Jobs(jobs, jobs_by)
            with stopping() as stop:
                if resume is not None:
                    run = experiment.resume(resume, shown, stop=stop, jobs=side)
                elif extend is not None:
                    run = experiment.extend(extend, epochs, out, shown, stop=stop, jobs=side)
                else:
                    run = experiment.train(resolved, out, shown, stop=stop, jobs=side)
            if not run.facts:  # of a process that trained along
                _end_in_team()
            if report:
                write_report(run.path, progress=shown)
    except Stopped as stopped:
        note(f"mammozoo: stopped by a signal. Go on with: mammozoo train --resume {stopped}")
        raise typer.Exit(143) from None
    finally:
        shown.stop()
    if dry_run:
        _show_plan(content, as_json)
        return
    seconds = round(time.perf_counter() - started, 1)
    if as_json:
        print_json({"run": run.path.as_posix(), "scores": run.facts["scores"], "seconds": seconds})
        _end_in_team()
        return
    for stamp in run.facts["stamps"]:
        note(f"! {stamp}")
    print_scores(run.facts["scores"])
    written = f", {run.path / 'report.html'}" if report else ""
    typer.echo(f"{run.path} ({seconds:.0f} s){written}\nTry: mammozoo predict IMAGE --model {run.path}")
    _end_in_team()


def _end_in_team() -> None:
    """End one of several processes here and now: all is written, and gloo's threads abort some that end in the ordinary way."""
    if "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _recipe_of(run: Path) -> Recipe:
    from mammozoo.training.run_directory import RunDirectory

    return RunDirectory.open(run).recipe


def _launch(processes: int) -> int:
    """Run this very command in several processes through torch's launcher; the exit code of the first that failed."""
    import logging

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    elastic = logging.getLogger("torch.distributed.elastic")  # what it logs says less than our one line
    elastic.addHandler(logging.NullHandler())
    elastic.propagate = False
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=processes, run_id="mammozoo", rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, monitor_interval=0.2,
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)("-m", "mammozoo", *sys.argv[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            note(
                f"mammozoo: process {rank + 1} of {processes} was ended by signal {-failure.exitcode}; the others were stopped."
            )
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def _dry(plan: PreparedRun) -> dict[str, Any]:
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
        "stages": plan.stage_counts(),
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
    if content["stages"]:
        print_table(
            "Stages before, each from the weights of the one above it",
            ["stage", "data", "classes", "strategy, head", "epochs", "images", "left out, by split"],
            [
                (
                    s["name"], s["dataset"], ", ".join(s["classes"]), f"{s['strategy']}, {s['head']}", s["epochs"], s["images"],
                    "–".join(f"{n}" for n in sorted({min(s["left_out"].values()), max(s["left_out"].values())})),
                )
                for s in content["stages"]
            ],
        )  # fmt: skip
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
