"""A search by Optuna: chosen on validation, pruned, resumed with the same points, counted in card and report."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from mammozoo import UsageError
from mammozoo.testing import checks, run

from mammozoo_optuna.space import read_space
from mammozoo_optuna.study import optimize

SPACE = """
optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
backbone: [test_resnet, test_efficientnet]
size: [32, 48]
strategy: [frozen, full]
augment: [[], [hflip]]
batch: {low: 8, high: 16, step: 8}
"""
SETTINGS = {
    "dataset": "phantom:n=24", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 2, "augment": [],
    "device": "cpu",
}  # fmt: skip
BYTES = ("attempts.csv", "predictions.csv", "model.safetensors")


def space_of(folder: Path, text: str = SPACE) -> Path:
    """A file with the space."""
    (folder / "space.yaml").write_text(text)
    return folder / "space.yaml"


def table(run: Path) -> list[dict[str, str]]:
    """The rows of attempts.csv."""
    from mammozoo.files import read_table

    return list(read_table(run / "attempts.csv"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete search of seven trials."""
    folder = tmp_path_factory.mktemp("search")
    return optimize(None, SETTINGS, read_space(space_of(folder)), folder / "run", 7).path


def test_the_best_on_validation_is_chosen_and_trials_are_counted(done: Path) -> None:
    """The recipe itself and each trial is a point; what was pruned or diverged is not chosen from."""
    rows = table(done)
    values = {row["fit"]: float(row["validation loss"]) for row in rows}
    best = min((fit for fit in values if not math.isnan(values[fit])), key=values.__getitem__)
    assert [row["fit"] for row in rows if row["reports"] == "True"] == [best]
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{done / 'optuna.db'}")
    assert len(study.trials) == 7
    tried = {float(t.value) for t in study.trials if t.state.name == "COMPLETE"}
    assert tried and tried <= set(values.values())
    card = " ".join((done / "README.md").read_text().split())
    assert f"{len(rows)} models were trained: {len(rows)} points of the grid" in card
    assert len({row["backbone"] for row in rows}) == 2 and len({row["size"] for row in rows}) == 2


def test_a_search_that_was_killed_goes_on_to_the_same_points(done: Path, tmp_path: Path) -> None:
    """In a process of its own, which dies in the third trial."""
    out = tmp_path / "run"
    (tmp_path / "die.py").write_text(
        "import os, pathlib\nfrom mammozoo import hookimpl\n\n@hookimpl\ndef epoch_end(run, row):\n"
        "    if (run.path / 'holdout/003').is_dir():\n        os._exit(9)\n"
    )
    words = [
        sys.executable, "-c",
        "import os, sys; os.environ['MAMMOZOO_PLUGIN_FILES'] = 'die.py'\n"
        "from mammozoo_optuna.study import optimize; from mammozoo_optuna.space import read_space; import pathlib\n"
        f"optimize(None, {SETTINGS!r}, read_space(pathlib.Path('space.yaml')), pathlib.Path('run'), 7)",
    ]  # fmt: skip
    space = read_space(space_of(tmp_path))
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 9
    assert not (out / "scores.json").exists()
    optimize(None, SETTINGS, space, out, 7)
    for name in BYTES:
        assert (out / name).read_bytes() == (done / name).read_bytes(), name


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    """After some trials that learn, one at a useless rate ends early, with its reason in the run."""
    space = {"optimizer.lr": [3e-2, 2.9e-2, 2.8e-2, 2.7e-2, 2.6e-2, 1e-9]}
    settings = SETTINGS | {"dataset": "phantom:n=60", "strategy": "full", "epochs": 4}
    run = optimize(None, settings, space, tmp_path / "run", 14)
    reasons = run.facts.get("failed", {}).values()
    assert any(reason.startswith("pruned: Optuna's pruner") for reason in reasons)
    assert "were pruned" in " ".join((run.path / "README.md").read_text().split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("optimizer.lr: 3", "choices are a list"),
        ("optimizer.lr: {low: 1, high: 0}", "optimizer.lr"),
        ("optimizer.lr: {low: 0, high: 1, log: true}", "optimizer.lr"),
        ("- a", "not a space"),
        ("a: [", "YAML"),
    ],
)
def test_a_wrong_space_is_refused(text: str, words: str, tmp_path: Path) -> None:
    """With the key and how it is written."""
    with pytest.raises(UsageError, match=words):
        read_space(space_of(tmp_path, text))


@pytest.mark.parametrize("text", ["seed: [1, 2]", "optimizer.rate: [1e-3, 1e-2]", "epochs: {low: -3, high: 4}"])
def test_a_space_that_does_not_suit_the_recipe_is_refused_before_anything_is_trained(text: str, tmp_path: Path) -> None:
    """Every choice and both ends of every range are tried."""
    with pytest.raises(UsageError):
        optimize(None, SETTINGS, read_space(space_of(tmp_path, text)), tmp_path / "run", 2)
    assert not list((tmp_path / "run").glob("holdout/*"))


def test_the_command(tmp_path: Path) -> None:
    """From the shell, with one clear message for a mistake."""
    space_of(tmp_path, "size: [32, 40]")
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    words = [sys.executable, "-m", "mammozoo", "optuna", "default", "--space", "space.yaml", "--out", "run", *sets]
    done = subprocess.run([*words, "--trials", "1"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "chosen holdout/00" in done.stdout, done.stderr
    again = subprocess.run([*words, "--set", "lr"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "mammozoo: --set takes KEY=VALUE" in again.stderr and not again.stdout


def test_contract() -> None:
    """Every check can be made, and passes."""
    found = {str(check): run(check) for check in checks("optuna")}
    assert {name.partition("-")[0] for name in found} == {"plugins", "commands", "events"}
    assert {name: result.state for name, result in found.items() if result.state != "passed"} == {}
