"""`mammozoo explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mammozoo import api
from mammozoo.cli.options import Device, Json, Member, Roots, data_option, output_option, read_roots
from mammozoo.cli.output import figure, note, note_stamps, print_json, print_table, progress
from mammozoo.cli.which import FirstModel, Images, Model, model_and_data
from mammozoo.files import sha256

if TYPE_CHECKING:
    from mammozoo.evaluation.explanations import Explanation

EXAMPLES = """
mammozoo explain runs/first lesion.png
mammozoo explain runs/first --dataset busi --root ~/BUSI --limit 50 --sanity
"""

_MEANS = {  # column → score
    "heat inside": "heat_inside",
    "area (chance)": "area_inside",
    "hit": "hit",
    "hit by chance": "hit_by_chance",
    "hit of the centre": "hit_center",
}


def explain(
    first: FirstModel = None,
    images: Images = None,
    model: Model = None,
    member: Member = None,
    method: str = typer.Option("grad-cam", help="grad-cam, or occlusion (slow)."),
    class_name: str = typer.Option(
        None, "--class", help="Class to explain, or true for the class of the label; by default the predicted class."
    ),
    mask: Path = typer.Option(
        None, help="Lesion mask of a single image; NAME_mask.png in the same folder is found automatically."
    ),
    sanity: bool = typer.Option(False, "--sanity", help="Compare with untrained networks (Adebayo et al. 2018)."),
    dataset: str = data_option(None, help="Explain a data set; for the run's own, only its test images."),
    root: Roots = None,
    part: str = data_option(None, help="Part of the run's own data set: test (default) or val."),
    limit: int = data_option(None, min=1, help="Number of images, drawn from the data set with seed 0."),
    device: Device = "auto",
    out: Path = output_option(Path("explanations"), help="Folder of the overlays (PNG) and maps (npy)."),
    overwrite: bool = output_option(False, "--overwrite", help="Replace existing explanations."),
    as_json: Json = False,
) -> None:
    """Show where a model looks, and compare it with lesion masks. Research only: not for diagnosis."""
    from mammozoo.data.layouts import located
    from mammozoo.evaluation.image_table import table_of

    chosen, images = model_and_data(first, images or (), model)
    roots = read_roots(root)
    if dataset is None and (table := table_of(images)) is not None:
        dataset, images = str(table), []
    if dataset is not None:
        dataset, roots = located(dataset, roots)
    with progress() as shown:
        result = api.explain(
            chosen,
            images,
            member=member,
            out=out,
            method=method,
            class_name=class_name,
            mask=mask,
            dataset=dataset,
            root=roots,
            part=part,
            limit=limit,
            sanity=sanity,
            overwrite=overwrite,
            device=device,
            progress=shown,
        )
    from mammozoo.evaluation.explanations import summarise, summarise_sanity

    config, explanations = result.config, result.explanations
    summary = summarise(explanations)
    checked = summarise_sanity(explanations) if sanity else None
    if as_json:
        print_json(
            {
                "model": {"name": config.name, "sha256": sha256(result.folder / "model.safetensors")},
                "method": method,
                "stamps": list(result.stamps),
                "results": [explanation.row() for explanation in explanations],
                "summary": summary,
                "sanity": checked,
            }
        )
    else:
        note_stamps(result.stamps)
        _show(method, explanations, summary)
        if checked:
            rho, same = checked["rank_correlation"], checked["undefined"]
            left_out = f"; undefined for {same}, where one map has no relief" if same else ""
            note(f"Sanity: rank correlation with untrained networks {_mean(rho)}, n = {rho['n']}{left_out}.")
            if checked["insensitive"]:
                least = f"{checked['limit']} or more"
                note(f"! {method} hardly depends on the trained weights ({least}): do not use its maps.")
    together = f", {len(config.members)} models together" if config.members else ""
    note(f"Overlays and maps: {out}. Model: {config.name}{together}. {config.intended_use}")
    if summary["errors"]:
        raise typer.Exit(1)


def _show(method: str, explanations: list[Explanation], summary: dict[str, Any]) -> None:
    good = [explanation for explanation in explanations if explanation.error is None]
    if good and good[0].case.label is None:
        rows: list[list[Any]] = []
        for e in good:
            inside = [""] * 3
            if place := e.place:
                inside = [figure(place.heat_inside), figure(place.area_inside), "yes" if place.hit else "no"]
            rows.append([e.case.name, e.explained or "", figure(e.probability), *inside, e.overlay or ""])
        print_table("", ["file", "class", "p", "heat inside", "area", "hit", "overlay"], rows)
    if summary["heat_inside"]["n"] > 1:
        decided = {f"{name} decisions": means for name, means in summary["by_decision"].items()}
        groups = {"all": summary, **summary["by_class"], **decided}
        rows = [
            [name, g["heat_inside"]["n"], *(_mean(g[key]) for key in _MEANS.values())] for name, g in groups.items()
        ]
        title = f"{method}: means over images with a lesion mask, 95 % intervals by group"
        print_table(title, ["class", "n", *_MEANS], rows)
    for explanation in explanations:
        if explanation.error:
            note(f"mammozoo: {explanation.error}")
    from mammozoo.evaluation.suitable import SEEN

    if seen := [e.case.name for e in explanations if SEEN in e.warnings]:
        note(f"! {len(seen)} of {len(explanations)} images were {SEEN}: {', '.join(seen[:5])}.")
    if bare := summary["without_heat"]:
        note(f"! {bare} of {len(explanations)} maps have no heat: nothing in these images supports the class.")


def _mean(score: dict[str, Any]) -> str:
    return figure(score["value"], score["low"], score["high"])
