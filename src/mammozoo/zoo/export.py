"""A directory zoo: models copied into a folder with their `zoo.yaml` and `SHA256SUMS`, to be carried where no network is."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from mammozoo.errors import ConflictError
from mammozoo.files import disk_error, sha256, write_text
from mammozoo.zoo.entry import Entry, FolderSource, Zoo, read_zoo
from mammozoo.zoo.listing import write_entry
from mammozoo.zoo.places import Listed
from mammozoo.zoo.staging import Staged
from mammozoo.zoo.verify import kept, verify

_HEAD = (
    "# A directory zoo, written by `mammozoo zoo export`. Use: MAMMOZOO_ZOO=FOLDER. Check: sha256sum -c SHA256SUMS\n"
)


def export(models: Iterable[Listed], to: Path) -> list[Entry]:
    """Copy checked models to `to/models/NAME/VERSION` and list them in `to/zoo.yaml`, beside those that it lists already.

    `zoo.yaml` and `SHA256SUMS` are written last, each in one go: what is interrupted leaves the zoo that was there before.

    Returns:
        The entries of the copies.

    Raises:
        NotFoundError: a model is not on this machine.
        NotVerifiedError: a file of it is not the promised one.
        ConflictError: `to` has another model of that name.
        FailedError, AccessError: `to` cannot be written.
    """
    path = to / "zoo.yaml"
    there = {entry.name: entry for entry in read_zoo(path).models} if path.is_file() else {}
    made = []
    for model in models:
        entry = model.entry
        if entry.name in there and there[entry.name].files != entry.files:
            raise ConflictError(
                f"'{path}' has another model '{entry.name}' ({there[entry.name].version}); nothing of it was changed. Remove "
                "that entry, or export to another folder."
            )
        relative = f"models/{entry.name}/{entry.version}"
        _copy(verify(model), to / relative, entry)
        made.append(entry.model_copy(update={"source": FolderSource(path=relative)}))
    listed = {**there, **{entry.name: entry for entry in made}}
    write_text(path, _HEAD + _dump(Zoo(schema=1, models=tuple(listed.values()))))
    write_text(to / "SHA256SUMS", _sums(to, list(listed.values())))
    return made


def put(staged: Staged, to: Path, summary: str = "") -> Entry:
    """Put a model that was staged into the directory zoo `to`, whose other entries stay as they are.

    An older version of it loses its entry; its files stay.

    Raises:
        ConflictError: `to` has this version with other content; a version never changes.
        FailedError, AccessError: `to` cannot be written.
    """
    about, path = staged.publication, to / "zoo.yaml"
    relative = f"models/{about.name}/{about.version}"
    entry = staged.entry(FolderSource(path=relative), summary)
    assert entry is not None, "a backbone is no model"
    there = {other.name: other for other in read_zoo(path).models}.get(entry.name) if path.is_file() else None
    if there is not None and there.version == entry.version and there.files != entry.files:
        raise ConflictError(
            f"'{path}' has a version {entry.version} of '{entry.name}' already, with other content; nothing was changed. A "
            "version never changes: choose another --version."
        )
    _copy(staged.folder, to / relative, entry)
    write_entry(path, entry)
    write_text(to / "SHA256SUMS", _sums(to, read_zoo(path).models))
    return entry


def _copy(source: Path, target: Path, entry: Entry) -> None:
    for name, promised in entry.files.items():
        place = target / name
        if kept(place, promised):
            continue
        partial = place.with_name(f".{place.name}.partial")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, partial)
            partial.replace(place)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise disk_error(error, place) from error


def _dump(zoo: Zoo) -> str:
    content: dict[str, Any] = zoo.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content = {"schema": 1, **content}
    return yaml.dump(content, Dumper=_Plain, sort_keys=False, allow_unicode=True, width=120)


class _Plain(yaml.SafeDumper):
    """Without aliases, which our reader refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _sums(zoo: Path, entries: Sequence[Entry]) -> str:
    """One line a file, as `sha256sum -c` reads them; `zoo.yaml` itself first."""
    lines = [f"{sha256(zoo / 'zoo.yaml')}  zoo.yaml"]
    for entry in entries:
        source = entry.source
        if isinstance(source, FolderSource):
            lines += [f"{file.sha256}  {source.path}/{name}" for name, file in entry.files.items()]
    return "\n".join(lines) + "\n"
