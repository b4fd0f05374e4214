"""What tests of several rooms need: processes, small recipes and networks, outcomes, tables, and files to be spoilt."""

import contextlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.evaluation.outcome import Outcome, decide
from mammozoo.evaluation.predictions import Predictions
from mammozoo.models.factory import build_backbone, build_model
from mammozoo.models.model import Model
from mammozoo.models.strategy import Composite
from mammozoo.progress import Progress

CLASSES = ("benign", "malignant")


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: str
    err: str
    #: By the names that `subprocess` has for them, as the tests on a card read them.
    returncode = property(lambda self: self.code)
    stdout = property(lambda self: self.out)
    stderr = property(lambda self: self.err)

    @property
    def ok(self) -> Self:
        """The same, after it has ended well."""
        assert self.code == 0, self.out + self.err
        return self

    @property
    def json(self) -> Any:
        """Standard output as JSON; the `schema` is checked on the way."""
        content = json.loads(self.out)
        assert content["schema"] == 1
        return content

    def refused(self, code: int, *words: str) -> None:
        """Assert one clear message on stderr, with these words, this exit code and nothing else."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err
        messages = [line for line in self.err.splitlines() if line.startswith("mammozoo: ")]
        assert len(messages) == 1, self.err
        for word in words:
            assert word in messages[0]


def python(*words: object, cwd: Path | None = None, timeout: float = 300, **environment: str) -> Answer:
    """Python in a process of its own."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=os.environ | environment, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


def forked(*jobs: Callable[[], object], seconds: float = 240) -> list[str]:
    """Does each in a process forked from this one, all beginning at once; what each raised (`UsageError: …`), or an empty text.

    One that raises nothing and does not end is killed, and an assertion fails: nobody waits for ever.
    """
    context = multiprocessing.get_context("fork")
    begin, pipes = context.Barrier(len(jobs), timeout=seconds), [context.Pipe(duplex=False) for _ in jobs]

    def work(number: int) -> None:
        said = ""
        try:
            begin.wait()
            jobs[number]()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        pipes[number][1].send(said)

    workers = [context.Process(target=work, args=(number,), daemon=True) for number in range(len(jobs))]
    for worker in workers:
        worker.start()
    until = time.monotonic() + seconds
    heard = [reader.recv() if reader.poll(max(0, until - time.monotonic())) else None for reader, _ in pipes]
    for worker, text in zip(workers, heard, strict=True):
        if text is None:
            worker.kill()
        worker.join(30)
    assert None not in heard, f"a process waits for ever, or was killed; the others said {heard}"
    return [text for text in heard if text is not None]


def tiny(**fields: object) -> Recipe:
    """A recipe that trains in a second."""
    return load(None, {
        "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "augment": [],
        "device": "cpu", **fields,
    })  # fmt: skip


class Notes(Progress):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def network(
    name: str = "test_resnet",
    strategy: str = "full",
    head: str = "gap",
    size: int = 64,
    classes: Sequence[str] = CLASSES,
) -> tuple[Model, Composite]:
    """A model with the same random weights every time, and its strategy."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    return build_model(backbone, strategy, head, classes, backbone.input.model_copy(update={"size": (size, size)}))


def outcome(labels: Sequence[int], positive: Sequence[float], groups: Sequence[int] | None = None) -> Outcome:
    """Two classes, decided at a half; each sample is a group of its own unless `groups` says otherwise."""
    p = np.stack([1 - np.asarray(positive), np.asarray(positive)], axis=1)
    numbers = np.arange(len(labels)) if groups is None else np.array(groups, np.intp)
    return Outcome(CLASSES, np.array(labels, np.intp), p, decide(p, 0.5), numbers)


def random_outcome(classes: int = 2, n: int = 60, groups: int | None = None, seed: int | None = None) -> Outcome:
    """A mediocre classifier, decided at a half; each sample is a group of its own unless there are `groups` of them."""
    rng = np.random.default_rng(classes if seed is None else seed)
    labels = rng.integers(0, classes, n)
    raw = np.exp(rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels])
    p = raw / raw.sum(axis=1, keepdims=True)
    return Outcome(tuple("abc"[:classes]), labels.astype(np.intp), p, decide(p, 0.5), np.arange(n) % (groups or n))


def predictions(of: Outcome, samples: Sequence[str] | None = None, *, cut: float = 0.5, **texts: object) -> Predictions:
    """A row for each sample of an outcome, with the text of a column (`folds`, `parts`, …) or one for each row."""
    names = [f"image-{i:03d}" for i in range(len(of))] if samples is None else samples
    columns: dict[str, Any] = {
        name: np.array(np.broadcast_to(np.asarray(texts.get(name, ""), str), len(of)))
        for name in ("folds", "parts", "patients", "lesions", "repeats")
    }
    cuts = np.full(len(of), cut if of.binary else np.nan)
    return Predictions(samples=np.array(names), outcome=of, cuts=cuts, meta={}, **columns)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def edit_config(folder: Path, **changes: object) -> None:
    """Change fields of our section of a model's `config.json`."""
    edit_json(folder / "config.json", lambda content: content["mammozoo"].update(changes))


def flip(path: Path, place: int = -1) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def call_home(*_: object) -> None:
    """What a plugin must not do where no data are needed; that nobody answers is no excuse."""
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", 9), timeout=0.1)
