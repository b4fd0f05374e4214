"""What an event hook promises: it looks at a run, and changes nothing in it."""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from mammozoo.config.loading import load
from mammozoo.files import sha256
from mammozoo.plugins import Registry
from mammozoo.testing.check import NotChecked, Rules, needs, rule
from mammozoo.testing.sandbox import captured, offline
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory

EVENTS = ("epoch_end", "run_scored", "run_sections", "run_end")
_TINY = {
    "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "device": "cpu",
    "augment": [],
}  # fmt: skip


class EventRules(Rules[Callable[..., object]]):
    """Tried with a copy of a real run, as it was when the event first came, and without a network."""

    @rule("Its error is logged and ignored. Catch what may be raised; scores.json is there at `run_end` only.")
    def raises_nothing(self) -> None:
        """Called with a small real run it raises nothing."""
        with self._replayed() as arguments:
            self._call(arguments)

    @needs(raises_nothing)
    @rule("What a command prints may be somebody's JSON. Use logging, or print to sys.stderr.")
    def prints_nothing(self) -> None:
        """Nothing goes to stdout."""
        with self._replayed() as arguments, captured() as printed:
            self._call(arguments)
            text = printed().strip()
        assert not text, f"It prints '{text.splitlines()[0][:80]}' to stdout."

    @needs(raises_nothing)
    @rule("A run's files are its record; reports and resuming read them. Write files of your own.")
    def leaves_the_run_alone(self) -> None:
        """Files that the run wrote are as before, and so are its facts; it may add files."""
        with self._replayed() as arguments:
            run: RunDirectory = arguments["run"]
            files, facts = _hashes(run.path), copy.deepcopy(run.facts)
            self._call(arguments)
            after = _hashes(run.path)
        for name in files:
            assert name in after, f"It deletes '{name}'."
            assert after[name] == files[name], f"It changes '{name}'."
        assert run.facts == facts, "It changes `run.facts`, which become run.json."

    @contextlib.contextmanager
    def _replayed(self) -> Iterator[dict[str, Any]]:
        """The arguments of the hook's event, with a copy of the run as it was then."""
        recorded, saved = _events()[self.spec.name]
        with tempfile.TemporaryDirectory() as folder:
            yield {**recorded, "run": _copied(recorded["run"], saved, Path(folder) / "run")}

    def _call(self, arguments: dict[str, Any]) -> None:
        """Call the hook; pluggy, too, passes only the arguments that a hook names."""
        accepted = inspect.signature(self.value).parameters
        with offline() as attempts:
            try:
                self.value(**{name: value for name, value in arguments.items() if name in accepted})
            except Exception as error:
                if not attempts:
                    raise
                raise NotChecked(
                    f"It connects to {attempts[0]}, and no check lets anything leave this machine."
                ) from error


@functools.cache
def _events() -> dict[str, tuple[dict[str, Any], Path]]:
    """Event → the arguments of its first call and the run's folder then, from one training of two seconds in each process."""
    events: dict[str, tuple[dict[str, Any], Path]] = {}
    archive = tempfile.TemporaryDirectory()
    atexit.register(archive.cleanup)

    def record(_: Registry, hook: str, **arguments: Any) -> list[Any]:  # the plugins do not hear of this run
        if hook not in events:
            folder = Path(archive.name) / hook
            events[hook] = {**arguments, "run": _copied(arguments["run"], arguments["run"].path, folder)}, folder
        return []

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Registry, "notify", record):
        train(load(None, _TINY), Path(folder) / "run")
    return events


def _copied(run: RunDirectory, saved: Path, folder: Path) -> RunDirectory:
    shutil.copytree(saved, folder)
    return RunDirectory(folder, run.recipe, copy.deepcopy(run.facts))


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}
