"""Which data set a folder or file holds, for people who name their data and no data set."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from mammozoo.config.sections import Root
from mammozoo.data.io.images import IMAGE_SUFFIXES
from mammozoo.data.io.listing import walk
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.files import absent, given_path
from mammozoo.plugins import registry
from mammozoo.tables import SUFFIXES


def located(dataset: str, root: Root | None) -> tuple[str, Root | None]:
    """(name, root) of a data set; a folder or table that stands in its place, without a root, is read as what it holds.

    Raises:
        NotFoundError, UsageError: as `dataset_at`.
    """
    if root is not None or dataset in registry().items("datasets"):
        return dataset, root
    path = given_path(dataset)
    return dataset_at(path) if path.suffix not in (".yaml", ".yml") and path.exists() else (dataset, root)


def dataset_at(path: Path) -> tuple[str, Path]:
    """(name of the data set, its root): a published layout by its marks, else a table, else folders named by class.

    Raises:
        NotFoundError: there is nothing at `path`.
        UsageError: it is a run, a file that is no table, or it holds several data sets.
    """
    if not path.exists():
        raise NotFoundError(f"There is no recipe, folder or table '{path}'.{absent(path)}")
    if (path / "run.json").is_file():
        raise UsageError(f"'{path}' is a run, not data. Continue it: mammozoo train --resume {path}")
    folder = path.parent if path.is_file() else path
    names = [path.name] if path.is_file() else [file.name for file in walk(path, {}, depth=10)]
    published = [name for name, marks in _marks().items() if any(fnmatch(n, mark) for mark in marks for n in names)]
    if len(published) > 1:
        raise UsageError(
            f"'{path}' holds the data sets {' and '.join(published)}. Give the folder of one, or --dataset."
        )
    if published:
        return published[0], folder
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise UsageError(
                f"'{path}' is neither a folder nor a table ({', '.join(SUFFIXES)}), and no recipe (.yaml).{_hint(path)}"
            )
        return "csv", path
    tables = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
    try:
        registry().get("datasets", "folder")(path)
    except UsageError as error:
        if len(tables) == 1:
            return "csv", tables[0]
        if tables:
            listed = ", ".join(file.name for file in tables[:5])
            raise UsageError(
                f"'{path}' has no class folders, and several tables: {listed}. Give the table itself."
            ) from error
        raise
    return "folder", path


def _hint(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return f" For one image: mammozoo predict {path}. Training takes the folder above the class folders."
    if suffix == ".safetensors":
        return f" For a model: mammozoo predict IMAGE --model {path.parent}"
    table = " Save it as .xlsx or CSV."
    return {".zip": " Unpack it, and give the folder.", ".xls": table, ".ods": table}.get(suffix, "")


def _marks() -> dict[str, tuple[str, ...]]:
    return {name: item.value.info.marks for name, item in registry().items("datasets").items() if item.value.info.marks}
