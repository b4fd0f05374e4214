"""Several data sets as one: `busi+bus-bra`, or `here=folder+there=csv` with names of one's own.

Each has a name and a root. Samples, patients, lesions and masks have the name of their set before their own (`busi/benign/1.png`),
since the same identifier in another set is another person; `meta["dataset"]` is the name alone. Classes are joined by their names.
The sets are taken as they are: each image counts once, so a larger set counts more.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.config.names import Spec, call, parse
from mammozoo.config.sections import Root
from mammozoo.data.dataset import Dataset, DatasetInfo, Sample
from mammozoo.data.declared import declared, file_name, is_file
from mammozoo.data.io.regions import Box
from mammozoo.documents import Document
from mammozoo.errors import NotFoundError, UsageError, nearest
from mammozoo.files import given_path
from mammozoo.plugins import registry
from mammozoo.text import same

#: Column of `meta` that names the set of a sample.
SET = "dataset"
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)=([^:=]+(?::.*)?)")
_OF_OTHERS = f"own_{SET}"  # where a set's own column of that name goes


def parse_datasets(text: str) -> dict[str, Spec]:
    """The data sets that a recipe or `--dataset` names, by the names that they go by; one, or several joined by `+`.

    Raises:
        UsageError: the text has another form, or two go by one name.
    """
    known = text.partition(":")[0] in registry().items("datasets")
    if re.search(r"[/\\]", text) and not known and not is_file(text) and (hint := _as_folder(text)):
        raise UsageError(hint.strip())
    pieces: list[str] = []
    for piece in text.split("+"):
        name = _NAMED.fullmatch(piece.strip())
        kind = (name[2] if name else piece).partition(":")[0].strip()
        if pieces and ":" in pieces[-1] and not is_file(kind) and kind not in registry().items("datasets"):
            pieces[-1] += f"+{piece}"  # the plus is in the value of an option
        else:
            pieces.append(piece)
    found: dict[str, Spec] = {}
    for piece in pieces:
        named = _NAMED.fullmatch(piece.strip())
        spec = parse(named[2] if named else piece)
        own = named[1] if named else _short(spec)
        if own in found:
            raise UsageError(
                f"'{text}' has two data sets called '{own}'. Give them names, as in --dataset a={found[own]}+b={spec} "
                "--root a=DIR --root b=DIR."
            )
        found[own] = spec
    return found


def is_joined(specs: Mapping[str, Spec]) -> bool:
    """Whether there are several, or one by another name than its own."""
    return len(specs) > 1 or any(own != _short(spec) for own, spec in specs.items())


def _short(spec: Spec) -> str:
    """What a data set goes by if nobody gives it a name."""
    return file_name(spec.name) if is_file(spec.name) else spec.name.replace("/", "-")


def without_paths(text: str) -> str:
    """The data sets that a name holds, with the names of files in place of their paths, which a model is not to show."""
    specs = parse_datasets(text)
    if not any(is_file(spec.name) for spec in specs.values()):
        return text
    shown = {own: replace(spec, name=_short(spec)) for own, spec in specs.items()}
    return "+".join(str(spec) if own == spec.name else f"{own}={spec}" for own, spec in shown.items())


def kind_of(name: str) -> type[Dataset]:
    """The class of a data set by its own name or the path of its YAML file; NotFoundError if there is none."""
    kind: type[Dataset] = declared(given_path(name)) if is_file(name) else registry().get("datasets", name)
    return kind


def names_of(text: str) -> dict[str, str]:
    """Name that a data set goes by → its own, of each in a name."""
    return {own: spec.name for own, spec in parse_datasets(text).items()}


def kinds_of(text: str) -> dict[str, type[Dataset]]:
    """Name → class of each data set in a name; NotFoundError if no plugin provides one."""
    try:
        return {own: kind_of(name) for own, name in names_of(text).items()}
    except NotFoundError as error:
        raise NotFoundError(f"{error}{_as_folder(text)}") from None


def _as_folder(text: str) -> str:
    """What helps if a path stands in the place of a data set."""
    if not os.path.exists(text):  # noqa: PTH110 - False where Path raises
        return ""
    return f" '{text}' is a path: the data set of your own images is folder (or csv), with --root {text}."


def info_of(text: str) -> DatasetInfo:
    """The facts that the plugins state about the data sets in a name; raises as `kinds_of`."""
    infos = {own: kind.info for own, kind in kinds_of(text).items()}
    return _joined_info(infos) if is_joined(parse_datasets(text)) else next(iter(infos.values()))


def read_root(root: Root | None) -> Root | None:
    """The root, or those by name that a YAML file maps to folders, relative to it.

    Raises:
        UsageError: the file cannot be read, or is no such mapping.
    """
    if not isinstance(root, Path) or root.suffix.lower() not in (".yaml", ".yml") or not root.is_file():
        return root
    content = Document.read(root, UsageError).content
    if not isinstance(content, dict) or not all(isinstance(place, str) for place in content.values()):
        raise UsageError(f"'{root}' must map names of data sets to their folders, in lines like 'NAME: FOLDER'.")
    return {str(own): root.parent / given_path(place) for own, place in content.items()}


def places(*roots: Root | None) -> list[Path]:
    """Every folder or file that roots name."""
    read = [root for root in map(read_root, roots) if root is not None]
    return [place for root in read for place in ([root] if isinstance(root, Path) else root.values())]


def roots_of(text: str, root: Root | None) -> dict[str, Path | None]:
    """Name → root of each data set in a name.

    Raises:
        NotFoundError: no plugin provides one.
        UsageError: a root is missing, or is of none of them.
    """
    kinds, given = kinds_of(text), read_root(root)
    if len(kinds) == 1 and (given is None or isinstance(given, Path)) and not is_joined(parse_datasets(text)):
        return dict.fromkeys(kinds, given)
    wanted = [own for own, kind in kinds.items() if kind.needs_root]
    each = " ".join(f"--root {own}=DIR" for own in wanted)
    way = f"Give the folder of each: {each}, or --root FILE.yaml with lines 'NAME: DIR'."
    if isinstance(given, Path):
        if len(kinds) > 1:
            raise UsageError(f"The data sets of '{text}' need a --root each, not one, '{given}'. {way}")
        given = dict.fromkeys(kinds, given)
    for own in root if isinstance(root, dict) else ():  # a file may list others too
        if own not in kinds:
            raise UsageError(f"--root {own}=…: '{text}' has no data set '{own}'.{nearest(own, kinds)}")
    if missing := [own for own in wanted if own not in (given or {})]:
        raise UsageError(f"Data set '{text}' lacks the --root of {' and '.join(missing)}. {way}")
    return {own: (given or {}).get(own) for own in kinds}


def open_dataset(name: str, root: Root | None) -> Dataset:
    """The data set that `name[:options]` names, or several joined by `+`, at their roots; nothing is read yet.

    Raises:
        NotFoundError, UsageError: no such data set, or nothing at a root.
    """
    specs, roots = parse_datasets(name), roots_of(name, root)
    parts = {own: call(kind, specs[own], roots[own]) for own, kind in kinds_of(name).items()}
    return Joined(parts) if is_joined(specs) else next(iter(parts.values()))


class Joined(Dataset):
    """Several data sets as one.

    Args:
        parts: the data sets by the names that they go by.

    Raises:
        UsageError: some are generated and some are not.
    """

    needs_root = False

    def __init__(self, parts: Mapping[str, Dataset]) -> None:
        super().__init__(None)
        self.parts = dict(parts)
        self.info = _joined_info({own: part.info for own, part in parts.items()})
        generated = [own for own, part in parts.items() if part.info.synthetic]
        if generated and len(generated) < len(parts):
            raise UsageError(
                f"{', '.join(generated)} is generated, and the other data sets are not: a score on both would say nothing. "
                "Join generated ones with each other, and real ones with each other."
            )

    @cached_property
    def _spelt(self) -> dict[str, str]:
        """What all spellings of a label have in common → its first spelling."""
        labels = [label for part in self.parts.values() for label in part.classes]
        return {same(label): label for label in reversed(labels)}

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of all sets, in the order of first appearance."""
        return tuple(dict.fromkeys(self._spelt[same(label)] for part in self.parts.values() for label in part.classes))

    @cached_property
    def _listed(self) -> dict[str, tuple[Sample, Dataset, Sample]]:
        """Name → sample, its set, and the sample as its set has it."""
        listed = {}
        for own, part in self.parts.items():
            for sample in part.samples():
                one = self._renamed(own, sample)
                listed[one.image] = (one, part, sample)
        return listed

    def _renamed(self, own: str, sample: Sample) -> Sample:
        def under(name: str) -> str:
            return f"{own}/{name}"

        # Generated samples of one name are one picture, in whatever set.
        person = str if self.info.synthetic else under
        meta = {_OF_OTHERS if key == SET else key: value for key, value in sample.meta.items()}
        if meta.get("breast"):  # the name of a unit, as patient and lesion
            meta["breast"] = person(str(meta["breast"]))
        return replace(
            sample,
            image=under(sample.image),
            label=self._spelt.get(same(sample.label), sample.label),
            patient=sample.patient and person(sample.patient),
            lesion=sample.lesion and person(sample.lesion),
            masks=tuple(map(under, sample.masks)),
            meta={SET: own, **meta},
        )

    def samples(self) -> Sequence[Sample]:
        """Every sample of the first set, then of the next; `notes` are those of the sets, and their sizes."""
        samples = [sample for sample, _, _ in self._listed.values()]
        self.notes = [f"{own}: {note}" for own, part in self.parts.items() for note in part.notes]
        counts = Counter(sample.meta[SET] for sample in samples)
        sizes = ", ".join(f"{counts[own]} of {own}" for own in self.parts)
        self.notes.append(f"Images: {sizes}. Each counts once, whatever its set.")
        self.notes += [
            f"The label '{label}' of {own} is '{first}' here."
            for own, part in self.parts.items()
            for label in part.classes
            if (first := self._spelt[same(label)]) != label
        ]
        return samples

    def source(self, sample: Sample) -> tuple[Dataset, Sample]:
        """The set of a sample, and the sample as that set has it; NotFoundError if there is none."""
        if sample.image not in self._listed:
            raise NotFoundError(f"'{sample.image}' is in none of the data sets {', '.join(self.parts)}.")
        whole, part, own = self._listed[sample.image]
        before = len(whole.meta[SET]) + 1
        return part, replace(own, masks=tuple(mask[before:] for mask in sample.masks), box=sample.box)

    def read(self, sample: Sample) -> npt.NDArray[Any]:
        """As the sample's set reads it."""
        part, own = self.source(sample)
        return part.read(own)

    def mask(self, sample: Sample) -> npt.NDArray[np.bool_] | None:
        """As the sample's set has it."""
        part, own = self.source(sample)
        return part.mask(own)

    def box(self, sample: Sample) -> Box | None:
        """As the sample's set has it."""
        part, own = self.source(sample)
        return part.box(own)

    def path(self, relative: str) -> Path:
        """The path of a sample's file on this machine."""
        own, _, name = relative.partition("/")
        return self.parts[own].path(name)


def _joined_info(infos: Mapping[str, DatasetInfo]) -> DatasetInfo:
    """What is true of several sets together."""
    every = list(infos.values())
    kinds = {info.modality for info in every}
    images, patients = ([getattr(info, what) for info in every] for what in ("images", "patients"))
    terms = {own: f"{info.license} ({info.url})" if info.url else info.license for own, info in infos.items()}
    return DatasetInfo(
        name="+".join(infos),
        title="; ".join(dict.fromkeys(info.title for info in every)),
        modality=kinds.pop() if len(kinds) == 1 else "any",
        classes=tuple(dict.fromkeys(label for info in every for label in info.classes)),
        images=None if None in images else sum(images),
        patients=None if None in patients else sum(patients),
        license="; ".join(f"{own}: {text}" for own, text in terms.items() if text),
        citation="\n".join(dict.fromkeys(info.citation for info in every if info.citation)),
        synthetic=all(info.synthetic for info in every),
    )
