"""A paper as data: what it reported, and which recipe and settings reproduce each of its rows.

A plugin brings papers as YAML files through `register_papers`; a paper is named by its file's stem. Each row is one
result of the paper. Each protocol is a recipe: `published` splits as the paper did, `sound` as mammozoo recommends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, UsageError, nearest, problems
from mammozoo.plugins import registry

ProtocolName = Literal["published", "sound"]
PROTOCOLS: tuple[ProtocolName, ...] = ("published", "sound")


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True)


class Row(_Part):
    """One result of a paper. `name` also names a folder."""

    name: Annotated[str, Field(pattern=r"^\w[\w.+-]*$")]
    settings: dict[str, Any] = {}
    """Dotted recipe keys with their values, over the protocol's recipe."""
    reported: dict[str, float] = {}
    """Name of a score, such as `auc` or `auc[benign]`, and the paper's number; empty if it gives none."""


class Protocol(_Part):
    """A way to split the data and to choose: the name of a recipe, or a YAML file beside the paper's."""

    recipe: str


class Paper(_Part):
    """What a paper did and reported, and how to do the same here.

    `n` is the number of test images of the paper; `quick` holds the settings of `--quick`; `departures` name where our recipes
    differ from the paper whatever the data.
    """

    key: str
    title: str
    citation: str
    data: str
    dataset: str
    split: str | None = None
    n: int | None = None
    rows: Annotated[tuple[Row, ...], Field(min_length=1)]
    protocols: Annotated[dict[ProtocolName, Protocol], Field(min_length=1)]
    quick: dict[str, Any] = {}
    departures: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Paper:
        names = [row.name for row in self.rows]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rows are named '{twice[0]}'")
        metrics = registry().items("metrics")
        for row in self.rows:
            for score in row.reported:
                if score.partition("[")[0] not in metrics:
                    close = nearest(score, metrics)
                    raise ValueError(f"row '{row.name}' reports '{score}', which is not a metric here.{close}")
        return self

    @property
    def scores(self) -> tuple[str, ...]:
        """Every score that some row reports, in the order of the file; AUC and accuracy if none does."""
        return tuple(dict.fromkeys(score for row in self.rows for score in row.reported)) or ("auc", "accuracy")

    def row(self, name: str) -> Row:
        """The row of that name; NotFoundError if there is none."""
        rows = {row.name: row for row in self.rows}
        if name not in rows:
            raise NotFoundError(
                f"Paper '{self.key}' has no row '{name}'.{nearest(name, rows)} It has {', '.join(rows)}."
            )
        return rows[name]

    def recipe(self, protocol: ProtocolName, row: str, settings: dict[str, Any] | None = None) -> Recipe:
        """The recipe of one row under one protocol; `settings` by dotted key override those of the row. Raises as `load`."""
        if protocol not in self.protocols:
            raise NotFoundError(f"Paper '{self.key}' has no protocol '{protocol}', only {', '.join(self.protocols)}.")
        return load(self.protocols[protocol].recipe, {**self.row(row).settings, **(settings or {})})


def load_paper(source: str) -> Paper:
    """The paper `source`, by its key or as a YAML file.

    Raises:
        NotFoundError: no such paper or file, or a recipe that it names.
        UsageError: the file does not describe a paper; the message names the key.
    """
    path = Path(source)
    if path.suffix not in (".yaml", ".yml"):
        path = registry().get("papers", source)
    if not path.exists():
        raise NotFoundError(f"There is no paper file '{path}'.")
    try:
        paper = Paper.model_validate(Document.read(path, UsageError, aliases=True).content)
    except pydantic.ValidationError as error:
        raise UsageError(f"Paper '{path.name}': {problems(error, 'paper')}.") from None
    if paper.key != path.stem:
        raise UsageError(f"Paper '{path.name}': its key is '{paper.key}' and must be the file's stem, '{path.stem}'.")
    return paper.model_copy(update={"protocols": {name: _resolved(p, path) for name, p in paper.protocols.items()}})


def _resolved(protocol: Protocol, paper: Path) -> Protocol:
    """The protocol with its recipe found; a file's path is relative to the paper's."""
    if protocol.recipe.endswith((".yaml", ".yml")):
        return Protocol(recipe=str(paper.parent / protocol.recipe))
    registry().get("recipes", protocol.recipe)
    return protocol
