"""One data set, or one value of a column, left out for testing: each in turn, groups, classes, refusals."""

from pathlib import Path

import numpy as np
import pytest

from mammozoo import Progress
from mammozoo.config.loading import load
from mammozoo.data.dataset import Sample
from mammozoo.data.splits.left_out import values_of
from mammozoo.data.splits.make import leave_out
from mammozoo.errors import UsageError
from mammozoo.files import read_table
from mammozoo.training.prepare import prepare

from ...builtin.trees.bus_bra import bus_bra
from ...builtin.trees.pictures import folder
from ...helpers import tiny

THREE = ("benign", "malignant", "normal")
SETS = "own=folder+bus-bra"


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, str]:
    """A folder of three classes, and a set of two of them with two devices."""
    home = tmp_path_factory.mktemp("world")
    return {
        "own": str(folder(home / "own", classes=THREE, each=20)),
        "bus-bra": str(bus_bra(home / "bra", patients=20)),
    }


def test_what_is_related_to_the_test_part_is_in_no_part(caplog) -> None:
    """A group of an image that is tested, such as a patient seen by two devices, neither trains nor chooses."""
    values = ["GE"] * 40 + ["Aplio"] * 40
    labels = np.array([k % 2 for k in range(80)])
    groups = np.arange(80) // 2 * 2 + labels
    groups[38:42] = groups[38]  # two images of each device
    (split,) = leave_out(values, "Aplio", labels, groups, val=0.25, seed=0)
    assert split.name == "without-Aplio" and split.test.tolist() == [*range(40, 80)]
    assert {*split.train.tolist(), *split.val.tolist()} == {*range(38)} and "2 images share a group" in caplog.text
    assert len(split.val) == pytest.approx(0.25 * 38, abs=1), "a share of the rest, not of all"
    each = leave_out(values, "*", labels, groups, val=0.25, seed=0)
    assert [one.name for one in each] == ["without-Aplio", "without-GE"]
    assert each[1].test.tolist() == [*range(40)]


def test_each_value_in_turn_leaves_out_what_cannot_be_scored(caplog) -> None:
    """A value with one class, and images without a value, stay in training; names of folds are names of folders."""
    values = ["GE @7/12 MHz"] * 20 + ["GE @7-12 MHz"] * 20 + ["rare"] * 4 + [""] * 6
    labels = np.array([k % 2 for k in range(40)] + [0] * 4 + [0, 1] * 3)
    splits = leave_out(values, "*", labels, np.arange(50), val=0.2, seed=0)
    assert [split.name for split in splits] == ["without-GE-7-12-MHz", "without-GE-7-12-MHz-1"]
    assert all({*range(40, 50)} <= {*split.train.tolist(), *split.val.tolist()} for split in splits)
    assert "rare" in caplog.text
    with pytest.raises(UsageError, match="takes two"):
        leave_out(["GE"] * 20 + [""] * 30, "*", labels, np.arange(50), val=0.2, seed=0)


def test_a_data_set_left_out_is_the_test_part(roots) -> None:
    """Of classes that one side lacks, the images are left out and counted: a score of them would be of one side."""
    said: list[str] = []

    class Told(Progress):
        def note(self, text: str) -> None:
            said.append(text)

    recipe = tiny(dataset=SETS, root=roots, **{"split.leave_out": "bus-bra"})
    made = prepare(recipe, Told())
    (split,) = made.splits
    owner = np.array([name.split("/")[0] for name in made.data.names])
    assert made.data.classes == THREE[:2] and {*owner[split.test]} == {"bus-bra"} and len(split.test) == 53
    assert {*owner[split.train], *owner[split.val]} == {"own"} and len(split.val) == 6
    assert any("20 images of the class 'normal' are left out" in text for text in said)
    chosen = prepare(recipe.model_copy(update={"classes": ("benign", "lesion=malignant|normal")}), Progress())
    assert chosen.data.classes == ("benign", "lesion"), "classes that were chosen stay"
    with pytest.raises(UsageError, match="'normal' has no image in the test part"):
        prepare(recipe.model_copy(update={"classes": THREE}), Progress())


def test_each_data_set_in_turn_is_scored_on_the_classes_of_all(roots) -> None:
    made = prepare(tiny(dataset=SETS, root=roots, **{"split.leave_out": "dataset=*"}), Progress())
    assert made.data.classes == THREE[:2]
    assert [(split.name, len(split.test)) for split in made.splits] == [("without-bus-bra", 53), ("without-own", 40)]


def test_one_device_after_the_other(command, roots) -> None:
    words = ["train", "--dataset", "bus-bra", "--root", roots["bus-bra"], "--leave-out", "device=*", "--epochs", "1"]
    more = [
        "--backbone",
        "test_resnet",
        "--weights",
        "random",
        "--set",
        "size=32",
        "--set",
        "augment=[]",
        "--out",
        "run",
    ]
    assert command(*words, *more, "--device", "cpu").ok
    rows = [row for row in read_table(Path("run/predictions.csv")) if row["part"] == "test"]
    tested = {(row["fold"], row["meta_device"]) for row in rows}
    assert (
        tested == {("without-GE-LOGIQ-7", "GE LOGIQ 7"), ("without-Toshiba-Xario", "Toshiba Xario")} and len(rows) == 53
    )
    assert "Left out for testing: device=*" in Path("run/report.html").read_text()
    content = command("evaluate", "./run", "--subgroup", "device", "--json").ok.json
    assert [part["value"] for part in content["subgroups"]] == ["GE LOGIQ 7", "Toshiba Xario"]


@pytest.mark.parametrize(
    ("dataset", "wanted", "words"),
    [
        (SETS, "busbra", ["'busbra'", "'bus-bra'"]),
        (SETS, "devise=GE", ["'devise'", "'device'"]),
        (SETS, "device=GE", ["GE LOGIQ 7"]),
        ("own=folder", "own", ["has no image"]),
        ("bus-bra", "bus-bra", ["several data sets"]),
    ],
)
def test_refusals(roots, dataset: str, wanted: str, words: list[str]) -> None:
    root = {name: place for name, place in roots.items() if name in dataset}
    with pytest.raises(UsageError) as error:
        prepare(tiny(dataset=dataset, root=root, **{"split.leave_out": wanted}), Progress())
    for word in words:
        assert word in str(error.value)


def test_it_takes_the_place_of_the_folds_of_a_recipe_and_of_nothing_that_was_asked_for(tmp_path, roots) -> None:
    own = load(roots["own"], {"split.leave_out": "device=GE"})
    assert (own.split.folds, own.split.leave_out) == (1, "device=GE") and "split.folds" not in own.why
    assert load(roots["own"], {"split.official": True}).split.folds == 1
    with pytest.raises(UsageError, match="choose one"):
        load(roots["own"], {"split.leave_out": "device=GE", "split.folds": 5})
    with pytest.raises(UsageError, match="choose one"):
        load(roots["own"], {"split.leave_out": "device=GE", "split.official": True})


def test_values_are_texts() -> None:
    samples = [Sample("a", "x", meta={"birads": 4}), Sample("b", "x", meta={"birads": " 5 "}), Sample("c", "x")]
    assert values_of(samples, " birads = 4 ") == (["4", "5", ""], "4")
