"""The last step of each `make_….py` of this folder: write the generated file, or with `--check` only compare."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path


def keep(file: Path, text: str, arguments: list[str], what_to_do: str) -> int:
    """0 if `file` holds `text` or was written; 1 if `--check` finds a difference, which it prints with `what_to_do`."""
    if "--check" not in arguments:
        file.write_text(text, encoding="utf-8")
        return 0
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    if before == text:
        return 0
    sys.stderr.writelines(difflib.unified_diff(before.splitlines(True), text.splitlines(True), file.name, "source"))
    sys.stderr.write(what_to_do)
    return 1
