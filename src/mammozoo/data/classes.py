"""Classes of a model: each is a label of the data set, or several as one: `lesion=benign|malignant`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mammozoo.errors import UsageError, nearest
from mammozoo.text import same


@dataclass(frozen=True)
class Classes:
    """Classes in output order; `numbers` maps each label of the data set that belongs to a class to the class's number."""

    names: tuple[str, ...]
    numbers: dict[str, int]

    @property
    def merged(self) -> bool:
        """Whether a class joins several labels, or has another name than its label."""
        return any(self.names[number] != label for label, number in self.numbers.items())


def read_classes(written: Sequence[str], labels: Sequence[str], dataset: str) -> Classes:
    """The recipe's `classes`, for a data set with these labels; `dataset` is its name, for messages.

    If the data set has none of the labels of `lesion=benign|malignant` but a label `lesion`, that label is the class. So a
    model of merged classes can be evaluated on data whose labels are merged already.

    Raises:
        UsageError: fewer than two classes, an unknown label, or a class or label used twice.
    """
    names: list[str] = []
    numbers: dict[str, int] = {}
    for number, text in enumerate(written):
        name, parts = _class_and_labels(text, labels)
        if name in names:
            raise UsageError(f"`classes` names '{name}' twice: {', '.join(written)}.")
        names.append(name)
        for part in parts:
            if part not in labels:
                has = f"It has {', '.join(labels)}." + " Several are written a+b, or as a list." * ("," in part)
                raise UsageError(f"Data set '{dataset}' has no class '{part}'.{nearest(part, labels)} {has}")
            if part in numbers:
                raise UsageError(f"`classes` uses '{part}' twice: {', '.join(written)}. An image has one class.")
            numbers[part] = number
    if len(names) < 2:
        more = "" if len(labels) > 1 else f" Data set '{dataset}' has no more: give its images labels."
        raise UsageError(f"`classes` must name two or more classes, not {', '.join(written) or 'none'}.{more}")
    return Classes(tuple(names), numbers)


def classes_there(written: Sequence[str], labels: Sequence[str], dataset: str) -> tuple[str, ...]:
    """Of a model's classes those that a data set with these labels has, with the labels that are there, in its spelling.

    Raises:
        UsageError: there are fewer than two.
    """
    spelt, there = {same(label): label for label in labels} | {label: label for label in labels}, []
    for text in written:
        name, parts = _class_and_labels(text, labels)
        found = [label for part in parts if (label := spelt.get(part, spelt.get(same(part))))]
        if found:
            there.append(name if found == [name] else f"{name}={'|'.join(dict.fromkeys(found))}")
    if len(there) < 2:
        known = ", ".join(there) or "none"
        raise UsageError(
            f"Data set '{dataset}' has images of {', '.join(labels)}, and the model knows {', '.join(written)}: of its classes "
            f"the set has {known}, and scores need two. If labels have other names there, say which class they are: "
            "--classes NAME=LABEL|LABEL+NAME=LABEL."
        )
    return tuple(there)


def _class_and_labels(text: str, labels: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """(name of the class, its labels); a label that contains an equals sign stands for itself."""
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or text in labels:
        return text, (text,)
    parts = tuple(part.strip() for part in rest.split("|"))
    if not name or not all(parts):
        raise UsageError(f"`classes` has '{text}'; several labels as one class are written 'lesion=benign|malignant'.")
    if name in labels and not {*parts} & {*labels}:
        return name, (name,)
    return name, parts
