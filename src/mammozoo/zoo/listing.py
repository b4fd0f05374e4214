"""An entry written into a `zoo.yaml`, whose other lines, comments among them, stay as they are."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from mammozoo.errors import RegistryError
from mammozoo.files import write_text
from mammozoo.zoo.entry import Entry, read_zoo

_EMPTY = "schema: 1\nmodels:\n"


class _Plain(yaml.SafeDumper):
    """YAML as a zoo is allowed to have it: without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        return True


def entry_text(entry: Entry) -> str:
    """The entry as an item of `models`, to paste."""
    content = entry.model_dump(mode="json", exclude_defaults=True)
    text: str = yaml.dump(
        [content], Dumper=_Plain, sort_keys=False, allow_unicode=True, width=128, default_flow_style=None
    )
    return text


def write_entry(path: Path, entry: Entry) -> None:
    """Put the entry into the zoo at `path`: in the place of the one of that name, or at the end; a new zoo if there is none.

    Raises:
        RegistryError: what is there is no zoo, or is laid out so that an entry cannot be put into it.
        AccessError, FailedError: it cannot be written.
    """
    text = path.read_text(encoding="utf-8") if path.is_file() else _EMPTY
    if path.is_file():
        read_zoo(path)
    made = _replaced(text, entry, path)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "zoo.yaml"
        trial.write_text(made, encoding="utf-8")
        written = {other.name: other for other in read_zoo(trial).models}
    if written.get(entry.name) != entry:
        raise RegistryError(f"The entry cannot be written into '{path}'; paste it by hand.")
    write_text(path, made)


def _replaced(text: str, entry: Entry, path: Path) -> str:
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    models = next((value for key, value in pairs if key.value == "models"), None)
    if isinstance(models, yaml.SequenceNode) and models.flow_style and models.value:
        raise RegistryError(
            f"'{path}' lists its models in one line; put each in lines of its own, or paste the entry by hand."
        )
    if not isinstance(models, yaml.SequenceNode) or not models.value:
        kept = [line for line in lines if not re.match(r"models:", line)]
        return "\n".join([*kept, "models:", *_indented(entry, 2), ""])
    indent = models.start_mark.column
    names = {_name(item): item for item in models.value}
    if (item := names.get(entry.name)) is not None:
        start, end = item.start_mark.line, _end(lines, item.end_mark.line)
    else:
        start = end = _end(lines, models.end_mark.line)
    return "\n".join([*lines[:start], *_indented(entry, indent), *lines[end:], ""])


def _name(item: yaml.Node) -> str:
    pairs = item.value if isinstance(item, yaml.MappingNode) else []
    return next((str(value.value) for key, value in pairs if key.value == "name"), "")


def _end(lines: list[str], end: int) -> int:
    """The line behind a node; comments and empty lines before what follows belong to that."""
    while end > 0 and (end > len(lines) or not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _indented(entry: Entry, by: int) -> list[str]:
    return [" " * by + line if line else line for line in entry_text(entry).splitlines()]
