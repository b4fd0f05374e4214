"""The runs of a paper's rows, OUT/<protocol>/<row>/seed-<n>: trained, resumed, or left alone if complete."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mammozoo.config.recipe import Recipe
from mammozoo.data.joined import places
from mammozoo.errors import ConflictError, UsageError, reason
from mammozoo.progress import Progress
from mammozoo.reproduction.paper import Paper, ProtocolName
from mammozoo.training.checkpoint import Stopped
from mammozoo.training.experiment import resume, train
from mammozoo.training.parallel import ONE, Jobs
from mammozoo.training.prepare import check_data
from mammozoo.training.run_directory import RunDirectory

log = logging.getLogger(__name__)
_WORDS = {"done": "complete", "begun": "goes on", "to do": "begins"}
#: Keys that may differ between two starts of one run, since they change no result.
NEUTRAL = {"name", "summary", "paper", "why", "requires", "pinned", "root", "device", "workers", "cache", "keep_state"}


@dataclass(frozen=True)
class Task:
    """One run: a row under a protocol with a seed."""

    protocol: ProtocolName
    row: str
    recipe: Recipe
    path: Path

    @property
    def state(self) -> str:
        """`done`, `begun` or `to do`."""
        if not (self.path / "run.json").is_file():
            return "to do"
        return "done" if RunDirectory.open(self.path).facts.get("status") == "done" else "begun"


def plan_runs(
    paper: Paper,
    out: Path,
    *,
    protocols: Sequence[ProtocolName],
    rows: Sequence[str] = (),
    seeds: int = 1,
    settings: Mapping[str, Any] | None = None,
) -> list[Task]:
    """Every requested run (all rows, if none is named), seed by seed; a seed applies to the split and to the training.

    Raises:
        NotFoundError: no such row, protocol or recipe.
        UsageError: a setting, which overrides that of the row, is refused.
        ConflictError: the folder of one of these runs holds a run with other settings.
    """
    if seeds < 1:
        raise UsageError(f"--seeds is 1 or more, not {seeds}.")
    tasks = []
    for number, protocol, row in itertools.product(range(seeds), protocols, rows or [row.name for row in paper.rows]):
        recipe = paper.recipe(protocol, row, dict(settings or {}))
        split = recipe.split.model_copy(update={"seed": recipe.split.seed + number})
        recipe = recipe.model_copy(update={"seed": recipe.seed + number, "split": split})
        task = Task(protocol, row, recipe, out / protocol / row / f"seed-{recipe.seed}")
        if task.state != "to do":
            _refuse_others(task)
        tasks.append(task)
    return tasks


def train_tasks(
    tasks: Iterable[Task],
    progress: Progress,
    *,
    stop: Callable[[], bool] = lambda: False,
    jobs: Jobs = ONE,
    on_run: Callable[[RunDirectory], None] = lambda run: None,
) -> dict[Path, str]:
    """Train the runs that are not complete; returns the folders of those that failed, each with its reason.

    A run that fails does not end the others. `on_run` is called with each new run.

    Raises:
        NotFoundError, UsageError: a run that is to begin lacks its data; nothing is trained.
        Stopped: `stop` returned True.
        KeyboardInterrupt: the current run is marked as interrupted, and the same call resumes it.
    """
    tasks = list(tasks)
    failed = {}
    for recipe in {repr(_data(t.recipe)): t.recipe for t in tasks if t.state == "to do"}.values():
        check_data(recipe)
    for task in tasks:
        state = task.state
        progress.note(f"{task.path}: {_WORDS[state]}")
        try:
            if state == "begun":
                on_run(resume(task.path, progress, stop=stop, jobs=jobs))
            elif state == "to do":
                on_run(train(task.recipe, task.path, progress, stop=stop, jobs=jobs))
        except Stopped:
            raise
        except Exception as error:  # one failure must not end hours of other runs
            log.debug("%s failed", task.path, exc_info=True)
            failed[task.path] = reason(error)
            progress.note(f"{task.path}: failed: {failed[task.path]}")
    return failed


def _data(recipe: Recipe) -> list[tuple[str, Any]]:
    """Data set and place of each stage and of the recipe itself."""
    return [(one.dataset, one.root) for one in (*(recipe.of_stage(k) for k in range(len(recipe.stages))), recipe)]


def differences(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(dotted key, value in a, value in b) wherever two resolved recipes differ in a setting that changes results."""
    changed = []
    neutral = {"root"} if prefix else NEUTRAL  # the name of an optimizer changes results
    for key in dict.fromkeys([*a, *b]):
        one, other = a.get(key), b.get(key)
        if key in neutral or one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict) and key != "grid":  # its keys hold dots themselves
            changed += differences(one, other, f"{prefix}{key}.")
        elif key == "stages" and isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            for number, (stage, now) in enumerate(zip(one, other, strict=True)):
                changed += differences(stage, now, f"{key}.{number}.")
        else:
            changed.append((f"{prefix}{key}", one, other))
    return changed


def _refuse_others(task: Task) -> None:
    """Raise ConflictError if the run in the task's folder has other settings."""
    existing = RunDirectory.open(task.path).recipe
    other = differences(existing.model_dump(mode="json"), task.recipe.model_dump(mode="json"))
    there, now = ([place.resolve() for place in places(recipe.root)] for recipe in (existing, task.recipe))
    if there and now and there != now:
        other.append(("root", existing.root, task.recipe.root))
    if other:
        changed = "; ".join(f"{key} is {one} there and {two} now" for key, one, two in other[:5])
        raise ConflictError(
            f"'{task.path}' holds a run made with other settings: {changed}. Give the settings it was made with, choose another "
            "--out, or delete that folder."
        )
