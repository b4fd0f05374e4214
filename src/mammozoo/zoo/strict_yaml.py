"""A strict reader for files that decide about trust: YAML as plain data only, with the line of every value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mammozoo.errors import RegistryError

#: Longest file that is read, in bytes; a zoo of a thousand models stays below.
LIMIT = 4 * 2**20
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases (a few lines could stand for gigabytes), merge keys and keys given twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._refuse("an alias; write the value out", self.peek_event())  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if key.tag == _MERGE:
                    self._refuse("a merge key; write the values out", key)
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        self._refuse(f"the key '{key.value}' twice", key)
                    seen.add(key.value)
        return node

    def _refuse(self, what: str, where: Any) -> None:
        raise yaml.composer.ComposerError(None, None, what, where.start_mark)


class Document:
    """A YAML file: its `content`, and the line of each value."""

    def __init__(self, path: Path):
        """Read `path`; a RegistryError names the line where it is not plain YAML."""
        try:
            with path.open("rb") as handle:
                raw = handle.read(LIMIT + 1)
            if len(raw) > LIMIT:
                raise ValueError(f"it is longer than {LIMIT // 2**20} MiB")
            loader = _Loader(raw.decode("utf-8"))
            self._node = loader.get_single_node()
            self.content: Any = None if self._node is None else loader.construct_document(self._node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise RegistryError(f"'{path}' cannot be read: {line}{error.problem or error.context}.") from None
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise RegistryError(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None
        except RecursionError:
            raise RegistryError(f"'{path}' cannot be read: it is nested too deeply.") from None

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
