"""Your own images in a table: one row an image, paths relative to the table.

    path,label,patient,mask
    images/001.png,benign,P01,masks/001.png
    images/002.dcm,malignant,P02,masks/002a.png;masks/002b.png

`path` and `label` are needed; `patient`, `lesion`, `mask` (several, separated by `;`) and a box in pixels (`left`,
`top`, `right`, `bottom`) are known; every other column goes into `Sample.meta`, where `part` (train, val, test) or
`fold` is an official split.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.errors import NotFoundError, UsageError
from mammozoo_datasets.tables import Row, read_rows

_NEEDED = ("path", "label")
_BOX = ("left", "top", "right", "bottom")
_KNOWN = {*_NEEDED, "patient", "lesion", "mask", *_BOX}


class Csv(Dataset):
    """Images listed in a table: comma, semicolon or tab between cells, UTF-8 with or without a byte order mark.

    Args:
        root: the table itself.

    Raises:
        UsageError: the root is not a file.
    """

    info = DatasetInfo(
        name="csv",
        title="Your images, listed in a CSV table",
        modality="any",
        classes=(),
        license="yours",
    )

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        if root is None or not root.is_file():
            raise UsageError(f"Data set 'csv' needs the table itself as --root; '{root}' is a folder.")

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in the table, sorted; the second of two is the positive class. Raises as `samples`."""
        return tuple(sorted({sample.label for _, sample in self._table}))

    def samples(self) -> list[Sample]:
        """Every row, in the order of the table.

        Raises:
            UsageError: a column or a label is missing, a path is listed twice, a box makes no sense; with
                the line.
            NotFoundError: some of the files do not exist.
        """
        missing = [
            f"'{name}' (line {line})"
            for line, sample in self._table
            for name in (sample.image, *sample.masks)
            if not _is_file(self.path(name))
        ]
        if missing:
            raise NotFoundError(
                f"Table '{self.root}' lists {len(missing)} files that do not exist: {', '.join(missing[:5])}"
                f"{' …' if len(missing) > 5 else ''}. Paths are relative to the table's folder."
            )
        return [sample for _, sample in self._table]

    @cached_property
    def _table(self) -> list[tuple[int, Sample]]:
        """(line, sample) of each row."""
        assert self.root is not None
        table: list[tuple[int, Sample]] = []
        lines: dict[str, int] = {}
        for line, row in read_rows(self.root, _NEEDED, exact=True):
            sample = _sample(row, f"Table '{self.root}', line {line}")
            if (first := lines.setdefault(sample.image, line)) != line:
                raise UsageError(
                    f"Table '{self.root}' lists '{sample.image}' twice, in lines {first} and {line}. Remove one."
                )
            table.append((line, sample))
        if len({sample.label for _, sample in table}) < 2:
            raise UsageError(f"Table '{self.root}' has fewer than two different labels in {len(table)} rows.")
        return table


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for any file
        return False


def _sample(row: Row, where: str) -> Sample:
    for column in _NEEDED:
        if not row[column]:
            raise UsageError(f"{where}: the {column} is empty. Fill it in or remove the row.")
    masks = [name.strip() for name in row.get("mask", "").split(";")]
    return Sample(
        image=row["path"].replace("\\", "/"),  # a table written on Windows can be read everywhere
        label=row["label"],
        patient=row.get("patient") or None,
        lesion=row.get("lesion") or None,
        masks=tuple(name.replace("\\", "/") for name in masks if name),
        box=_box(row, where),
        meta={column: cell for column, cell in row.items() if column not in _KNOWN and cell},
    )


def _box(row: Row, where: str) -> tuple[int, int, int, int] | None:
    cells = [row.get(side, "") for side in _BOX]
    if not any(cells):
        return None
    try:
        left, top, right, bottom = (int(cell) for cell in cells)
    except ValueError as error:
        raise UsageError(f"{where}: the box ({', '.join(cells)}) needs four whole numbers, {_BOX}.") from error
    if not (0 <= left < right and 0 <= top < bottom):
        raise UsageError(f"{where}: the box {left, top, right, bottom} is empty or negative; it is {_BOX}.")
    return left, top, right, bottom
