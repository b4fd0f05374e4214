"""What an event hook must keep: it looks at a run, and changes nothing of it."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from mammozoo.config.recipe import load
from mammozoo.files import sha256
from mammozoo.plugins import Registry
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.offline import offline
from mammozoo.testing.quiet import captured
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory

EVENTS = ("epoch_end", "run_end")
_TINY = {
    "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "device": "cpu",
    "augment": [],
}  # fmt: skip

Hook = Callable[..., object]
EventSubject = Subject[Hook]


@dataclass(frozen=True)
class _Event:
    """The arguments of a hook as they were when it was called, and the run's folder of that moment."""

    arguments: dict[str, Any]
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)

    @contextlib.contextmanager
    def replayed(self) -> Iterator[dict[str, Any]]:
        """The arguments with a copy of the run."""
        was: RunDirectory = self.arguments["run"]
        with tempfile.TemporaryDirectory() as place:
            path = Path(shutil.copytree(self.folder.name, Path(place) / "run"))
            yield {**self.arguments, "run": RunDirectory(path, was.recipe, copy.deepcopy(was.facts))}


@rule(
    "An error in an event hook is logged and ignored: what the hook is for does not happen.",
    "Catch what your service may raise, and log it. `run.path` is the folder; scores.json is in it at `run_end` only.",
)
def raises_nothing(subject: EventSubject) -> str | None:
    """Called with a small real run it raises nothing."""
    with _called(subject):
        return None


@rule(
    "What a command prints may be somebody's JSON.",
    'Use logging, as in `logging.getLogger("mammozoo.yourthing").info(...)`, or print to sys.stderr.',
    needs=[raises_nothing],
)
def prints_nothing(subject: EventSubject) -> str | None:
    """Nothing goes to stdout."""
    with captured() as printed, _called(subject):
        text = printed().strip()
    return f"It prints '{text.splitlines()[0][:80]}' to stdout." if text else None


@rule(
    "A run's files are its record: reports, resuming and the zoo read them.",
    "Write files of your own, beside them or elsewhere.",
    needs=[raises_nothing],
)
def leaves_the_run_alone(subject: EventSubject) -> str | None:
    """Files that the run wrote are as before, and so are its facts; new files are its own business."""
    with _called(subject) as (before, run):
        after = _files(run.path)
        if changed := [name for name in before.files if after.get(name) != before.files[name]]:
            return f"It {'changes' if changed[0] in after else 'deletes'} '{changed[0]}'."
        return None if run.facts == before.facts else "It changes `run.facts`, which become run.json."


RULES: list[Rule[Hook]] = [raises_nothing, prints_nothing, leaves_the_run_alone]


@dataclass(frozen=True)
class _Before:
    files: dict[str, str]
    facts: dict[str, Any]


@contextlib.contextmanager
def _called(subject: EventSubject) -> Iterator[tuple[_Before, RunDirectory]]:
    """The hook is called with the event of its name; what the run was before, and the run. Nothing leaves this machine."""
    event = _events()[subject.spec.name]
    wanted = inspect.signature(subject.value).parameters  # pluggy passes what a hook names, and no more
    with event.replayed() as arguments:
        run: RunDirectory = arguments["run"]
        before = _Before(_files(run.path), copy.deepcopy(run.facts))
        with offline() as tried:
            try:
                subject.value(**{name: value for name, value in arguments.items() if name in wanted})
            except Exception as error:
                if not tried:
                    raise
                raise NotChecked(
                    f"It connects to {tried[0]}, and no check lets anything leave this machine."
                ) from error
        yield before, run


@functools.cache
def _events() -> dict[str, _Event]:
    """A training of two seconds, once in a process: each event with the run as it was then. No plugin is told of it."""
    events: dict[str, _Event] = {}

    def keep(_: Registry, hook: str, **arguments: Any) -> None:
        run: RunDirectory = arguments["run"]
        event = _Event({**arguments, "run": RunDirectory(run.path, run.recipe, copy.deepcopy(run.facts))})
        shutil.copytree(run.path, event.folder.name, dirs_exist_ok=True)
        atexit.register(event.folder.cleanup)
        events[hook] = event

    with tempfile.TemporaryDirectory() as place, mock.patch.object(Registry, "notify", keep):
        train(load(None, _TINY), Path(place) / "run")
    return events


def _files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
