"""The command lines in the blocks of README and docs, as a shell would read them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
#: Generated from the command line itself.
GENERATED = {"cli.md"}
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: A value that a line of the same block gives, as `DATA="--root ~/BUSI"` or `OPTIONS=(--folds 5)`.
VALUE = re.compile(r"""^(\w+)=\(?["']?(.*?)["']?\)?$""", re.MULTILINE)
VARIABLE = re.compile(r'("?)\$\{?(\w+|@)(?:\[@\])?\}?\1')
COMMAND = re.compile(r"^\s*(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?mammozoo (.*)$")


class Line(NamedTuple):
    """One command: the page, its number among the page's commands, and the words behind `mammozoo`."""

    page: str
    number: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: mammozoo {shlex.join(self.words)}"


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
    return [page for page in found if page.name not in GENERATED and "models" not in page.parent.parts]


def lines(page: Path) -> list[Line]:
    """All commands of a page, one from each line; those joined by `&&` on one line are several."""
    found = (words for block in BLOCK.findall(page.read_text(encoding="utf-8")) for words in _commands(block))
    return [Line(page.relative_to(ROOT).as_posix(), number, words) for number, words in enumerate(found)]


def _commands(block: str) -> Iterator[tuple[str, ...]]:
    block = re.sub(r"\\\n\s*", " ", block)
    values = dict(VALUE.findall(block))
    for text in block.splitlines():
        for part in text.split(" && "):
            if typed := COMMAND.match(part):
                line = VARIABLE.sub(lambda name: values.get(name[2], "" if name[2] == "@" else "0"), typed[1])
                yield tuple(_words(line))


def _words(line: str) -> Iterator[str]:
    shell = shlex.shlex(line, posix=True, punctuation_chars="<>|;&")
    shell.whitespace_split = True
    for word in shell:
        if word in {">", ">>", "<", "|", ";", "&"}:
            return
        if word != "…":
            yield word
