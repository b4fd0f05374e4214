"""What `split.leave_out` names: a column of the data and one of its values, and the classes that both sides have."""

from __future__ import annotations

from collections.abc import Sequence

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.joined import SET
from mammozoo.data.splits.make import EACH
from mammozoo.errors import UsageError, nearest


def values_of(samples: Sequence[Sample], text: str) -> tuple[list[str], str]:
    """(the value of each sample, empty if it has none; the value to leave out, or `EACH`).

    Raises:
        UsageError: no sample has the column, or the value.
    """
    column, equals, wanted = (part.strip() for part in text.partition("="))
    if not equals:
        column, wanted = SET, column
    columns = dict.fromkeys(key for sample in samples for key in sample.meta)
    if column not in columns:
        if column == SET:
            raise UsageError(
                f"split.leave_out '{text}' names one of several data sets, and there is one: --dataset a+b."
            )
        known = f"Columns: {', '.join(columns) or 'none'}."
        raise UsageError(f"split.leave_out: no image has a column '{column}'.{nearest(column, columns)} {known}")
    values = [str(sample.meta.get(column, "")).strip() for sample in samples]
    there = sorted({*values} - {""})
    if wanted != EACH and wanted not in there:
        known = f"There are {', '.join(there[:20])}."
        raise UsageError(f"split.leave_out: no image has {column} '{wanted}'.{nearest(wanted, there)} {known}")
    return values, wanted


def shared_classes(dataset: Dataset, text: str) -> tuple[str, ...] | None:
    """The classes that the images left out and the others both have, of each data set in turn those that all have; None for all.

    Of another column in turn it is all, since a rare value would take a class from everybody.

    Raises:
        UsageError: as `values_of`, or there is one such class.
    """
    samples = dataset.samples()
    values, wanted = values_of(samples, text)
    if wanted == EACH and text.partition("=")[0].strip() != SET:
        return None
    sides: dict[str | bool, set[str]] = {}
    for sample, value in zip(samples, values, strict=True):
        sides.setdefault(value if wanted == EACH else value == wanted, set()).add(sample.label)
    both = tuple(name for name in dataset.classes if all(name in labels for labels in sides.values()))
    if len(both) == 1:
        raise UsageError(
            f"split.leave_out '{text}': the images left out and the others have one class in common, {both[0]}."
        )
    return None if len(both) == len(dataset.classes) else both
