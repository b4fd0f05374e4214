"""How a run departs from its paper: stamps, data, split, settings, and the departures that the paper's file names."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import SplitSettings
from mammozoo.data.joined import names_of, open_dataset, parse_datasets
from mammozoo.data.splits.exclusions import counted
from mammozoo.errors import MammozooError
from mammozoo.reproduction.paper import Paper, ProtocolName
from mammozoo.reproduction.runs import differences
from mammozoo.training.run_directory import RunDirectory

Kind = Literal["stamp", "data", "split", "settings", "note", "paper"]
#: The verdict on a number beside the paper's, by kind of departure; `SEE` for other kinds.
WORDS: dict[Kind, str] = {"data": "other data", "split": "other split", "settings": "other settings"}
SEE = "departs, see below"


@dataclass(frozen=True)
class Departure:
    """One way in which a run departs from the paper. A stamp has the text that the run has."""

    kind: Kind
    text: str


def departures(paper: Paper, protocol: ProtocolName, row: str, run: RunDirectory) -> list[Departure]:
    """Every departure of one run, each once: stamps first, then data, split, settings, and those in the paper's file."""
    recipe, published = run.recipe, paper.recipe(protocol, row)
    result = [Departure("stamp", stamp) for stamp in run.facts.get("stamps", [])]
    if names_of(paper.dataset) != names_of(recipe.dataset):
        result.append(Departure("data", f"data set {recipe.dataset} instead of {paper.dataset}"))
    result += _of_data("data", recipe)
    if excluded := run.facts.get("excluded"):
        result.append(Departure("data", f"{sum(excluded.values())} images were excluded: {counted(excluded)}"))
    for number, stage in enumerate(recipe.stages):
        earlier = recipe.of_stage(number)
        if (earlier.dataset, earlier.root) != (recipe.dataset, recipe.root):
            result += _of_data(f"data of stage {stage.name}", earlier)
    if protocol != "published":  # whose recipe splits as the paper did; a change of it by hand is one of settings
        split = paper.recipe("published", row).split if "published" in paper.protocols else None
        if split is None or split.model_copy(update={"seed": recipe.split.seed}) != recipe.split:
            text = f"split {split_text(recipe.split)}; the paper's: {paper.split or 'not stated'}"
            result.append(Departure("split", text))
    for key, one, two in differences(published.model_dump(mode="json"), recipe.model_dump(mode="json")):
        if key not in ("seed", "split.seed", "dataset", "exclude"):
            shown = [Path(value).name if value and key.endswith(".exclude") else value for value in (two, one)]
            result.append(Departure("settings", f"{key}: {' instead of '.join(map(_short, shown))}"))
    return result + [Departure("paper", text) for text in paper.departures]


def verdict(departed: list[Departure], reported: float | None, low: float | None, high: float | None) -> str:
    """How a number compares with the reported one; the interval decides only if the run does not depart from the paper."""
    if reported is None:
        return "not reported"
    words = [d.text if d.kind == "stamp" else WORDS[d.kind] for d in departed if d.kind == "stamp" or d.kind in WORDS]
    if departed:
        return "; ".join(dict.fromkeys(words)) or SEE
    if low is None or high is None:
        return "no interval"
    return "within the interval" if low <= reported <= high else "outside the interval"


def split_text(split: SplitSettings) -> str:
    """How a recipe splits the samples, in a few words."""
    by = f"by {split.by}"
    if split.file is not None:
        return f"file {split.file.name}"
    if split.official:
        return "official"
    if split.leave_out is not None:
        return f"tested on {split.leave_out}, which is left out"
    if split.inner > 1:
        return f"{split.folds} × {split.inner} nested folds {by}"
    if split.folds > 1:
        return f"{split.folds} folds {by}"
    return f"{100 * (1 - split.val - split.test):.0f}/{100 * split.val:.0f}/{100 * split.test:.0f} % {by}"


def _of_data(title: str, recipe: Recipe) -> list[Departure]:
    """The notes of a data set; an incomplete one is other data than the paper's."""
    try:
        complete, notes = _dataset_notes(
            recipe.dataset, tuple(root.items()) if isinstance(root := recipe.root, dict) else root
        )
    except MammozooError as error:
        return [Departure("note", f"{title}: could not be read again: {error}")]
    return [Departure("note" if complete else "data", f"{title}: {note}") for note in notes]


@functools.cache
def _dataset_notes(name: str, root: Path | tuple[tuple[str, Path], ...] | None) -> tuple[bool, tuple[str, ...]]:
    """Whether a data set has as many images as were published, and its notes; with options it may have fewer."""
    used, dataset = parse_datasets(name).values(), open_dataset(name, dict(root) if isinstance(root, tuple) else root)
    count, published = len(dataset.samples()), dataset.info.images
    complete = published is None or count == published or any(one.options or one.arguments for one in used)
    notes = tuple(dataset.notes)
    return complete, notes if complete or notes else (f"{count} images of the data set's {published}",)


def _short(value: Any) -> str:
    """A setting as text; a file without its folder, which may identify somebody."""
    text = "none" if value in (None, {}, []) else str(value)
    kind, colon, rest = text.partition(":")
    if colon and kind in ("file", "zoo") and "/" in rest:
        return f"{kind}:{Path(rest).name}"
    return text if len(text) <= 100 else f"{text[:97]}..."
