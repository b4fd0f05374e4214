"""Each check of data sets and of recipes, tried on one that breaks just that."""

from __future__ import annotations

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

Failures = Callable[..., dict[str, str]]
States = Callable[..., set[str]]
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
        assert self.root is not None
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
    """Says nothing of an empty folder."""

    def samples(self) -> list[Sample]:
        assert self.root is not None
        return super().samples() if any(self.root.iterdir()) else []


def of_samples(change: Callable[[list[Sample]], list[Sample]]) -> type[Dataset]:
    class Changed(Sound):
        def samples(self) -> list[Sample]:
            return change(super().samples())

    return Changed


class AsListed(Sound):
    def samples(self) -> list[Sample]:
        assert self.root is not None
        order = [entry.name for entry in os.scandir(self.root)]
        return sorted(super().samples(), key=lambda sample: order.index(sample.label))


class Doubles(Sound):
    def read(self, sample: Sample) -> Any:
        return super().read(sample).astype(np.float64)


DATASETS: dict[str, tuple[type[Dataset], str]] = {
    "has-name-and-summary": (changed(name="a set"), "'a set' cannot be written"),
    "options-have-types": (UntypedOption, "'k' has no type"),
    "info-is-complete": (changed(title="", modality="ultrasound"), "no title"),
    "licence-and-citation": (changed(citation=""), "no citation"),
    "says-what-is-missing": (Silent, "An empty folder raises nothing and gives 0 samples"),
    "opens": (of_samples(lambda s: s[:0]), "`samples` gives none"),
    "paths-are-there": (of_samples(lambda s: [*s, s[0]]), "is there 2 times"),
    "labels-are-classes": (of_samples(lambda s: [replace(s[0], label="odd"), *s[1:]]), "'odd' is none of the classes"),
    "groups-are-sound": (of_samples(lambda s: [replace(one, lesion="1") for one in s]), "'1' belongs to 2 patients"),
    "order-is-stable": (AsListed, "follows that in which the file system lists"),
    "values-are-in-range": (Doubles, "is float64"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for name in ("benign/1", "benign/2", "malignant/1", "malignant/2"):
        path = folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 48)).astype(np.uint8)).save(path)
    return folder


def test_the_sound_data_set_passes_all(states: States, root: Path) -> None:
    assert states(Sound, root=root) == {"passed"}


@pytest.mark.parametrize("rule", DATASETS)
def test_a_broken_data_set_fails_just_that(failures: Failures, root: Path, rule: str) -> None:
    dataset, words = DATASETS[rule]
    found = failures(dataset, root=root)
    assert set(found) == {rule}
    assert words in found[rule]


def each(**changes: Any) -> type[Dataset]:
    return of_samples(lambda samples: [replace(sample, **changes) for sample in samples])


def of_images(make: Callable[[Any], Any]) -> type[Dataset]:
    class Changed(Sound):
        def read(self, sample: Sample) -> Any:
            return make(super().read(sample))

    return Changed


class Lost(Sound):
    def samples(self) -> list[Sample]:
        return [replace(sample, label={}["labels.csv"]) for sample in super().samples()]


class FalseMask(Sound):
    def mask(self, sample: Sample) -> Any:
        return np.zeros((3, 3), np.uint8)


class Turned(Sound):
    """Backwards at every second reading."""

    def samples(self) -> list[Sample]:
        return super().samples()[:: -1 if next(_COUNT) % 2 else 1]


class AnyRoot(Sound):
    def __init__(self, root: Path | None = None) -> None:
        self.root = root


@pytest.mark.parametrize(
    ("dataset", "rule", "words"),
    [
        (changed(modality="x-ray"), "info-is-complete", "The modality 'x-ray' is none of"),
        (changed(classes=("benign", "benign", "malignant")), "info-is-complete", "names a class twice"),
        (changed(license=""), "licence-and-citation", "`info` states no licence"),
        (Lost, "opens", "KeyError was raised (test_broken_datasets_and_recipes.py, line"),
        (of_samples(lambda s: [replace(one, image="/" + one.image) for one in s]), "paths-are-there", "relative path"),
        (of_samples(lambda s: [*s[1:], replace(s[0], image="benign/9.png")]), "paths-are-there", "does not exist under"),
        (of_samples(lambda s: [one for one in s if one.label == "benign"]), "labels-are-classes", "has the class 'malig"),
        (each(patient=7), "groups-are-sound", "is 7, neither a name nor None"),
        (each(patient=None, lesion="1"), "groups-are-sound", "'1' belongs to 2 classes"),
        (AnyRoot, "says-what-is-missing", "root=None raises nothing"),
        (Turned, "order-is-stable", "A second reading gives other samples, or another order"),
        (of_images(lambda image: image[None]), "values-are-in-range", "has the shape (1, 40, 48)"),
        (of_images(lambda image: (image * np.nan).astype(np.float32)), "values-are-in-range", "not finite"),
        (of_images(lambda image: image * 0), "values-are-in-range", "of one grey"),
        (FalseMask, "values-are-in-range", "it must be bool of that shape"),
        (each(box=(0, 0, 99, 10)), "values-are-in-range", "is not inside its 48 × 40 pixels"),
    ],
)  # fmt: skip
def test_other_ways_to_break_them(
    failures: Failures, root: Path, dataset: type[Dataset], rule: str, words: str
) -> None:
    # What cannot be opened is not read, whether its name is wrong or its place.
    found = failures(dataset, root=root)
    assert set(found) - ({"values-are-in-range"} if rule == "paths-are-there" else set()) == {rule}
    assert words in found[rule]


RECIPE = "# tried: a recipe\ndataset: phantom:n=60\nbackbone: test_resnet\n"
RECIPES = {
    "has-name-and-summary": ("a recipe.yaml", RECIPE, "'a recipe' cannot be written"),
    "loads": ("tried.yaml", RECIPE + "epoch: 3\n", "unknown key 'epoch'"),
    "has-summary": ("tried.yaml", RECIPE.partition("\n")[2], "summary"),
    "names-known-things": ("tried.yaml", RECIPE + "strategy: dsr\n", "Unknown strategy 'dsr'"),
}


PAPER = """
key: tried
title: A paper
citation: We.
data: none
dataset: phantom
rows: [{name: first, reported: {auc: 0.9}}]
protocols: {sound: {recipe: default}}
"""
PAPERS = {
    "has-name-and-summary": (
        "a paper.yaml",
        PAPER.replace("key: tried", "key: a paper"),
        "'a paper' cannot be written",
    ),
    "paper-loads": ("tried.yaml", PAPER.replace("auc", "auk"), "reports 'auk', which is no metric here"),
}


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_sound_recipe_and_a_sound_paper_pass_all(states: States, tmp_path: Path) -> None:
    assert states(written(tmp_path, "tried.yaml", RECIPE)) == {"passed"}
    assert states(written(tmp_path, "tried.yaml", PAPER)) == {"passed"}


@pytest.mark.parametrize("rule", RECIPES)
def test_a_broken_recipe_fails_just_that(failures: Failures, tmp_path: Path, rule: str) -> None:
    name, text, words = RECIPES[rule]
    found = failures(written(tmp_path, name, text))
    assert set(found) == {rule}
    assert words in found[rule]


@pytest.mark.parametrize("rule", PAPERS)
def test_a_broken_paper_fails_just_that(failures: Failures, tmp_path: Path, rule: str) -> None:
    name, text, words = PAPERS[rule]
    found = failures(written(tmp_path, name, text))
    assert set(found) == {rule}
    assert words in found[rule]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dataset: bussi", "Unknown dataset 'bussi'"),
        ("backbone: resnet81", "Unknown backbone 'resnet81'"),
        ("head: gab", "Unknown head 'gab'"),
        ("augment: [hflop]", "Unknown transform 'hflop'"),
        ("preprocess: [lesion:width=3]", "'lesion' has no option 'width'"),
        ("monitor: auk", "Unknown metric 'auk'"),
    ],
)
def test_each_name_in_a_recipe_is_looked_up(failures: Failures, tmp_path: Path, line: str, words: str) -> None:
    key = line.partition(":")[0]
    kept = [one for one in RECIPE.splitlines() if not one.startswith(f"{key}:")]
    found = failures(written(tmp_path, "tried.yaml", "\n".join([*kept, line, ""])))
    assert set(found) == {"names-known-things"}
    assert words in found["names-known-things"]
