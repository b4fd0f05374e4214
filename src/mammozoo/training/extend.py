"""More epochs for a complete run: a longer recipe, and the state of a fit as it was before its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mammozoo.config.names import reference_to
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Phase
from mammozoo.errors import ConflictError, UsageError
from mammozoo.training.run_directory import RunDirectory


def recipe_of_more(run: RunDirectory, epochs: int) -> Recipe:
    """The recipe of a complete run with `epochs` in all.

    Raises:
        ConflictError: the run is not complete.
        UsageError: as `longer`, or it kept no states.
    """
    if run.facts.get("status") != "done":
        raise ConflictError(f"The run '{run.path}' is not complete. Continue with: mammozoo train --resume {run.path}")
    way = f"Train again with --epochs {epochs}, or start a new run with --weights {reference_to(run.path)}."
    if run.recipe.stages:
        raise UsageError(f"The run '{run.path}' has earlier stages, and those cannot be extended with it. {way}")
    recipe = longer(run.recipe, epochs)
    if not run.recipe.keep_state:
        raise UsageError(
            f"The run '{run.path}' did not keep its states, so it cannot be extended: that takes --keep-state when it is "
            f"trained. {way}"
        )
    return recipe


def longer(recipe: Recipe, epochs: int) -> Recipe:
    """The same recipe with `epochs` in all; where it has phases the last one grows.

    Raises:
        UsageError: it has as many epochs already, its learning rates depend on their number, or it has stages.
    """
    had = sum(phase.epochs for phase in recipe.all_phases())
    if epochs <= had:
        raise UsageError(f"The run has {had} epochs already; --extend needs a larger --epochs than that.")
    if {"epochs", "phases"} & {key.partition(".")[0] for point, _ in recipe.points() for key in point}:
        raise UsageError("The run's grid tries several numbers of epochs; there is not one number to extend.")
    if any(point.schedule.kind == "cosine" for _, point in recipe.points()):
        raise UsageError(
            "A run with a cosine schedule cannot be extended: its learning rate ended at zero after the epochs that it had, and "
            "each rate before would be another one in a longer run. Train again with the larger --epochs."
        )
    if recipe.stages:
        raise UsageError(
            "A run with stages cannot be extended. Train again with the larger --epochs, or start a new run with --weights RUN."
        )
    if not recipe.phases:
        return recipe.model_copy(update={"epochs": epochs})
    *before, last = recipe.phases
    grown = last.model_copy(update={"epochs": last.epochs + epochs - had})
    return recipe.model_copy(update={"phases": (*before, grown)})


def reopened(facts: dict[str, Any], phases: Sequence[Phase]) -> dict[str, Any]:
    """The header of a complete fit's state, inside its last phase again; a fit that patience ended stays ended.

    Args:
        facts: as `Checkpointer.load` gives them.
        phases: of the fit that saved it.
    """
    place = facts["place"]
    if place["phase"] < len(phases):
        return facts
    return facts | {"place": place | {"phase": len(phases) - 1, "of_phase": phases[-1].epochs}}
