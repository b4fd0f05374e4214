"""Data sets that YAML files declare, read by one class; `declaration.py` shows the form. The file's name is the data set's."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

import pydantic

from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.declaration import ALL, Cells, Declaration
from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.data.published import check_label, count_notes, files_under, find_home, left_out, nothing_found
from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, UsageError, problems
from mammozoo.tables import SUFFIXES, read_rows
from mammozoo.text import same

Key = frozenset[tuple[str, str]]
_DEPTH = 10  # folders below the root
_FIELDS = ("label", "patient", "lesion")  # names that are fields of a sample; others go into `meta`
_NAMED = inspect.Parameter.POSITIONAL_OR_KEYWORD


def is_file(name: str) -> bool:
    """Whether a data set is named by the path of its YAML file."""
    return name.endswith((".yaml", ".yml"))


def file_name(path: str | Path) -> str:
    """What the data set of a file is called: the file's stem, without what no recipe can write."""
    return re.sub(r"[^\w.-]+", "-", Path(path).stem).strip("-._") or "data"


def declared(path: Path) -> type[Dataset]:
    """The data set that a YAML file declares, as a class; its name is the file's stem.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not of this form; with the line.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no file '{path}', which would declare a data set.")
    return _read(path.absolute(), path.stat().st_mtime_ns)


@functools.lru_cache(64)
def _read(path: Path, _changed: int) -> type[Dataset]:
    document = Document.read(path, UsageError)
    try:
        said = Declaration.model_validate(document.content)
    except pydantic.ValidationError as error:
        line, why = document.line(error.errors()[0]["loc"]), problems(error, "the file", most=1)
        raise UsageError(f"'{path}', line {line}, does not declare a data set: {why}.") from None
    facts = ("title", "modality", "patients", "url", "license", "citation", "access", "marks")
    info = DatasetInfo(
        name=file_name(path),
        classes=tuple(said.classes),
        images=said.images or sum(said.counts.values()) or None,
        layout="\n".join(f"    {line}" for line in said.layout.splitlines()),
        **{key: getattr(said, key) for key in facts},
    )
    parameters = [("root", None, Path | None), *((n, c.default, Literal[c.values]) for n, c in said.options.items())]
    kind = type(file_name(path), (Declared,), {"info": info, "said": said, "file": path})
    kind.__doc__ = f"{said.title}.\n\nArgs:\n    root: the folder that holds it.\n" + "".join(
        f"    {name}: {choice.meaning}\n" for name, choice in said.options.items()
    )
    kind.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, _NAMED, default=value, annotation=form) for name, value, form in parameters]
    )
    return kind


def _opened(file: Path, root: Path | None, chosen: Mapping[str, str]) -> Dataset:
    return declared(file)(root, **chosen)


class Declared(Dataset):
    """A data set that a YAML file declares; `declared` makes a subclass of it for each file."""

    said: Declaration
    file: Path

    def __init__(self, root: Path | None = None, *values: str, **named: str) -> None:
        super().__init__(root)
        defaults = {name: choice.default for name, choice in self.said.options.items()}
        self.given, self.chosen = root, defaults | dict(zip(defaults, values, strict=False)) | named
        self.root: Path = find_home(self.info, root, {name.lower() for name in self.said.home})

    def __reduce__(self) -> Any:  # pickle cannot find a class that is made from a file
        return _opened, (self.file, self.given, self.chosen)

    def samples(self) -> list[Sample]:
        """In the order of the table; without one by class, then by the groups of the pattern. `notes` says what is missing.

        Raises:
            NotFoundError: no table, or no image.
            UsageError: two images or rows are one, a label is no class, or an image lies in the folder of another class.
        """
        said, found = self.said, files_under(self.root, IMAGE_SUFFIXES, _DEPTH)
        images, masks, strangers = self._by_name([path.relative_to(self.root).as_posix() for path in found])
        if not images:
            raise nothing_found(self)
        notes = []
        if said.table is None:
            records = [(f"'{name}' under '{self.root}'", name, cells) for name, cells in images.items()]
            notes += left_out(strangers, f"files left out, not named like the images of {self.info.name}")
        else:
            records, notes = self._by_table(images)
        samples, out, used = list[Sample](), list[str](), set[str]()
        for where, name, cells in records:
            own = sorted({mask for key in _keys(said.mask, images[name]) for mask in masks.get(key, ())})
            used |= {*own}
            if (sample := self._sample(where, name, cells, own)) is None:
                out.append(name)
            else:
                samples.append(sample)
        if said.table is None:
            samples.sort(key=lambda s: (self.classes.index(s.label), *map(_sortable, images[s.image].values())))
        loose = [mask for group in masks.values() for mask in group if mask not in used]
        bare = [sample.image for sample in samples if said.mask and not sample.masks]
        kept, chosen = self._chosen(samples, {name: cells for _, name, cells in records})
        self.notes = [
            *count_notes(Counter(sample.label for sample in samples), said.counts),
            *left_out(bare, "images have no mask"),
            *left_out(loose, "masks have no image"),
            *notes,
            *left_out(out, "images are left out by the rule for their label"),
            *chosen,
            *found.notes,
            *said.notes,
        ]
        if said.images not in (None, len(samples)):
            self.notes.insert(0, f"{len(samples)} images; published are {said.images}.")
        if not kept:
            options = ", ".join(f"{name}={value}" for name, value in self.chosen.items())
            raise nothing_found(self, f"None of its {len(records)} images is of {options}." if samples else "")
        return kept

    def _by_name(self, names: list[str]) -> tuple[dict[str, Cells], dict[Key, list[str]], list[str]]:
        """Image → its cells, groups of a mask → its files, and the files that are neither."""
        images, masks, strangers = dict[str, Cells](), dict[Key, list[str]](), list[str]()
        once: dict[object, str] = {}
        for name in names:
            if (groups := _groups(self.said.mask, name)) is not None:
                masks.setdefault(_key(groups), []).append(name)
            elif (groups := _groups(self.said.image, name)) is None:
                strangers.append(name)
            else:
                one = _key(groups), name.rpartition("/")[2].casefold()
                if (other := once.setdefault(one, name)) != name and not self.said.header:
                    both = f"'{other}' and '{name}' under '{self.root}' are the same image by their names"
                    raise UsageError(f"Data set '{self.info.name}': {both}. Point --root at one copy.")
                images[name] = self._split(groups | self._stated(name), f"'{name}' under '{self.root}'")
        return images, masks, strangers

    def _stated(self, name: str) -> Cells:
        """What the header of an image says, by the columns that the file names."""
        if not self.said.header:
            return {}
        from mammozoo.data.io.dicom_table import header_facts  # here, because few data sets need pydicom

        facts = header_facts(self.root / name)
        return {column.lower(): facts.get(fact, "") for column, fact in self.said.header.items()}

    def _by_table(self, images: dict[str, Cells]) -> tuple[list[tuple[str, str, Cells]], list[str]]:
        """(place, image, cells) of each image that a row of the table is about, and notes."""
        table, columns = self._table(), {column for cells in images.values() for column in cells}
        made = columns | self.said.further
        asked = {self.said.column(name) for name in (*_FIELDS, *self.said.columns)}
        needed = sorted((asked - {"patient", "lesion"} | {*map(str.lower, self.said.columns.values())}) - made)
        rows = [(line, self._split(row, f"Table '{table}', line {line}")) for line, row in read_rows(table, needed)]
        if not rows:
            raise nothing_found(self, f"'{table}' has no row.")
        shared = sorted(columns & {column for _, row in rows for column in row})
        if not shared:
            theirs = ", ".join(sorted(columns)) or "none"
            raise UsageError(f"Data set '{self.info.name}': no column of '{table}' is one of the images ({theirs}).")
        places: dict[Key, list[str]] = {}
        for name, cells in images.items():
            places.setdefault(_key(cells, shared), []).append(name)
        records, lines, missing = list[tuple[str, str, Cells]](), dict[str, int](), list[str]()
        for line, row in rows:
            key = [row.get(column, "") for column in shared]
            named = places.get(_key(row, shared), []) if all(key) else []
            if not named:
                missing.append(" ".join(key))
            for name in named:
                if (first := lines.setdefault(name, line)) != line:
                    raise UsageError(f"Table '{table}' lists '{name}' twice, in lines {first} and {line}. Remove one.")
                cells = {c: cell for c, cell in (images[name] | row).items() if c not in shared or c in asked}
                records.append((f"Table '{table}', line {line}", name, cells))
        if not records:
            raise nothing_found(self, f"'{table.name}' is there, its images are not.")
        notes = left_out(missing, f"rows of '{table.name}' have no image")
        return records, notes + left_out(
            [n for n in images if n not in lines], f"images left out, not in '{table.name}'"
        )

    def _table(self) -> Path:
        pattern = str(self.said.table).lower()
        found = [path for path in files_under(self.root, SUFFIXES, _DEPTH) if fnmatch(path.name.lower(), pattern)]
        if len(found) > 1:
            listed = ", ".join(f"'{path}'" for path in found[:3])
            raise UsageError(
                f"Data set '{self.info.name}': --root '{self.root}' holds {len(found)} tables: {listed}. Leave one."
            )
        if not found:
            raise nothing_found(self, f"There is no table '{self.said.table}'.")
        return found[0]

    def _split(self, cells: Cells, where: str) -> Cells:
        """The cells, with the columns that are parts of others."""
        for column, patterns in self.said.split.items():
            if cell := cells.get(column.lower()):
                if (groups := _groups(patterns, cell)) is None:
                    raise UsageError(
                        f"{where}: '{cell}' in '{column}' is not of the form that '{self.file.name}' states."
                    )
                cells = cells | groups
        return cells

    def _sample(self, where: str, name: str, cells: Cells, masks: list[str]) -> Sample | None:
        """The sample of an image; None if it is left out."""
        text = self.said.value("label", cells)
        if text is None:
            return None
        label = next((label for label in self.classes if same(label) == same(text)), None)
        if label is None:
            raise UsageError(f"{where}: the label '{text}' is none of {', '.join(self.classes)}.")
        if self.said.table is None:
            check_label(self.info, name, label)
        ours = {self.said.column(key): key for key in {*self.said.columns, *self.said.values, *_FIELDS}}
        kept = [ours.get(column, column) for column in cells if ours.get(column) not in _FIELDS]
        meta: dict[str, Any] = {key: value for key in kept if (value := self.said.value(key, cells))}
        if "label" in self.said.values and self.said.columns.get("label"):  # what it was before it became a class
            meta[self.said.column("label")] = cells[self.said.column("label")]
        patient, lesion = (self.said.value(key, cells) for key in ("patient", "lesion"))
        if self.said.table is None:
            meta = {key: int(value) if value.isdecimal() else value for key, value in meta.items()}
        return Sample(name, label, patient, tuple(masks), meta=meta, lesion=lesion)

    def _chosen(self, samples: list[Sample], cells: Mapping[str, Cells]) -> tuple[list[Sample], list[str]]:
        """The samples that the options keep, and notes."""
        notes = []
        for option, choice in self.said.options.items():
            value, before = self.chosen[option], len(samples)
            if choice.leave_out:
                names = choice.leave_out.get(value, ())
                samples = [one for one in samples if _groups(names, one.image) is None]
            elif value != ALL:
                samples = [
                    one for one in samples if same(self.said.value(option, cells[one.image]) or "") == same(value)
                ]
            if before > len(samples):
                notes.append(f"{before - len(samples)} images are left out ({option}={value}).")
        return samples, notes


def _groups(patterns: tuple[re.Pattern[str], ...], text: str) -> Cells | None:
    """Group → text of the first pattern that fits; None if none does."""
    for pattern in patterns:
        if (match := pattern.fullmatch(text)) is not None:
            return {group.lower(): part for group, part in match.groupdict().items() if part}
    return None


def _key(cells: Cells, columns: Iterable[str] | None = None) -> Key:
    return frozenset((column, cells.get(column, "").casefold()) for column in (cells if columns is None else columns))


def _keys(patterns: tuple[re.Pattern[str], ...], cells: Cells) -> Iterator[Key]:
    """What a mask of each pattern says of its image."""
    for pattern in patterns:
        yield _key(cells, [group.lower() for group in pattern.groupindex])


def _sortable(text: str) -> tuple[int, str]:
    """Numbers by their value, before other texts."""
    return (int(text), "") if text.isdecimal() else (sys.maxsize, text)
