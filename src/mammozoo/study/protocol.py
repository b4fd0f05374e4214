"""`study.yaml`: what is asked, of which data and models, what is chosen on what, and what stays locked until then.

Unknown keys are errors, as in a recipe. Paths are relative to the study's folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from mammozoo.config.loading import load
from mammozoo.config.names import named_folder
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Root, Section, SplitSettings, listed
from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, UsageError, problems
from mammozoo.evaluation.intervals import DRAWS, Kind
from mammozoo.evaluation.thresholds import check_rule

FILE, CHOSEN, TEST, DEVELOPMENT = "study.yaml", "chosen", "test", "development"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")]
#: Keys of a recipe that the protocol says for all models.
_OWN = ("dataset", "root", "classes", "exclude", "split", "threshold", "allow_leakage")


class Source(Section):
    """A data set and which of its images are included: labels (`classes`) and conditions on columns (`where`)."""

    dataset: str
    root: Root | None = None
    classes: tuple[str, ...] | None = None
    _lists = pydantic.field_validator("classes", mode="before")(listed)


class Development(Source):
    """The data to develop on, less the images that a list names."""

    exclude: Path | None = None


class Locked(Source):
    """A part that is opened once. Without a data set, `test` is that part of the split; any other is one of tables only."""

    dataset: str | None = None  # type: ignore[assignment]
    where: str | None = None


class Entrant(Section):
    """One model: a recipe to train, one to take as it is (a zoo's, or a path), or tables of predictions that may still come."""

    recipe: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    zoo: str | None = None
    tables: dict[str, Path] = Field(default_factory=dict)
    parameters: Annotated[int, Field(ge=1)] | None = None
    """How many numbers the network of a table has, for the rule of choice."""

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(map(bool, (self.recipe, self.zoo, self.tables))) != 1:
            raise ValueError("a model has one of recipe, zoo and tables")
        if wrong := [key for key in self.settings if key.partition(".")[0] in _OWN]:
            raise ValueError(f"'{wrong[0]}' is the same for all models: write it in the protocol, not in settings")
        return self


class Choice(Section):
    """Which of the trained models is `chosen`: the best by `metric` on `on`; of those within `within` of it the smallest."""

    metric: str = "auc"
    on: Literal["out-of-fold", "validation"] = "out-of-fold"
    within: Annotated[float, Field(ge=0, le=1)] = 0.0


class Primary(Section):
    """The one outcome that the verdict speaks of: a score on a locked part, and the two models that are compared by it."""

    metric: str = "auc"
    on: str
    compare: tuple[str, str] | None = None


class Protocol(Section):
    """Everything that a study fixes before it looks."""

    question: Annotated[str, Field(min_length=1)]
    data: Development | None = None
    """The data to develop on; without recipes there may be none."""
    split: SplitSettings = SplitSettings(folds=5)
    models: Annotated[dict[Name, Entrant], Field(min_length=1)]
    choose: Choice = Choice()
    threshold: Annotated[str, pydantic.AfterValidator(check_rule)] = "closest-to-corner"
    locked: Annotated[dict[Name, Locked], Field(min_length=1)]
    primary: Primary
    secondary: tuple[str, ...] = ("sensitivity", "specificity")
    subgroups: tuple[str, ...] = ()
    interval: Kind = "bca"
    resamples: int = DRAWS

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.resamples != DRAWS:
            raise ValueError(f"resamples: intervals use {DRAWS} draws, and this number is fixed")
        if self.primary.on not in self.locked:
            raise ValueError(f"primary.on: '{self.primary.on}' is not a locked part ({', '.join(self.locked)})")
        if DEVELOPMENT in self.locked or CHOSEN in self.models:
            raise ValueError(f"'{DEVELOPMENT}' is no name of a locked part, and '{CHOSEN}' none of a model")
        for name in self.primary.compare or ():
            if name not in (*self.models, CHOSEN):
                raise ValueError(f"primary.compare: there is no model '{name}'")
        trained = [name for name, model in self.models.items() if model.recipe]
        if trained and self.data is None:
            raise ValueError(f"data: the model '{trained[0]}' is trained, and there is nothing to train it on")
        for name, part in self.locked.items():
            if self.data and (part.dataset, part.root) == (self.data.dataset, self.data.root):
                raise ValueError(f"locked.{name}: these are the images to develop on")
            lacking = [own for own, model in self.models.items() if name not in model.tables]
            if part.dataset is None and name != TEST and lacking:
                raise ValueError(
                    f"locked.{name}: name its dataset, which the model '{lacking[0]}' needs; or give it a table"
                )
        own, crossed = TEST in self.locked and self.locked[TEST].dataset is None, self.split.folds > 1
        if trained and self.choose.on == "out-of-fold" and (own or not crossed):
            raise ValueError(
                "choose.on: out-of-fold needs split.folds of 2 or more, and no test part of the split among the locked"
            )
        if trained and own and crossed:
            raise ValueError(
                "locked.test: with folds every image is in a test part; take split.folds: 1, or an external set"
            )
        for name, model in self.models.items():
            if unknown := [part for part in model.tables if part not in (*self.locked, DEVELOPMENT)]:
                raise ValueError(f"models.{name}.tables: there is no part '{unknown[0]}'")
            if model.zoo and own:
                raise ValueError(f"models.{name}: a zoo's model has no test part of this split")
        if not self.candidates and len(self.models) > 1:
            raise ValueError(f"models: none can be chosen; one needs a recipe, or a table '{DEVELOPMENT}'")
        return self

    @property
    def candidates(self) -> dict[str, Entrant]:
        """The models among which is chosen: those with scores on the development data that they were not trained on."""
        return {name: model for name, model in self.models.items() if model.recipe or DEVELOPMENT in model.tables}

    def recipe_of(self, name: str, folder: Path) -> Recipe:
        """The recipe of a model, resolved; raises as `loading.load`."""
        assert self.data is not None
        model, root = self.models[name], located(self.data.root, folder)
        source = str(folder / model.recipe) if model.recipe and (folder / model.recipe).is_file() else model.recipe
        return load(
            source,
            {
                "dataset": self.data.dataset,
                "root": {k: str(v) for k, v in root.items()} if isinstance(root, dict) else root and str(root),
                "classes": self.data.classes and list(self.data.classes),
                "exclude": self.data.exclude and str(folder / self.data.exclude.expanduser()),
                "split": self.split.model_dump(mode="json"),
                "threshold": self.threshold,
                **model.settings,
            },
        )


def answering(reference: str, folder: Path) -> str | Path:
    """The model of an entrant's `zoo`: a path is below the study's folder, and a bare word a zoo's name, or that of a file."""
    path = named_folder(reference)
    if path is None and os.path.isfile(folder / reference):  # noqa: PTH113 — false for what cannot be a path
        path = Path(reference)
    return reference if path is None else folder / path


def located(root: Root | None, folder: Path) -> Root | None:
    """Where data lie, below the study's folder unless the path is absolute or begins with `~`."""
    if isinstance(root, Mapping):
        return {name: folder / place.expanduser() for name, place in root.items()}
    return None if root is None else folder / root.expanduser()


def read_protocol(folder: Path) -> tuple[Protocol, str]:
    """The protocol in a study's folder, and the SHA-256 of its file.

    Raises:
        NotFoundError: there is none.
        UsageError: it cannot be read, or a key or value is wrong.
    """
    path = folder / FILE
    if not path.is_file():
        raise NotFoundError(f"There is no study at '{folder}': it has no {FILE}. `mammozoo study init` writes one.")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return parse(Document.read(path, UsageError).content, str(path)), digest


def parse(content: Any, name: str) -> Protocol:
    """The protocol of plain values; UsageError that names what is wrong."""
    try:
        return Protocol.model_validate(content)
    except pydantic.ValidationError as error:
        raise UsageError(f"'{name}': {problems(error, 'protocol', 3)}.") from None
