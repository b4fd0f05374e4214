"""The report's templates and the filters that they use."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(*, html: bool) -> Environment:
    """The templates in this package; with `html` every value is escaped."""
    templates = Environment(
        loader=PackageLoader("mammozoo.report", ""),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(listed=listed, number=number)
    return templates


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def number(value: float | None) -> str:
    """Three decimals, as every score in the report has."""
    return "undefined" if value is None else f"{value:.3f}"
