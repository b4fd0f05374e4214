"""A model on a data set that has other classes than the model: what is scored, counted and refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from mammozoo import UsageError, api
from mammozoo.data.classes import classes_there
from mammozoo.evaluation.outcome import given_classes
from mammozoo.files import read_table
from mammozoo.training.experiment import train

from ..builtin.trees.pictures import folder
from ..helpers import tiny

THREE = ("benign", "malignant", "normal")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Runs of two and of three classes, and folders with other classes."""
    home = tmp_path_factory.mktemp("world")
    for name, classes in {
        "three": THREE,
        "two": THREE[:2],
        "cysts": ("Benign", "cyst", "MALIGNANT"),
        "one": ("malignant", "cyst"),
    }.items():
        folder(home / name, classes=classes)
    for name, root in {"run3": "three", "run2": "two"}.items():
        train(tiny(dataset="folder", root=str(home / root)), home / name)
    return home


def of(answer, home: Path, run: str, root: str, *more: object):
    return answer("evaluate", home / run, "--dataset", "folder", "--root", home / root, "--json", *more)


def test_three_classes_on_a_set_of_two(command, world: Path) -> None:
    """The probabilities are those of the three, given that it is one of the two; both the counts and the CSV say so."""
    whole = of(command, world, "run3", "three", "--csv", "three.csv").ok.json
    assert (whole["classes"], whole["absent"], whole["left_out"]) == ([*THREE], {}, {})
    told = of(command, world, "run3", "two", "--csv", "two.csv").ok
    content = told.json
    assert (content["classes"], content["n"], content["threshold"]) == (["benign", "malignant"], 24, None)
    three = {row["sample"]: row for row in read_table(Path("three.csv")) if row["label"] != "normal"}
    two = {row["sample"]: row for row in read_table(Path("two.csv"))}
    assert set(two) == set(three), "the same pictures, without the third class"
    p = {name: [float(row[f"p_{c}"]) for c in THREE] for name, row in three.items()}
    for name, row in two.items():
        assert float(row["p_malignant"]) == pytest.approx(p[name][1] / (p[name][0] + p[name][1]))
        assert row["decision"] == THREE[int(p[name][1] >= p[name][0])]
    assert content["absent"] == {"normal": sum(np.argmax(one) == 2 for one in p.values())}
    assert f"normal of {content['absent']['normal']} of 24 images" in told.err
    auc = roc_auc_score(
        [row["label"] == "malignant" for row in two.values()], [float(r["p_malignant"]) for r in two.values()]
    )
    assert content["scores"]["auc"]["value"] == pytest.approx(auc)
    assert {"sensitivity", "specificity", "brier"} <= {*content["scores"]}, "scores of two classes"


def test_two_classes_on_a_set_of_three(command, world: Path) -> None:
    content = of(command, world, "run2", "three").ok.json
    assert (content["n"], content["left_out"], content["absent"]) == (24, {"normal": 12}, {})
    assert content["threshold"]["name"] == "closest-to-corner"


def test_labels_are_matched_by_word_and_mapped_on_request(command, world: Path) -> None:
    by_word = of(command, world, "run2", "cysts").ok.json
    assert (by_word["classes"], by_word["n"], by_word["left_out"]) == (["benign", "malignant"], 24, {"cyst": 12})
    words = "--classes", "malignant=MALIGNANT+benign=Benign|cyst"
    mapped = of(command, world, "run3", "cysts", *words).ok.json
    assert (mapped["classes"], mapped["n"], mapped["left_out"]) == (["benign", "malignant"], 36, {})
    called = api.evaluate(world / "run3", "folder", world / "cysts", classes=words[1])
    assert called.scores["auc"].value == mapped["scores"]["auc"]["value"]
    some = of(command, world, "run3", "three", "--classes", "malignant+normal").ok.json
    assert (some["classes"], some["left_out"]) == (["malignant", "normal"], {"benign": 12})


@pytest.mark.parametrize(
    ("run", "root", "words", "said"),
    [
        ("run3", "one", [], ["malignant", "need two", "--classes"]),
        ("run3", "cysts", ["--classes", "benign=cist+malignant=MALIGNANT"], ["'cist'", "'cyst'"]),
        ("run3", "cysts", ["--classes", "benine=cyst+malignant=MALIGNANT"], ["'benine'", "'benign'"]),
        ("run3", "cysts", ["--classes", "malignant=MALIGNANT"], ["two or more"]),
    ],
)
def test_refusals(command, world: Path, run: str, root: str, words: list[str], said: list[str]) -> None:
    of(command, world, run, root, *words).refused(2, *said)
    command("evaluate", world / run, "--classes", "a=b").refused(2, "--dataset")


def test_patients_of_such_a_set_have_an_operating_point_of_its_classes(command, tmp_path) -> None:
    """Chosen on the validation patients of these classes; `max`, which is for two classes, is allowed."""
    rng, lines = np.random.default_rng(0), ["path,label,patient"]
    for number in range(180):
        image = rng.integers(0, 256, (24, 24), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{THREE[number // 2 % 3]},P{number // 2}")
    (tmp_path / "three.csv").write_text("\n".join(lines))
    (tmp_path / "two.csv").write_text("\n".join(line for line in lines if "normal" not in line))
    train(tiny(dataset="csv", root="three.csv", **{"split.val": 0.3, "split.by": "patient"}), tmp_path / "run")
    words = "evaluate", "./run", "--dataset", "csv", "--root", "two.csv", "--csv", "rows.csv", "--json"
    images, patients = command(*words).ok.json, command(*words, "--aggregate", "max").ok.json
    assert (images["n"], patients["n"], patients["remark"], patients["threshold"]) == (120, 60, None, None)
    rows, highest = read_table(Path("rows.csv")), dict[tuple[str, str], float]()
    for row in rows:
        key = row["label"], row["patient"]
        highest[key] = max(highest.get(key, 0), float(row["p_malignant"]))
    auc = roc_auc_score([label == "malignant" for label, _ in highest], [*highest.values()])
    assert patients["scores"]["auc"]["value"] == pytest.approx(auc)


def test_explain_answers_for_such_a_set_too(command, world: Path) -> None:
    (model := Path("model")).mkdir()  # without its run, whose own test images are those of this name
    for name in ("config.json", "model.safetensors"):
        shutil.copy(world / "run3" / name, model)
    words = "explain", "./model", "--dataset", "folder", "--root", world / "two", "--limit", "2", "--out", "maps"
    assert command(*words).ok and [*Path("maps").rglob("*.png")]


def test_what_a_data_set_has_of_merged_classes() -> None:
    merged = ("normal", "lesion=benign|malignant")
    assert classes_there(merged, ("benign", "normal"), "x") == ("normal", "lesion=benign")
    assert classes_there(merged, ("lesion", "NORMAL"), "x") == ("normal=NORMAL", "lesion")
    with pytest.raises(UsageError, match="need two"):
        classes_there(merged, ("benign", "malignant"), "x")


def test_probabilities_given_the_class_is_one_of_some() -> None:
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    assert given_classes(p, [0, 1]).tolist() == [[0.4, 0.6], [0.5, 0.5]]
