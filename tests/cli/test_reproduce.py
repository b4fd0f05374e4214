"""`mammozoo reproduce`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

SMALL = {
    "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 64, "epochs": 9, "strategy": "frozen",
}  # fmt: skip


@pytest.fixture
def paper(tmp_path: Path) -> Path:
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


def test_the_command(command, paper: Path) -> None:
    answer = command("reproduce", paper, "--quick", "--row", "a", "--json")
    assert answer.code == 0, answer.err
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


def test_a_dry_run_lists_and_trains_nothing(command) -> None:
    answer = command("reproduce", "byra-2021", "--dry-run", "--seeds", "2", "--json")
    assert answer.code == 0, answer.err
    runs = answer.json["runs"]
    assert len(runs) == 2 * 6 * 2
    assert {run["state"] for run in runs} == {"to do"}
    assert not Path("runs").exists()


def test_refusals(command) -> None:
    command("reproduce", "byra-2022").refused(3, "'byra-2022'", "Did you mean 'byra-2021'?")
    command("reproduce", "byra-2021", "--protocol", "honest").refused(2, "published, sound or both")
    command("reproduce", "byra-2021", "--row", "drs+all").refused(3, "no row 'drs+all'")
    command("reproduce", "byra-2021", "--set", "epoch=3", "--dry-run").refused(2, "Did you mean 'epochs'?")
