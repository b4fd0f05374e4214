"""The processes elsewhere that are to train fits: whether they can, asked before the first one begins."""

from __future__ import annotations

import os
import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

import mammozoo
from mammozoo.config.recipe import Recipe
from mammozoo.errors import FailedError, IncompatibleError, MammozooError, reason
from mammozoo.files import write_text
from mammozoo.training.run_directory import plugins_of

#: Calls a function in every worker; its address → what it returned or raised.
Ask = Callable[..., Mapping[str, object]]


@dataclass(frozen=True)
class Worker:
    """What a process tells of itself; `problem` is why it cannot write into the run, `memory` in GiB."""

    host: str
    threads: int
    memory: float
    cards: int
    versions: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    def __str__(self) -> str:
        """A row for the user."""
        cards = f", {self.cards} cards" if self.cards else ""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return f"{self.host}, {self.threads} cores, {self.memory:.1f} GiB{cards}: {versions}"


def look(recipe: Recipe, file: Path, token: str) -> Worker:
    """This process, asked for the versions that a fit of the recipe depends on and for a file with this content in the run."""
    versions, problem = {"mammozoo": mammozoo.__version__, "torch": torch.__version__}, ""
    try:
        versions = plugins_of(recipe) | versions
        if not file.is_file() or file.read_text(encoding="utf-8") != token:
            problem = f"it does not see the run's folder '{file.parent}', which must be on a disk that all share"
        else:
            write_text(file.with_name(f".{secrets.token_hex(8)}.tmp"), token).unlink()
    except (MammozooError, OSError) as error:
        problem = reason(error)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return Worker(platform.node(), os.cpu_count() or 1, pages / 2**30, torch.cuda.device_count(), versions, problem)


def check_workers(ask: Ask, recipe: Recipe, file: Path, token: str, note: Callable[[str], None]) -> None:
    """Show a row for each worker, and refuse those that cannot train fits of a run beside this process.

    Args:
        file: in the run, with the content `token`.

    Raises:
        FailedError: there is no worker.
        IncompatibleError: one does not see or write the run's folder, or has other versions or plugins than this process.
    """
    here, answers = look(recipe, file, token), ask(look, recipe, file, token)
    if not answers:
        raise FailedError("The cluster has no worker. Start some, or leave --jobs-by out to train on this machine.")
    problems = []
    for address, there in answers.items():
        if not isinstance(there, Worker):
            problems.append(f"{address}: {reason(there) if isinstance(there, Exception) else 'no answer'}")
            continue
        note(f"  worker {address}: {there}")
        others = [
            name for name in {**here.versions, **there.versions} if here.versions.get(name) != there.versions.get(name)
        ]
        told = [
            f"{name} {there.versions.get(name, 'is missing')} there and {here.versions.get(name)} here"
            for name in others
        ]
        problems += [f"{address} ({there.host}): {'; '.join(told)}"] if told and not there.problem else []
        problems += [f"{address} ({there.host}): {there.problem}"] if there.problem else []
    if problems:
        raise IncompatibleError(
            f"{len(problems)} of {len(answers)} workers cannot train fits of this run. {'. '.join(problems[:3])}"
            f"{' …' if len(problems) > 3 else ''}. All workers need the environment and the disk of this process."
        )
