"""YAML as plain data and nothing else, with the line of every value: what a file that decides about trust is read with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mammozoo.errors import RegistryError

#: Bytes of a file that are read; a zoo of a thousand models stays below.
LIMIT = 4 * 2**20
_MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without aliases (a few lines could stand for gigabytes) and without keys given twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias; write the value out", event.start_mark)
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if key.tag == _MERGE:
                    raise yaml.composer.ComposerError(None, None, "a merge key; write the values out", key.start_mark)
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        raise yaml.composer.ComposerError(None, None, f"the key '{key.value}' twice", key.start_mark)
                    seen.add(key.value)
        return node


class Document:
    """A YAML file: its `content`, and on which line each value of it stands."""

    def __init__(self, path: Path):
        """Read `path`.

        Raises:
            RegistryError: it cannot be read, is too long, or is not plain YAML; the message names the line.
        """
        self.path = path
        try:
            with path.open("rb") as handle:
                raw = handle.read(LIMIT + 1)
            if len(raw) > LIMIT:
                raise RegistryError(f"'{path}' cannot be read: it is longer than {LIMIT // 2**20} MiB.")
            loader = _Loader(raw.decode("utf-8"))
            try:
                self._node = loader.get_single_node()
                self.content: Any = None if self._node is None else loader.construct_document(self._node)
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise RegistryError(f"'{path}' cannot be read: {line}{error.problem or error.context}.") from None
        except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
            raise RegistryError(f"'{path}' cannot be read: {' '.join(str(error).split())}.") from None
        except RecursionError:
            raise RegistryError(f"'{path}' cannot be read: it is nested too deeply.") from None

    def line(self, location: Sequence[object]) -> int:
        """The line (from 1) of the value at `location`, or of the last thing on the way to it that is there."""
        node, line = self._node, 1
        for part in location:
            inner = _below(node, part)
            if inner is not None:
                node = inner
                line = inner.start_mark.line + 1
        return line


def _below(node: yaml.Node | None, part: object) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        inner: yaml.Node = node.value[part]
        return inner
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    return None
