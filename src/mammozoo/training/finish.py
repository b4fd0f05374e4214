"""From complete fits to a complete run: which of them report, and what the run says."""

from __future__ import annotations

from pathlib import Path

from mammozoo.config.recipe import Recipe
from mammozoo.evaluation.overfitting import accuracy_gap, overfitting
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.evaluation.scores import Score, as_json, score_all
from mammozoo.files import sha256, write_bytes, write_json, write_text
from mammozoo.training.fold import FitResult
from mammozoo.training.run_directory import RunDirectory, write_table
from mammozoo.training.validation import direction
from mammozoo.zoo.card import write_card


def conclude(recipe: Recipe, run: RunDirectory, trials: list[FitResult]) -> None:
    """Write predictions, model, scores and card of a run whose fits are complete, and mark it as done."""
    # Of all fits with one test part (points of a grid, repeats, inner folds) the one that was best on its own validation
    # part reports; of those that report, the best stands for the run.
    sign = direction(recipe.monitor)
    reporting: dict[str, FitResult] = {}
    for trial in trials:
        best = reporting.setdefault(trial.attempt.split.outer, trial)
        if trial.monitor * sign > best.monitor * sign:
            reporting[trial.attempt.split.outer] = trial
    chosen = max(reporting.values(), key=lambda trial: trial.monitor * sign)
    write_table(run.path / "predictions.csv", [row for trial in reporting.values() for row in trial.rows])
    if len(trials) > len(reporting):
        told = {trial.attempt.name for trial in reporting.values()}
        write_table(
            run.path / "attempts.csv",
            [
                {
                    "fit": t.attempt.name,
                    "split": t.attempt.split.name,
                    **t.attempt.point,
                    f"validation {recipe.monitor}": t.monitor,
                    "reports": t.attempt.name in told,
                }
                for t in trials
            ],
        )
    write_bytes(run.path / "model.safetensors", (run.path / chosen.attempt.name / "model.safetensors").read_bytes())
    write_json(run.path / "config.json", chosen.config.to_json())
    scores = as_json(score_run(run.path, seed=recipe.seed))
    config = chosen.config.model_copy(update={"scores": scores})
    write_json(run.path / "config.json", config.to_json())
    write_json(run.path / "scores.json", scores)
    run.save(scores=scores, model={"fold": chosen.attempt.name, "sha256": sha256(run.path / "model.safetensors")})
    write_text(run.path / "README.md", write_card(config, run.facts))
    run.close("done")


def score_run(run: Path, *, seed: int = 0) -> dict[str, Score]:
    """Every score of a run's test parts, from `predictions.csv` alone; β and the accuracy gap tell of overfitting."""
    predictions = read_predictions(run)
    test = predictions.of("test").outcome
    scores = score_all(test, seed=seed)
    train = predictions.of("train")
    if len(train):
        scores["beta"] = overfitting(train.outcome, predictions.of("val").outcome, seed=seed)
        scores["accuracy-gap"] = accuracy_gap(train.outcome, test, seed=seed)
    return scores
