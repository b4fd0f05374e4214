"""Each check of data sets and of recipes, tried on one that breaks just that."""

from __future__ import annotations

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
from mammozoo.testing import checks, run

Failures = Callable[..., dict[str, str]]


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
    "paths-are-there": (of_samples(lambda s: [*s, s[0]]), "is there twice"),
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


def test_the_sound_data_set_fails_nothing(failures: Failures, root: Path) -> None:
    assert {result.state for result in map(run, checks(Sound, root=root))} == {"passed"}
    assert {check.name for check in checks(Sound)} == set(DATASETS)


@pytest.mark.parametrize("rule", DATASETS)
def test_a_broken_data_set_fails_just_that(failures: Failures, root: Path, rule: str) -> None:
    dataset, words = DATASETS[rule]
    found = failures(dataset, root=root)
    assert set(found) == {rule}
    assert words in found[rule]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: [replace(one, image="/" + one.image) for one in s], "no relative path"),
        (lambda s: [replace(s[0], image="benign/9.png"), *s[1:]], "'benign/9.png' does not exist"),
    ],
)
def test_paths_of_another_machine(failures: Failures, root: Path, change: Any, words: str) -> None:
    assert words in failures(of_samples(change), root=root)["paths-are-there"]


RECIPE = "# tried: a recipe\ndataset: phantom:n=60\nbackbone: test_resnet\n"
RECIPES = {
    "loads": (RECIPE + "epoch: 3\n", "unknown key 'epoch'"),
    "has-summary": (RECIPE.partition("\n")[2], "no summary"),
    "names-known-things": (RECIPE + "strategy: dsr\n", "Unknown strategy 'dsr'"),
}


def test_a_sound_recipe_fails_nothing(failures: Failures, tmp_path: Path) -> None:
    file = tmp_path / "tried.yaml"
    file.write_text(RECIPE)
    assert failures(file) == {}
    assert {check.name for check in checks(file)} == {"has-name-and-summary", *RECIPES}


@pytest.mark.parametrize("rule", RECIPES)
def test_a_broken_recipe_fails_just_that(failures: Failures, tmp_path: Path, rule: str) -> None:
    text, words = RECIPES[rule]
    file = tmp_path / "tried.yaml"
    file.write_text(text)
    found = failures(file)
    # What does not load names nothing either.
    assert set(found) - ({"names-known-things"} if rule == "loads" else set()) == {rule}
    assert words in found[rule]
