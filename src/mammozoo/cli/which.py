"""`[MODEL] [IMAGES]...`: one order of arguments for predict, explain, evaluate and diagnose, and `--model` in all four."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mammozoo.cli.output import note
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.files import given_path

_FIRST = (
    "A zoo name{} the path of a run or model (./NAME){}; without one, the built-in model. You may also name it last."
)
_IMAGES = "Image files, folders (lesion masks in them are left out), patterns, or a table of images."
_DATA = "Your folder or table of images, or a data set's name."


def _model(*others: str) -> Any:
    return Annotated[str | None, typer.Argument(metavar="MODEL", help=_FIRST.format(*others))]


FirstModel, FirstModelOrTable = _model(" or", ""), _model(",", ", or a table of predictions")
Images = Annotated[list[str] | None, typer.Argument(metavar="IMAGES", help=_IMAGES)]
Data = Annotated[str | None, typer.Argument(metavar="DATA", help=_DATA)]
Model = Annotated[str | None, typer.Option(help="The model, as an option; then all arguments are images or data.")]


def split_model(
    first: str | None, rest: Iterable[str], option: str | None, *, paths_first: bool = False
) -> tuple[str | None, list[str]]:
    """What `--model`, or else the first or the last argument, names as the model, and the other arguments; None if nothing does.

    A word that is a zoo's name and also a path here is the zoo's, unless `paths_first`.
    """
    given = [*([] if first is None else [first]), *rest]
    for place in (0, -1) if given and option is None else ():
        if _names_model(given[place], paths_first):
            return given.pop(place), given
    return option, given


def model_and_data(
    first: str | None, rest: Iterable[str], option: str | None, *, other: Callable[[str], bool] = lambda text: False
) -> tuple[str, list[str]]:
    """The model and the other arguments, of which `other` may stand in the model's place; without one the built-in model.

    What comes first and is neither file, folder, pattern nor data set is meant as a model, and is refused as one.
    """
    from mammozoo.zoo.registry import default_model

    model, given = split_model(first, rest, option)
    if model is None and given and (other(given[0]) or not _is_data(given[0])):
        model = given.pop(0)
    if model is None:
        model = default_model()
        note(f"No model is named, so the built-in model is used: {model}.")
    return model, given


def one_data_set(rest: list[str], dataset: str | None) -> str | None:
    """The data set that an argument or `--dataset` names; UsageError for two."""
    named = [*rest, *([] if dataset is None else [dataset])]
    if len(named) > 1:
        raise UsageError(f"One data set: '{named[0]}' or '{named[1]}'? The order is [MODEL] [DATA]; see -h.")
    return named[0] if named else None


def _names_model(text: str, paths_first: bool) -> bool:
    """Whether a text names a model: by a prefix, as a folder of a run or model, as another program's file, or in a zoo.

    A word that is a zoo's name and also a path here is the zoo's, unless `paths_first`.
    """
    from mammozoo.config.names import named_folder
    from mammozoo.models.predictor import foreign
    from mammozoo.zoo.registry import listed

    if text.startswith(("run:", "zoo:", "hub:")) or foreign(text) is not None:
        return True
    if (folder := named_folder(text)) is not None:
        return _holds_model(folder)
    if os.path.isfile(text) or (paths_first and os.path.exists(text)):  # noqa: PTH110, PTH113 - False where Path raises
        return False
    try:
        return bool(listed(text))
    except NotFoundError:
        return False


def _holds_model(folder: Path) -> bool:
    """Whether a folder is that of a run or a model, whole or not."""
    return any((folder / name).is_file() for name in ("run.json", "config.json"))


def _is_data(text: str) -> bool:
    from mammozoo.data.io.dicom_frames import split_frame
    from mammozoo.data.joined import kinds_of

    path = given_path(text)
    if os.path.lexists(split_frame(path)[0]):
        return not _holds_model(path)
    with contextlib.suppress(MammozooError):
        return bool(kinds_of(text))
    return re.search(r"[*?[]", text) is not None
