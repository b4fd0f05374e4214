"""What callers name: a model, and the places of data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.config.sections import Root


def named_model(model: str | Path) -> str | Path:
    """What names a model; UsageError for an empty text, which a variable that is not set leaves."""
    if not str(model):
        raise UsageError("The name of the model is empty. Name one, or leave it out for the built-in model.")
    return model


def roots(root: str | Path | Mapping[str, str | Path] | None) -> Root | None:
    """Where data lie, as paths."""
    if isinstance(root, Mapping):
        return {name: Path(place) for name, place in root.items()}
    return None if root is None else Path(root)
