"""What a zoo promises: a valid `zoo.yaml`, unique names, stated terms, and files with the hashes that it lists."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from mammozoo.errors import ConflictError, IncompatibleError, NotFoundError
from mammozoo.models.config import read_config
from mammozoo.plugins import registry
from mammozoo.testing.check import NotChecked, Rule, Subject, rule
from mammozoo.testing.sandbox import offline
from mammozoo.zoo.entry import PackageSource, ZooModel, read_zoo
from mammozoo.zoo.registry import catalogue, whole, with_bases
from mammozoo.zoo.verify import check_tensors, check_usable, verify

ZooSubject = Subject[Path]


@rule()
def zoo_loads(subject: ZooSubject) -> None:
    """The file is a `zoo.yaml`: plain YAML, known keys, a hash and a size for each file, sources pinned.

    A zoo that cannot be read hides every model, ours too. Change the line that the message names.
    """
    assert subject.value.name == "zoo.yaml", f"The file is called '{subject.value.name}', not 'zoo.yaml'."
    read_zoo(subject.value)


@rule(zoo_loads)
def names_are_unique(subject: ZooSubject) -> None:
    """No name is there twice or means another model in another zoo, and `default` is one of them.

    A name must mean one model wherever it is written, also where the packaged zoo has it. Rename yours; begin its name with your
    plugin's.
    """
    zoo = read_zoo(subject.value)
    count = Counter(entry.name for entry in zoo.models)
    for name, times in count.items():
        assert times == 1, f"The model '{name}' is there {times} times."
    assert zoo.default in (None, *count), f"`default` is '{zoo.default}', which it does not list."
    try:
        with _among_the_zoos(subject.value):
            catalogue()
    except ConflictError as error:
        raise AssertionError(str(error)) from None


@rule(zoo_loads)
def licence_and_terms(subject: ZooSubject) -> None:
    """Each model states its licence as an SPDX identifier, the terms of its data, its use, and what it is.

    Whoever uses a model must know whether they may, and what for. State an SPDX identifier (`apache-2.0`, `cc-by-nc-4.0`, or
    `LicenseRef-NAME` for one of your own), and a sentence each.
    """
    for entry in read_zoo(subject.value).models:
        try:
            canonicalize_license_expression(entry.license)
        except InvalidLicenseExpression:
            raise AssertionError(
                f"The licence '{entry.license}' of '{entry.name}' is not an SPDX identifier."
            ) from None
        for key in ("data_terms", "intended_use", "summary"):
            assert getattr(entry, key).strip(), f"'{entry.name}' has no {key}."


@rule(zoo_loads)
def cards_are_there(subject: ZooSubject) -> None:
    """Each model that was not withdrawn has a README.md among its files.

    The card says what a model was trained on and how well it does; a model without one should not be used. List README.md with its
    hash and size; every run of `mammozoo train` has one.
    """
    for entry in read_zoo(subject.value).models:
        assert "README.md" in entry.files or entry.withdrawn, f"'{entry.name}' lists no README.md."


@rule(zoo_loads)
def files_are_as_promised(subject: ZooSubject) -> None:
    """On this machine each file has its SHA-256 and size, and nothing unlisted lies beside it in the package or folder.

    A model whose bytes are others than promised is refused at every load. Write the SHA-256 and the size of each file anew, or put
    back the file that they belong to.
    """
    for model in _on_this_machine(subject):
        folder = verify(model)
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        unlisted = sorted(names - set(model.entry.files)) if model.from_hub is None else []
        assert not unlisted, f"Beside the files of '{model.entry.name}' lies '{unlisted[0]}', which is not listed."


@rule(files_are_as_promised)
def entries_agree_with_models(subject: ZooSubject) -> None:
    """Classes and input size, if an entry states them, equal those of the model's config.json.

    Lists and choices are made by `zoo.yaml`, predictions by `config.json`. Copy `classes` and `input_size` from config.json, in its
    order.
    """
    for model in _on_this_machine(subject):
        entry, config = model.entry, read_config(model.folder)
        for key, stated, actual in (
            ("classes", entry.classes, config.classes),
            ("input_size", entry.input_size, config.input.size),
        ):
            assert not stated or tuple(stated) == tuple(actual), (
                f"The {key} of '{entry.name}' are {_listed(stated)} here and {_listed(actual)} in its config.json."
            )


@rule(names_are_unique)
def bases_are_known(subject: ZooSubject) -> None:
    """The base of each adapter is in some zoo, with the weights that it was made for.

    An adapter is only the difference: without its base it is nothing. List the base in this zoo too, with the weights that the
    adapter was made for.
    """
    with _among_the_zoos(subject.value):
        for model in _models(subject):
            with_bases(model)


@rule(names_are_unique, files_are_as_promised, bases_are_known)
def models_are_rebuilt(subject: ZooSubject) -> None:
    """Each model on this machine is built without a network, its weights fit, and all of them are finite.

    A model that does not load is of no use to anybody. Export it anew from its run; what its names need, make a dependency of your
    package.
    """
    with _among_the_zoos(subject.value), offline() as attempts:
        for model in _on_this_machine(subject):
            check_tensors(whole(model))
    assert not attempts, f"Building a model tried to connect to {attempts[0]}."


RULES: list[Rule[Path]] = [
    zoo_loads, names_are_unique, licence_and_terms, cards_are_there, files_are_as_promised, entries_agree_with_models,
    bases_are_known, models_are_rebuilt,
]  # fmt: skip


def _models(subject: ZooSubject) -> list[ZooModel]:
    return [ZooModel(entry, subject.value) for entry in read_zoo(subject.value).models]


def _on_this_machine(subject: ZooSubject) -> list[ZooModel]:
    """The models that this machine has and this mammozoo may use; skips if the zoo lists only others."""
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


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
