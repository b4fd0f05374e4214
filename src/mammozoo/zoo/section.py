"""Sections that plugins add to the card and report of a run, as `run.json` keeps them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mammozoo.text import printable

log = logging.getLogger(__name__)
_LONGEST = 20_000  # characters of a section's text


@dataclass(frozen=True)
class Section:
    """A section of card and report.

    Attributes:
        title: its heading.
        text: paragraphs, with an empty line between them; plain text.
        rows: of a table below, each with the same keys, which head the columns; text or numbers.
    """

    title: str
    text: str = ""
    rows: tuple[Mapping[str, Any], ...] = ()


def sections(answers: Iterable[Any]) -> list[dict[str, Any]]:
    """What plugins gave for `run_sections`, one answer each, as JSON; what is no section is left out with a warning."""
    found = []
    for answer in answers:
        try:
            for one in [answer] if isinstance(answer, Section) else answer or ():
                found.append(_plain(one))
        except Exception as error:  # an answer may be a generator of theirs
            log.warning("run_sections of a plugin gave no mammozoo.Section: %s; left out.", error)
    return found


def cell(text: object) -> str:
    """One cell of a table in Markdown, in which no sign is a command."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", " ".join(str(text).split()))


def _plain(section: Any) -> dict[str, Any]:
    if not isinstance(section, Section):
        raise TypeError(f"{section!r} is none")
    title, rows = " ".join(str(section.title).split()), [dict(row) for row in section.rows]
    if not title or len(section.text) > _LONGEST:
        raise ValueError(f"its title is empty, or its text longer than {_LONGEST} characters")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError(f"the rows of '{title}' have different keys")
    cells = [
        {str(key): value if isinstance(value, int | float) else str(value) for key, value in row.items()}
        for row in rows
    ]
    return {"title": printable(title), "text": printable(section.text), "rows": cells}
