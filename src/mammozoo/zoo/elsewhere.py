"""Scores of a model on other data, for its card and its entry: what `mammozoo evaluate MODEL --dataset … --json` has printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import Field

from mammozoo.documents import as_kind, read_json
from mammozoo.errors import RefusedToPublishError, UsageError, problems, reason
from mammozoo.evaluation.metric import printed
from mammozoo.files import sha256
from mammozoo.text import interval
from mammozoo.zoo.entry import EntryEvaluation, Number, Score, Sha256

#: In the zoo's entry, and first in the card.
_MAIN = ("auc", "sensitivity", "specificity", "balanced-accuracy", "brier", "ece")


class _Score(pydantic.BaseModel):
    value: Number | None
    low: Number | None
    high: Number | None
    n: Annotated[int, Field(ge=0)] | None = None


class _Subgroup(pydantic.BaseModel):
    column: str
    value: str
    scores: dict[str, _Score] | None = None


class _Threshold(pydantic.BaseModel):
    name: str
    chosen_on: str
    lowest: float


class Elsewhere(pydantic.BaseModel):
    """A model's scores on all images of a data set; `seen` of them, or near-duplicates, were used in its making."""

    sha256: Sha256
    dataset: str
    n: Annotated[int, Field(ge=1)]
    seen: Annotated[int, Field(ge=0)]
    stamps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: dict[str, int] = {}
    classes: tuple[str, ...]
    threshold: _Threshold | None = None
    scores: dict[str, _Score]
    subgroups: tuple[_Subgroup, ...] = ()

    def entry(self) -> EntryEvaluation:
        """For `zoo.yaml`."""
        rows = {name: Score(**self.scores[name].model_dump(exclude={"n"})) for name in _MAIN if name in self.scores}
        part = "all" if not self.seen else f"all, {self.seen} of them seen"
        return EntryEvaluation(dataset=self.dataset, part=part, n=self.n, scores=rows)

    def section(self) -> Iterator[str]:
        """For the card, as paragraphs of Markdown."""
        seen = "none of them" if not self.seen else f"**{self.seen} of them, or near-duplicates,**"
        yield f"### {self.dataset}"
        left = "".join(f"; {n} images of {name} are left out" for name, n in self.left_out.items())
        yield f"{self.n} images, {seen} used in training or model selection{left}. Classes: {', '.join(self.classes)}."
        yield from (f"> **{stamp[0].upper()}{stamp[1:]}.**" for stamp in self.stamps)
        yield from self.notes
        if self.threshold:
            at = f"{self.threshold.lowest:.3f}"
            yield f"Threshold: {self.threshold.name} ({at}), chosen on {self.threshold.chosen_on} of its own data, not here."
        names = [*(name for name in _MAIN if name in self.scores), *(n for n in self.scores if n not in _MAIN)]
        yield _table("score", "value", [(printed(name), self.scores[name]) for name in names])
        if parts := [part for part in self.subgroups if part.scores and "auc" in part.scores]:
            yield _table(
                "subgroup", "AUC", [(f"{part.column}: {part.value}", (part.scores or {})["auc"]) for part in parts]
            )


def read_elsewhere(files: Sequence[Path], model: Path) -> list[Elsewhere]:
    """The evaluations in JSON files, each of the model in the folder `model` on a data set.

    Raises:
        UsageError: a file is something else.
        RefusedToPublishError: it is of other weights.
    """
    found = []
    for file in files:
        try:
            content = as_kind(read_json(file), dict)
            one = Elsewhere.model_validate({**content, "threshold": _of_images(content)})
        except (ValueError, OSError) as error:
            why = problems(error) if isinstance(error, pydantic.ValidationError) else reason(error)
            wanted = "what 'mammozoo evaluate MODEL --dataset NAME --json' prints"
            raise UsageError(f"'{file}' is not {wanted}: {why}.") from None
        if one.sha256 != sha256(model / "model.safetensors"):
            raise RefusedToPublishError(f"'{file}' has the scores of other weights than those of '{model}'.")
        found.append(one)
    return found


def _of_images(content: dict[str, Any]) -> Any:
    """The threshold, if it is one of images."""
    threshold = content.get("threshold")
    return threshold if isinstance(threshold, dict) and threshold.get("level") == "image" else None


def _table(first: str, second: str, rows: Sequence[tuple[str, _Score]]) -> str:
    lines = [f"| {first} | {second} | 95 % interval | n |", "| --- | --- | --- | --- |"]
    for name, score in rows:
        value = "undefined" if score.value is None else f"{score.value:.3f}"
        bounds = "none" if score.low is None or score.high is None else interval(score.low, score.high)
        lines.append(f"| {name} | {value} | {bounds} | {'' if score.n is None else score.n} |")
    return "\n".join(lines)


def read_limits(file: Path) -> str:
    """The text of a file; UsageError if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (ValueError, OSError) as error:
        raise UsageError(f"'{file}' cannot be read as UTF-8 text: {reason(error)}.") from None
