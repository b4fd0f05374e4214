"""What a zoo must keep: a valid `zoo.yaml`, names of its own, stated terms, and files that are what it promises."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError
from mammozoo.models.config import read_config
from mammozoo.plugins import registry
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.offline import offline
from mammozoo.zoo.entry import PackageSource, ZooModel, read_zoo
from mammozoo.zoo.registry import catalogue, whole, with_bases
from mammozoo.zoo.verify import check_tensors, check_usable, verify

ZooSubject = Subject[Path]


@rule("A zoo that cannot be read hides every model, ours too.", "Change the line that the message names.")
def zoo_loads(subject: ZooSubject) -> str | None:
    """The file is a `zoo.yaml`: plain YAML, known keys, a hash and a size for each file, sources pinned."""
    if subject.value.name != "zoo.yaml":
        return f"The file is called '{subject.value.name}', not 'zoo.yaml'."
    read_zoo(subject.value)
    return None


@rule(
    "A name must mean one model wherever it is written, also where the packaged zoo has it.",
    "Rename yours; begin its name with your plugin's.",
    needs=[zoo_loads],
)
def names_are_unique(subject: ZooSubject) -> str | None:
    """No name is there twice or means another model in another zoo, and `default` is one of them."""
    zoo = read_zoo(subject.value)
    count = Counter(entry.name for entry in zoo.models)
    if twice := [name for name, times in count.items() if times > 1]:
        return f"The model '{twice[0]}' is there {count[twice[0]]} times."
    if zoo.default is not None and zoo.default not in count:
        return f"`default` is '{zoo.default}', which it does not list."
    try:
        with _among_the_zoos(subject.value):
            catalogue()
    except ConflictError as error:
        return str(error)
    return None


@rule(
    "Whoever uses a model must know whether they may, and what for.",
    "State an SPDX identifier (`apache-2.0`, `cc-by-nc-4.0`, or `LicenseRef-NAME` for one of your own), and a sentence each.",
    needs=[zoo_loads],
)
def licence_and_terms(subject: ZooSubject) -> str | None:
    """Each model states its licence as an SPDX identifier, the terms of its data, its use, and what it is."""
    for entry in read_zoo(subject.value).models:
        try:
            canonicalize_license_expression(entry.license)
        except InvalidLicenseExpression:
            return f"The licence '{entry.license}' of '{entry.name}' is no SPDX identifier."
        for key in ("data_terms", "intended_use", "summary"):
            if not getattr(entry, key).strip():
                return f"'{entry.name}' has no {key}."
    return None


@rule(
    "The card says what a model was trained on and how well it does; a model without one should not be used.",
    "List README.md with its hash and size; every run of `mammozoo train` has one.",
    needs=[zoo_loads],
)
def cards_are_there(subject: ZooSubject) -> str | None:
    """Each model that was not withdrawn has a README.md among its files."""
    without = [e.name for e in read_zoo(subject.value).models if "README.md" not in e.files and not e.withdrawn]
    return f"'{without[0]}' lists no README.md." if without else None


@rule(
    "A model whose bytes are others than promised is refused at every load.",
    "Write the SHA-256 and the size of each file anew, or put back the file that they belong to.",
    needs=[zoo_loads],
)
def files_are_as_promised(subject: ZooSubject) -> str | None:
    """On this machine each file has its SHA-256 and size, and nothing unlisted lies beside it in the package or folder."""
    for model in _here(subject):
        folder = verify(model)
        unlisted = sorted(
            {_name(path, folder) for path in folder.rglob("*") if path.is_file()} - set(model.entry.files)
        )
        if unlisted and model.from_hub is None:
            return f"Beside the files of '{model.entry.name}' lies '{unlisted[0]}', which is not listed."
    return None


@rule(
    "Lists and choices are made by `zoo.yaml`, predictions by `config.json`.",
    "Copy `classes` and `input_size` from config.json, in its order.",
    needs=[files_are_as_promised],
)
def entries_agree_with_models(subject: ZooSubject) -> str | None:
    """Where an entry states classes and input size, they are those of the model's config.json."""
    for model in _here(subject):
        config = read_config(model.folder)
        for key, stated, own in (
            ("classes", model.entry.classes, config.classes),
            ("input_size", model.entry.input_size, config.input.size),
        ):
            if stated and tuple(stated) != tuple(own):
                return (
                    f"The {key} of '{model.entry.name}' are {_words(stated)} here and {_words(own)} in its config.json."
                )
    return None


@rule(
    "An adapter is only the difference: without its base it is nothing.",
    "List the base in this zoo too, with the weights that the adapter was made for.",
    needs=[names_are_unique],
)
def bases_are_known(subject: ZooSubject) -> str | None:
    """The base of each adapter is in some zoo, with the weights that it was made for."""
    with _among_the_zoos(subject.value):
        for model in _models(subject):
            with_bases(model)
    return None


@rule(
    "A model that does not load is of no use to anybody.",
    "Export it anew from its run; what its names need, make a dependency of your package.",
    needs=[names_are_unique, files_are_as_promised, bases_are_known],
)
def models_are_rebuilt(subject: ZooSubject) -> str | None:
    """Each model on this machine is built without a network, its weights fit, and all of them are finite."""
    with _among_the_zoos(subject.value), offline() as tried:
        for model in _here(subject):
            check_tensors(whole(model))
    return f"Building a model tried to connect to {tried[0]}." if tried else None


RULES: list[Rule[Path]] = [
    zoo_loads, names_are_unique, licence_and_terms, cards_are_there, files_are_as_promised, entries_agree_with_models,
    bases_are_known, models_are_rebuilt,
]  # fmt: skip


def _models(subject: ZooSubject) -> list[ZooModel]:
    return [ZooModel(entry, subject.value) for entry in read_zoo(subject.value).models]


def _here(subject: ZooSubject) -> list[ZooModel]:
    """The models that this machine has and this mammozoo may use; skips where the zoo lists others only."""
    models = _models(subject)
    found = []
    for model in models:
        with contextlib.suppress(NotFoundError, IncompatibleError):
            check_usable(model.entry)
            if isinstance(model.entry.source, PackageSource) or model.state != "not pulled":
                found.append(model)
    if models and not found:
        raise NotChecked("None of its models is on this machine: get them with `mammozoo zoo pull NAME`.")
    return found


@contextlib.contextmanager
def _among_the_zoos(path: Path) -> Iterator[None]:
    """The zoos of this machine and this one, which may not be installed yet."""
    installed = {item.value.resolve() for item in registry().items("zoos").values()}
    if path.resolve() in installed:
        yield
        return
    folders = filter(None, [str(path.parent), os.environ.get("MAMMOZOO_ZOO", "")])
    with mock.patch.dict(os.environ, MAMMOZOO_ZOO=os.pathsep.join(folders)):
        yield


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _words(values: object) -> str:
    return ", ".join(map(str, values)) if isinstance(values, tuple) else str(values)
