"""Scores of a model or a table, and of one beside another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mammozoo.api.given import named_model, roots
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.evaluation.compare import Result
    from mammozoo.evaluation.result import EvaluationScores
    from mammozoo.progress import Progress


def evaluate(
    model: str | Path,
    dataset: str | None = None,
    root: str | Path | Mapping[str, str | Path] | None = None,
    *,
    member: str | None = None,
    classes: str | Sequence[str] | None = None,
    threshold: str | None = None,
    aggregate: str | None = None,
    by: str = "patient",
    subgroup: str | Sequence[str] = (),
    unseen: bool = False,
    tta: str | None = None,
    truth: str | Path | None = None,
    columns: str | Sequence[str] = (),
    positive: str | None = None,
    negative: str | None = None,
    where: str | None = None,
    interval: Literal["bca", "percentile"] = "bca",
    prevalence: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> EvaluationScores:
    """Score a model on a data set, with 95 % intervals; without a data set, a run on its own test images.

    Args:
        model, member: as for `load`; or a table of predictions that anybody made (CSV, TSV, .xlsx, Parquet with pyarrow).
        dataset: as in a recipe: `busi`, `phantom:n=60`, or several, `busi+bus-bra`, whose names are the column `dataset`; or a
            folder or table of images in its place.
        root: the folder (or table) that holds its images; of several data sets one for each, by name.
        classes: which labels of the data set are which class of the model, as in a recipe: `benign=cyst|fibroadenoma+malignant`.
            Without it they are matched by name, and images of other labels are left out.
        threshold: one of the model's, such as `youden`; of a table a number.
        aggregate: `mean`, `max` or `noisy-or`: patients (breasts, lesions: `by`), at a threshold chosen on those of validation.
        subgroup: a column such as `device`, several with commas between them, or a list: scores for each of their values.
        unseen: leave out the images of the data set that were used in training or model selection, and their groups.
        tta: as for `load`; with a data set.
        truth: a table with the truth of the predictions in a table, joined by id.
        columns: `ROLE=COLUMN` for columns of a table that are not recognised: `truth=biopsy`, `prob_malignant=out`.
        positive, negative: classes that are scored as one, separated by commas; without `negative` all others are.
        where: conditions on columns: `marks=no and age>=50`.
        prevalence: also PPV and NPV where this share is positive.
        interval: `bca`, or plain `percentile`s of the same draws.

    Raises:
        NotFoundError: no such model, data set, table or folder.
        UsageError: fewer than two of the model's classes, no such threshold, arguments that do not go together, or a table that
            cannot be scored, with its line.
    """
    from mammozoo.config.sections import listed
    from mammozoo.data.layouts import located
    from mammozoo.evaluation.evaluate import score_model
    from mammozoo.evaluation.prediction_table import is_table
    from mammozoo.evaluation.run_files import read_facts
    from mammozoo.evaluation.selection import Selection
    from mammozoo.zoo.registry import BEST, find_answering, find_model

    named = named_model(model)
    if is_table(named):
        if member is not None:
            raise UsageError("A table of predictions has no --member.")
        folder = Path(named)
    elif dataset is not None or member is not None:
        folder = find_answering(named, member, others=dataset is not None)
        if dataset is None and member == BEST:
            folder /= read_facts(folder)["model"]["fold"]
    else:  # each of a run's own test images is scored by the model that has not seen it
        folder = find_model(named)
    name, place = (dataset, roots(root)) if dataset is None else located(str(dataset), roots(root))
    return score_model(
        folder,
        name,
        place,
        classes=listed(classes),
        threshold=threshold, how=aggregate, by=by, unseen=unseen, tta=tta, device=device, progress=progress,
        subgroup=[subgroup] if isinstance(subgroup, str) else subgroup,
        selection=Selection.of(truth, columns, positive, negative, where), interval=interval, prevalence=prevalence,
    )  # fmt: skip


def compare(
    runs: Sequence[str | Path],
    metric: str = "auc",
    *,
    paired: bool = True,
    rank_sum: bool = False,
    truth: str | Path | None = None,
    columns: str | Sequence[str] = (),
    positive: str | None = None,
    negative: str | None = None,
    where: str | None = None,
    progress: Progress | None = None,
) -> list[Result]:
    """Every test of every pair of runs on their test images; `paired=False` for runs with different ones.

    Args:
        runs: folders of runs, or tables of predictions, as for `evaluate`; so are the arguments from `truth` on.
        metric: a score of `scores.json`, also of one class: `auc[malignant]`.
        rank_sum: also the test of Byra 2021, which is not valid.

    Raises:
        UsageError: fewer than two runs, one named twice, other test images or classes, or a table that cannot be scored.
        NotFoundError: no such run, table or metric.
    """
    from mammozoo.evaluation import compare as comparison
    from mammozoo.evaluation.selection import Selection

    selection = Selection.of(truth, columns, positive, negative, where)
    return comparison.compare(
        comparison.contenders(runs, selection, progress), metric, paired=paired, rank_sum=rank_sum
    )
