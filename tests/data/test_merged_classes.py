"""Several labels of a data set as one class of a model: in training, in evaluation, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from mammozoo import Input, Progress, UsageError
from mammozoo.config.loading import load
from mammozoo.data.classes import read_classes
from mammozoo.data.loaded import open_data
from mammozoo.evaluation.evaluate import evaluate
from mammozoo.training.experiment import train

from ..builtin.trees.pictures import folder
from ..helpers import tiny

LABELS = ("benign", "malignant", "normal")
MERGED = ("normal", "lesion=benign|malignant")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Twelve different pictures of each of three labels."""
    return folder(tmp_path_factory.mktemp("three") / "data", classes=LABELS)


def test_labels_are_numbered_by_their_class() -> None:
    classes = read_classes(MERGED, LABELS, "busi")
    assert classes.names == ("normal", "lesion")
    assert classes.numbers == {"normal": 0, "benign": 1, "malignant": 1}
    assert classes.merged
    assert not read_classes(("malignant", "benign"), LABELS, "busi").merged
    assert read_classes((" sick = malignant ", "well=benign | normal"), LABELS, "busi").names == ("sick", "well")
    assert read_classes(MERGED, ("lesion", "normal"), "mine").numbers == {"normal": 0, "lesion": 1}
    assert read_classes(("a=b", "c"), ("a=b", "c"), "folder").names == ("a=b", "c")


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (("normal", "lesion=benign|malign"), ["no class 'malign'", "Did you mean 'malignant'", "benign, malignant, normal"]),
        (("malignant,benign",), ["no class 'malignant,benign'", "written a+b, or as a list"]),
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


def test_samples_carry_the_name_of_their_class(pictures) -> None:
    data = open_data("folder", pictures, MERGED, Input(size=(16, 16)), "group", Progress())
    assert data.classes == ("normal", "lesion")
    assert data.merged == MERGED
    assert np.bincount(data.labels).tolist() == [12, 24]
    for sample, label in zip(data.samples, data.labels, strict=True):
        folder = sample.image.split("/")[0]
        assert sample.label == data.classes[label] == ("normal" if folder == "normal" else "lesion")
    assert open_data("folder", pictures, None, Input(size=(16, 16)), "group", Progress()).merged == ()


def test_a_model_of_merged_classes_is_evaluated_on_the_data_set_as_it_is(pictures, tmp_path) -> None:
    recipe = tiny(dataset="folder", root=str(pictures), classes="normal+lesion=benign|malignant")
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
