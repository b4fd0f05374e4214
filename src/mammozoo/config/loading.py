"""A recipe by name, from a file, or for one's own data; with overrides by dotted key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mammozoo.config.names import Spec, parse
from mammozoo.config.recipe import Recipe, validated
from mammozoo.config.sections import assign
from mammozoo.data.joined import names_of, read_root
from mammozoo.data.layouts import dataset_at, located
from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.files import absent, given_path
from mammozoo.plugins import registry
from mammozoo.tables import SUFFIXES

#: Keys that make another split than folds.
_SPLITS = ("split.file", "split.official", "split.leave_out")
#: Keys that a recipe's summary tells of.
_SUMMED_UP = ("dataset", "backbone", "weights", "strategy", "head")
OWN = "own"  #: the recipe for one's own data
DEFAULT = "default"  #: the recipe where none is named


def load(source: str | Recipe | None, overrides: Mapping[str, Any] | None = None, own: str = OWN) -> Recipe:
    """The recipe `source` with overrides by dotted key.

    Args:
        source: a name, a file, a recipe, None for `default`, or a folder or table of one's own data. The size of `default` is
            for its own images and network: others are seen at the size that the network is for. A summary is that of the recipe
            as it stands: with other data or another network, strategy or head there is none.
        own: the recipe for one's own data.

    Raises:
        NotFoundError: no such recipe, file or folder.
        UsageError: an unknown key, or a value of the wrong type; the message names the key.
    """
    data, overrides, meant = None, dict(overrides or {}), None
    if isinstance(source, Recipe):
        path, fields = Path(source.name), source.model_dump(mode="json")
    else:
        data = own_data(source) if source else None
        path = Path(source or DEFAULT)
        if data is not None or path.suffix not in (".yaml", ".yml"):
            path = _recipe(own if data else source or DEFAULT)
        fields = _read(path)
        meant = _seen(fields) if source in (None, DEFAULT) and "size" not in overrides else None
        fields.setdefault("name", path.stem)
        if data is not None:
            fields |= {"root": str(data), "dataset": None}
    if {*_SPLITS} & {*overrides}:  # in place of the recipe's own folds
        overrides = {"split.folds": 1, "split.inner": 1, **overrides}
    if any(overrides.get(key, fields.get(key)) != fields.get(key) for key in _SUMMED_UP):
        fields.pop("summary", None)
    for key, value in overrides.items():
        assign(fields, key, value)
        fields.get("why", {}).pop(key, None)
    if meant not in (None, _seen(fields)):
        fields.pop("size", None)
    recognised = data is not None and fields["dataset"] is None
    if recognised:
        fields["dataset"], root = dataset_at(Path(fields["root"]))
        fields["root"] = str(root)
    elif isinstance(dataset := fields.get("dataset"), str):
        fields["dataset"], place = located(dataset, fields.get("root"))
        fields["root"] = str(place) if isinstance(place, Path) else place
    roots = read_root(Path(str(fields.get("root") or "")))
    if isinstance(roots, dict):  # of a file; a run keeps what it said
        fields["root"] = {own: str(roots[own]) for own in names_of(str(fields.get("dataset"))) if own in roots}
    if (columns := fields.pop("columns", None)) is not None:
        fields["dataset"] = _with_columns(str(fields.get("dataset")), columns)
    if recognised:
        from mammozoo.data.glance import by_content  # imports scipy, which takes as long as all else here

        for key, (value, reason) in by_content(fields["dataset"], Path(fields["root"])).items():
            if key not in overrides:
                fields[key] = value
                fields.setdefault("why", {})[key] = reason
    recipe = _named(validated(fields, path.name))
    recipe.points()
    return recipe


def _seen(fields: Mapping[str, Any]) -> tuple[frozenset[str], str]:
    """(all networks that a recipe or its grid names, the kind of its data): what its size is for."""
    grid = fields.get("grid") or {}
    points = [point for point in (grid if isinstance(grid, list) else [grid]) if isinstance(point, Mapping)]
    named = [fields.get("backbone"), *(point["backbone"] for point in points if "backbone" in point)]
    networks = [name for one in named for name in (one if isinstance(one, list) else [one])]
    return frozenset(map(str, networks)), str(fields.get("dataset")).partition(":")[0]


def _recipe(name: str) -> Path:
    """The file of the recipe `name`; what looks like neither a recipe nor data is said to be neither."""
    try:
        return Path(registry().get("recipes", name))
    except NotFoundError as error:
        raise NotFoundError(f"{error} Nor is it a folder or table of images.{absent(name)}") from None


def own_data(source: str) -> Path | None:
    """The folder or table that stands in the place of a recipe; None if `source` names a recipe or a recipe's file."""
    path = given_path(source)
    if path.suffix in (".yaml", ".yml"):
        return None
    is_path = re.search(r"[/\\]|^[.~]", source) or path.suffix.lower() in SUFFIXES
    return path if is_path or (source not in registry().items("recipes") and path.exists()) else None


def _named(recipe: Recipe) -> Recipe:
    """With `{data}`, `{backbone}` and `{strategy}` in its name filled in."""
    words = {"data": recipe.data_name, "backbone": parse(recipe.backbone).name, "strategy": recipe.strategy}
    name = recipe.name
    for key, word in words.items():
        name = name.replace(f"{{{key}}}", re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-.") or "data")
    return recipe.model_copy(update={"name": name})


def _with_columns(dataset: str, columns: object) -> str:
    """`csv` and `{path: file, label: class}` as `csv:path=file,label=class`: the option of a data set, as a mapping."""
    if not isinstance(columns, Mapping) or any(re.search("[,=]", f"{key}{name}") for key, name in columns.items()):
        raise UsageError(
            "`columns` maps mammozoo's names to columns, as in {path: file, label: class}; names must not contain , or =."
        )
    spec = parse(dataset)
    return str(
        Spec(spec.name, spec.arguments, (*spec.options, *((str(ours), str(its)) for ours, its in columns.items())))
    )


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise NotFoundError(f"There is no recipe file '{path}'.{absent(path)}")
    fields = Document.read(path, UsageError, aliases=True).content
    if not isinstance(fields, dict):
        raise UsageError(f"Recipe '{path}' must be a mapping of keys to values.")
    return fields
