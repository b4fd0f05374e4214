"""Search every file for what must not leave this machine, before anything is published.

A public repository with somebody's data cannot be taken back. So only known kinds of files pass, without traces of patients,
people or machines. This is a safety net, not a proof: no program here can tell what a picture shows.
"""

from __future__ import annotations

import getpass
import json
import logging
import re
import socket
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mammozoo.errors import RefusedToPublishError
from mammozoo.models.config import ModelConfig
from mammozoo.plugins import KINDS, registry
from mammozoo.zoo.entry import is_file_of_a_model

log = logging.getLogger(__name__)
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "a PNG image", b"\xff\xd8\xff": "a JPEG image", b"GIF8": "a GIF image", b"BM": "a BMP image",
    b"II*\0": "a TIFF image", b"MM\0*": "a TIFF image", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive",
    b"\x80\x02": "a pickle", b"\x80\x04": "a pickle",
}  # fmt: skip
_TEXTS = (".md", ".json", "LICENSE")
#: Tokens as services write them: of the Hub, GitHub, GitLab, AWS, Google, Slack, OpenAI and others with sk-, Stripe, npm, PyPI,
#: Docker, DigitalOcean, Databricks, Kaggle; JSON web tokens, private keys, passwords in addresses and after a name for them.
_TOKENS = (
    r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}", r"\bgh[oprsu]_[A-Za-z0-9]{20,}", r"\bgithub_pat_\w{20,}",
    r"\bgl(?:pat|dt|rt|cbt)-[\w-]{16,}",
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", r"\bAIza[\w-]{30,}", r"\bya29\.[\w-]{20,}", r"\bxox[a-z]-[\w-]{10,}", r"\bsk-[\w-]{20,}",
    r"\b[rsp]k_(?:live|test)_\w{16,}", r"\bnpm_[A-Za-z0-9]{30,}", r"\bpypi-[\w-]{30,}", r"\bdckr_pat_[\w-]{20,}",
    r"\bdop_v1_[0-9a-f]{40,}",
    r"\bdapi[0-9a-f]{32}", r"\"key\"\s*:\s*\"[0-9a-f]{32}\"", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}", r"-----BEGIN [A-Z ]*PRIVATE KEY",
    r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@",
    r"(?i:\b\w*(?:api_?key|secret|token|passwd|password)[\"']?\s*[:=]\s*[\"']?)(?=\S*\d)[\w+/=.-]{12,}",
    r"(?i:\bbearer\s+)[\w+/=.-]{20,}",
)  # fmt: skip
_PATTERNS = {
    "path": ("an absolute path", re.compile(
        r"(?<![\w/:.<)~\\-])/(?:[\w.+@-]+/)+[\w.+@-]*|(?<![\w/])~/\w|\bfile:/|\b[A-Za-z]:\\+\w|(?<!\\)\\\\\\?\\?[A-Za-z][\w.-]+\\+\w"
    )),
    "patient": (
        "a field of patient data",
        re.compile(r"\bPatient(?:'?s)?[ _]?(?:Name|ID|Birth ?Date|Address)\b|\(0010, ?[0-9a-f]{4}\)"),
    ),
    "token": ("an access token", re.compile("|".join(_TOKENS))),
}  # fmt: skip
#: Names of users and machines that identify nobody.
_NOBODY = {
    "root", "user", "admin", "ubuntu", "debian", "runner", "docker", "jovyan", "vscode", "localhost", "model", "models", "train",
    "test", "data", "research", "mammozoo", "image", "images", "home",
}  # fmt: skip
#: Words of the Hub's metadata, which its client writes into a card, of adapters, options, devices and precisions.
_MORE = """args index library_name metric metrics model-index results revision task tags type value verified
dropped dtype renamed tensors beta dropout features imagenet random width cpu cuda mps bf16 fp16 fp32"""
#: Chunks of a PNG file that say what the picture looks like → the most bytes that they need.
_CHUNKS = {
    b"IHDR": 13, b"PLTE": 768, b"IDAT": 2**31, b"IEND": 0,
    b"tRNS": 256, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"sBIT": 4, b"bKGD": 6, b"pHYs": 9,
}  # fmt: skip
_HARMLESS = b"Software\0"  # the name of the drawing program; it is searched as text

#: A short name for what was found, and the sentence about it.
Finding = tuple[str, str]


def screen(folder: Path, allow: Collection[str] = ()) -> None:
    """Search all files in `folder`; RefusedToPublishError lists the problems, where they are, and the name of each.

    Those whose names are in `allow` are logged instead.
    """
    files = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    found = [
        (f"{path.relative_to(folder).as_posix()}:{name}", text)
        for path in files
        for name, text in _problems(folder, path)
    ]
    for name, text in found:
        if name in allow:
            log.warning("Allowed: %s [%s].", text, name)
    if problems := [f"{text} [{name}]" for name, text in found if name not in allow]:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise RefusedToPublishError(
            f"This must not be published: {'; '.join(problems[:8])}{more}. Nothing was sent. Remove it and try again. If one of "
            "them is none, name it as in the brackets: --allow NAME."
        )


def _problems(folder: Path, path: Path) -> Iterator[Finding]:
    name = path.relative_to(folder).as_posix()
    if path.is_symlink():
        yield "link", f"'{name}' is a link"
        return
    if not is_file_of_a_model(name):
        yield (
            "file",
            f"'{name}' is not a file of a model (README.md, LICENSE, config.json, *.safetensors, figures/*.png)",
        )
    content = path.read_bytes()
    if content[128:132] == b"DICM":
        yield "dicom", f"'{name}' is a DICOM file"
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), "")
    if name.startswith("figures/"):
        yield from _figure_problems(name, content)
    elif kind and not name.endswith(".safetensors"):  # its first bytes are a length and can be anything
        yield "format", f"'{name}' is {kind}"
    if name.endswith(".safetensors"):
        yield from _weights_problems(name, content)
    elif name.endswith(_TEXTS):
        yield from _text_problems(name, content)


def _figure_problems(name: str, content: bytes) -> Iterator[Finding]:
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        yield "format", f"'{name}' is not a PNG image"
        return
    offset, kind, pixels = 8, b"", b""
    seen = set[bytes]()
    while offset + 8 <= len(content) and kind != b"IEND":
        length, kind = int.from_bytes(content[offset : offset + 4]), content[offset + 4 : offset + 8]
        data = content[offset + 8 : offset + 8 + length]
        if kind == b"tEXt" and data.startswith(_HARMLESS):
            yield from _text_problems(name, data.removeprefix(_HARMLESS))
        elif length > _CHUNKS.get(kind, -1) or (kind in seen and kind != b"IDAT"):
            what = kind.decode("ascii", "replace")
            yield (
                f"chunk-{what}",
                f"'{name}' holds text or EXIF, or something else, beside the picture (chunk {what!r})",
            )
        seen.add(kind)
        pixels += data if kind == b"IDAT" else b""
        offset += length + 12
    unpacked = zlib.decompressobj()
    try:
        unpacked.decompress(pixels, 2**28)
    except zlib.error as error:
        yield "format", f"'{name}' is not a sound PNG image ({error})"
    if offset != len(content) or unpacked.unused_data:
        yield "end", f"'{name}' holds data after the end of the picture"


def _weights_problems(name: str, content: bytes) -> Iterator[Finding]:
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__", {})
    except (ValueError, AttributeError, RecursionError):
        yield "format", f"'{name}' is not a safetensors file"
        return
    if metadata != {"format": "pt"}:
        yield "metadata", f"'{name}' holds metadata beside the weights"


def _text_problems(name: str, content: bytes) -> Iterator[Finding]:
    """What a text must not hold, each time that it does: whoever allows one has seen it."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        yield "format", f"'{name}' is not text in UTF-8"
        return
    for kind, (what, pattern) in _PATTERNS.items():
        for line, words in _found(pattern, text):
            # A token is not repeated, not even here.
            shown = "" if kind == "token" else f" ({words[:60]})"
            yield f"{line}:{kind}", f"'{name}', line {line}, holds {what}{shown}"
    for who in _names():
        found = list(_found(re.compile(rf"(?<![\w-]){re.escape(who)}(?![\w-])", re.IGNORECASE), text))
        for line, _ in found if found and who.lower() not in _own_words() else ():
            yield f"{line}:name", f"'{name}', line {line}, holds the name of this machine or its user ({who})"


def _found(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """(line, words) of every match."""
    line, end = 1, 0
    for match in pattern.finditer(text):
        line, end = line + text.count("\n", end, match.start()), match.start()
        yield line, match[0]


def _names() -> Iterable[str]:
    """Names of the user and of the machine, unless they identify nobody."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a process whose user has no name
        user = ""
    host = socket.gethostname()
    names = {user, Path.home().name, host, host.partition(".")[0]}
    return sorted(name for name in names if len(name) > 2 and name.lower() not in _NOBODY)


def _own_words() -> set[str]:
    """Words that mammozoo itself writes into cards and configs, and names that plugins provide: they tell of no user."""
    parts = [_MORE, json.dumps(ModelConfig.model_json_schema())]
    parts += [
        Path(__file__).with_name(file).read_text(encoding="utf-8") for file in ("card.md.j2", "card.py", "account.py")
    ]
    for kind in KINDS:
        parts += registry().items(kind)
    for dataset in registry().items("datasets").values():
        parts += dataset.value.info.classes or ()
    return {word.lower() for part in parts for word in re.findall(r"[\w-]+", part)}
