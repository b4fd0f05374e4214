"""`data show`: the options of a data set, before anybody has the data, and the contents of a copy of it."""

from __future__ import annotations

import inspect
import re
import types
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.splits.make import PARTS, official_part


@dataclass(frozen=True)
class Option:
    """One option of a data set, as in `name:option=value`."""

    name: str
    values: str  # the type's name, or the allowed words joined by ` | `
    default: str  # empty if it is None
    meaning: str  # its text in the docstring


@dataclass(frozen=True)
class Contents:
    """The contents of a data set's folder, by its samples; no image is read."""

    images: int
    classes: dict[str, int]  # images of each
    patients: int | None  # number of named ones; None if no patient is named
    nameless: int  # images without a patient's name
    masks: int  # images with a mask file
    parts: dict[str, dict[str, int]]  # official part or fold → images of each class; empty without an official split
    notes: list[str]  # the data set's remarks about this copy


def options(kind: type[Dataset]) -> list[Option]:
    """The options of a data set, from the signature and the `Args:` of its class; the root is left out."""
    meanings = _meanings(inspect.getdoc(kind) or "") | _meanings(inspect.getdoc(kind.__init__) or "")
    found = []
    for one in list(inspect.signature(kind, eval_str=True).parameters.values())[1:]:
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            default = "" if one.default in (one.empty, None) else str(one.default)
            found.append(Option(one.name, _values(one.annotation), default, meanings.get(one.name, "")))
    return found


def contents(dataset: Dataset) -> Contents:
    """The contents of a data set; NotFoundError or UsageError if its samples cannot be listed."""

    def count(chosen: Sequence[Sample]) -> dict[str, int]:
        counts = Counter(sample.label for sample in chosen)
        return {name: counts[name] for name in dataset.classes}

    samples = list(dataset.samples())
    patients = {sample.patient for sample in samples if sample.patient is not None}
    parts = {part for sample in samples if (part := official_part(sample)) is not None}
    ordered = [*(p for p in PARTS if p in parts), *sorted(parts - {*PARTS}, key=lambda part: (len(part), part))]
    return Contents(
        images=len(samples),
        classes=count(samples),
        patients=len(patients) or None,
        nameless=sum(sample.patient is None for sample in samples),
        masks=sum(bool(sample.masks) for sample in samples),
        parts={part: count([sample for sample in samples if official_part(sample) == part]) for part in ordered},
        notes=list(dataset.notes),
    )


def _values(annotation: Any) -> str:
    """A type as text: the words of a Literal, the parts of a union without None."""
    if annotation is inspect.Parameter.empty:
        return ""
    if get_origin(annotation) is Annotated:
        return _values(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(_values(kind) for kind in get_args(annotation) if kind is not type(None))
    return getattr(annotation, "__name__", str(annotation))


def _meanings(docstring: str) -> dict[str, str]:
    """Name → text of the section `Args:`."""
    _, _, section = f"\n{docstring}".partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    entries = re.findall(r"^ {4}(\w+):\s*(.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}
