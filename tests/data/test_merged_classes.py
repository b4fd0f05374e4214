"""Several labels of a data set as one class of a model: in training, in evaluation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo.config.recipe import load
from mammozoo.data.loaded import open_data, read_classes
from mammozoo.data.preprocessing import Input
from mammozoo.errors import UsageError
from mammozoo.evaluation.evaluate import evaluate
from mammozoo.progress import Progress
from mammozoo.training.experiment import train

LABELS = ("benign", "malignant", "normal")
MERGED = ("normal", "lesion=benign|malignant")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve different pictures of each of three labels."""
    root, rng = tmp_path_factory.mktemp("three") / "data", np.random.default_rng(0)
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for number in range(12):
            blotches = Image.fromarray(rng.integers(0, 255, (8, 8), np.uint8))
            blotches.resize((48, 48), Image.Resampling.BICUBIC).save(root / label / f"{number:02}.png")
    return root


def test_labels_are_numbered_by_their_class() -> None:
    classes = read_classes(MERGED, LABELS, "busi")
    assert classes.names == ("normal", "lesion")
    assert classes.numbers == {"normal": 0, "benign": 1, "malignant": 1}
    assert classes.merged
    assert not read_classes(("malignant", "benign"), LABELS, "busi").merged
    assert read_classes((" sick = malignant ", "well=benign | normal"), LABELS, "busi").names == ("sick", "well")


def test_data_merged_already_are_read_by_the_class_own_name() -> None:
    assert read_classes(MERGED, ("lesion", "normal"), "mine").numbers == {"normal": 0, "lesion": 1}


def test_a_label_that_holds_an_equals_sign_is_no_merge() -> None:
    assert read_classes(("a=b", "c"), ("a=b", "c"), "folder").names == ("a=b", "c")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("normal", "lesion=benign|malign"), ["no class 'malign'", "Did you mean 'malignant'", "benign, malignant, normal"]),
        (("benign", "lesion=benign|malignant"), ["'benign' twice"]),
        (("lesion=benign", "lesion=malignant"), ["names 'lesion' twice"]),
        (("normal", "normal"), ["names 'normal' twice"]),
        (("normal", "lesion=benign|"), ["'lesion=benign|'", "lesion=benign|malignant"]),
        (("normal", "=benign|malignant"), ["'=benign|malignant'"]),
        (("lesion=benign|malignant|normal",), ["two or more classes"]),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(classes: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        read_classes(classes, LABELS, "busi")
    for word in words:
        assert word in str(error.value)


def test_samples_carry_the_name_of_their_class(pictures: Path) -> None:
    data = open_data("folder", pictures, MERGED, Input(size=(16, 16)), "group", Progress())
    assert data.classes == ("normal", "lesion")
    assert data.merged == MERGED
    assert np.bincount(data.labels).tolist() == [12, 24]
    for sample, label in zip(data.samples, data.labels, strict=True):
        folder = sample.image.split("/")[0]
        assert sample.label == data.classes[label] == ("normal" if folder == "normal" else "lesion")
    assert open_data("folder", pictures, None, Input(size=(16, 16)), "group", Progress()).merged == ()


def test_a_model_of_merged_classes_is_evaluated_on_the_data_set_as_it_is(pictures: Path, tmp_path: Path) -> None:
    recipe = load(None, {
        "dataset": "folder", "root": str(pictures), "classes": "normal+lesion=benign|malignant", "backbone": "test_resnet",
        "weights": "random", "size": 32, "epochs": 1, "augment": [], "device": "cpu",
    })  # fmt: skip
    run = train(recipe, tmp_path / "run")
    assert load(str(run.path / "recipe.yaml")).classes == MERGED  # the written recipe repeats the run
    evaluation = evaluate(run.path, "folder", pictures, device="cpu")
    assert evaluation.config.classes == ("normal", "lesion")
    assert evaluation.config.asked == MERGED
    outcome = evaluation.predictions.outcome
    assert outcome.classes == ("normal", "lesion")
    of = {name.split("/")[0]: set() for name in evaluation.predictions.samples}
    for name, label in zip(evaluation.predictions.samples, outcome.labels, strict=True):
        of[name.split("/")[0]].add(int(label))
    assert of == {"benign": {1}, "malignant": {1}, "normal": {0}}
