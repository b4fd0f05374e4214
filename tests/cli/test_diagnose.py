"""`mammozoo diagnose`."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from mammozoo.config.recipe import load
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory

TINY = {
    "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 32, "epochs": 1, "strategy": "drs",
    "device": "cpu",
}  # fmt: skip
LOOK = ("--dataset", "phantom:n=40", "--images", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def drs_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return train(load(None, TINY), tmp_path_factory.mktemp("drs") / "run")


def test_a_run_beside_the_weights_that_it_started_from(command, drs_run: RunDirectory) -> None:
    answer = command("diagnose", drs_run.path, *LOOK, "--out", "found", "--json")
    assert answer.code == 0, answer.err
    content = answer.json
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


def test_a_model_against_itself_and_for_people(command, drs_run: RunDirectory) -> None:
    answer = command("diagnose", drs_run.path, "--against", drs_run.path, *LOOK, "--json")
    assert {block["changed"] for block in answer.json["blocks"]} == {0.0}
    text = command("diagnose", drs_run.path, *LOOK).out
    assert "net.layer1.0.act2" in text
    assert "Distance of added tensors" in text


def test_without_starting_weights_there_are_no_changes(command, drs_run: RunDirectory, tmp_path: Path) -> None:
    shutil.copytree(drs_run.path, tmp_path / "bare", ignore=shutil.ignore_patterns("recipe.yaml"))
    answer = command("diagnose", tmp_path / "bare", *LOOK, "--json")
    assert answer.code == 0, answer.err
    assert "the starting weights are not at hand" in answer.err
    assert {block["changed"] for block in answer.json["blocks"]} == {None}
    assert answer.json["shifts"]


def test_refusals(command, drs_run: RunDirectory, tiny_run: RunDirectory) -> None:
    command("diagnose", drs_run.path, "--against", tiny_run.path, *LOOK).refused(
        7, "other blocks or look at other inputs"
    )
    command("diagnose", "nowhere/at/all", *LOOK).refused(3, "nowhere/at/all")
