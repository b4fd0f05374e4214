"""Each check of data sets and of recipes, tried on one that breaks just that."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mammozoo import Dataset, DatasetInfo, Sample
from mammozoo.errors import NotFoundError

_COUNT = itertools.count()


class Sound(Dataset):
    """Two folders of images; the broken ones below change one thing of it."""

    info = DatasetInfo(
        "sound",
        "Two folders",
        "ultrasound",
        ("benign", "malignant"),
        url="https://example.org",
        license="CC0",
        citation="We.",
    )

    def samples(self) -> list[Sample]:
        files = sorted(path.relative_to(self.root).as_posix() for path in self.root.glob("*/*.png"))
        if not files:
            raise NotFoundError("nothing here")
        return [Sample(name, name.partition("/")[0], patient=name[-5:], lesion=name) for name in files]


def changed(**changes: Any) -> type[Dataset]:
    return type("Changed", (Sound,), {"__doc__": "A set.", "info": replace(Sound.info, **changes)})


class UntypedOption(Sound):
    def __init__(self, root: Path | None = None, k=1) -> None:  # type: ignore[no-untyped-def]
        super().__init__(root)


class Silent(Sound):
    def samples(self) -> list[Sample]:
        return super().samples() if any(self.root.iterdir()) else []


def of_samples(change: Callable[[list[Sample]], list[Sample]]) -> type[Dataset]:
    class Changed(Sound):
        def samples(self) -> list[Sample]:
            return change(super().samples())

    return Changed


class AsListed(Sound):
    def samples(self) -> list[Sample]:
        order = [entry.name for entry in os.scandir(self.root)]
        return sorted(super().samples(), key=lambda sample: order.index(sample.label))


def each(**changes: Any) -> type[Dataset]:
    return of_samples(lambda samples: [replace(sample, **changes) for sample in samples])


def of_images(make: Callable[[Any], Any]) -> type[Dataset]:
    class Changed(Sound):
        def read(self, sample: Sample) -> Any:
            return make(super().read(sample))

    return Changed


class FalseMask(Sound):
    def mask(self, sample: Sample) -> Any:
        return np.zeros((3, 3), np.uint8)


class AnyRoot(Sound):
    def __init__(self, root: Path | None = None) -> None:
        self.root = root


BROKEN: dict[str, list[Any]] = {}
BROKEN["datasets"] = [
    ("has-name-and-summary", "'a set'", changed(name="a set")),
    ("options-have-types", "'k'", UntypedOption),
    ("info-is-complete", "title", changed(title="", modality="ultrasound")),
    ("info-is-complete", "'x-ray'", changed(modality="x-ray")),
    ("info-is-complete", "twice", changed(classes=("benign", "benign", "malignant"))),
    ("licence-and-citation", "citation", changed(citation="")),
    ("licence-and-citation", "states no licence", changed(license="")),
    ("says-what-is-missing", "empty folder .* 0 samples", Silent),
    ("says-what-is-missing", "root=None", AnyRoot),
    ("opens", "gives none", of_samples(lambda s: s[:0])),
    ("opens", "KeyError .*broken_datasets_and_recipes.py, line", of_samples(lambda s: {}["labels.csv"])),
    ("paths-are-there", "there 2 times", of_samples(lambda s: [*s, s[0]])),
    ("labels-are-classes", "'odd'", of_samples(lambda s: [replace(s[0], label="odd"), *s[1:]])),
    ("labels-are-classes", "'malignant'", of_samples(lambda s: [one for one in s if one.label == "benign"])),
    ("groups-are-sound", "'1' .* 2 patients", of_samples(lambda s: [replace(one, lesion="1") for one in s])),
    ("groups-are-sound", "'1' .* 2 classes", each(patient=None, lesion="1")),
    ("groups-are-sound", "is 7", each(patient=7)),
    ("order-is-stable", "file system", AsListed),
    ("order-is-stable", "second reading", of_samples(lambda s: s[:: -1 if next(_COUNT) % 2 else 1])),
    ("values-are-in-range", "float64", of_images(lambda image: image.astype(np.float64))),
    ("values-are-in-range", r"\(1, 40, 48\)", of_images(lambda image: image[None])),
    ("values-are-in-range", "not finite", of_images(lambda image: (image * np.nan).astype(np.float32))),
    ("values-are-in-range", "one grey", of_images(lambda image: image * 0)),
    ("values-are-in-range", "mask .* bool", FalseMask),
    ("values-are-in-range", "box .* 48 × 40", each(box=(0, 0, 99, 10))),
]


RECIPE = "# tried: a recipe\ndataset: phantom:n=60\nbackbone: test_resnet\n"
PAPER = """
key: tried
title: A paper
citation: We.
data: none
dataset: phantom
rows: [{name: first, reported: {auc: 0.9}}]
protocols: {sound: {recipe: default}}
"""
BROKEN["recipes"] = [
    ("has-name-and-summary", "'a recipe'", ("a recipe.yaml", RECIPE)),
    ("loads", "'epoch'", ("tried.yaml", RECIPE + "epoch: 3\n")),
    ("has-summary", "first line", ("tried.yaml", RECIPE.partition("\n")[2])),
    ("names-known-things", "'dsr'", ("tried.yaml", RECIPE + "strategy: dsr\n")),
    ("names-known-things", "'bussi'", ("tried.yaml", RECIPE.replace("phantom:n=60", "bussi"))),
    ("names-known-things", "'resnet81'", ("tried.yaml", RECIPE.replace("test_resnet", "resnet81"))),
    ("names-known-things", "'gab'", ("tried.yaml", RECIPE + "head: gab\n")),
    ("names-known-things", "'hflop'", ("tried.yaml", RECIPE + "augment: [hflop]\n")),
    ("names-known-things", "'width'", ("tried.yaml", RECIPE + "preprocess: [lesion:width=3]\n")),
    ("names-known-things", "'auk'", ("tried.yaml", RECIPE + "monitor: auk\n")),
]
BROKEN["papers"] = [
    ("has-name-and-summary", "'a paper'", ("a paper.yaml", PAPER.replace("key: tried", "key: a paper"))),
    ("paper-loads", "'auk'", ("tried.yaml", PAPER.replace("auc", "auk"))),
]


SOUND = {"datasets": [Sound], "recipes": [("tried.yaml", RECIPE)], "papers": [("tried.yaml", PAPER)]}


def made(thing: Any, request: pytest.FixtureRequest) -> Any:
    """Data sets as they are, recipes and papers as files."""
    if isinstance(thing, type):
        return thing
    name, text = thing
    file: Path = request.getfixturevalue("tmp_path") / name
    file.write_text(text)
    return file


def images(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("benign/1", "benign/2", "malignant/1", "malignant/2"):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 48)).astype(np.uint8)).save(path)
    return folder
