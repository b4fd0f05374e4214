"""What must not leave this machine: looked for in every file before anything is published.

A public repository that holds somebody's data cannot be taken back. So only known kinds of files pass, and inside them nothing
that tells of patients, people or machines. It is a net, not a proof: what a picture shows, no program here can tell.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from mammozoo.errors import RefusedToPublishError
from mammozoo.zoo.entry import FILE

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"GIF8": "a GIF image", b"BM": "a BMP image",
    b"II*\0": "a TIFF image", b"MM\0*": "a TIFF image", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive",
    b"\x80\x02": "a pickle", b"\x80\x04": "a pickle",
}  # fmt: skip
_TEXTS = (".md", ".json", "LICENSE")
_PATTERNS = {
    "an absolute path": re.compile(
        r"(?<![\w/:.<)~\\-])/(?:[\w.+@-]+/)+[\w.+@-]*|(?<![\w/])~/\w|\bfile:/|\b[A-Za-z]:\\+\w|(?<!\\)\\\\\\?\\?[A-Za-z][\w.-]+\\+\w"
    ),
    "a field of patient data": re.compile(r"\bPatient(?:'?s)?[ _]?(?:Name|ID|Birth ?Date|Address)\b|\(0010, ?[0-9a-f]{4}\)"),
    "an access token": re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
}  # fmt: skip
#: Names of users and machines that tell of nobody.
_NOBODY = {
    "root", "user", "admin", "ubuntu", "debian", "runner", "docker", "jovyan", "vscode", "localhost", "model", "models", "train",
    "test", "data", "research", "mammozoo", "image", "images", "home",
}  # fmt: skip
#: Text chunks of a PNG that drawing programs write and that say nothing about people.
_HARMLESS = {b"Software"}


def screen(folder: Path) -> None:
    """Look through everything in `folder`.

    Raises:
        RefusedToPublishError: the message lists all that was found, and where.
    """
    found = [problem for path in sorted(folder.rglob("*")) if not path.is_dir() for problem in _problems(folder, path)]
    if found:
        more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
        raise RefusedToPublishError(
            f"This must not be published: {'; '.join(found[:8])}{more}. Nothing was sent. Take it out, and say it again."
        )


def _problems(folder: Path, path: Path) -> Iterator[str]:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
        yield f"'{name}' is a link"
        return
    if not re.fullmatch(FILE, name):
        yield f"'{name}' is no file of a model (README.md, LICENSE, config.json, *.safetensors, figures/*.png)"
    content = path.read_bytes()
    if content[128:132] == b"DICM":
        yield f"'{name}' is a DICOM file"
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")
    if name.startswith("figures/"):
        yield from _figure_problems(name, content)
    elif kind and not name.endswith(".safetensors"):  # which begins with the length of its header, and so with anything
        yield f"'{name}' is {kind}"
    if name.endswith(".safetensors"):
        yield from _weights_problems(name, content)
    elif name.endswith(_TEXTS):
        yield from _text_problems(name, content)


def _figure_problems(name: str, content: bytes) -> Iterator[str]:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        yield f"'{name}' is no PNG image"
        return
    place = 8
    while place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4]), content[place + 4 : place + 8]
        keyword = content[place + 8 : place + 8 + length].partition(b"\0")[0]
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") and keyword not in _HARMLESS:
            yield f"'{name}' holds text or EXIF beside the picture"
        place += length + 12
        if kind == b"IEND":
            break
    if place != len(content):
        yield f"'{name}' holds something behind the picture"


def _weights_problems(name: str, content: bytes) -> Iterator[str]:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        yield f"'{name}' is no safetensors file"
        return
    if metadata != {"format": "pt"}:
        yield f"'{name}' holds metadata beside the weights"


def _text_problems(name: str, content: bytes) -> Iterator[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield f"'{name}' is no text in UTF-8"
        return
    for what, pattern in _PATTERNS.items():
        if match := pattern.search(text):
            # A token is not repeated, not even here.
            shown = "" if what == "an access token" else f" ({_short(match[0])})"
            yield f"'{name}', line {text.count(chr(10), 0, match.start()) + 1}, holds {what}{shown}"
    for who in _names():
        if match := re.search(rf"(?<![\w-]){re.escape(who)}(?![\w-])", text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            yield f"'{name}', line {line}, holds the name of this machine or its user ({who})"


def _names() -> Iterable[str]:
    """Names of the user and of the machine that could tell who and where."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process whose user has no name
        user = ""
    host = socket.gethostname()
    names = {user, Path.home().name, host, host.partition(".")[0]}
    return sorted(name for name in names if len(name) > 2 and name.lower() not in _NOBODY)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"
