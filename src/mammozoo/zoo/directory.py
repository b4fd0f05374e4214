"""Directory zoos: models in a folder with their `zoo.yaml` and `SHA256SUMS`, for machines without a network."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.version import InvalidVersion, Version

from mammozoo.errors import ConflictError, RegistryError
from mammozoo.files import locked, read_promised, sha256, size_of, write_bytes, write_text
from mammozoo.zoo.entry import Entry, FolderSource, ZooModel, read_zoo
from mammozoo.zoo.staging import Staged, taken
from mammozoo.zoo.verify import has_hash, verify

log = logging.getLogger(__name__)
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
    copies = [
        (verify(model), model.entry.model_copy(update={"source": _place(model.entry.name, model.entry.version)}))
        for model in models
    ]
    with _alone(to / "zoo.yaml"):
        present = _entries(to)
        for _, entry in copies:
            if (other := present.get(entry.name)) and other.files != entry.files:
                raise ConflictError(
                    f"'{to / 'zoo.yaml'}' has another model '{entry.name}' ({other.version}), which was not changed. Remove "
                    "that entry, or export to another folder."
                )
        _add(copies, to, present, head=_HEAD)
    return [entry for _, entry in copies]


def put(staged: Staged, to: Path, summary: str = "") -> Entry:
    """Put a staged model into the directory zoo `to`; an older version of it loses its entry, and its files stay.

    Nothing is changed if `to` has this version already, listed or not.

    Raises:
        ConflictError: `to` has this version with other content, or lists a later one.
        FailedError, AccessError: `to` cannot be written.
    """
    about = staged.publication
    entry = staged.entry(_place(about.name, about.version), summary)
    assert entry is not None, "a backbone is not a model"
    with _alone(to / "zoo.yaml"):
        present = _entries(to)
        listed = present.get(entry.name)
        if listed and _later(listed, entry) and _on_disk(entry, to) == set(entry.files):
            log.warning("'%s' has this version; it lists %s %s, which stays.", to, listed.name, listed.version)
        else:
            _add([(staged.folder, entry)], to, present)
    return entry


def entry_text(entry: Entry) -> str:
    """The entry as an item of `models`, to paste."""
    content = [entry.model_dump(mode="json", exclude_defaults=True)]
    form: Any = {"sort_keys": False, "allow_unicode": True, "width": 128, "default_flow_style": None}
    text: str = yaml.dump(content, Dumper=_Plain, **form)
    return text


def write_entries(path: Path, entries: Iterable[Entry], *, head: str = "") -> None:
    """Write entries into the zoo at `path`, each in the place of the one of its name or at the end; other lines stay.

    A missing zoo is created, with the comment `head`.

    Raises:
        ConflictError: the zoo lists a later version of one of them, or another process writes to it for minutes.
        RegistryError: `path` is not a zoo, or is laid out so that an entry cannot be written into it.
    """
    with _alone(path):
        _write_entries(path, entries, _entries(path.parent, path.name), head)


def _write_entries(path: Path, entries: Iterable[Entry], present: Mapping[str, Entry], head: str) -> None:
    text = f"{head}schema: 1\nmodels: []\n"
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    new = {entry.name: entry for entry in entries}
    for entry in new.values():
        _refuse_older(present, entry, path)
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


def _entries(folder: Path, file: str = "zoo.yaml") -> dict[str, Entry]:
    """The entries of a directory zoo by name; none if there is no zoo yet."""
    path = folder / file
    return {entry.name: entry for entry in read_zoo(path).models} if path.is_file() else {}


def _add(copies: list[tuple[Path, Entry]], to: Path, present: dict[str, Entry], *, head: str = "") -> None:
    """Copy the files of each entry from its folder into the zoo `to` with the entries `present`; then `zoo.yaml`, `SHA256SUMS`.

    A version never changes: ConflictError if one is there with other content. Damaged files of one that is listed are put right.
    """
    for _, entry in copies:
        _refuse_older(present, entry, to / "zoo.yaml")
        listed = present.get(entry.name)
        if listed and listed.version == entry.version:
            if listed.files != entry.files:
                raise taken(to / "zoo.yaml", entry)
        elif _on_disk(entry, to) is None:
            raise taken(to, entry)
    for folder, entry in copies:
        place = _place(entry.name, entry.version).folder(to / "zoo.yaml")
        for name, promised in entry.files.items():
            if not has_hash(place / name, promised.sha256, promised.size):
                write_bytes(place / name, read_promised(folder / name) or (folder / name).read_bytes())
    new = {entry.name: entry for _, entry in copies}
    _write_entries(to / "zoo.yaml", new.values(), present, head)
    lines = [f"{sha256(to / 'zoo.yaml')}  zoo.yaml"]
    for entry in (present | new).values():
        if isinstance(entry.source, FolderSource):
            lines += [f"{file.sha256}  {entry.source.path}/{name}" for name, file in entry.files.items()]
    write_text(to / "SHA256SUMS", "\n".join(lines) + "\n")


@contextlib.contextmanager
def _alone(zoo: Path) -> Iterator[None]:
    """One process at a time reads and changes a `zoo.yaml`."""
    lock = locked(zoo.with_name(f".{zoo.name}.lock"), signs=lambda: size_of(zoo.parent / "models"))
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock)
        except TimeoutError:
            raise ConflictError(f"Another process has been writing to '{zoo}' for a minute. Try again later.") from None
        yield


def _on_disk(entry: Entry, to: Path) -> set[str] | None:
    """The files of this version that the folder `to` has, listed or not; None if one of them has other content."""
    place = _place(entry.name, entry.version).folder(to / "zoo.yaml")
    paths = [path for path in place.rglob("*") if path.is_file() and not path.name.endswith(".tmp")]
    found = {path.relative_to(place).as_posix(): path for path in paths}
    same = (file in entry.files and has_hash(path, entry.files[file].sha256) for file, path in found.items())
    return set(found) if all(same) else None


def _refuse_older(present: Mapping[str, Entry], entry: Entry, path: Path) -> None:
    listed = present.get(entry.name)
    if listed and _later(listed, entry):
        what = f"'{path}' lists '{listed.name}' {listed.version}, which is later than {entry.version}"
        raise ConflictError(f"{what}; its entry was not changed. Choose a later --version.")


def _later(one: Entry, other: Entry) -> bool:
    """Whether a version comes after another; versions that are no numbers have no order."""
    try:
        return Version(one.version) > Version(other.version)
    except InvalidVersion:
        return False


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
