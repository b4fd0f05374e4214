"""Conditions on columns, by which a subset is named: `marks=no and birads=4,5 and age>=50`."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mammozoo.errors import UsageError
from mammozoo.evaluation.table_roles import number

_CONDITION = re.compile(
    r"\s*(?P<column>\"[^\"]+\"|[^=<>!\"]+?)\s*(?P<sign>!=|<=|>=|==?|<|>)"
    r"\s*(?P<value>\"[^\"]*\"|'[^']*'|.+?)\s*(?:$|\s+and\s+)",
    re.I,
)
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def holds(column_of: Callable[[str], npt.NDArray[np.str_]], n: int, where: str) -> npt.NDArray[np.bool_]:
    """(n,) whether all conditions hold, of columns of n texts. A value is compared without capitals.

    Raises:
        UsageError: no condition, no such column, or an order of what is no number.
    """
    kept, place = np.ones(n, bool), 0
    while place < len(where) or not where.strip():
        found = _CONDITION.match(where, place)
        if found is None or where.rstrip().lower().endswith(" and"):
            raise UsageError(f"--where takes conditions such as \"marks=no and age>=50\", not '{where}'.")
        place = found.end()
        column, value, order = found["column"].strip('"'), found["value"], found["sign"]
        texts = column_of(column)
        each = {text: _is(text, value, order, column) for text in {*texts.tolist()}}
        kept &= np.array([each[text] for text in texts.tolist()], bool)
    return kept


def _is(text: str, value: str, order: str, column: str) -> bool:
    if order in _ORDERS:
        if (bound := number(value)) is None:
            raise UsageError(f"--where {column}{order}{value}: '{value}' is not a number.")
        if text and (own := number(text)) is None:
            raise UsageError(
                f"--where {column}{order}{value}: the column '{column}' holds '{text[:40]}', which is not a number."
            )
        return bool(text) and _ORDERS[order](own or 0.0, bound)
    values = [value[1:-1]] if value[0] in "\"'" else value.split(",")
    return any(_same(text, one.strip()) for one in values) == (order != "!=")


def _same(text: str, value: str) -> bool:
    own, other = number(text), number(value)
    return text.casefold() == value.casefold() or (own is not None and own == other)
