"""`mammozoo evaluate`: a model on a data set."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score


def test_json_and_csv(command, tiny_run, tmp_path: Path) -> None:
    answer = command("evaluate", tiny_run.path, "--dataset", "phantom:n=30,seed=7", "--csv", "all.csv", "--json")
    assert answer.code == 0, answer.err
    content = answer.json
    assert {"schema", "model", "dataset", "n", "split", "scores"} <= set(content)
    assert (content["dataset"], content["n"], content["split"]) == ("phantom:n=30,seed=7", 30, "all")
    assert content["stamps"] == ["synthetic data: says nothing about patients"]
    with (tmp_path / "all.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 30
    auc = roc_auc_score([row["label"] == "malignant" for row in rows], [float(row["p_malignant"]) for row in rows])
    assert content["scores"]["auc"]["value"] == pytest.approx(auc, abs=1e-12)
    for score in content["scores"].values():
        assert set(score) == {"value", "low", "high", "n"}
        assert score["low"] <= score["value"] <= score["high"]


def test_a_table_for_people(command, tiny_run) -> None:
    answer = command("evaluate", tiny_run.path, "--dataset", "phantom:n=20,seed=7")
    assert answer.code == 0, answer.err
    assert "auc" in answer.out and "95 % interval" in answer.out
    assert "Threshold: closest-to-corner" in answer.err
    assert "! synthetic" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--dataset", "fantom"], 3, "'phantom'"),
        (["--dataset", "phantom:n=none"], 2, "'n'"),
        (["--dataset", "folder"], 2, "--root"),
        (["--dataset", "folder", "--root", "nowhere"], 3, "nowhere"),
        (["--dataset", "phantom", "--device", "gpu"], 2, "'gpu'"),
    ],
)
def test_refusals(command, tiny_run, words: list[str], code: int, said: str) -> None:
    command("evaluate", tiny_run.path, *words).refused(code, said)


def test_no_such_model(command) -> None:
    command("evaluate", "nothing", "--dataset", "phantom").refused(3, "'nothing'")
