"""The JSON files of a run that other rooms read: what has to be in them, of which type. More may be."""

from __future__ import annotations

from pathlib import Path
from typing import (
    Annotated,
    Any,
    NotRequired,  # which pydantic needs below Python 3.12, and brings
)

from pydantic import Field
from typing_extensions import TypedDict

from mammozoo.documents import as_kind, read_json
from mammozoo.errors import IncompatibleError, NotFoundError
from mammozoo.evaluation.scores import Score
from mammozoo.files import absent

_Counts = dict[str, int]


class _Split(TypedDict):
    name: str
    train: NotRequired[_Counts]
    val: NotRequired[_Counts]
    test: NotRequired[_Counts]


class _Model(TypedDict):
    fold: str
    sha256: NotRequired[str]
    scores: NotRequired[dict[str, dict[str, float | None]] | None]


class _Near(TypedDict):
    bits: int
    keypoints: NotRequired[float]


class Facts(TypedDict):
    """`run.json`; what is not required is there once the run is complete, or since a later version."""

    mammozoo: str
    status: str
    versions: NotRequired[dict[str, str]]
    plugins: NotRequired[dict[str, str]]
    stamps: NotRequired[list[str]]
    weights: NotRequired[str]
    images: NotRequired[int]
    groups: NotRequired[int]
    excluded: NotRequired[_Counts]
    data_sha256: NotRequired[list[str]]
    near_duplicates: NotRequired[_Near]
    splits: NotRequired[Annotated[list[_Split], Field(min_length=1)]]
    scores: NotRequired[dict[str, Any]]
    model: NotRequired[_Model]
    resumed: NotRequired[list[str]]


class _SplitImages(TypedDict):
    name: str
    train: NotRequired[list[str]]
    val: NotRequired[list[str]]
    test: NotRequired[list[str]]


class _Splits(TypedDict):
    splits: list[_SplitImages]


class _Score(TypedDict):
    value: float | None
    low: NotRequired[float | None]
    high: NotRequired[float | None]
    n: NotRequired[int]
    pooled: NotRequired[float | None]
    sd: NotRequired[float | None]


def read_facts(run: Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        NotFoundError: there is no run.
        IncompatibleError: it is damaged, or was changed.
    """
    facts: dict[str, Any] | None = _read(run / "run.json", Facts)
    if facts is None:
        raise NotFoundError(f"There is no run at '{run}': it has no run.json.{'' if run.exists() else absent(run)}")
    return facts


def read_scores(run: Path) -> dict[str, Score]:
    """The scores in `scores.json`, without entries of another kind, which a later version may add.

    Raises:
        IncompatibleError: there is none, or it is damaged.
    """
    try:
        content = as_kind(read_json(run / "scores.json"), dict[str, Any])
        scored = {name: entry for name, entry in content.items() if isinstance(entry, dict) and "value" in entry}
        entries = as_kind(scored, dict[str, _Score])
        if half := [name for name, s in entries.items() if (s.get("low") is None) != (s.get("high") is None)]:
            raise ValueError(f"{half[0]} has half of an interval")
    except (OSError, ValueError) as error:
        raise _refusal(run / "scores.json", error) from None
    names = ("low", "high", "n", "pooled", "sd")
    return {
        name: Score(s["value"], *(s.get(key, 0 if key == "n" else None) for key in names))
        for name, s in entries.items()
    }


def read_split_names(run: Path) -> dict[str, dict[str, list[str]]]:
    """Split → part → images of `splits.json`; empty if a run of before has none. IncompatibleError if it is damaged."""
    content = _read(run / "splits.json", _Splits)
    return {} if content is None else {entry["name"]: entry for entry in content["splits"]}


def read_key(fit: Path) -> dict[str, Any] | None:
    """What the complete fit in this folder depended on; None if a fit of before does not say. Raises as `read_split_names`."""
    key: dict[str, Any] | None = _read(fit / "key.json", dict[str, str | int])
    return key


def _read(path: Path, kind: Any) -> Any:
    """The content of a JSON file that is of this kind; None if there is no such file."""
    try:
        return as_kind(read_json(path), kind)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> IncompatibleError:
    return IncompatibleError(f"'{path}' cannot be read: {error}. It is damaged, or was changed.")
