"""`mammozoo explain`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo.cli.output import note, print_json, print_table, progress

if TYPE_CHECKING:
    from mammozoo.evaluation.cases import Case
    from mammozoo.evaluation.explanations import Explanation
    from mammozoo.models.config import ModelConfig
    from mammozoo.progress import Progress


def explain(
    model: str = typer.Argument(..., help="A run or model folder, or a zoo name."),
    images: list[str] = typer.Argument(
        None, help="Image files, folders (lesion masks in them are left out) or patterns."
    ),
    method: str = typer.Option("grad-cam", help="grad-cam, or occlusion (slow)."),
    class_name: str = typer.Option(None, "--class", help="Class to explain; without it, the one decided for."),
    out: Path = typer.Option(Path("explanations"), help="Folder of the overlays (PNG) and maps (npy)."),
    mask: Path = typer.Option(None, help="Lesion mask of the one image; NAME_mask.png beside it is found by itself."),
    dataset: str = typer.Option(None, help="Explain a data set; of the run's own, only what it was tested on."),
    root: Path = typer.Option(None, help="Folder (or CSV file) that holds the data."),
    part: str = typer.Option(None, help="Part of the run's own data set: test (if not said) or val."),
    limit: int = typer.Option(None, min=1, help="Only so many images of the data set, drawn with seed 0."),
    sanity: bool = typer.Option(False, "--sanity", help="Compare with untrained networks (Adebayo et al. 2018)."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace explanations that are there already."),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    as_json: bool = typer.Option(False, "--json", help="Machine-readable result on stdout."),
) -> None:
    """Draw where a model looks, and score it against lesion masks. Research only: not for diagnosis."""
    from mammozoo.errors import UsageError
    from mammozoo.evaluation.cases import of_files
    from mammozoo.evaluation.explanations import refuse_occupied_files
    from mammozoo.evaluation.predict import find_images
    from mammozoo.models.config import read_config
    from mammozoo.zoo.registry import find_model

    if bool(images) == (dataset is not None):
        raise UsageError("What is to be explained? Give images, or --dataset, and not both.")
    if dataset is None and (root or part or limit):
        raise UsageError("--root, --part and --limit go with --dataset.")
    _known_method(method)
    folder = find_model(model)
    config = read_config(folder)
    target = None if class_name is None else _number_of(class_name, config)
    shown = progress()
    try:
        files = find_images(images) if images else []
        if mask is not None and len(files) != 1:
            raise UsageError(f"--mask goes with one image, and there are {len(files)}.")
        if dataset is None:
            cases, stamps = of_files(files, mask), []
        else:
            cases, stamps = _of_dataset(folder, config, dataset, root, part, limit, shown)
        refuse_occupied_files(out, cases, files, overwrite)
        results = _explain(folder, cases, out, method, target, sanity, device, shown)
    finally:
        shown.stop()
    _print(folder, config, method, results, [*config.stamps, *stamps], sanity, as_json)
    note(f"Overlays and maps: {out}. Model: {config.name}. {config.intended_use}")
    if any(result.error for result in results):
        raise typer.Exit(1)


def _known_method(name: str) -> None:
    from mammozoo.errors import UsageError, nearest
    from mammozoo.evaluation.explain import METHODS

    if name not in METHODS:
        raise UsageError(f"Unknown --method '{name}'.{nearest(name, METHODS)} There are: {', '.join(METHODS)}.")


def _number_of(name: str, config: ModelConfig) -> int:
    from mammozoo.errors import UsageError, nearest

    if name not in config.classes:
        known = ", ".join(config.classes)
        raise UsageError(f"The model has no class '{name}'.{nearest(name, config.classes)} It has {known}.")
    return config.classes.index(name)


def _of_dataset(
    folder: Path,
    config: ModelConfig,
    name: str,
    root: Path | None,
    part: str | None,
    limit: int | None,
    shown: Progress,
) -> tuple[list[Case], list[str]]:
    """The cases, and stamps that they put on the result."""
    import numpy as np

    from mammozoo.config.names import call, parse
    from mammozoo.data.loaded import open_data
    from mammozoo.data.splits.leakage import seen_before
    from mammozoo.errors import UsageError
    from mammozoo.evaluation.cases import of_data, of_run
    from mammozoo.models.config import LEAKY
    from mammozoo.plugins import registry

    stamps = []
    if (folder / "predictions.csv").is_file() and str(parse(name)) == str(parse(config.training.dataset)):
        if part not in (None, "test", "val"):
            raise UsageError(f"--part is test or val, not '{part}'.")
        spec = parse(name)
        cases = of_run(folder, part or "test", call(registry().get("datasets", spec.name), spec, root))
        if part == "val":
            note("Validation images: the epoch and the threshold were chosen on them.")
    else:
        if part is not None:
            raise UsageError(f"--part goes with a run and its own data set; '{folder}' is not a run on '{name}'.")
        data = open_data(name, root, config.asked, config.input, "group", shown)
        known = seen_before(data, np.arange(len(data.samples)), config.training.seen)
        if len(known):
            stamps.append(LEAKY)
            note(f"{len(known)} of {len(data.samples)} images were seen in training, or nearly so: {LEAKY}.")
        cases = of_data(data)
    if limit is not None and limit < len(cases):
        chosen = np.random.default_rng(0).permutation(len(cases))[:limit]
        cases = [cases[i] for i in sorted(chosen)]
    return cases, stamps


def _explain(
    folder: Path,
    cases: list[Case],
    out: Path,
    method: str,
    target: int | None,
    sanity: bool,
    device: str,
    shown: Progress,
) -> list[Explanation]:
    """Each case by the model of its fold, or by the one in `folder`."""
    from mammozoo.evaluation.explanations import explain_cases
    from mammozoo.evaluation.sanity import RANDOMISATIONS, untrained
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model

    engine = choose_engine(device, "fp32")
    results = []
    shown.start("explaining", len(cases))
    for fold, members in itertools.groupby(cases, key=lambda case: case.fold):
        model, config = load_model(folder / fold if fold else folder)
        controls = [untrained(config, seed) for seed in range(RANDOMISATIONS)] if sanity else []
        for result in explain_cases(
            model, config, list(members), engine, out, method=method, target=target, controls=controls
        ):
            results.append(result)
            shown.advance()
    return results


def _print(
    folder: Path,
    config: ModelConfig,
    method: str,
    results: list[Explanation],
    stamps: list[str],
    sanity: bool,
    as_json: bool,
) -> None:
    from mammozoo.evaluation.explanations import summarise, summarise_sanity
    from mammozoo.files import sha256

    summary, checked = summarise(results), summarise_sanity(results) if sanity else None
    if as_json:
        about = {"name": config.name, "sha256": sha256(folder / "model.safetensors")}
        rows = [result.row() for result in results]
        print_json(
            {"model": about, "method": method, "stamps": stamps, "results": rows, "summary": summary, "sanity": checked}
        )
        return
    for stamp in stamps:
        note(f"! {stamp}")
    good = [result for result in results if result.error is None]
    if good and good[0].case.label is None:
        print_table("", ["file", "class", "p", "heat inside", "area", "hit", "overlay"], map(_line, good))
    if summary["heat_inside"]["n"] > 1:
        _print_summary(method, summary)
    for result in results:
        if result.error:
            note(f"mammozoo: {result.error}")
    if summary["without_heat"]:
        note(f"! {summary['without_heat']} of {len(results)} maps have no heat: nothing there speaks for the class.")
    if checked:
        _print_sanity(method, checked)


def _line(result: Explanation) -> list[str]:
    place = result.place
    return [
        result.case.name,
        result.explained or "",
        f"{result.probability:.3f}",
        f"{place.heat_inside:.3f}" if place else "",
        f"{place.area_inside:.3f}" if place else "",
        ("yes" if place.hit else "no") if place else "",
        result.overlay or "",
    ]


def _print_summary(method: str, summary: dict[str, Any]) -> None:
    columns = {
        "heat inside": "heat_inside",
        "area (chance)": "area_inside",
        "hit": "hit",
        "hit by chance": "hit_by_chance",
        "hit of the centre": "hit_center",
    }
    groups = {"all": summary, **summary["by_class"]}
    print_table(
        f"{method}: means over images with a lesion mask, 95 % intervals by group",
        ["class", "n", *columns],
        [[name, g["heat_inside"]["n"], *(_mean(g[key]) for key in columns.values())] for name, g in groups.items()],
    )


def _mean(score: dict[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    interval = "" if score["low"] is None else f" ({score['low']:.3f}–{score['high']:.3f})"
    return f"{score['value']:.3f}{interval}"


def _print_sanity(method: str, checked: dict[str, Any]) -> None:
    rho = checked["rank_correlation"]
    left_out = f"; undefined for {checked['undefined']}, where one map has no relief" if checked["undefined"] else ""
    note(f"Sanity: rank correlation with untrained networks {_mean(rho)}, n = {rho['n']}{left_out}.")
    if checked["insensitive"]:
        note(
            f"! {method} hardly depends on what this model has learnt ({checked['limit']} or more): do not use its maps."
        )
