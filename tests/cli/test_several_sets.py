"""Several data sets at once: trained on, scored set by set, reported, explained; and how their roots are given."""

from pathlib import Path

import pytest

from mammozoo import api
from mammozoo.config.loading import load
from mammozoo.files import read_table
from mammozoo.training.experiment import train

from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.pictures import folder
from ..helpers import tiny

THREE = ("benign", "malignant", "normal")
SETS = "own=folder+bus-bra"


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder of three classes, a small set of two of them with devices, a file of their roots, and a run on both."""
    home = tmp_path_factory.mktemp("world")
    folder(home / "own", classes=THREE, each=20)
    bus_bra(home / "bra", patients=20)
    (home / "roots.yaml").write_text("own: own\nbus-bra: bra\n")
    train(tiny(dataset=SETS, root={"own": str(home / "own"), "bus-bra": str(home / "bra")}), home / "run")
    return home


def roots(home: Path) -> list[str]:
    return ["--root", f"own={home / 'own'}", "--root", f"bus-bra={home / 'bra'}"]


def test_each_set_has_the_scores_that_it_has_alone(command, world: Path) -> None:
    """Also where a set lacks a class of the model; one table, set by set and device by device."""
    words = "evaluate", world / "run", "--dataset", SETS, "--subgroup", "device"
    content = command(*words, *roots(world), "--json", "--csv", "rows.csv").ok.json
    assert content["n"] == 60 + 53 and {row["meta_dataset"] for row in read_table(Path("rows.csv"))} == {
        "own",
        "bus-bra",
    }
    parts = {(part["column"], part["value"]): part for part in content["subgroups"]}
    assert list(parts) == [
        ("dataset", "bus-bra"), ("dataset", "own"),
        ("device", "unknown"), ("device", "GE LOGIQ 7"), ("device", "Toshiba Xario"),
    ]  # fmt: skip
    for name, dataset, root in (("own", "folder", "own"), ("bus-bra", "bus-bra", "bra")):
        alone = command("evaluate", world / "run", "--dataset", dataset, "--root", world / root, "--json").ok.json
        part = parts["dataset", name]
        assert (part["n"], part["classes"], part["absent"]) == (alone["n"], alone["classes"], alone["absent"])
        for score, value in alone["scores"].items():
            assert part["scores"][score]["value"] == pytest.approx(value["value"], abs=1e-12), score
    assert parts["device", "unknown"]["scores"] == parts["dataset", "own"]["scores"], "only the other set names devices"
    assert parts["device", "GE LOGIQ 7"]["classes"] == ["benign", "malignant"]
    shown = command(*words, "--root", world / "roots.yaml").ok
    assert "by dataset and device" in shown.out and "Toshiba Xario" in shown.out and "bus-bra: Its scores" in shown.err
    result = api.evaluate(world / "run", SETS, {"own": world / "own", "bus-bra": world / "bra"}, subgroup=["device"])
    assert [part.value for part in result.subgroups] == [value for _, value in parts]


def test_a_run_on_several_sets_is_scored_set_by_set(command, world: Path) -> None:
    content = command("evaluate", world / "run", "--json").ok.json
    assert [(p["column"], p["value"]) for p in content["subgroups"]] == [("dataset", "bus-bra"), ("dataset", "own")]
    assert sum(p["n"] for p in content["subgroups"]) == content["n"]
    assert load(str(world / "run" / "recipe.yaml")).root == {"own": world / "own", "bus-bra": world / "bra"}
    (world / "lab.yaml").write_text("own: own\nbus-bra: bra\nanother: elsewhere\n")
    from_file = load(None, {"dataset": SETS, "root": str(world / "lab.yaml")})
    assert from_file.root == {"own": world / "own", "bus-bra": world / "bra"}, "a run keeps what the file said"
    rows = read_table(world / "run" / "predictions.csv")
    owner: dict[str, set[str]] = {}
    for row in rows:
        owner.setdefault(row["patient"] or row["sample"], set()).add(row["part"])
    assert all(len(parts) == 1 for parts in owner.values()), "no patient is cut"


def test_report_and_explain_read_the_sets_again(command, world: Path) -> None:
    assert command("report", world / "run", "--out", "page.html", "--root", world / "roots.yaml").ok
    page = Path("page.html").read_text()
    assert str(world) not in page and "…/bra" in page and "data:image/jpeg" in page
    words = "explain", world / "run", "--dataset", SETS, *roots(world), "--limit", "2", "--out", "maps"
    assert command(*words).ok and [*Path("maps").rglob("*.png")]


def test_training_says_what_is_in_it_and_keeps_its_hands_off_the_data(command, world: Path) -> None:
    told = command(
        "train", "--dataset", SETS, *roots(world), "--backbone", "test_resnet", "--weights", "random", "--dry-run"
    ).ok
    assert "60 of own, 53 of bus-bra" in told.err and "bus-bra: 53 images, published are 1875" in told.err
    words = "train", "--dataset", SETS, *roots(world), "--backbone", "test_resnet", "--weights", "random"
    command(*words, "--out", world / "bra" / "run").refused(9, "bra")


def test_patients_are_scored_set_by_set_too(command, world: Path) -> None:
    words = "evaluate", world / "run", "--dataset", "a=bus-bra+b=bus-bra", "--classes", "benign+malignant", "--json"
    both = ["--root", f"a={world / 'bra'}", "--root", f"b={world / 'bra'}", "--aggregate", "mean"]
    told = command(*words, *both).ok
    assert told.json["n"] == 80 and [(p["value"], p["n"]) for p in told.json["subgroups"]] == [("a", 40), ("b", 40)]
    assert "40 groups have images of more than one data set" in told.err, "each picture stands in both"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], ["own and bus-bra", "--root own="]),
        (["--root", "somewhere"], ["--root own=DIR --root bus-bra=DIR"]),
        (["--root", "own=a", "--root", "b"], ["NAME=PATH"]),
        (["--root", "own=a", "--root", "own=b"], ["NAME=PATH"]),
        (["--root", "own=a", "--root", "bus=b"], ["'bus'"]),
    ],
)
def test_roots_that_are_missing_or_of_nothing(command, world: Path, given: list[str], said: list[str]) -> None:
    command("evaluate", world / "run", "--dataset", SETS, *given).refused(2, *said)
    command("train", "--dataset", SETS, *given).refused(2, *said)


def test_a_path_with_an_equals_sign_stays_a_path(command, world: Path) -> None:
    folder(Path("a=b"))
    content = command("evaluate", world / "run", "--dataset", "folder", "--root", "a=b", "--json").ok.json
    assert content["n"] == 24
