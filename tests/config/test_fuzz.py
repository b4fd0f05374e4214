"""Files from anywhere, spoilt at random: each is read or refused by its error, in time, and never by another exception.

`MAMMOZOO_FUZZ=2000` tries that many of each kind (tox runs it as `fuzz`).
"""

import copy
import itertools
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mammozoo.config.recipe import load
from mammozoo.data.loaded import open_dataset
from mammozoo.data.splits.files import read_splits
from mammozoo.errors import IncompatibleError, MammozooError, NotFoundError, NotVerifiedError, RegistryError, UsageError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.models.config import read_config
from mammozoo.reproduction.paper import load_paper
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.entry import read_zoo

HOW_MANY = int(os.environ.get("MAMMOZOO_FUZZ", "60"))
SECONDS = 2.0

#: Texts that stand for a value, as they are.
RAW = [
    "1:" * 200_000 + "1", "2026-01-01", "0o17", "0x1F", "1_000", "1e999", "1.0e+999", ".inf", ".nan", "NaN",
    "-Infinity", "9" * 5000,
    "-0", "07", "yes", "~", "null", "[" * 3000, "{" * 3000, "[" * 90 + "]" * 90, "&a [*a]", "*a",
    "!!python/object/apply:os.system [id]",
    "!!int 1:1:1", "!!binary aGk=", "!!timestamp 2026-01-01", "!x y", "<<: {a: 1}", "? [a]\n: b", '"\\ud800"',
    '"\\u0000"', "\0", "\x1b[2J",
    "\ufeff", "\u2028", "|\n  text", "'", '"', "a: b: c", "\t- x", "%YAML 9.9\n---\n", "--- \n--- ", "#",
    "{a: 1, a: 2}", '{"a": 1, "a": 2}',
    "x" * 200_000, "😀", "../../etc/passwd", "/", "=", ":", "a=b=c", "1.5e3", "true", "[]", "{}", '""', "- 1\n" * 30_000,
    "a: &a [x]\n" + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in itertools.pairwise("abcdefghijkl")),
]  # fmt: skip
SHORT = [text for text in RAW if len(text) < 1000]
#: Values in the place of another one.
VALUES = [
    None, True, -1, 0, 1, 2**63, 10**30, 10**300, -1e-300, 1e300, 0.5, "", "x", "1", "1e999", "nan", "x" * 5000, "\n", "\x1b[31m",
    "..", "/", "a:b=c", "🙂", [], {}, [[]], [None], ["x", 1], {"x": 1}, {"": None}, {"a": {"b": []}}, ["a"] * 300,
]  # fmt: skip


def spoilt(content: Any, dump: Callable[[Any], str], rng: random.Random) -> bytes:
    """The text of `content` with one to three mistakes in it, of the values, of the text and of its bytes."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((0, 1, 1, 2))):
        content = _other(content, rng)
    text = dump(content)
    if rng.random() < 0.4:
        place = rng.choice(
            [0, len(text), *(n + 2 for n in range(len(text) - 2) if text[n : n + 2] in (": ", "- ", ", "))]
        )
        text = text[:place] + rng.choice(SHORT) + text[place + rng.choice((0, 0, 1, 5)) :]
    data = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.4:
        start = rng.randrange(len(data) + 1)
        part = data[start : start + rng.choice((1, 3, 40))]
        new = rng.choice((b"", part * 2, bytes(rng.randrange(256) for _ in range(4)), b"\r\n", b"\xff", b'"', b"\0"))
        data = data[:start] + new + data[start + len(part) :]
    return data


def _other(value: Any, rng: random.Random) -> Any:
    """One value anywhere in it is another one, or gone."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value)) if isinstance(value, dict) else rng.randrange(len(value))
        if rng.random() < 0.1:
            del value[key]
        else:
            value[key] = _other(value[key], rng)
        return value
    return copy.deepcopy(rng.choice(VALUES))


def _table(rows: Any) -> str:
    rows = [row for row in rows if isinstance(row, list)] if isinstance(rows, list) else []
    return "\n".join(",".join(map(str, row)) for row in rows)


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, allow_unicode=True)


RECIPE = {
    "name": "mine", "dataset": "phantom:n=24", "backbone": "test_resnet", "classes": ["a", "b"], "split": {"folds": 3, "val": 0.2},
    "stages": [{"name": "one", "epochs": 1, "optimizer": {"lr": 0.1}}], "size": [32, 32], "phases": [{"epochs": 1, "lr": 0.5}],
    "grid": {"optimizer.lr": [0.1, 0.2]}, "schedule": {"kind": "exponential", "factor": 0.9}, "requires": ["x>=1"], "repeats": 2,
}  # fmt: skip
ZOO = {
    "schema": 1, "default": "m",
    "models": [{
        "name": "m", "version": "1.0", "summary": "s", "source": {"hub": "a/b", "revision": "0" * 40},
        "files": {"model.safetensors": {"size": 1, "sha256": "0" * 64}},
    }],
}  # fmt: skip
SPLITS = {
    "schema": 1,
    "splits": [{"name": "holdout", "train": ["a.png"], "val": ["b.png"], "test": ["c.png", "d.png"]}],
}
NAMES = ["a.png", "b.png", "c.png", "d.png"]
IMAGES = [
    ["path", "label", "patient", "left", "top", "right", "bottom"],
    ["a.png", "x", "P1", 1, 2, 3, 4],
    ["b.png", "y", "P2", "", "", "", ""],
]


@pytest.fixture
def kinds(
    run_copy: Path,
) -> dict[str, tuple[Any, Callable[[Any], str], Path, Callable[[Path], object], tuple[type[MammozooError], ...]]]:
    """Of each kind of file: its content, its writer and place, what reads it, and how that may refuse it."""
    paper = yaml.safe_load((Path(__file__).parents[2] / "plugins/mammozoo_drs/papers/byra-2021.yaml").read_text())
    rows = [line.split(",") for line in (run_copy / "predictions.csv").read_text().splitlines()[:9]]
    config, facts = (json.loads((run_copy / name).read_text()) for name in ("config.json", "run.json"))
    files = run_copy.parent
    for name in NAMES:
        (files / name).touch()
    no_run = (IncompatibleError, NotFoundError)
    return {
        "zoo": (ZOO, _yaml, files / "zoo.yaml", read_zoo, (RegistryError,)),
        "recipe": (RECIPE, _yaml, files / "mine.yaml", lambda path: load(str(path)), (UsageError,)),
        "paper": (paper, _yaml, files / "byra-2021.yaml", lambda path: load_paper(str(path)), (UsageError, NotFoundError)),
        "splits": (SPLITS, json.dumps, files / "s.json", lambda path: read_splits(path, NAMES), (UsageError, NotVerifiedError)),
        "split table": (
            [["sample", "part"], *([name, "train"] for name in NAMES)], _table, files / "s.csv",
            lambda path: read_splits(path, NAMES), (UsageError, NotVerifiedError),
        ),
        "images": (IMAGES, _table, files / "t.csv", lambda path: open_dataset("csv", path).samples(), (UsageError, NotFoundError)),
        "config": (config, json.dumps, run_copy / "config.json", lambda path: read_config(path.parent), no_run),
        "run": (facts, json.dumps, run_copy / "run.json", lambda path: RunDirectory.open(path.parent), no_run),
        "predictions": (rows, _table, run_copy / "predictions.csv", lambda path: read_predictions(path.parent), no_run),
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["zoo", "recipe", "paper", "splits", "split table", "images", "config", "run", "predictions"]
)
def test_a_spoilt_file_is_read_or_refused(kinds, kind: str) -> None:
    def late(number: int, frame: object) -> None:
        raise AssertionError(f"it takes more than {SECONDS} s")

    signal.signal(signal.SIGVTALRM, late)
    content, dump, path, read, refusals = kinds[kind]
    texts = [text.encode("utf-8", "surrogatepass") for text in RAW]
    for number in range(HOW_MANY + len(texts)):
        data = (
            texts[number]
            if number < len(texts)
            else spoilt(content, dump, random.Random(f"{kind} {number - len(texts)}"))
        )
        path.write_bytes(data)
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            read(path)
        except refusals as error:
            assert "\n" not in str(error), f"input {number}: {error}"
        except Exception as error:
            raise AssertionError(f"input {number} ({data[:300]!r})") from error
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


@pytest.mark.parametrize("text", ["1:" * 200_000 + "1", "2026-01-01", "017", "0x1F", "1_0:30", "+1:30", "012:30"])
def test_what_is_no_number_in_json_is_a_text(text: str, command) -> None:
    begin = time.process_time()
    command("train", "--set", f"summary={text}", "--set", "batch=1").refused(2, "batch")
    assert time.process_time() - begin < SECONDS


def test_a_recipe_reads_back_what_it_writes(tmp_path) -> None:
    """The writer knows YAML 1.1, the reader less of it: no text may become a number on the way."""
    for text in (
        "1.5e3",
        "1e3",
        "+.5",
        "0o17",
        "1:30",
        "yes",
        "2026-01-01",
        "~",
        "",
        "1_000",
        "0x1F",
        ".inf",
        "-.5",
        "1.",
        "<<",
        "=",
    ):
        recipe = load(None, {"summary": text, "optimizer.lr": 1e-5})
        path = tmp_path / "again.yaml"
        path.write_text(recipe.to_yaml())
        assert load(str(path)) == recipe
