"""Text of unknown origin: shown, encoded and compared without surprises.

A file name that is not UTF-8 reaches Python with lone surrogates, and no encoding takes those. Our files stay UTF-8 and hold such a
byte as an escape, `\\udcff`; `decode` gives the name back, so that it still leads to the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_ESCAPED = re.compile(r"\\udc([89a-f][0-9a-f])")
#: Words that stand for "not known" in tables.
_NOTHING = {
    "", "nan", "n/a", "na", "#n/a", "<na>", "null", "none", "nil", "-", "--", "?", ".", "unknown", "unk", "missing", "removed",
    "anonymous", "anonymised", "anonymized", "undefined", "not available", "not known", "not given",
}  # fmt: skip


def encode(text: str) -> bytes:
    """UTF-8, in which a byte of a file name that is not UTF-8 is an escape."""
    return text.encode("utf-8", "backslashreplace")


def decode(text: str) -> str:
    """The text that `encode` was given; JSON does the same by itself."""
    return _ESCAPED.sub(lambda match: chr(0xDC00 + int(match[1], 16)), text) if "\\udc" in text else text


def printable(text: str, escape: Callable[[str], str] = lambda c: c.encode("unicode_escape").decode()) -> str:
    """The text with escapes for what would move a terminal's cursor, colour it or cannot be shown; line ends and tabs stay."""
    for c in {*text} - {"\n", "\t"}:
        if unicodedata.category(c) in ("Cc", "Cf", "Cs"):
            text = text.replace(c, escape(c))
    return text


def interval(low: float, high: float, digits: int = 3) -> str:
    """`0.881–0.937`; a negative bound makes `-0.786 to -0.053` of it, since a dash would be read as a sign."""
    return f"{low:.{digits}f}{' to ' if low < 0 else '–'}{high:.{digits}f}"


def known(text: object) -> str | None:
    """The text; None for an empty one and for words that stand for "not known", such as NaN."""
    stripped = "" if text is None else str(text).strip()
    return None if stripped.lower() in _NOTHING else stripped


def same(text: str) -> str:
    """What all spellings of one word have in common: case, Unicode form, spaces, and `1.0` for 1 do not count."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return re.sub(r"^(\d+)\.0+$", r"\1", unicodedata.normalize("NFKC", plain))
