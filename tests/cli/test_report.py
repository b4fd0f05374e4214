"""`mammozoo report` writes one page, where it was told to."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from mammozoo.config.loading import load
from mammozoo.files import refuse_to_replace
from mammozoo.plugins import registry
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory

from ..helpers import tiny


def test_the_page_is_written_where_asked_or_stands_in_the_run(command, tiny_run, tmp_path) -> None:
    answer = command("report", tiny_run.path, "--out", "page.html", "--no-heatmaps").ok
    assert answer.out == "page.html\n"
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "left out on request" in text
    shutil.copytree(tiny_run.path, tmp_path / "run")
    assert command("report", "run").code == 0
    assert "with its heatmap" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    command("report", tmp_path).refused(3, "no run.json")


# `mammozoo show` prints a recipe that can be saved, edited and run


def test_what_show_prints_is_the_recipe(command, tmp_path) -> None:
    saved = tmp_path / "saved.yaml"
    for name in registry().items("recipes"):
        answer = command("show", name).ok
        saved.write_text(answer.out, encoding="utf-8")
        assert load(str(saved)) == load(name), name
    command("show", "defualt").refused(3, "'defualt'", "'default'")


# ---------------------------------------------------------------- `mammozoo compare`


def test_compare(command, tiny_run, tmp_path) -> None:
    shutil.copytree(tiny_run.path, tmp_path / "again")
    answer = command("compare", tiny_run.path, "again", "--json").ok
    assert {row["difference"] for row in answer.json["rows"]} == {0.0}
    first, *_ = command("compare", tiny_run.path, "again").ok.out.splitlines()
    assert first.startswith("The data cannot tell which run is better by auc: ") and "images in" in first
    assert (
        "rank-sum" not in answer.out and "rank-sum" in command("compare", tiny_run.path, "again", "--rank-sum").ok.out
    )
    for score in (name for name, found in tiny_run.facts["scores"].items() if found["value"] is not None):
        row = command("compare", tiny_run.path, "again", "--metric", score, "--json").ok.json["rows"][0]
        assert row["value_a"] == row["value_b"] == pytest.approx(tiny_run.facts["scores"][score]["value"]), score
    command("compare", tiny_run.path, "again", "--metric", "auc[benign]").refused(2, "no score 'auc[benign]'")
    command("compare", tiny_run.path, tiny_run.path).refused(2, "named twice")
    command("compare", tiny_run.path, "nowhere").refused(3, "nowhere")


# ---------------------------------------------------------------- `mammozoo diagnose`

LOOK = ("--dataset", "phantom:n=40", "--images", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def drs_run(tmp_path_factory) -> RunDirectory:
    return train(tiny(dataset="phantom:n=60", strategy="drs"), tmp_path_factory.mktemp("drs") / "run")


def test_a_run_beside_the_weights_that_it_started_from(command, drs_run: RunDirectory) -> None:
    content = command("diagnose", drs_run.path, *LOOK, "--out", "found", "--json").ok.json
    assert (content["images"], content["against"]) == (8, "its starting weights")
    assert [block["number"] for block in content["blocks"]] == [1, 2, 3, 4]
    assert all(0 < block["changed"] < 0.5 for block in content["blocks"])  # one epoch moves some signs, not most
    assert {shift["tensor"] for shift in content["shifts"]} == {
        "spatial_weight", "spatial_bias", "depth_weight", "depth_bias",
    }  # fmt: skip
    assert all(0 < shift["mean"] <= shift["largest"] < 0.5 for shift in content["shifts"])
    with Path("found/blocks.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["changed"]) for row in rows] == [block["changed"] for block in content["blocks"]]
    assert {path.name for path in Path("found").iterdir()} == {
        "blocks.csv", "shifts.csv", "diagnosis.svg", "diagnosis.png",
    }  # fmt: skip
    for path in Path("found").iterdir():
        refuse_to_replace(path, path.name)  # which a later call may replace


def test_a_model_against_itself_or_nothing_and_for_people(command, drs_run: RunDirectory, tmp_path, tiny_run) -> None:
    answer = command("diagnose", drs_run.path, "--against", drs_run.path, *LOOK, "--json")
    assert {block["changed"] for block in answer.json["blocks"]} == {0.0}
    text = command("diagnose", drs_run.path, *LOOK).out
    assert "net.layer1.0.act2" in text
    assert "Distance of added tensors" in text
    shutil.copytree(drs_run.path, tmp_path / "bare", ignore=shutil.ignore_patterns("recipe.yaml"))
    answer = command("diagnose", tmp_path / "bare", *LOOK, "--json").ok
    assert "the starting weights are not at hand" in answer.err
    assert {block["changed"] for block in answer.json["blocks"]} == {None}
    assert answer.json["shifts"]
    other = command("diagnose", drs_run.path, "--against", tiny_run.path, *LOOK)
    other.refused(7, "other blocks or look at other inputs")
    command("diagnose", "nowhere/at/all", *LOOK).refused(3, "nowhere/at/all")


# ---------------------------------------------------------------- `mammozoo reproduce`

SMALL = {
    "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 64, "epochs": 9, "strategy": "frozen",
}  # fmt: skip


@pytest.fixture
def paper(tmp_path) -> Path:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    path = tmp_path / "nobody-2020.yaml"
    content = {
        "key": "nobody-2020", "title": "Nothing learnt", "citation": "Nobody 2020.", "data": "drawn", "dataset": "phantom",
        "rows": [{"name": "a", "reported": {"accuracy": 0.9}}, {"name": "b", "settings": {"weights": "file:no.safetensors"}}],
        "protocols": {"sound": {"recipe": "small.yaml"}},
        "quick": {"epochs": 1},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_paper_is_reproduced(command, paper: Path) -> None:
    answer = command("reproduce", paper, "--quick", "--row", "a", "--json").ok
    assert answer.json["out"] == "runs/reproduce-nobody-2020"
    (row,) = answer.json["rows"]
    assert (row["row"], row["metric"], row["protocol"], row["seeds"]) == ("a", "accuracy", "sound", 1)
    assert "other settings" in row["verdict"]
    assert {"text": "epochs: 1 instead of 9", "where": []} in answer.json["departures"]

    again = command("reproduce", paper, "--quick")  # the row that is complete stays, the other fails
    assert again.code == 1
    assert "seed-0: complete" in again.err
    assert "failed: There is no weights file 'no.safetensors'" in " ".join(again.out.split())
    assert {path.name for path in Path("runs/reproduce-nobody-2020").glob("table.*")} == {
        "table.md", "table.csv", "table.json",
    }  # fmt: skip

    other = command("reproduce", paper, "--row", "a")
    other.refused(9, "epochs is 1 there and 9 now")


def test_a_dry_run_trains_nothing_and_refusals(command) -> None:
    answer = command("reproduce", "byra-2021", "--dry-run", "--seeds", "2", "--json").ok
    runs = answer.json["runs"]
    assert len(runs) == 2 * 6 * 2
    assert {run["state"] for run in runs} == {"to do"}
    assert not Path("runs").exists()
    command("reproduce", "byra-2022").refused(3, "'byra-2022'", "Did you mean 'byra-2021'?")
    command("reproduce", "byra-2021", "--protocol", "honest").refused(2, "published, sound or both")
    command("reproduce", "byra-2021", "--row", "drs+all").refused(3, "no row 'drs+all'")
    command("reproduce", "byra-2021", "--set", "epoch=3", "--dry-run").refused(2, "Did you mean 'epochs'?")
