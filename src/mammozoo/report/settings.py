"""The settings of a run as rows of a table, without this machine's folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def settings(file: Path) -> list[tuple[str, str]]:
    """(dotted key, value) of every key of a run's `recipe.yaml`; of paths only the last name, for a report is handed around.

    As the file has them: keys that a later version knows were not settings of this run.
    """
    fields = yaml.safe_load(file.read_text(encoding="utf-8"))
    if fields.get("root"):
        fields["root"] = f"…/{Path(fields['root']).name}"
    if "weights" in fields:
        fields["weights"] = weights_without_path(fields["weights"])
    return list(_flat("", fields))


def weights_without_path(weights: str) -> str:
    """`file:/some/where/a.safetensors` as `file:a.safetensors`; others as they are."""
    kind, _, rest = weights.partition(":")
    return f"file:{Path(rest).name}" if kind == "file" else weights


def _flat(prefix: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        inner = f"{prefix}." if prefix else ""
        return [row for key, part in value.items() for row in _flat(f"{inner}{key}", part)]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [row for number, part in enumerate(value) for row in _flat(f"{prefix}[{number}]", part)]
    return [(prefix, _text(value))]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
