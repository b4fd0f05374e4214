"""Which fits a run consists of, and in which order they need each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

import mammozoo
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Methods
from mammozoo.data.splits.exclusions import digest
from mammozoo.data.splits.make import Split
from mammozoo.errors import NotFoundError
from mammozoo.training.prepare import PreparedRun


@dataclass(frozen=True)
class FitSpec:
    """One fit: a split, and a recipe that is one point of the grid.

    Attributes:
        name: its folder in the run.
        point: the grid values that the recipe has, and the number of the repeat.
        after: name of the fit of the stage before, whose weights it starts from; empty if it starts from the run's own.
    """

    name: str
    split: Split
    recipe: Recipe
    point: dict[str, Any]
    after: str = ""

    @property
    def repeat(self) -> int:
        """The number of the repeat; 0 without repeats."""
        return int(self.point.get("repeat", 0))

    @property
    def tried(self) -> dict[str, Any]:
        """The point without its repeat: what may be chosen."""
        return {key: value for key, value in self.point.items() if key != "repeat"}


def fit_specs(prepared: PreparedRun) -> list[FitSpec]:
    """All fits of a run without its earlier stages: each point of the grid and each repeat on each split."""
    points = prepared.recipe.points()
    numbered = len(points) > 1 or isinstance(prepared.recipe.grid, list)
    return [
        FitSpec(f"{split.name}/{number:03d}" if numbered else split.name, split, recipe, point)
        for split in prepared.splits
        for number, (point, recipe) in enumerate(points)
    ]


def state_key(prepared: PreparedRun, spec: FitSpec) -> str:
    """Digest of what a fit depends on: recipe without the data's place, split, earlier stages, precision, versions."""
    parts = [
        recipe_text(spec.recipe),
        *(stage.sha256 for stage in prepared.past),
        spec.split.digest(prepared.data.names),
        prepared.engine.precision,
        torch.__version__,
        mammozoo.__version__,
        *([digest(excluded)] if (excluded := prepared.data.excluded) else []),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def depends_on(prepared: PreparedRun, spec: FitSpec) -> dict[str, str]:
    """What a fit depends on, part by part, as a complete fit keeps it in `key.json`."""
    return {
        "recipe": hashlib.sha256(recipe_text(spec.recipe).encode()).hexdigest(),
        "data": prepared.of(spec.recipe).data.sha256,
        "split": spec.split.digest(prepared.data.names),
        "stages": " ".join(stage.sha256 for stage in prepared.past),
        "precision": prepared.engine.precision,
        "torch": torch.__version__,
        "mammozoo": mammozoo.__version__,
        **({"excluded": digest(excluded)} if (excluded := prepared.data.excluded) else {}),
    }


def recipe_text(recipe: Recipe) -> str:
    """The recipe as JSON, without what changes no result."""
    return recipe.model_dump_json(
        exclude={
            "root": True,
            "exclude": True,  # a place, as the root; what it leaves out is part of the keys
            "requires": True,
            "why": True,
            "pinned": True,
            "workers": True,
            "device": True,
            "stages": {"__all__": {"root", "exclude"}},
            **({"split": {"leave_out"}} if recipe.split.leave_out is None else {}),  # as in runs of before
            **({"methods": True} if recipe.methods == Methods() else {}),
        }
    )


def all_fits(prepared: PreparedRun) -> list[tuple[PreparedRun, list[FitSpec]]]:
    """The fits of the first stage, of the second …, and of the run itself, each with the prepared stage.

    Fits that would train the very same stage share it. It is trained once, in RUN/stages if all fits share it, in
    RUN/<split>/stages if all of a split do, else in the folder of the first of them.
    """
    finals = fit_specs(prepared)
    stages: list[tuple[PreparedRun, list[FitSpec]]] = []
    last = dict.fromkeys((final.name for final in finals), ("", ""))  # key and name of each fit's last stage so far
    for number, stage in enumerate(prepared.stages):
        stage_split = {split.name: own for split, own in zip(prepared.splits, stage.splits, strict=True)}
        sharing: dict[str, list[tuple[FitSpec, FitSpec]]] = {}  # key → (final fit, fit of the stage)
        for final in finals:
            # A repeat has its own seed; its stages have that of the recipe.
            recipe = final.recipe.of_stage(number).model_copy(update={"seed": prepared.recipe.seed})
            spec = FitSpec("", stage_split[final.split.name], recipe, {}, last[final.name][1])
            key = hashlib.sha256((state_key(stage, spec) + last[final.name][0]).encode()).hexdigest()
            sharing.setdefault(key, []).append((final, spec))
        fits = []
        for key, shared in sharing.items():
            folder = _common_folder([final for final, _ in shared], finals)
            name = "/".join(part for part in (folder, "stages", stage.recipe.name) if part)
            spec = shared[0][1]
            fits.append(replace(spec, name=name, split=replace(spec.split, name=name)))
            last |= {final.name: (key, name) for final, _ in shared}
        stages.append((stage, fits))
    return [*stages, (replace(prepared, stages=()), [replace(final, after=last[final.name][1]) for final in finals])]


def chosen_fits(finals: Sequence[FitSpec], fits: str) -> list[FitSpec]:
    """Of a run's own fits those that a text names: one by its number or name, or all in a folder; all, if it is empty.

    Raises:
        NotFoundError: there are none.
    """
    if fits.isdecimal():
        found = list(finals[int(fits) :][:1])
    else:
        found = [spec for spec in finals if not fits or f"{spec.name}/".startswith(f"{fits.rstrip('/')}/")]
    if not found:
        last = len(finals) - 1
        raise NotFoundError(
            f"The run has no fit '{fits}'. It has {len(finals)}, from number 0, '{finals[0].name}', to number {last}, "
            f"'{finals[last].name}': --plan lists them."
        )
    return found


def needed(fits: list[tuple[PreparedRun, list[FitSpec]]], wanted: str) -> list[tuple[PreparedRun, list[FitSpec]]]:
    """Of `all_fits` those that `chosen_fits` names, and the stages before them."""
    found: list[tuple[PreparedRun, list[FitSpec]]] = []
    for stage, specs in reversed(fits):
        after = {spec.after for spec in found[0][1]} if found else set()
        found.insert(0, (stage, [s for s in specs if s.name in after] if found else chosen_fits(specs, wanted)))
    return found


def _common_folder(some: Sequence[FitSpec], everyone: Sequence[FitSpec]) -> str:
    """The folder in a run for what these fits share."""
    if len(some) == len(everyone):
        return ""
    split = some[0].split.name
    of_split = {fit.name for fit in everyone if fit.split.name == split}
    return split if of_split <= {fit.name for fit in some} else some[0].name
