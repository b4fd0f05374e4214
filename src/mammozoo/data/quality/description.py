"""What a data set says about itself: its options, before anybody has the data, and what a copy of it holds."""

from __future__ import annotations

import inspect
import re
import types
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.splits.make import official_part


@dataclass(frozen=True)
class Option:
    """One option of a data set, as in `name:option=value`.

    Attributes:
        values: what it takes: a type's name, or the words it knows, joined by ` | `.
        default: its value when nothing is said, as text; empty where nothing is meant.
        meaning: what the docstring says of it.
    """

    name: str
    values: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Contents:
    """What the folder of a data set holds, by its samples; no image is read.

    Attributes:
        classes: images of each class.
        patients: how many different patients are named, None where none is.
        nameless: images that name no patient.
        masks: images with a mask file.
        parts: official part or fold → images of each class; empty where there is no official split.
        notes: what the data set remarks of this copy.
    """

    images: int
    classes: dict[str, int]
    patients: int | None
    nameless: int
    masks: int
    parts: dict[str, dict[str, int]]
    notes: list[str]


def options(kind: type[Dataset]) -> list[Option]:
    """What may follow the data set's name, by the signature and the `Args:` of its class; the root is none of them."""
    signature = inspect.signature(kind, eval_str=True)
    meanings = _meanings(inspect.getdoc(kind) or "") | _meanings(inspect.getdoc(kind.__init__) or "")
    free = [p for p in list(signature.parameters.values())[1:] if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return [
        Option(
            parameter.name,
            _values(parameter.annotation),
            "" if parameter.default in (parameter.empty, None) else str(parameter.default),
            meanings.get(parameter.name, ""),
        )
        for parameter in free
    ]


def contents(dataset: Dataset) -> Contents:
    """What its samples say.

    Raises:
        NotFoundError, UsageError: the data set cannot be listed.
    """
    samples = list(dataset.samples())
    patients = {sample.patient for sample in samples if sample.patient is not None}
    parts = {part for sample in samples if (part := official_part(sample)) is not None}
    return Contents(
        len(samples),
        _counts(samples, dataset.classes),
        len(patients) or None,
        sum(sample.patient is None for sample in samples),
        sum(bool(sample.masks) for sample in samples),
        {part: _counts([s for s in samples if official_part(s) == part], dataset.classes) for part in _ordered(parts)},
        list(dataset.notes),
    )


def _counts(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    found = Counter(sample.label for sample in samples)
    return {name: found[name] for name in classes}


def _ordered(parts: set[str]) -> list[str]:
    """train, val, test; folds by number."""
    known = ("train", "val", "test")
    return sorted(parts, key=lambda part: (known.index(part) if part in known else len(known), len(part), part))


def _values(annotation: Any) -> str:
    """A type as people write it: the words of a Literal, the parts of a union without None."""
    if annotation is inspect.Parameter.empty:
        return ""
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(_values(kind) for kind in get_args(annotation) if kind is not type(None))
    return getattr(annotation, "__name__", str(annotation))


def _meanings(docstring: str) -> dict[str, str]:
    """Name → text of the section `Args:`."""
    _, _, section = f"\n{docstring}".partition("\nArgs:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    found = re.findall(r"^ {4}(\w+):\s*(.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
