"""A prediction for each image, and for each patient."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mammozoo.api.classifier import load
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Picture, PredictResult
    from mammozoo.progress import Progress


def predict(
    images: Picture | Iterable[Picture],
    model: str | Path | None = None,
    *,
    member: str | None = None,
    batch: int = 32,
    abstain: bool = False,
    force: bool = False,
    aggregate: str | None = None,
    by: str = "patient",
    tta: str | None = None,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
    journal: str | Path | None = None,
    progress: Progress | None = None,
) -> PredictResult:
    """Load a model and predict images; other arguments and errors are those of `load` and `Classifier.predict`.

    Args:
        images: also a table (CSV, TSV, .xlsx) with the column `path`, relative to it.
        aggregate: `mean`, `max` or `noisy-or`: also one prediction for each unit that a column of the table names.
        by: `patient`, `breast` (a column, or patient and `side`), or another column of the table.
        journal: a file that keeps each answer as it is made; a call like one that was killed goes on from its journal.
        progress: gets the number of images that are done.

    Raises:
        ConflictError: the journal is of another call.
        UsageError: `aggregate` without a table, or a table that names no such unit.
        NotFoundError: the table lists files that do not exist.
    """
    from mammozoo.evaluation.image_table import read_listing, table_of
    from mammozoo.evaluation.predict import PredictResult, predict_images
    from mammozoo.evaluation.predict_journal import journal as open_journal
    from mammozoo.evaluation.predict_journal import key_of

    listing = None if (table := table_of(images)) is None else read_listing(table)
    names = None
    if aggregate is not None:
        from mammozoo.evaluation.predict_units import predict_units
        from mammozoo.evaluation.units import check_how

        check_how(aggregate, ())
        if listing is None:
            raise UsageError(
                "--aggregate goes with a table of images that names their patients: mammozoo predict TABLE.csv."
            )
        names = listing.units(by)
    loaded = load(model, member=member, tta=tta, device=device, precision=precision)
    if aggregate is not None:
        check_how(aggregate, loaded.classes)
    asked = listing.files if listing else images
    with contextlib.ExitStack() as stack:
        kept = None
        if journal is not None:
            key = key_of(loaded.folder, loaded.config, loaded.engine, abstain=abstain, force=force, tta=tta)
            kept = stack.enter_context(open_journal(Path(journal), key))
        if progress and isinstance(asked, Sequence) and not isinstance(asked, str):
            progress.start("predicting", len(asked))
        found, remark = predict_images(
            loaded.model, loaded.config, asked, loaded.engine, batch,
            abstain=abstain, force=force, journal=kept, progress=progress,
        )  # fmt: skip
    units = None
    if aggregate is not None and names is not None:
        units = predict_units(found, names, by, aggregate, loaded.folder, loaded.config)
    return PredictResult(loaded.folder, loaded.config, found, remark, units)
