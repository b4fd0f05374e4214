"""The search: Optuna proposes, mammozoo trains; all that Optuna remembers lies in the run, in `optuna.db`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mammozoo
import optuna
from mammozoo import PrunedError, RunDirectory, Search, UsageError
from mammozoo.errors import IncompatibleError
from optuna.trial import TrialState

from mammozoo_optuna.space import Space, ends, sample
from mammozoo_optuna.watch import watched

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def optimize(
    recipe: str | Path | None,
    settings: Mapping[str, Any],
    space: Space,
    out: Path,
    trials: int,
    progress: mammozoo.Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> RunDirectory:
    """The recipe as it stands and `trials` points of the space, trained on one split; the best on validation is scored.

    Points are sampled by TPE, and pruned where they are worse than the median of those before at the same epoch. A search that
    was interrupted goes on: the points that it proposes are those of one that was not.

    Raises:
        UsageError: a key or value of the space does not suit the recipe.
        MammozooError: as `mammozoo.search`.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what ends a search is raised, and said once
    with mammozoo.search(recipe, settings, out=out, progress=progress, stop=stop) as search:
        for end in ends(space):
            search.check(end)
        search.value({})
        study = optuna.create_study(
            study_name="search",
            storage=f"sqlite:///{search.run.path.resolve() / 'optuna.db'}",
            direction=search.direction,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )
        for lost in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):  # when it was interrupted
            study.enqueue_trial(lost.params)
            study.tell(lost.number, state=TrialState.FAIL)
        while (number := len(study.get_trials(deepcopy=False, states=_ENDED))) < trials:
            # A generator of its own for each trial, so that one that goes on proposes the same.
            study.sampler = optuna.samplers.TPESampler(seed=search.run.recipe.seed + number)
            study.optimize(functools.partial(_value, search, space), n_trials=1)
        search.run.save(optuna={"version": optuna.__version__, "trials": trials})
    return search.run


def _value(search: Search, space: Space, trial: optuna.Trial) -> float:
    """The value on validation; what was pruned, diverged or cannot be built counts as pruned."""
    with watched(trial):
        try:
            value = search.value(sample(trial, space))
        except (PrunedError, UsageError, IncompatibleError) as error:
            trial.set_user_attr("reason", str(error))
            raise optuna.TrialPruned(str(error)) from None
    if math.isnan(value):
        raise optuna.TrialPruned("diverged")
    return value
