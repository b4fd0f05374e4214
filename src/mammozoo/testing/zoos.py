"""What a zoo promises: a valid `zoo.yaml`, unique names, stated terms, and files with the hashes that it lists."""

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
from mammozoo.testing.check import NotChecked, Rules, needs, rule
from mammozoo.testing.common import no_connection
from mammozoo.zoo.entry import PackageSource, ZooModel, read_zoo
from mammozoo.zoo.registry import catalogue, whole, with_bases
from mammozoo.zoo.verify import check_tensors, check_usable, verify


class ZooRules(Rules[Path]):
    """Tried on `zoo.yaml`, and on those of its models that this machine has."""

    @rule("A zoo that cannot be read hides every model, ours too. Change the line that the message names.")
    def zoo_loads(self) -> None:
        """The file is a `zoo.yaml`: plain YAML, known keys, a hash and a size for each file, sources pinned."""
        assert self.value.name == "zoo.yaml", f"The file is called '{self.value.name}', not 'zoo.yaml'."
        read_zoo(self.value)

    @needs(zoo_loads)
    @rule("A name must mean one model wherever it is written. Rename yours; begin its name with your plugin's.")
    def names_are_unique(self) -> None:
        """No name is there twice or means another model in another zoo, and `default` is one of them."""
        zoo = read_zoo(self.value)
        count = Counter(entry.name for entry in zoo.models)
        for name, times in count.items():
            assert times == 1, f"The model '{name}' is there {times} times."
        assert zoo.default in (None, *count), f"`default` is '{zoo.default}', which it does not list."
        try:
            with self._among_the_zoos():
                catalogue()
        except ConflictError as error:
            raise AssertionError(str(error)) from None

    @needs(zoo_loads)
    @rule("Users must know if they may. State an identifier (`apache-2.0`, `LicenseRef-NAME`), and a sentence each.")
    def licence_and_terms(self) -> None:
        """Each model states its licence as an SPDX identifier, the terms of its data, its use, and what it is."""
        for entry in read_zoo(self.value).models:
            try:
                canonicalize_license_expression(entry.license)
            except InvalidLicenseExpression:
                what = f"The licence '{entry.license}' of '{entry.name}'"
                raise AssertionError(f"{what} is not an SPDX identifier.") from None
            for key in ("data_terms", "intended_use", "summary"):
                assert getattr(entry, key).strip(), f"'{entry.name}' has no {key}."

    @needs(zoo_loads)
    @rule("A card says how well the model does. List README.md with its hash and size; every run has one.")
    def cards_are_there(self) -> None:
        """Each model that was not withdrawn has a README.md among its files."""
        for entry in read_zoo(self.value).models:
            assert "README.md" in entry.files or entry.withdrawn, f"'{entry.name}' lists no README.md."

    @needs(zoo_loads)
    @rule("Other bytes are refused at every load. Write each SHA-256 and size anew, or put the file back.")
    def files_are_as_promised(self) -> None:
        """On this machine each file has its SHA-256 and size, and nothing unlisted lies beside it in the package or folder."""
        for model in self._on_this_machine():
            folder = verify(model)
            names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
            unlisted = sorted(names - set(model.entry.files)) if model.from_hub is None else []
            assert not unlisted, f"Beside the files of '{model.entry.name}' lies '{unlisted[0]}', which is not listed."

    @needs(files_are_as_promised)
    @rule("Lists follow `zoo.yaml`, predictions config.json. Copy `classes` and `input_size` from there, in order.")
    def entries_agree_with_models(self) -> None:
        """Classes and input size, if an entry states them, equal those of the model's config.json."""
        for model in self._on_this_machine():
            entry, config = model.entry, read_config(model.folder)
            for key, stated, actual in (
                ("classes", entry.classes, config.classes),
                ("input_size", entry.input_size, config.input.size),
            ):
                here, there = (", ".join(map(str, values or ())) for values in (stated, actual))
                same = not stated or tuple(stated) == tuple(actual)
                assert same, f"The {key} of '{entry.name}' are {here} here and {there} in its config.json."

    @needs(names_are_unique)
    @rule("An adapter alone is nothing. List its base too, with the weights that it was made for.")
    def bases_are_known(self) -> None:
        """The base of each adapter is in some zoo, with the weights that it was made for."""
        with self._among_the_zoos():
            for model in self._models():
                with_bases(model)

    @needs(names_are_unique, files_are_as_promised, bases_are_known)
    @rule("A model must load anywhere. Export it anew; make what its names need a dependency of your package.")
    def models_are_rebuilt(self) -> None:
        """Each model on this machine is built without a network, its weights fit, and all of them are finite."""
        with self._among_the_zoos(), no_connection("Building a model"):
            for model in self._on_this_machine():
                check_tensors(whole(model))

    def _models(self) -> list[ZooModel]:
        return [ZooModel(entry, self.value) for entry in read_zoo(self.value).models]

    def _on_this_machine(self) -> list[ZooModel]:
        """The models that this machine has and this mammozoo may use; skips if the zoo lists only others."""
        models, found = self._models(), []
        for model in models:
            with contextlib.suppress(NotFoundError, IncompatibleError):
                check_usable(model.entry)
                if isinstance(model.entry.source, PackageSource) or model.state != "not pulled":
                    found.append(model)
        if models and not found:
            raise NotChecked("None of its models is on this machine: get them with `mammozoo zoo pull NAME`.")
        return found

    @contextlib.contextmanager
    def _among_the_zoos(self) -> Iterator[None]:
        """The zoos of this machine and this one, which may not be installed yet."""
        folders = [os.environ.get("MAMMOZOO_ZOO", "")]
        if self.value.resolve() not in {item.value.resolve() for item in registry().items("zoos").values()}:
            folders.insert(0, str(self.value.parent))
        with mock.patch.dict(os.environ, MAMMOZOO_ZOO=os.pathsep.join(filter(None, folders))):
            yield
