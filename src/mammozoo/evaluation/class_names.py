"""Names of classes as people write them: which two mean the same, and which of two is the positive one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

_POSITIVE = {
    "m", "mal", "ca", "1", "yes", "y", "true", "t", "pos", "positive", "suspicious", "disease", "diseased", "sick", "ill",
}  # fmt: skip
_NEGATIVE = {"b", "ben", "0", "no", "n", "false", "f", "neg", "negative", "norm", "healthy", "control", "rest", "other"}
_ILL = "malign|cancer|carcinoma"
_WELL = re.compile(rf"(non?|not|without)\b.*|.*\bnon({_ILL}).*|.*\bfree|.*(benign|(?<!ab)normal).*")


def word(text: str) -> str:
    """A class as it is named here: `Malignant ` and `MALIGNANT` are `malignant`, `1.0` is `1`, `Grade_3` is `grade 3`."""
    plain = re.sub(r"[\s_]+", " ", text).strip().lower()
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", plain)


def sign(name: str) -> int:
    """1 for a word that means ill, −1 for one that means not ill, 0 for any other."""
    if name in _NEGATIVE or _WELL.fullmatch(name):
        return -1
    return 1 if name in _POSITIVE or re.search(f"{_ILL}|abnormal", name) else 0


def match(values: Iterable[str], names: Collection[str]) -> dict[str, str | None]:
    """Each value → the name that means the same, None if none or more than one does.

    The same word, else one that begins with it (`mal`), else the only one of its `sign`; no name is given away twice.
    """
    values, found = [*dict.fromkeys(values)], dict[str, str | None]()
    found |= {value: value if value in names else None for value in values}

    def free() -> list[str]:
        return [name for name in names if name not in found.values()]

    for alike in (
        lambda value, name: len(min(value, name, key=len)) > 1 and (name.startswith(value) or value.startswith(name)),
        lambda value, name: sign(value) != 0 and sign(value) == sign(name),
    ):
        open_values = [value for value in values if found[value] is None]
        pairs = {value: [name for name in free() if alike(value, name)] for value in open_values}
        for value, close in pairs.items():
            if len(close) == 1 and sum(close[0] in other for other in pairs.values()) == 1:
                found[value] = close[0]
    return found


def positive_last(names: Sequence[str]) -> tuple[str, ...]:
    """Two names, the positive one last: by what they mean, else as numbers, else by alphabet; more by alphabet."""
    if len(names) != 2:
        return tuple(sorted(names))
    first, second = sorted(
        names, key=lambda name: (float(name) if re.fullmatch(r"[+-]?\d+(\.\d+)?", name) else 0.0, name)
    )
    return (second, first) if sign(first) > sign(second) else (first, second)
