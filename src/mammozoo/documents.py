"""Strict, bounded readers of YAML and JSON from anywhere: plain data only, in time and memory linear in the file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from yaml.composer import Composer, ComposerError
from yaml.constructor import SafeConstructor
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from mammozoo.errors import MammozooError

try:
    from yaml.cyaml import CParser as _Events  # type: ignore[attr-defined] # ten times as fast
except ImportError:

    class _Events(Reader, Scanner, Parser):  # type: ignore[no-redef]
        def __init__(self, text: str):
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)


#: Longest YAML file that is read, in bytes; a zoo of a thousand models stays below.
LIMIT = 4 * 2**20
_DEEPEST = 100  # values in values
_EXPANDED = 10_000  # values that all aliases of a file stand for; a few lines could stand for gigabytes
_MERGE = "tag:yaml.org,2002:merge"


class _Resolver(BaseResolver):
    """Scalars as in JSON; what is a text in YAML 1.1 is one here too.

    YAML 1.1 also has dates, octal numbers, and numbers to base 60, which take quadratic time.
    """


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(0|[1-9][0-9]{0,99})", "-+0123456789"),
    ("float", r"([-+]?[0-9]{1,99}\.[0-9]*|\.[0-9]+)([eE][-+][0-9]{1,3})?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    _first_letters = [letter.replace("\0", "") for letter in _first]
    _Resolver.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), _first_letters)


class _Loader(Composer, _Events, SafeConstructor, _Resolver):
    """Plain data: no tags, no key twice, and aliases and merge keys only where they are `allowed`, and of few values."""

    def __init__(self, text: str, allowed: bool):
        _Events.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        _Resolver.__init__(self)
        self.allowed, self.depth, self.expanded = allowed, 0, 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if not self.allowed:
                self._refuse("an alias; write the value out", event)
            alias = super().compose_node(parent, index)
            self.expanded += self.sizes.get(id(alias), _EXPANDED)  # one within itself has no size yet
            if self.expanded >= _EXPANDED:
                self._refuse("aliases that stand for too much; write the values out", event)
            return alias
        if event.tag is not None:
            self._refuse(f"the tag '{event.tag}'; only plain values are read", event)
        if self.depth >= _DEEPEST:
            self._refuse("values nested too deeply", event)
        self.depth += 1
        node: Any = super().compose_node(parent, index)
        self.depth -= 1
        children = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        self.sizes[id(node)] = 1 + (
            0 if isinstance(children, str) else sum(self.sizes[id(child)] for child in children)
        )
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        return node

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE and not self.allowed:
                self._refuse("a merge key; write the values out", key)
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    self._refuse(f"the key '{key.value}' twice", key)
                seen.add(key.value)

    def _refuse(self, what: str, where: Any) -> None:
        raise ComposerError(None, None, what, where.start_mark)


class Document:
    """A YAML file: its `content`, and the line of each value."""

    def __init__(self, text: str, *, aliases: bool = False):
        """Read a text; a ValueError names the line where it is not plain YAML."""
        try:
            loader = _Loader(text, aliases)
            self._node = loader.get_single_node()
            self.content: Any = None if self._node is None else loader.construct_document(self._node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise ValueError(f"{line}{error.problem or error.context}") from None
        except (TypeError, yaml.YAMLError) as error:
            raise ValueError(" ".join(str(error).split())) from None
        _check_text(self.content)

    @classmethod
    def read(cls, path: Path, refusal: type[MammozooError], *, aliases: bool = False) -> Document:
        """The document in a file; `refusal`, with the file and the line, if it cannot be read."""
        try:
            with path.open("rb") as handle:
                raw = handle.read(LIMIT + 1)
            if len(raw) > LIMIT:
                raise ValueError(f"it is longer than {LIMIT // 2**20} MiB")
            return cls(raw.decode("utf-8-sig"), aliases=aliases)
        except (OSError, ValueError) as error:
            raise refusal(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None

    def line(self, location: Sequence[object]) -> int:
        """The line (from 1) of the value at `location`, or of its nearest enclosing value in the file."""
        node, line = self._node, 1
        for part in location:
            children: dict[str, yaml.Node] = {}
            if isinstance(node, yaml.SequenceNode):
                children = {str(number): child for number, child in enumerate(node.value)}
            elif isinstance(node, yaml.MappingNode):
                children = {str(key.value): child for key, child in node.value}
            if child := children.get(str(part)):
                node, line = child, child.start_mark.line + 1
        return line


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, has a key twice or a number that is not finite (Python's reader takes both), or is nested too
            deeply.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("values nested too deeply") from None
    _check_text(content)
    return content


def read_json(path: Path) -> Any:
    """The value in a JSON file; ValueError as `parse_json`, OSError if there is no such file."""
    return parse_json(path.read_bytes().decode("utf-8"))


def as_kind(content: Any, kind: Any) -> Any:
    """The value itself, with all that it holds, if it is of this type; ValueError that names the place where it is not."""
    try:
        TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise ValueError(f"{where}: {first['msg']}") from None
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"the key '{key}' twice")
        content[key] = value
    return content


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _check_text(content: Any) -> None:
    """Refuse half of a character, which an escape can write and no file or terminal, and a number that is not finite."""
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, skipkeys=True)
        text.encode("utf-8", "surrogateescape")  # names of files that are not UTF-8 are held so
    except UnicodeEncodeError:
        raise ValueError("a text holds half of a character (a surrogate)") from None
    except RecursionError:
        raise ValueError("values nested too deeply") from None
