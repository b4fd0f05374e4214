"""What an evaluation gives: predictions on a data set, and the scores made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mammozoo.evaluation.prediction_table import PredictionTable
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import Score
from mammozoo.evaluation.subgroups import Subgroup
from mammozoo.evaluation.units import Units
from mammozoo.models.config import ModelConfig


@dataclass(frozen=True)
class EvaluationResult:
    """A model's predictions on a data set, decided at the threshold of that name (none with more than two classes).

    Those in a table have no config; `table` says what was read, and `notes` what there is to say of the selection.
    """

    config: ModelConfig | None
    dataset: str | None
    threshold: str
    predictions: Predictions
    stamps: tuple[str, ...]
    validation: Predictions | None = None  #: of a run on its own test parts
    temperatures: tuple[float, ...] = ()  #: by which logits were divided: one, or one of each fold's model
    table: PredictionTable | None = None
    notes: tuple[str, ...] = ()
    sha256: str | None = None  #: of the weights; None of a table, and of a run on its own test parts
    #: Images used in training or model selection, or nearly so; None of a run on its own test parts.
    seen: int | None = None
    #: Class of the model that the data set does not have → images of which it is the most probable.
    absent: dict[str, int] = field(default_factory=dict)
    #: Label of the data set that is in no class → its images, which are not scored.
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluationScores:
    """A model's scores on a data set.

    Attributes:
        scores: by name, such as `auc`; each with `value`, its 95 % interval `low` to `high`, and `n`. On the test parts of a
            run they are the means over its folds and repeats, with `pooled` and `sd`.
        n: images, or patients or lesions where they were aggregated.
        stamps: warning labels: synthetic data, or images used in training or model selection.
        evaluation: the predictions behind the scores.
        subgroups: scores for each value of a column, if asked for, and of each of several data sets.
        units: the predictions of patients or lesions, if they were aggregated.
        study: risk and coverage, confident mistakes and missed positives, as `mammozoo.evaluation.selective.study` has them.
        use: calibration line, conformal sets and predictive values at a prevalence, as `mammozoo.evaluation.use` has them.
    """

    scores: dict[str, Score]
    n: int
    stamps: tuple[str, ...]
    evaluation: EvaluationResult = field(repr=False)
    subgroups: list[Subgroup] = field(default_factory=list, repr=False)
    units: Units | None = field(default=None, repr=False)
    study: dict[str, Any] = field(default_factory=dict, repr=False)
    use: dict[str, Any] = field(default_factory=dict, repr=False)
