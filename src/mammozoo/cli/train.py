"""`mammozoo train`."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.options import (
    Jobs,
    Json,
    Settings,
    computing_option,
    output_option,
    read_roots,
    read_settings,
    recipe_option,
    stopping,
)
from mammozoo.cli.output import note, note_stamps, print_headline, print_json, print_scores, progress, say
from mammozoo.cli.plan import in_words, show_dry_run, show_ended, show_fits
from mammozoo.cli.refit import train_on_all
from mammozoo.errors import UsageError
from mammozoo.files import absent

if TYPE_CHECKING:
    from mammozoo.config.recipe import Recipe
    from mammozoo.config.sections import Root
    from mammozoo.progress import Progress
    from mammozoo.training.run_directory import RunDirectory

log = logging.getLogger(__name__)

EXAMPLES = """
mammozoo train ~/clinic
mammozoo train --dataset phantom:n=200 --epochs 2 --out runs/first
mammozoo train byra-busi --root ~/BUSI --set optimizer.lr=1e-2 --folds 5
mammozoo train --resume runs/first
mammozoo train byra-busi --root ~/BUSI --folds 5 --out runs/five --fold 2
"""
PRESETS = ("quick", "best")
_recipe = functools.partial(recipe_option, None)
_run = functools.partial(typer.Option, None, rich_help_panel="Run")


def train(
    recipe: str = typer.Argument(
        None, metavar="DATA|RECIPE", help="Your folder or table of images, or a recipe's name or YAML file."
    ),
    preset: str = _recipe(help="For your images: quick (one split, frozen network) or best (larger network, longer)."),
    dataset: str = _recipe(help="Data set with options, such as busi or phantom:n=400; several as a+b."),
    root: list[str] = _recipe(
        metavar="PATH", help="Folder (or CSV file) that holds the data; for several data sets NAME=PATH for each."
    ),
    backbone: str = _recipe(help="Network: resnet9, resnet101, torchvision/squeezenet1_1 ..."),
    weights: str = _recipe(help="imagenet, random, file:PATH, zoo:NAME, hub:ORG/NAME@SHA:FILE, or run:FOLDER."),
    strategy: str = _recipe(help="Transfer strategy: drs, frozen, drs+last-blocks:1 ..."),
    head: str = _recipe(help="Classifier: gap, gap-fc, flatten-2fc."),
    epochs: int = _recipe(help="Epochs of training."),
    batch: int = _recipe(help="Images in a batch."),
    lr: float = _recipe(help="Learning rate."),
    exclude: Path = _recipe(help="List of images to leave out, as written by `data check --write-exclusions`."),
    split: Path = _recipe(help="An existing split: splits.json of a run, nnU-Net's, or a table."),
    leave_out: str = _recipe(
        metavar="NAME",
        help="Test on one of several data sets, or on COLUMN=VALUE (* for each value in turn); train on the rest.",
    ),
    folds: int = _recipe(help="Folds of cross-validation; 1 makes one hold-out split."),
    seed: int = _recipe(help="Seed for all random numbers."),
    settings: Settings = None,
    out: Path = _run(help="Folder of the run; must be new or empty."),
    resume: Path = _run(metavar="RUN", help="Continue an interrupted run."),
    extend: Path = _run(metavar="RUN", help="Train a complete run for more --epochs, into a new folder."),
    refit: Path = _run(metavar="RUN", help="Train one model on all images of a complete run, into RUN/refit."),
    fit: str = _run(
        metavar="NUMBER|NAME", help="Train one fit of the run in --out; --plan lists the fits; see `merge`."
    ),
    fold: int = _run(min=0, help="Train the fits of one fold of the run in --out; see `merge`."),
    merge_last: bool = typer.Option(
        False,
        "--merge-last",
        help="With --fit or --fold: `merge` the run if all fits are complete.",
        rich_help_panel="Run",
    ),
    keep_state: bool = typer.Option(
        False, "--keep-state", help="Keep the training state, which --extend needs.", rich_help_panel="Run"
    ),
    device: str = computing_option(None, help="auto, cpu, cuda or mps."),
    gpus: int = computing_option(
        1, min=1, max=1024, help="Processes that train together, each on a GPU (or, with --device cpu, a core)."
    ),
    jobs: Jobs = 1,
    jobs_by: str = computing_option("loky", help="Who runs the jobs: loky (this machine), dask or ray."),
    compile_it: bool = computing_option(
        False, "--compile", help="Train with torch.compile; faster in long trainings only."
    ),
    report: bool = output_option(True, "--report/--no-report", help="Write report.html into the run."),
    plan: bool = output_option(False, "--plan", help="List the run's fits, and which of them --out has."),
    dry_run: bool = output_option(
        False, "--dry-run", help="Show what would be done, and test one batch; train nothing."
    ),
    all_scores: bool = output_option(False, "--all-scores", help="Print every score, not only the five main ones."),
    as_json: Json = False,
) -> None:
    """Train a model from a recipe and score it on the test part."""
    from mammozoo.config.loading import OWN, load, own_data

    flags = {
        "dataset": dataset, "root": read_roots(root), "backbone": backbone, "weights": weights, "strategy": strategy, "head": head,
        "epochs": epochs, "batch": batch, "optimizer.lr": lr, "split.folds": folds, "split.file": split, "exclude": exclude,
        "split.leave_out": leave_out, "seed": seed, "device": device, "compile": compile_it or None,
        "keep_state": keep_state or None,
    }  # fmt: skip
    overrides = read_settings(settings) | {key: value for key, value in flags.items() if value is not None}
    if fold is not None:
        fit = f"fold-{fold}" if fit is None else ""
    if (fit is not None and (not fit or out is None or resume or extend)) or (merge_last and fit is None):
        raise UsageError(
            "--fit and --fold train a part of a run that several jobs share: give one of them, a recipe, and --out RUN. "
            "--merge-last needs one of them."
        )
    if resume is not None and (recipe or out or dry_run or plan or overrides):
        raise UsageError("--resume continues a run with its own settings: give nothing else with it.")
    if extend is not None and (recipe or resume or dry_run or plan or set(overrides) - {"epochs"} or epochs is None):
        raise UsageError("--extend RUN takes --epochs N, more than the run has, and nothing else but --out.")
    if refit is not None:
        others = (recipe, resume, extend, out, fit, plan, dry_run, set(overrides) - {"root"}, jobs > 1, gpus > 1)
        if any(others):
            raise UsageError(
                "--refit trains a complete run's recipe on all its images: give nothing else with it but --root."
            )
        train_on_all(refit, read_roots(root), as_json)
        return
    data = recipe and own_data(recipe)
    if preset is not None and (not data or preset not in PRESETS):
        why = absent(recipe) if recipe and not data else f" Else: mammozoo train {OWN}-{PRESETS[0]} --dataset …"
        raise UsageError(
            f"--preset is {' or '.join(PRESETS)}, and goes with a folder or table of your own images.{why}"
        )
    overrides = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    resolved = load(recipe, overrides, own=f"{OWN}-{preset}" if preset else OWN)
    _check_names(resolved)
    from mammozoo.training import parallel
    from mammozoo.training.distributed import check_processes, current_context
    from mammozoo.training.run_directory import RunDirectory

    if jobs_by not in parallel.BACKENDS:
        raise UsageError(f"--jobs-by is {', '.join(parallel.BACKENDS)}, not '{jobs_by}'.")
    if gpus > 1 and "RANK" not in os.environ:
        if jobs > 1:
            raise UsageError("Several processes at one fit, or several fits at once: leave --gpus or --jobs out.")
        current_context()  # refuses to be one of several
        begun = resume or extend
        check_processes(resolved if begun is None else RunDirectory.open(begun).recipe, gpus)
        raise typer.Exit(_launch(gpus))
    if data and os.environ.get("RANK", "0") == "0":  # of several processes the first
        _tell(resolved, preset, overrides)
    if dry_run or plan:
        from mammozoo.training.dry_run import describe, list_fits
        from mammozoo.training.prepare import prepare

        with progress() as shown:
            prepared = prepare(resolved, shown)
        if plan:
            show_fits(list_fits(prepared, out), as_json)
        else:
            show_dry_run(describe(prepared), as_json)
        return
    from mammozoo.training import apart, experiment
    from mammozoo.training.checkpoint import Stopped

    many, whole = parallel.Jobs(jobs, jobs_by), None
    try:
        with progress() as shown:
            with stopping() as stop:
                if resume is not None:
                    run = experiment.resume(resume, shown, stop=stop, jobs=many)
                elif fit is not None:
                    run, ended = apart.train_fits(resolved, fit, out, shown, stop=stop, jobs=many)
                elif extend is not None:
                    run = experiment.extend(extend, epochs, out, shown, stop=stop, jobs=many)
                else:
                    run = experiment.train(resolved, out, shown, stop=stop, jobs=many)
            if not run.facts:  # of a process that trained along
                _end_in_team()
            if merge_last:
                whole = apart.merge_last(run.path, ended, shown)
            elif fit is None:
                whole = run
            if whole is not None:
                show_run(whole, shown, report, as_json, all_scores)
    except Stopped as stopped:
        way = f"mammozoo train --resume {stopped}" if fit is None else "the same command"
        note(f"mammozoo: stopped by a signal. Continue with: {way}")
        raise typer.Exit(143) from None
    if whole is None:
        show_ended(run, ended, as_json, merge_last)
    _end_in_team()


def show_run(
    run: RunDirectory,
    shown: Progress,
    report: bool,
    as_json: bool,
    all_scores: bool = False,
    root: Root | None = None,
) -> None:
    """Write the report of a complete run, if it is wanted, and print its scores; `root` is where the data are now."""
    if report:
        from mammozoo.report.page import write_report  # here: plots and explanations take seconds to import

        write_report(run.path, root=root, progress=shown)
    shown.stop()
    shown.clock.lap("report")
    spent = shown.clock.seconds
    log.info("Seconds: %s.", ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in spent.items()))
    seconds = round(sum(spent.values()), 1)
    if as_json:
        print_json({"run": run.path.as_posix(), "scores": run.facts["scores"], "seconds": seconds})
    else:
        note_stamps(run.facts["stamps"])
        if all_scores:
            print_scores(run.facts["scores"])
        else:
            print_headline(run.facts["scores"], f"--all-scores, or mammozoo evaluate {run.path}")
        written = f", {run.path / 'report.html'}" if report else ""
        from mammozoo.config.names import reference_to

        say(f"{run.path} ({seconds:.0f} s){written}\nTry: mammozoo predict {reference_to(run.path)} IMAGE")


def _check_names(recipe: Recipe) -> None:
    """Look up what a typo is likely in before torch is imported, which takes seconds."""
    from mammozoo.config.names import parse
    from mammozoo.config.requirements import check_requirements
    from mammozoo.data.joined import kinds_of
    from mammozoo.plugins import registry

    check_requirements(recipe.requires, f"Recipe '{recipe.name}'")
    kinds_of(recipe.dataset)
    registry().get("backbones", parse(recipe.backbone).name)


def _tell(recipe: Recipe, preset: str | None, given: Mapping[str, Any]) -> None:
    """What is trained on one's own data, and why."""
    name = f"own-{preset}" if preset else "own"
    note(f"'{recipe.root}' is read as data set '{recipe.dataset}'. Recipe '{name}': mammozoo show {name}")
    from mammozoo.config.sections import value_at

    fields = recipe.model_dump(mode="json")
    for key, why in {**recipe.why, **dict.fromkeys(given, "given")}.items():
        note(f"  {key} = {in_words(value_at(fields, key))}: {why}")


def _end_in_team() -> None:
    """End one of several processes here and now: all is written, and gloo's threads abort some that end in the ordinary way."""
    # Seen in torch 2.14, although the process group is destroyed before; rare: none in 184 teams of three of torch alone and 33 of
    # ours that ended in the ordinary way. Likely torch's own: its gloo threads may hold tensors with Python references when the
    # interpreter ends (pytorch/pytorch#179291, closed without a change).
    if "RANK" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _launch(processes: int) -> int:
    """Run this very command in several processes through torch's launcher; the exit code of the first that failed."""
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
            ended = f"process {rank + 1} of {processes} was ended by signal {-failure.exitcode}"
            note(f"mammozoo: {ended}; the others were stopped.")
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0
