"""The classes of a model, and the labels of a data set behind each: `normal`, or several as one, `lesion=benign|malignant`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mammozoo.errors import UsageError, nearest


@dataclass(frozen=True)
class Classes:
    """Classes in output order; `numbers` maps each label of the data set that belongs to one to its number."""

    names: tuple[str, ...]
    numbers: dict[str, int]

    @property
    def merged(self) -> bool:
        """Whether a class has another name than its label, or several labels."""
        return any(self.names[number] != label for label, number in self.numbers.items())


def read_classes(written: Sequence[str], labels: Sequence[str], dataset: str) -> Classes:
    """What the recipe's `classes` mean for a data set with these labels; `dataset` is its name, for messages.

    A data set that has none of the parts of `lesion=benign|malignant` but a label `lesion` is read by that: so a model of merged
    classes can be tried on data whose labels are merged already.

    Raises:
        UsageError: fewer than two classes, an unknown label, or a class or label used twice.
    """
    names: list[str] = []
    numbers: dict[str, int] = {}
    for number, text in enumerate(written):
        name, parts = _parts(text, labels)
        if name in names:
            raise UsageError(f"`classes` names '{name}' twice: {', '.join(written)}.")
        names.append(name)
        for part in parts:
            if part not in labels:
                raise UsageError(
                    f"Data set '{dataset}' has no class '{part}'.{nearest(part, labels)} It has {', '.join(labels)}."
                )
            if part in numbers:
                raise UsageError(
                    f"`classes` uses '{part}' twice: {', '.join(written)}. An image can be of one class only."
                )
            numbers[part] = number
    if len(names) < 2:
        raise UsageError(f"`classes` must name two or more classes, not {', '.join(written) or 'none'}.")
    return Classes(tuple(names), numbers)


def _parts(text: str, labels: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """(name of the class, its labels); a label that itself holds an equals sign is taken as it stands."""
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or text in labels:
        return text, (text,)
    parts = tuple(part.strip() for part in rest.split("|"))
    if not name or not all(parts):
        raise UsageError(f"`classes` has '{text}'; several labels as one class are written 'lesion=benign|malignant'.")
    if name in labels and not {*parts} & {*labels}:
        return name, (name,)
    return name, parts
