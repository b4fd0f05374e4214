"""The run directory: created at the first second, written atomically, never overwritten.

runs/<yyyymmdd-hhmm>_<dataset>_<backbone>_<strategy>/
├── recipe.yaml       resolved; `mammozoo train recipe.yaml` repeats the run
├── run.json          status, versions, plugins, git, device, seeds, hashes, scores
├── log.txt
├── splits.json       which image is in which part, with a hash; `--split FILE` uses it again
├── excluded.csv      the images that the recipe's `exclude` left out, with reasons, if it did
├── predictions.csv   a row for each sample of each fold, with its part; of several repeats, with the repeat
├── scores.json       metric → value, 95 % interval, n; of folds the pooled value, of repeats the spread
├── attempts.csv      the fits behind them, if a test part has several: which point and which of them report
├── report.html       all of it on one page
├── fold-0/           split.csv · history.csv · predictions.csv · model.safetensors · config.json · key.json (what it depends on)
│                     and, while it trains, last.safetensors: what `--resume` goes on from; failed.json of a fit that diverged
├── model.safetensors ┐
├── config.json       ├ the model that `--model RUN` means
└── README.md         ┘ its card
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import platform
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import mammozoo
from mammozoo.config.loading import load
from mammozoo.config.names import parse, parse_sum, reference_to
from mammozoo.config.recipe import Recipe
from mammozoo.config.requirements import requirements_of
from mammozoo.data.declared import is_file
from mammozoo.data.joined import names_of
from mammozoo.data.preprocessing import LESION
from mammozoo.errors import ConflictError, IncompatibleError, UsageError
from mammozoo.evaluation.run_files import read_facts
from mammozoo.files import disk_error, write_json, write_text
from mammozoo.plugins import Plugin, registry
from mammozoo.training.holding import LOCK, PULSE, hold
from mammozoo.training.notebook import InNotebook
from mammozoo.training.telling import EPOCHS

Status = Literal["running", "done", "failed", "interrupted"]
_VERSIONED = (
    "torch", "torchvision", "timm", "albumentations", "scikit-learn", "numpy", "pillow", "huggingface_hub", "safetensors",
)  # fmt: skip


class _Log(logging.FileHandler):
    """`log.txt`. A line that does not fit on a full disk is lost without a traceback; files that matter raise."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Ignore the line."""

    def close(self) -> None:
        """Close the file, although its buffer may not fit on the disk."""
        with contextlib.suppress(OSError):
            super().close()


class RunDirectory(InNotebook):
    """A run's folder; `facts` is the content of `run.json`. A complete one has `scores` and `predictions`.

    `part` is the folder in it of a process that trains some fits beside others; it leaves alone what is the whole run's.
    """

    def __init__(self, path: Path, recipe: Recipe, facts: dict[str, Any], part: str = ""):
        self.path, self.recipe, self.facts, self.part = path, recipe, facts, part
        self._log: logging.Handler | None = None
        self._lock: contextlib.ExitStack | None = None

    @classmethod
    def create(cls, recipe: Recipe, out: Path | None) -> RunDirectory:
        """A new folder: `out`, which must be new or empty, or one below `runs/` named by time and content.

        Raises:
            ConflictError: `out` holds something, or another process makes a run of it.
            AccessError, FailedError: it cannot be written.
        """
        facts = environment(recipe)
        if not recipe.requires:  # so that the file names the packages that a machine without them lacks
            recipe = recipe.model_copy(update={"requires": requirements_of(facts["plugins"])})
        path = _new_folder(recipe, out)
        run = cls(path, recipe, {"schema": 1, "status": "running", **facts})
        run.hold()
        try:
            refuse_occupied(path)
        except ConflictError:  # by a run that ended a moment ago
            run.release()
            raise
        run.write_recipe(recipe)
        run.save()
        run._start_log()
        return run

    def write_recipe(self, recipe: Recipe) -> None:
        """Write `recipe.yaml`; of a search it grows."""
        self.recipe = recipe
        head = f"# {recipe.name}: {' '.join(recipe.summary.split())}".removesuffix(": ")
        write_text(self.path / "recipe.yaml", f"{head}\n{recipe.to_yaml()}")

    def resume(self) -> None:
        """Continue a run that was killed, stopped or failed.

        Raises:
            ConflictError: it is complete, or under way.
        """
        self.hold()
        self.refuse_complete()
        for ended in ("ended", "reason"):
            self.facts.pop(ended, None)
        left = (f"*/{LOCK}", PULSE, EPOCHS, ".*.tmp")  # by a process that was killed, maybe while it wrote
        for path in [path for pattern in left for path in self.path.rglob(pattern)]:
            path.unlink(missing_ok=True)
        self.save(status="running", resumed=[*self.facts.get("resumed", []), _now()])
        self._start_log()

    def refuse_complete(self) -> None:
        """Raise ConflictError if the run is complete."""
        if self.facts.get("status") == "done":
            raise ConflictError(
                f"The run '{self.path}' is complete: nothing is left to train. "
                f"For its scores: mammozoo evaluate {reference_to(self.path)}"
            )

    def hold(self) -> None:
        """Let no other process write into the run until it is closed; read anew how it stands.

        Raises:
            ConflictError: another process holds it.
        """
        if self._lock is None:
            self._lock = hold(self.path, shared=bool(self.part))
            if (self.path / "run.json").is_file():
                self.facts = read_facts(self.path)

    def release(self) -> None:
        """Write nothing more, and let other processes write into the run again."""
        if self._log is not None:
            logging.getLogger("mammozoo").removeHandler(self._log)
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start_log(self) -> None:
        path = self.path / self.part / "log.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._log = _Log(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise disk_error(error, path) from error
        self._log.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger = logging.getLogger("mammozoo")
        logger.addHandler(self._log)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)  # a notebook sets no level, and log.txt would stay empty

    @classmethod
    def join(cls, path: Path, part: str) -> RunDirectory:
        """An existing run, to train fits in its folder `part` while others train the others; the log is there.

        Raises:
            ConflictError: it is complete, or a process trains the whole of it.
        """
        run = cls.open(path)
        run.part = part
        run.hold()
        try:
            run.refuse_complete()
            run._start_log()
        except BaseException:
            run.release()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run.

        Raises:
            NotFoundError: there is none at `path`.
            IncompatibleError: its `run.json` or `recipe.yaml` is damaged, or of another version.
        """
        facts = read_facts(path)
        try:
            return cls(path, load(str(path / "recipe.yaml")), facts)
        except UsageError as error:
            raise IncompatibleError(f"The run '{path}' cannot be read: {error}") from None

    def save(self, **facts: Any) -> None:
        """Add facts and write `run.json`."""
        self.facts |= facts
        write_json(self.path / "run.json", self.facts)

    def close(self, status: Status, reason: str = "") -> None:
        """Record how the run ended; a part ends without it."""
        try:
            if not self.part:
                self.save(status=status, ended=_now(), **({"reason": reason} if reason else {}))
        finally:
            self.release()


def refuse_occupied(path: Path) -> None:
    """Raise ConflictError unless `path` is free or an empty folder; what `write_bytes` has begun there does not count."""
    try:
        entries = [entry.name for entry in path.iterdir() if not fnmatch(entry.name, ".*.tmp")] if path.is_dir() else []
        occupied = path.is_file() or any(name != LOCK for name in entries)
    except OSError as error:
        raise disk_error(error, path) from error
    if occupied:
        raise ConflictError(f"'{path}' is not empty; a run is never overwritten. Choose another --out.")


def environment(recipe: Recipe) -> dict[str, Any]:
    """Versions, plugins, machine and code state that a result may depend on; without user, host or paths."""
    return {
        "mammozoo": mammozoo.__version__,
        "started": _now(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: metadata.version(name) for name in _VERSIONED},
        "plugins": plugins_of(recipe),
        "git": commit(),
        "seed": recipe.seed,
    }


def plugins_of(recipe: Recipe) -> dict[str, str]:
    """Distribution → version of every plugin that provides a name in the recipe or its stages.

    A plugin that is a file (`--plugin`) has its file name and the version `file`: a published model must not show folders.
    """
    points = [point for _, point in recipe.points()] if recipe.grid else []
    recipes = [*(recipe.of_stage(number) for number in range(len(recipe.stages))), recipe, *points]
    named = dict.fromkeys(pair for one in recipes for pair in _named(one))
    providers: list[Plugin] = [registry().provider(kind, name) for kind, name in named]
    return {Path(p.distribution).name if p.version == "file" else p.distribution: p.version for p in providers}


def _named(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield from (("datasets", name) for name in names_of(recipe.dataset).values() if not is_file(name))
    yield "backbones", parse(recipe.backbone).name
    yield "heads", parse(recipe.head).name
    yield "losses", parse(recipe.methods.loss).name
    yield from (("strategies", spec.name) for spec in parse_sum(recipe.strategy))
    steps = (parse(text).name for text in (*recipe.preprocess, *recipe.augment))
    yield from (("transforms", name) for name in steps if name != LESION)
    if recipe.monitor != "loss":
        yield "metrics", recipe.monitor.partition("[")[0]


def _new_folder(recipe: Recipe, out: Path | None) -> Path:
    """The folder `out`, or one below `runs` that no other process has made."""
    parts = [recipe.data_name, recipe.backbone, recipe.strategy]
    words = ["".join(c if c.isalnum() or c in "+.-" else "-" for c in part) for part in parts]
    base = "_".join([datetime.datetime.now().strftime("%Y%m%d-%H%M"), *words])
    path, number = out or Path("runs") / base, 1
    while True:
        try:
            path.mkdir(parents=True, exist_ok=out is not None)
            return path
        except FileExistsError as error:
            if out is not None:
                raise ConflictError(f"'{out}' is a file; a run is a folder. Choose another --out.") from error
            number += 1
            path = Path("runs") / f"{base}-{number}"
        except OSError as error:
            raise disk_error(error, path) from error


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def commit() -> str:
    """Commit of the checkout that mammozoo runs from, with `+` when files differ from it; empty for an installed one."""
    root = Path(mammozoo.__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        said = [
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
            ).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.SubprocessError):
        return ""
    return said[0].strip() + ("+" if said[1].strip() else "")
