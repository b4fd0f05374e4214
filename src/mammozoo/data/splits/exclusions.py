"""A list of images to leave out: `exclude` in a recipe reads it, and `data check --write-exclusions` writes one, to be edited.

    image,reason,evidence
    benign/benign (42).png,label-conflict,malignant/malignant (51).png (malignant): 71 keypoints agree (74%)

Images are named as in split files. Rows without text are passed over; of several rows of one image all reasons count.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mammozoo.data.splits.files import AMBIGUOUS, ImageNames
from mammozoo.data.splits.make import PARTS, Split
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.files import absent, given_path, table_text, write_text
from mammozoo.tables import read_rows

_COLUMNS = ("image", "reason", "evidence")
LABEL_ERROR = "label-error"  #: the reason of an image of which a model thinks otherwise than its label
UNSTATED = "not stated"  #: in place of a reason that is empty


@dataclass(frozen=True)
class Exclusion:
    """An image to leave out, why, and what shows it."""

    image: str
    reason: str
    evidence: str = ""


def read_list(path: Path) -> list[tuple[int, Exclusion]]:
    """(line, image as it is written there) of each row of a list.

    Raises:
        NotFoundError: no such file.
        UsageError: it is no table with the column `image`, or a row has a reason and no image.
    """
    file = given_path(path)
    if not file.is_file():
        raise NotFoundError(f"There is no list of images to exclude '{path}'.{absent(file)}")
    rows = []
    for line, row in read_rows(file, _COLUMNS[:1]):
        if not row["image"]:
            raise UsageError(f"List '{path}', line {line}: the image is empty. Fill it in or remove the row.")
        rows.append((line, Exclusion(row["image"], row.get("reason") or UNSTATED, row.get("evidence", ""))))
    return rows


def read_exclusions(path: Path, names: Sequence[str]) -> tuple[dict[int, Exclusion], list[str]]:
    """(index → exclusion of each of these images that the list names, names in the list that are none of them).

    Raises:
        NotFoundError, UsageError: as `read_list`, or a name stands for several images, or none of the list is among them.
    """
    known, found, unknown = ImageNames(names), dict[int, Exclusion](), dict[str, None]()
    rows = read_list(path)
    for line, one in rows:
        index = known.index(one.image)
        if index == AMBIGUOUS:
            raise UsageError(
                f"List '{path}', line {line}: '{one.image}' names several images; write more of its path, or its suffix."
            )
        if index is None:
            unknown[one.image] = None
            continue
        before = found.get(index, Exclusion(names[index], "", ""))
        texts = {key: _joined(getattr(before, key), getattr(one, key)) for key in _COLUMNS[1:]}
        found[index] = replace(before, **texts)
    if rows and not found:
        raise UsageError(
            f"None of the {len(unknown)} images that the list '{path}' names is in the data set; the first is "
            f"'{next(iter(unknown))}'. Is it the list of another one?"
        )
    return found, list(unknown)


def split_without(split: Split, kept: int, file: Path) -> Split:
    """A split of the file, of images and behind the first `kept` excluded ones, without the latter.

    Raises:
        UsageError: a part has excluded ones only.
    """
    parts = {part: split.part(part)[split.part(part) < kept] for part in PARTS}
    for part, left in parts.items():
        if len(split.part(part)) and not len(left):
            raise UsageError(f"Split file '{file}': every image of the part {part} of '{split.name}' is excluded.")
    return replace(split, train=parts["train"], val=parts["val"], test=parts["test"])


def write_exclusions(path: Path, exclusions: Iterable[Exclusion]) -> Path:
    """Write a list; one without images has its header all the same."""
    text = table_text(asdict(one) for one in exclusions)
    return write_text(path, text or ",".join(_COLUMNS) + "\n")


def digest(exclusions: Iterable[Exclusion]) -> str:
    """SHA-256 of which images are left out, in any order and for whatever reason."""
    return hashlib.sha256("\n".join(sorted(one.image for one in exclusions)).encode()).hexdigest()


def reasons(exclusions: Iterable[Exclusion]) -> dict[str, int]:
    """Reason → number of images, the most frequent first."""
    return dict(Counter(one.reason for one in exclusions).most_common())


def counted(reasons: dict[str, int]) -> str:
    """`3 label-conflict, 1 constant`."""
    return ", ".join(f"{n} {reason}" for reason, n in reasons.items())


def _joined(first: str, second: str) -> str:
    return "; ".join(dict.fromkeys(text for text in (*first.split("; "), second) if text))
