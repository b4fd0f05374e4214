"""`mammozoo study init`: a `study.yaml` with comments, to be edited before it is frozen."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from mammozoo.data.layouts import located
from mammozoo.documents import Document
from mammozoo.errors import ConflictError
from mammozoo.files import write_text
from mammozoo.study.protocol import FILE, parse

_TEXT = """\
# The protocol of a study. Edit it, then: mammozoo study freeze . ; mammozoo study run . ; mammozoo study report .
question: {question}

data:                      # the data to develop on
{data}
split: {{folds: 5}}          # as in a recipe; every image is tested once by a model that has not seen it (out-of-fold)

models:                    # a recipe with settings, `zoo: NAME`, or `tables: {{development: a.csv, PART: b.csv}}`
  default: {{recipe: default}}
  frozen: {{recipe: default, settings: {{strategy: frozen}}}}

choose: {{metric: auc, on: out-of-fold, within: 0.005}}   # the best; of those within 0.005 of it the smallest network
threshold: sensitivity:0.9 # chosen on validation images

locked:                    # opened once, by `study run`
{locked}
primary: {{metric: auc, on: {first}}}   # compare: [chosen, frozen] makes it a comparison
secondary: [sensitivity, specificity]
subgroups: []              # columns such as device
interval: bca
resamples: 2000
"""


def init(folder: Path, question: str, dataset: str, root: str | None, external: Mapping[str, str]) -> Path:
    """Write `study.yaml` into `folder` and return its path.

    Args:
        dataset: a data set's name, or a folder or table in its place.
        root: where it lies; a relative path is written as one from the study's folder.
        external: data set, or a folder or table → where it lies, empty for nowhere: locked parts under its name. Without one, the
            test part of a split.

    Raises:
        ConflictError: there is a study.
        UsageError: the question is empty, or a name cannot be one of a locked part.
    """
    path = folder / FILE
    if path.exists():
        raise ConflictError(f"There is a study at '{folder}' already: '{path}' is not replaced.")
    locked = {_part(name): _source(name, place, folder) for name, place in external.items()} or {"test": {}}
    text = _TEXT.format(
        question=_flow(question),
        data=_block({**_source(dataset, root or "", folder)}),
        locked=_block(locked),
        first=next(iter(locked)),
    )
    if not external:
        text = text.replace("{folds: 5}         ", "{test: 0.2, val: 0.15}").replace(
            "on: out-of-fold", "on: validation"
        )
        text = text.replace(
            "every image is tested once by a model that has not seen it (out-of-fold)", "the test part is locked"
        )
    parse(Document(text).content, str(path))
    return write_text(path, text)


def _source(dataset: str, root: str, folder: Path) -> dict[str, str]:
    name, place = located(dataset, Path(root) if root else None)
    if place is None:
        return {"dataset": name}
    path = Path(str(place))
    relative = not path.is_absolute() and not str(place).startswith("~")
    return {"dataset": name, "root": os.path.relpath(path, folder) if relative else str(place)}


def _part(name: str) -> str:
    """The name of a locked part: that of the data set, or of the folder or table in its place."""
    if located(name, None)[1] is None:
        return name.partition(":")[0]
    return re.sub(r"[^a-z0-9._-]+", "-", Path(name).resolve().stem.lower()).strip("-._")[:40] or "external"


def _block(values: Mapping[str, object]) -> str:
    return "\n".join(f"  {name}: {_flow(value)}" for name, value in values.items())


def _flow(value: object) -> str:
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000).removesuffix("\n...\n").strip()
    )
