"""Directory zoos: models in a folder with their `zoo.yaml` and `SHA256SUMS`, for machines without a network."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from mammozoo.errors import ConflictError, RegistryError
from mammozoo.files import sha256, write_bytes, write_text
from mammozoo.zoo.entry import Entry, FolderSource, ZooModel, read_zoo
from mammozoo.zoo.staging import Staged, taken
from mammozoo.zoo.verify import has_hash, verify

_HEAD = (
    "# A directory zoo, written by `mammozoo zoo export`. Use: MAMMOZOO_ZOO=FOLDER. Check: sha256sum -c SHA256SUMS\n"
)


def export(models: Iterable[ZooModel], to: Path) -> list[Entry]:
    """Copy checked models to `to/models/NAME/VERSION`, list them in `to/zoo.yaml`, and return the entries of the copies.

    `zoo.yaml` and `SHA256SUMS` are written last, each atomically: an interruption leaves the previous zoo intact.

    Raises:
        NotFoundError, NotVerifiedError: a model is not on this machine, or a file of it is not the promised one.
        ConflictError: `to` has another model of that name.
        FailedError, AccessError: `to` cannot be written.
    """
    present = _entries(to)
    copies = []
    for model in models:
        entry = model.entry
        if (other := present.get(entry.name)) and other.files != entry.files:
            raise ConflictError(
                f"'{to / 'zoo.yaml'}' has another model '{entry.name}' ({other.version}), which was not changed. Remove that "
                "entry, or export to another folder."
            )
        copies.append((verify(model), entry.model_copy(update={"source": _place(entry.name, entry.version)})))
    _add(copies, to, head=_HEAD)
    return [entry for _, entry in copies]


def put(staged: Staged, to: Path, summary: str = "") -> Entry:
    """Put a staged model into the directory zoo `to`; an older version of it loses its entry, and its files stay.

    Raises:
        ConflictError: `to` has this version with other content; a version never changes.
        FailedError, AccessError: `to` cannot be written.
    """
    about = staged.publication
    entry = staged.entry(_place(about.name, about.version), summary)
    assert entry is not None, "a backbone is not a model"
    present = _entries(to).get(entry.name)
    if present is not None and present.version == entry.version and present.files != entry.files:
        raise taken(to / "zoo.yaml", about)
    _add([(staged.folder, entry)], to)
    return entry


def entry_text(entry: Entry) -> str:
    """The entry as an item of `models`, to paste."""
    content = [entry.model_dump(mode="json", exclude_defaults=True)]
    form: Any = {"sort_keys": False, "allow_unicode": True, "width": 128, "default_flow_style": None}
    text: str = yaml.dump(content, Dumper=_Plain, **form)
    return text


def write_entries(path: Path, entries: Iterable[Entry], *, head: str = "") -> None:
    """Write entries into the zoo at `path`, each in the place of the one of its name or at the end; other lines stay.

    A missing zoo is created, with the comment `head`. Raises RegistryError if `path` is not a zoo, or is laid out so that an
    entry cannot be written into it.
    """
    text = f"{head}schema: 1\nmodels: []\n"
    if path.is_file():
        read_zoo(path)
        text = path.read_text(encoding="utf-8")
    new = {entry.name: entry for entry in entries}
    for entry in new.values():
        text = _replaced(text, entry, path)
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "zoo.yaml"
        trial.write_text(text, encoding="utf-8")
        if not new.items() <= {entry.name: entry for entry in read_zoo(trial).models}.items():
            raise RegistryError(f"The entry cannot be written into '{path}'; paste it by hand.")
    write_text(path, text)


def _place(name: str, version: str) -> FolderSource:
    """Where a directory zoo keeps a model."""
    return FolderSource(path=f"models/{name}/{version}")


def _entries(folder: Path) -> dict[str, Entry]:
    """The entries of a directory zoo by name; none if there is no zoo yet."""
    path = folder / "zoo.yaml"
    return {entry.name: entry for entry in read_zoo(path).models} if path.is_file() else {}


def _add(copies: list[tuple[Path, Entry]], to: Path, *, head: str = "") -> None:
    """Copy the files of each entry from its folder into the zoo `to`, then write `zoo.yaml` and `SHA256SUMS`."""
    for folder, entry in copies:
        place = _place(entry.name, entry.version).folder(to / "zoo.yaml")
        for name, promised in entry.files.items():
            if not has_hash(place / name, promised.sha256, promised.size):
                write_bytes(place / name, (folder / name).read_bytes())
    write_entries(to / "zoo.yaml", [entry for _, entry in copies], head=head)
    lines = [f"{sha256(to / 'zoo.yaml')}  zoo.yaml"]
    for entry in _entries(to).values():
        if isinstance(entry.source, FolderSource):
            lines += [f"{file.sha256}  {entry.source.path}/{name}" for name, file in entry.files.items()]
    write_text(to / "SHA256SUMS", "\n".join(lines) + "\n")


class _Plain(yaml.SafeDumper):
    """A dumper without aliases, which the reader of zoos refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _replaced(text: str, entry: Entry, path: Path) -> str:
    """The text of a valid zoo with the entry in it."""
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None, "a valid zoo is not empty"
    models = next(value for key, value in root.value if key.value == "models")
    if models.flow_style and models.value:
        remedy = "put each in lines of its own, or paste the entry by hand"
        raise RegistryError(f"'{path}' lists its models in one line; {remedy}.")
    if not models.value:
        before = [line for line in lines if not re.match(r"models:", line)]
        return "\n".join([*before, "models:", *_indented(entry, 2), ""])
    items = {value.value: item for item in models.value for key, value in item.value if key.value == "name"}
    item = items.get(entry.name)
    end = _end(lines, (item or models).end_mark.line)
    start = item.start_mark.line if item else end
    return "\n".join([*lines[:start], *_indented(entry, models.start_mark.column), *lines[end:], ""])


def _end(lines: list[str], end: int) -> int:
    """The line after a node; comments and empty lines before the next node belong to that."""
    while end > 0 and (end > len(lines) or not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _indented(entry: Entry, by: int) -> list[str]:
    return [" " * by + line if line else line for line in entry_text(entry).splitlines()]
