"""Search every file for what must not leave this machine, before anything is published.

A public repository with somebody's data cannot be taken back. So only known kinds of files pass, without traces of patients,
people or machines. This is a safety net, not a proof: no program here can tell what a picture shows.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

from mammozoo.errors import RefusedToPublishError
from mammozoo.zoo.entry import is_file_of_a_model

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
#: Names of users and machines that identify nobody.
_NOBODY = {
    "root", "user", "admin", "ubuntu", "debian", "runner", "docker", "jovyan", "vscode", "localhost", "model", "models", "train",
    "test", "data", "research", "mammozoo", "image", "images", "home",
}  # fmt: skip
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
_HARMLESS = b"Software"  # the name of the drawing program


def screen(folder: Path) -> None:
    """Search all files in `folder`; RefusedToPublishError lists the problems, and where they are."""
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    problems = [problem for path in files for problem in _problems(folder, path)]
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise RefusedToPublishError(
            f"This must not be published: {'; '.join(problems[:8])}{more}. Nothing was sent. Remove it and try again."
        )


def _problems(folder: Path, path: Path) -> Iterator[str]:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
        yield f"'{name}' is a link"
        return
    if not is_file_of_a_model(name):
        yield f"'{name}' is not a file of a model (README.md, LICENSE, config.json, *.safetensors, figures/*.png)"
    content = path.read_bytes()
    if content[128:132] == b"DICM":
        yield f"'{name}' is a DICOM file"
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")
    if name.startswith("figures/"):
        yield from _figure_problems(name, content)
    elif kind and not name.endswith(".safetensors"):  # its first bytes are a length and can be anything
        yield f"'{name}' is {kind}"
    if name.endswith(".safetensors"):
        yield from _weights_problems(name, content)
    elif name.endswith(_TEXTS):
        yield from _text_problems(name, content)


def _figure_problems(name: str, content: bytes) -> Iterator[str]:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        yield f"'{name}' is not a PNG image"
        return
    offset, kind = 8, b""
    while offset + 8 <= len(content) and kind != b"IEND":
        length, kind = int.from_bytes(content[offset : offset + 4]), content[offset + 4 : offset + 8]
        keyword = content[offset + 8 : offset + 8 + length].partition(b"\0")[0]
        if kind in _TEXT_CHUNKS and keyword != _HARMLESS:
            yield f"'{name}' holds text or EXIF beside the picture"
        offset += length + 12
    if offset != len(content):
        yield f"'{name}' holds data after the end of the picture"


def _weights_problems(name: str, content: bytes) -> Iterator[str]:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        yield f"'{name}' is not a safetensors file"
        return
    if metadata != {"format": "pt"}:
        yield f"'{name}' holds metadata beside the weights"


def _text_problems(name: str, content: bytes) -> Iterator[str]:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield f"'{name}' is not text in UTF-8"
        return
    for what, pattern in _PATTERNS.items():
        if match := pattern.search(text):
            # A token is not repeated, not even here.
            shown = "" if what == "an access token" else f" ({match[0][:60]})"
            yield f"'{name}', line {_line(text, match)}, holds {what}{shown}"
    for who in _names():
        if match := re.search(rf"(?<![\w-]){re.escape(who)}(?![\w-])", text, re.IGNORECASE):
            yield f"'{name}', line {_line(text, match)}, holds the name of this machine or its user ({who})"


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


def _names() -> Iterable[str]:
    """Names of the user and of the machine, unless they identify nobody."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process whose user has no name
        user = ""
    host = socket.gethostname()
    names = {user, Path.home().name, host, host.partition(".")[0]}
    return sorted(name for name in names if len(name) > 2 and name.lower() not in _NOBODY)
