"""From complete fits to a complete run: choose the point that reports on each test part, score the run, write its outputs.

Only a point of the grid is chosen, by the monitored value of its validation parts, averaged over inner folds and repeats: a
single value that is the best of many is lucky too (Cawley & Talbot, JMLR 11, 2010). All fits of the point report. The inner
models of an outer fold predict its test part together, by the mean of their probabilities. Repeats report one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from mammozoo.config.recipe import Recipe
from mammozoo.errors import FailedError
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.predictions import INNER_TEST, Predictions
from mammozoo.evaluation.scores import Score, accuracy_gap, as_json, overfitting
from mammozoo.evaluation.seeds import score_folds
from mammozoo.files import sha256, write_bytes, write_json, write_table, write_text
from mammozoo.models.config import ModelConfig
from mammozoo.plugins import registry
from mammozoo.progress import Clock
from mammozoo.training.fold import FailedFit, FitResult, decision_rules
from mammozoo.training.prepare import PreparedRun
from mammozoo.training.run_directory import RunDirectory
from mammozoo.training.together import write_ensemble
from mammozoo.training.validation import Monitor
from mammozoo.zoo.account import read_account
from mammozoo.zoo.card import write_card
from mammozoo.zoo.section import sections


@dataclass(frozen=True)
class Reporter:
    """What reports on one test part in one repeat: a fit, or the fits of an outer fold's inner folds."""

    fits: Sequence[FitResult]

    @property
    def monitor(self) -> float:
        """The mean of the monitored values."""
        return fmean(fit.monitor for fit in self.fits)

    @property
    def model(self) -> FitResult:
        """The fit whose model stands for all: that nearest to the mean."""
        return min(self.fits, key=lambda fit: abs(fit.monitor - self.monitor))

    @property
    def name(self) -> str:
        """The fold in `predictions.csv`, and its folder."""
        spec = self.model.spec
        if len(self.fits) == 1:
            return spec.name
        return f"{spec.split.outer}/repeat-{spec.repeat}" if "repeat" in spec.point else spec.split.outer

    @cached_property
    def config(self) -> ModelConfig:
        """The config of `model`; of several fits the thresholds and the band are chosen on their pooled validation parts."""
        config, recipe = self.model.config, self.model.spec.recipe
        if len(self.fits) == 1:
            return config
        val = [self._rows(fit).of("val").outcome for fit in self.fits]
        labels, p = (np.concatenate([getattr(one, name) for one in val]) for name in ("labels", "probabilities"))
        return config.model_copy(update=decision_rules(recipe, labels, p, "pooled inner validation"))

    def rows(self) -> list[dict[str, Any]]:
        """Its rows of `predictions.csv`."""
        spec = self.model.spec
        repeat = {"repeat": str(spec.repeat)} if "repeat" in spec.point else {}
        rows = [{**row, **repeat} for fit in self.fits for row in fit.rows]
        if len(self.fits) == 1:
            return rows
        tests = [self._rows(fit).of("test") for fit in self.fits]
        p = np.mean([test.outcome.probabilities for test in tests], axis=0)
        cuts = np.full(len(p), self.config.cut() if p.shape[1] == 2 else np.nan)
        outcome = dataclasses.replace(tests[0].outcome, probabilities=p, decisions=decide(p, cuts))
        mean = dataclasses.replace(tests[0], folds=np.full(len(p), self.name), outcome=outcome, cuts=cuts)
        inner = [row | {"part": INNER_TEST} if row["part"] == "test" else row for row in rows]
        return [row | repeat for row in mean.rows()] + inner

    @staticmethod
    def _rows(fit: FitResult) -> Predictions:
        return Predictions.from_rows(fit.rows, fit.config.classes)


def finish(prepared: PreparedRun, run: RunDirectory, results: Sequence[FitResult | FailedFit], clock: Clock) -> None:
    """Score a run whose fits have ended, write its predictions, models, scores and cards, and mark it as done.

    Raises:
        FailedError: every point of the grid has failed on one test part.
    """
    recipe = prepared.recipe
    run.save(**({"failed": failed} if (failed := failures(results)) else {}))
    reporters, best = select(without_failed(results), Monitor(recipe.monitor).sign)
    rows = [row for reporter in reporters for row in reporter.rows()]
    predictions = Predictions.from_rows(rows, best.config.classes)
    scores = as_json(score(predictions, recipe.seed))
    train, test = (predictions.of(part).by_repeat()[0].outcome for part in ("train", "test"))
    said = registry().notify("run_scored", run=run, train=train, test=test)
    configs = [best.config, *(reporter.config for reporter in reporters)]
    stamps = [stamp for config in configs for stamp in config.stamps]
    added = sections(registry().notify("run_sections", run=run, train=train, test=test))
    run.save(
        **({"sections": added} if added else {}),
        stamps=tuple(dict.fromkeys([*stamps, *(text for text in said if text and isinstance(text, str))])),
        **({"weights": " or ".join(dict.fromkeys(one.training.weights for one in configs))} if prepared.others else {}),
    )
    clock.lap("scores")
    write_run(recipe, run, results, reporters, best, rows, scores)
    write_ensemble(prepared, run, [fit for reporter in reporters for fit in reporter.fits])
    clock.lap("write")
    run.save(seconds=clock.rounded())
    run.close("done")


def failures(results: Sequence[FitResult | FailedFit]) -> dict[str, str]:
    """The reason of each fit that failed, by name."""
    return {result.spec.name: result.reason for result in results if isinstance(result, FailedFit)}


def without_failed(results: Sequence[FitResult | FailedFit]) -> list[FitResult]:
    """The fits of which the point has failed in no inner fold and no repeat of the test part.

    Raises:
        FailedError: of a test part there are none.
    """
    lost = {(r.spec.split.outer, repr(r.spec.tried)): r.reason for r in reversed(results) if isinstance(r, FailedFit)}
    left = [r for r in results if isinstance(r, FitResult) and (r.spec.split.outer, repr(r.spec.tried)) not in lost]
    if bare := {part for part, _ in lost} - {result.spec.split.outer for result in left}:
        part = min(bare)
        reason = next(reason for (of, _), reason in reversed(lost.items()) if of == part)
        raise FailedError(f"Every point of the grid has failed on {part}. The first: {reason}")
    return left


def select(results: Sequence[FitResult], sign: int) -> tuple[list[Reporter], Reporter]:
    """(what reports on each test part in each repeat, the one whose model stands for the run).

    Of each test part the point with the best mean validation value reports; `sign` is that of `Monitor`. The best test part
    of the first repeat stands for the run.
    """
    parts: dict[str, dict[str, list[FitResult]]] = {}
    for result in results:
        points = parts.setdefault(result.spec.split.outer, {})
        points.setdefault(repr(result.spec.tried), []).append(result)
    reporters = []
    for points in parts.values():
        chosen = max(points.values(), key=lambda fits: Reporter(fits).monitor * sign)
        numbers = sorted({fit.spec.repeat for fit in chosen})
        reporters += [Reporter([fit for fit in chosen if fit.spec.repeat == number]) for number in numbers]
    first = [reporter for reporter in reporters if reporter.model.spec.repeat == 0]
    return reporters, max(first, key=lambda reporter: reporter.monitor * sign)


def score(predictions: Predictions, seed: int) -> dict[str, Score]:
    """Every score of the test parts, and β and the accuracy gap, which measure overfitting."""
    test = predictions.of("test")
    scores = score_folds(test, seed=seed)
    train, val = predictions.of("train"), predictions.of("val")
    if len(train):
        scores["beta"] = overfitting(train.outcome, val.outcome, folds=(train.folds, val.folds), seed=seed)
        scores["accuracy-gap"] = accuracy_gap(train.outcome, test.outcome, folds=(train.folds, test.folds), seed=seed)
    return scores


def scores_of(reporters: Sequence[Reporter], best: Reporter, monitor: str) -> str:
    """What the scores of a run are of, and which model its own is; empty if they are of that model alone."""
    repeats = len({reporter.model.spec.repeat for reporter in reporters})
    folds, inner = len(reporters) // repeats, len(best.fits)
    means = [f"{n} {what}" for n, what in ((repeats, "repeats"), (folds, "folds")) if n > 1]
    if not means and inner == 1:
        return ""
    text = f"Mean over {' of the mean over '.join(means)}" if means else "One test part"
    if inner > 1:
        text += f", each test image predicted by the mean probability of {inner} inner models"
    reasons = ["of the first repeat"] if repeats > 1 else []
    reasons += [f"of the fold with the best validation {monitor}"] if folds > 1 else []
    reasons += [f"the inner model nearest to the mean validation {monitor}"] if inner > 1 else []
    return f"{text}. This model is {best.model.spec.name}: {', '.join(reasons)}."


def write_run(
    recipe: Recipe,
    run: RunDirectory,
    results: Sequence[FitResult | FailedFit],
    reporters: Sequence[Reporter],
    best: Reporter,
    rows: Sequence[dict[str, Any]],
    scores: dict[str, dict[str, float | None]],
) -> None:
    """Write what is in the run's folder besides the folders of its fits.

    The folder of an outer fold holds the model that stands for its inner ones, with the pooled thresholds.
    """
    write_table(run.path / "predictions.csv", rows)
    for reporter in reporters:
        if len(reporter.fits) > 1:
            for name in ("split.csv", "history.csv", "model.safetensors"):
                content = (run.path / reporter.model.spec.name / name).read_bytes()
                write_bytes(run.path / reporter.name / name, content)
            write_json(run.path / reporter.name / "config.json", reporter.config.to_json())
    if any(result.spec.name != result.spec.split.outer for result in results):
        names = {fit.spec.name for reporter in reporters for fit in reporter.fits}
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
    chosen, model = best.model, run.path / "model.safetensors"
    write_bytes(model, (run.path / chosen.spec.name / "model.safetensors").read_bytes())
    about = {"scores": scores, "scores_of": scores_of(reporters, best, recipe.monitor), "stamps": run.facts["stamps"]}
    config = chosen.config.model_copy(update=about)
    write_json(run.path / "config.json", config.to_json())
    write_json(run.path / "scores.json", scores)
    alone = {}
    if len(results) > 1 and about["scores_of"]:  # the scores of the run are not those of its model
        own = Predictions.from_rows(chosen.rows, chosen.config.classes)
        alone = {"scores": as_json(score(own, recipe.seed))}
    run.save(scores=scores, model={"fold": chosen.spec.name, "sha256": sha256(model), **alone})
    write_text(run.path / "README.md", write_card(config, read_account(run.path, run.facts)))
