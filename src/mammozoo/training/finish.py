"""From complete fits to a complete run: select the best fit per test fold, score the run, write its outputs."""

from __future__ import annotations

from collections.abc import Sequence

from mammozoo.config.recipe import Recipe
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import Score, accuracy_gap, as_json, overfitting
from mammozoo.evaluation.seeds import score_folds
from mammozoo.files import sha256, write_bytes, write_json, write_table, write_text
from mammozoo.progress import Clock
from mammozoo.training.fold import FitResult
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.validation import Monitor
from mammozoo.zoo.card import write_card


def finish(recipe: Recipe, run: RunDirectory, results: Sequence[FitResult], clock: Clock) -> None:
    """Score a run whose fits are complete, write its predictions, model, scores and card, and mark it as done."""
    reporting, best = select(results, Monitor(recipe.monitor).sign)
    rows = [row for result in reporting for row in result.rows]
    scores = as_json(score(Predictions.from_rows(rows, best.config.classes), recipe.seed))
    clock.lap("scores")
    write_run(recipe, run, results, reporting, best, scores, clock)


def select(results: Sequence[FitResult], sign: int) -> tuple[list[FitResult], FitResult]:
    """(the fits that report, the one whose model stands for the run), each by its own validation part.

    Of all fits with one test part (points of a grid, repeats, inner folds) the best reports.
    """
    reporting: dict[str, FitResult] = {}
    for result in results:
        best = reporting.setdefault(result.spec.split.outer, result)
        if result.monitor * sign > best.monitor * sign:
            reporting[result.spec.split.outer] = result
    return list(reporting.values()), max(reporting.values(), key=lambda result: result.monitor * sign)


def score(predictions: Predictions, seed: int) -> dict[str, Score]:
    """Every score of the test parts, and β and the accuracy gap, which measure overfitting."""
    test = predictions.of("test")
    scores = score_folds(test, seed=seed)
    train = predictions.of("train")
    if len(train):
        scores["beta"] = overfitting(train.outcome, predictions.of("val").outcome, seed=seed)
        scores["accuracy-gap"] = accuracy_gap(train.outcome, test.outcome, seed=seed)
    return scores


def write_run(
    recipe: Recipe,
    run: RunDirectory,
    results: Sequence[FitResult],
    reporting: Sequence[FitResult],
    best: FitResult,
    scores: dict[str, dict[str, float | None]],
    clock: Clock,
) -> None:
    """Write what is in the run's folder besides the folders of its fits."""
    write_table(run.path / "predictions.csv", [row for result in reporting for row in result.rows])
    if len(results) > len(reporting):
        names = {result.spec.name for result in reporting}
        attempts = [
            {
                "fit": result.spec.name,
                "split": result.spec.split.name,
                **result.spec.point,
                f"validation {recipe.monitor}": result.monitor,
                "reports": result.spec.name in names,
            }
            for result in results
        ]
        write_table(run.path / "attempts.csv", attempts)
    model = run.path / "model.safetensors"
    write_bytes(model, (run.path / best.spec.name / "model.safetensors").read_bytes())
    config = best.config.model_copy(update={"scores": scores})
    write_json(run.path / "config.json", config.to_json())
    write_json(run.path / "scores.json", scores)
    run.save(scores=scores, model={"fold": best.spec.name, "sha256": sha256(model)})
    write_text(run.path / "README.md", write_card(config, run.facts))
    clock.lap("write")
    run.save(seconds=clock.rounded())
    run.close("done")
