"""The form of a YAML file that declares a data set: where its images, masks and table lie, and what their names and columns say.

    title: Our clinic, 2019 to 2024
    modality: ultrasound
    classes: [benign, malignant]                                  # of two the second is the positive one
    image: 'images/(?P<patient>\\w+)_(?P<number>\\d+)\\.png'          # the end of a path; groups are columns
    mask: 'masks/(?P<patient>\\w+)_(?P<number>\\d+)\\.png'
    table: info.csv                                               # joined to the images by the columns that both have
    columns: {label: diagnosis}                                   # what we call it: what the table or a group calls it

`docs/datasets/declare.md` describes every key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.data.dataset import Modality
from mammozoo.text import same

Cells = dict[str, str]
ALL = "all"  #: the value of an option that keeps every image


def _compiled(texts: Any) -> tuple[re.Pattern[str], ...]:
    """Patterns that fit a whole path or its end, from a folder on; upper and lower case do not count."""
    try:
        return tuple(
            re.compile(rf"(?:.*?/)??(?:{text})", re.I) for text in ([texts] if isinstance(texts, str) else texts)
        )
    except (re.error, TypeError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


Patterns = Annotated[tuple[re.Pattern[str], ...], pydantic.BeforeValidator(_compiled)]


def _columns(patterns: Iterable[re.Pattern[str]]) -> set[str]:
    return {group.lower() for pattern in patterns for group in pattern.groupindex}


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Choice(_Part):
    """An option: it keeps the images whose column of its name has the chosen value, or leaves out files by their names."""

    values: tuple[str, ...]
    default: str = ALL
    meaning: str = ""
    leave_out: dict[str, Patterns] = {}

    @pydantic.model_validator(mode="after")
    def _known(self) -> Choice:
        if strangers := {self.default, *self.leave_out} - {*self.values}:
            raise ValueError(f"'{min(strangers)}' is not among the values {', '.join(self.values)}")
        return self


class Declaration(_Part):
    """What the YAML file says.

    Attributes:
        classes: in output order; a mapping gives the published number of each.
        image, mask: patterns of paths; their named groups are columns. A mask belongs to the images that have its groups.
        table: pattern of the table's name.
        header: column → what a DICOM file's header says.
        split: column → pattern of its cells, whose named groups are further columns.
        columns: our name → column.
        values: our name → cell → value; null leaves the image out.
        home: entries of the folder that paths are relative to.
    """

    title: str
    modality: Modality
    classes: dict[str, int | None] = Field(min_length=2)
    image: Patterns
    mask: Patterns = ()
    table: str | None = None
    header: dict[str, Literal["patient", "side", "view", "device"]] = {}
    split: dict[str, Patterns] = {}
    columns: dict[str, str] = {}
    values: dict[str, dict[str, str | None]] = {}
    options: dict[str, Choice] = {}
    home: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    images: int | None = None
    patients: int | None = None
    url: str = ""
    license: str = "yours"
    citation: str = ""
    access: str = ""
    layout: str = ""
    marks: tuple[str, ...] = ()

    @pydantic.field_validator("classes", mode="before")
    @classmethod
    def _without_counts(cls, value: object) -> object:
        return dict.fromkeys(map(str, value)) if isinstance(value, list) else value

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Declaration:
        groups, masks = _columns(self.image), [_columns([pattern]) for pattern in self.mask]
        if any(not named or named - groups for named in masks):
            raise ValueError("the groups of `mask` must be groups of `image`, and at least one")
        if self.table is None and self.column("label") not in groups | self.further:
            raise ValueError("nothing says the label: give a `table`, or `image` a group (?P<label>…)")
        return self

    @property
    def further(self) -> set[str]:
        """The columns that are parts of others."""
        return {column for patterns in self.split.values() for column in _columns(patterns)}

    @property
    def counts(self) -> dict[str, int]:
        """The published number of images of each class; empty if one is not stated."""
        known = {name: count for name, count in self.classes.items() if count is not None}
        return known if len(known) == len(self.classes) else {}

    def column(self, name: str) -> str:
        """The column of what we call `name`."""
        return self.columns.get(name, name).lower()

    def value(self, name: str, cells: Cells) -> str | None:
        """What a record says under our `name`; None if such images are left out."""
        text = cells.get(self.column(name), "")
        known = {same(cell): value for cell, value in self.values.get(name, {}).items()}
        return known.get(same(text), text)
