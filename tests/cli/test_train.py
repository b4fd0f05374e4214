"""`mammozoo train`: what it prints, and what it leaves behind."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn import metrics

from mammozoo.config.loading import load
from mammozoo.files import read_table as _table
from mammozoo.files import sha256

FILES = {
    "README.md", "config.json", "log.txt", "model.safetensors", "predictions.csv", "recipe.yaml", "run.json", "scores.json",
    "splits.json", "holdout/config.json", "holdout/history.csv", "holdout/model.safetensors", "holdout/split.csv",
    "holdout/predictions.csv", "holdout/key.json",
}  # fmt: skip
GRID = "grid={optimizer.lr: [1e-4, 1e-2]}"


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# What it prints


def test_json(command, tiny, tmp_path) -> None:
    content = command("train", *tiny, "--out", "run", "--json").ok.json
    assert set(content) == {"schema", "run", "scores", "seconds"}
    assert content["run"] == "run"
    assert content["seconds"] > 0
    assert content["scores"] == json.loads((tmp_path / "run/scores.json").read_text())
    for name, score in content["scores"].items():
        assert set(score) == {"value", "low", "high", "n"}
        counted = {"beta": {9}, "sensitivity": {5}, "specificity": {7}, "ppv": range(13), "npv": range(13)}
        assert score["n"] in counted.get(name.partition("@")[0], {12}), name
    assert "Synthetic data" in (tmp_path / "run/README.md").read_text()


def test_without_out_the_folder_is_named_by_what_is_in_it(command, tiny, tmp_path) -> None:
    answer = command("train", *tiny).ok
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.endswith("_phantom_test-resnet_drs")
    assert f"mammozoo predict runs/{run.name}" in answer.out
    assert "synthetic data" in answer.err
    assert "Warning" not in answer.err


def test_dry_run_as_json_writes_nothing(command, tiny, tmp_path) -> None:
    content = command("train", *tiny, "--strategy", "frozen", "--lr", "0.01", "--dry-run", "--json").ok.json
    assert {"schema", "recipe", "parameters", "groups", "splits"} <= set(content)
    assert set(content["parameters"]) == {"total", "trainable", "head"}
    assert 0 < content["parameters"]["head"] == content["parameters"]["trainable"] < content["parameters"]["total"]
    (group,) = content["groups"]
    assert group["lr"] == 0.01
    assert group["parameters"] == content["parameters"]["head"]
    assert group["layers"] and all(name.startswith("head.") for name in group["layers"])
    (split,) = content["splits"]
    assert set(split) == {"name", "train", "val", "test"}
    assert sum(n for part in ("train", "val", "test") for n in split[part].values()) == 60
    assert set(split["test"]) == {"benign", "malignant"}
    saved = tmp_path / "recipe.yaml"
    saved.write_text(yaml.safe_dump(content["recipe"]))
    assert load(str(saved)).strategy == "frozen"
    assert _files(tmp_path) == {"recipe.yaml"}


# What it leaves behind


def test_the_run_folder_is_complete(tiny_run) -> None:
    assert _files(tiny_run.path) == FILES
    facts = json.loads((tiny_run.path / "run.json").read_text())
    assert facts["status"] == "done"
    told = {"started", "ended", "versions", "plugins", "git", "device", "precision", "seed", "splits", "scores"}
    assert told <= set(facts)
    assert {"torch", "timm", "numpy", "scikit-learn"} <= set(facts["versions"])
    assert facts["model"]["sha256"] == sha256(tiny_run.path / "model.safetensors")
    assert load(str(tiny_run.path / "recipe.yaml")) == tiny_run.recipe
    split = _table(tiny_run.path / "holdout/split.csv")
    assert len({row["sample"] for row in split}) == len(split) == 60
    assert "epoch 1" in (tiny_run.path / "log.txt").read_text()


def test_every_score_can_be_computed_again_from_the_predictions(tiny_run) -> None:
    rows = [row for row in _table(tiny_run.path / "predictions.csv") if row["part"] == "test"]
    tested = {row["sample"] for row in _table(tiny_run.path / "holdout/split.csv") if row["part"] == "test"}
    assert {row["sample"] for row in rows} == tested
    truth = np.array([row["label"] == "malignant" for row in rows])
    p = np.array([float(row["p_malignant"]) for row in rows])
    decided = np.array([row["decision"] == "malignant" for row in rows])
    assert (decided == (p >= float(rows[0]["threshold"]))).all()
    again = {
        "auc": metrics.roc_auc_score(truth, p),
        "accuracy": metrics.accuracy_score(truth, decided),
        "balanced-accuracy": metrics.balanced_accuracy_score(truth, decided),
        "macro-f1": metrics.f1_score(truth, decided, average="macro"),
        "sensitivity": metrics.recall_score(truth, decided),
        "specificity": metrics.recall_score(~truth, ~decided),
        "f1": metrics.f1_score(truth, decided, zero_division=0.0),
    }
    scores = json.loads((tiny_run.path / "scores.json").read_text())
    assert {name: scores[name]["value"] for name in again} == pytest.approx(again, abs=1e-12)
    right = {}
    for part in ("train", "val", "test"):
        rows = [row for row in _table(tiny_run.path / "predictions.csv") if row["part"] == part]
        right[part] = sum(row["label"] == row["decision"] for row in rows) / len(rows)
    assert scores["beta"]["value"] == pytest.approx(right["train"] / right["val"])
    assert scores["accuracy-gap"]["value"] == pytest.approx(right["train"] - right["test"])


def test_what_took_how_long_is_kept_and_said(command, tiny, tmp_path: Path) -> None:
    answer = command("-v", "train", *tiny, "--out", tmp_path / "run")
    seconds = json.loads((tmp_path / "run" / "run.json").read_text())["seconds"]
    phases = "start, read, check, split, build, first step, steps, validation, save, predictions, write, scores"
    assert list(seconds) == phases.split(", ") and min(seconds.values()) >= 0
    (line,) = (line for line in answer.stderr.splitlines() if line.startswith("INFO: Seconds: start "))
    assert all(f"{phase} " in line for phase in seconds)


def test_a_run_repeats_bit_for_bit(mammozoo, command, tiny, tmp_path) -> None:
    """Also in another process, which has done other things before."""
    tiny = [*tiny, "--epochs", "2", "--seed", "3"]
    assert mammozoo("train", *tiny, "--out", "a").ok and command("train", "a/recipe.yaml", "--out", "b").ok
    for name in (FILES | {"holdout/split.csv"}) - {"log.txt", "run.json", "README.md", "holdout/history.csv"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    a, b = (_table(tmp_path / run / "holdout/history.csv") for run in "ab")
    assert len(a) == 2
    for one, other in zip(a, b, strict=True):
        assert one == other | {clock: one[clock] for clock in ("seconds", "rate")}


def test_a_report_comes_with_it(command, tiny, tmp_path) -> None:
    tiny = [word for word in tiny if word != "--no-report"]
    answer = command("train", *tiny, "--out", "run").ok
    assert "report.html" in answer.out
    assert "CLAIM" in (tmp_path / "run" / "report.html").read_text()


def test_a_split_of_another_run(command, tiny, tiny_run, tmp_path) -> None:
    """The same test images, though everything else may differ."""
    assert command("train", *tiny, "--seed", "5", "--split", tiny_run.path / "splits.json", "--out", "again").ok
    assert (tmp_path / "again" / "splits.json").read_bytes() == (tiny_run.path / "splits.json").read_bytes()
    assert command("compare", tiny_run.path, "again").code == 0


def test_a_split_from_nnunet(command, tiny, tmp_path) -> None:
    """Its folds are tested, and each gets a validation part by group, which nnU-Net does not have."""
    cases = [f"phantom-0-{number:05d}" for number in range(60)]
    folds = [{"train": cases[20:], "val": cases[:20]}, {"train": cases[:20], "val": cases[20:40]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    answer = command("train", *tiny, "--split", "splits_final.json", "--dry-run", "--json").ok
    splits, parts = answer.json["splits"], ("train", "val", "test")
    counts = {(split["name"], part): sum(split[part].values()) for split in splits for part in parts}
    assert counts["fold-0", "test"] == counts["fold-1", "test"] == 20
    assert 6 <= counts["fold-0", "val"] <= 12 and counts["fold-0", "train"] + counts["fold-0", "val"] == 40
    (tmp_path / "other.csv").write_text("sample,part\nphantom-0-00001,train\nnowhere.png,test\n")
    command("train", *tiny, "--split", "other.csv").refused(2, "1 images", "nowhere.png")
    command("train", *tiny, "--split", "none.json").refused(3, "none.json")
    command("train", *tiny, "--split", "splits_final.json", "--folds", "3").refused(2, "choose one")


def test_nested_folds_and_repeats_from_the_predictions_alone(command, tiny, tmp_path) -> None:
    """Each image is tested by the mean of the inner models, at a threshold of their pooled validation; scores are means."""
    words = ["--folds", "2", *(word for text in ("split.inner=2", "repeats=2", GRID) for word in ("--set", text))]
    scores = command("train", *tiny, *words, "--out", "run", "--json").ok.json["scores"]
    run, rows = tmp_path / "run", _table(tmp_path / "run/predictions.csv")
    attempts = _table(run / "attempts.csv")
    means: dict[tuple[str, str], list[float]] = {}
    for row in attempts:
        outer = row["split"].partition("/")[0]
        means.setdefault((outer, row["optimizer.lr"]), []).append(float(row["validation loss"]))
    found: dict[str, list[list[float]]] = {"auc": [], "sensitivity": []}
    for repeat in "01":
        mine = [row for row in rows if row["repeat"] == repeat]
        every = {name: [] for name in found}
        for outer in ("fold-0", "fold-1"):
            rate = min(("0.0001", "0.01"), key=lambda lr: np.mean(means[outer, lr]))
            fits = {
                r["fit"]
                for r in attempts
                if r["split"].startswith(outer) and (r["optimizer.lr"], r["repeat"]) == (rate, repeat)
            }
            inner = [row for row in mine if row["fold"].startswith(f"{outer}/inner")]
            assert {row["fold"] for row in inner} == fits and len(fits) == 2
            p: dict[str, list[float]] = {}
            for row in inner:
                if row["part"] == "inner-test":
                    p.setdefault(row["sample"], []).append(float(row["p_malignant"]))
            tested = [row for row in mine if row["part"] == "test" and row["fold"].startswith(outer)]
            assert {row["sample"]: float(row["p_malignant"]) for row in tested} == pytest.approx(
                {sample: np.mean(values) for sample, values in p.items()}
            )
            val = [(row["label"] == "malignant", float(row["p_malignant"])) for row in inner if row["part"] == "val"]
            assert len(val) == 60 - len(tested)
            (cut,) = {float(row["threshold"]) for row in tested}
            fpr, tpr, cuts = metrics.roc_curve(*zip(*val, strict=True), drop_intermediate=False)
            chosen = cuts[np.argmin(fpr**2 + (1 - tpr) ** 2)]
            assert max(value for _, value in val if value < chosen) <= cut <= chosen
            truth, decided = ([row[key] == "malignant" for row in tested] for key in ("label", "decision"))
            assert decided == [float(row["p_malignant"]) >= cut for row in tested]
            every["auc"].append(metrics.roc_auc_score(truth, [float(row["p_malignant"]) for row in tested]))
            every["sensitivity"].append(metrics.recall_score(truth, decided))
        for name, values in every.items():
            found[name].append(values)
    for name, values in found.items():
        assert scores[name]["value"] == pytest.approx(np.mean(values))
        assert scores[name]["sd"] == pytest.approx(np.std(np.mean(values, axis=1), ddof=1))
    pooled = []
    for repeat in "01":
        some = [row for row in rows if row["repeat"] == repeat and row["part"] == "test"]
        assert len(some) == len({row["sample"] for row in some}) == 60
        pooled.append(
            metrics.recall_score(*([row[key] == "malignant" for row in some] for key in ("label", "decision")))
        )
    assert scores["sensitivity"]["pooled"] == pytest.approx(np.mean(pooled))
    assert scores["sensitivity"]["low"] < scores["sensitivity"]["value"] < scores["sensitivity"]["high"]
    told = json.loads((run / "run.json").read_text())["model"]["fold"]
    config = json.loads((run / "config.json").read_text())["mammozoo"]
    assert told in config["scores_of"] and "2 inner models" in config["scores_of"]
    own = {float(row["threshold"]) for row in rows if row["fold"] == told}
    assert own == {config["thresholds"][config["threshold"]]["value"]}
    again = command("evaluate", run, "--json").ok.json["scores"]  # has more, and neither beta nor the gap
    assert all(again[name] == scores[name] for name in again.keys() & scores.keys())
    again = command("evaluate", run, "--threshold", "youden", "--json").ok.json
    assert again["n"] == 60 and again["scores"]["auc"] == scores["auc"]
    assert "SD of repeats" in command("evaluate", run).ok.out
    assert command("report", run, "--no-heatmaps").code == 0
    page = (run / "report.html").read_text()
    assert "folds pooled" in page and f"{told}</th>" in page and "mean of its models" in page
    few = ("--dataset", "phantom:n=60", "--limit", "1")
    assert command("explain", run, *few, "--out", "maps").ok


def test_a_grid_chooses_on_validation(command, tiny, tmp_path) -> None:
    words = ["--folds", "2", "--set", GRID, "--set", "repeats=2"]
    assert command("train", *tiny, *words, "--out", "grid", "--json").ok
    attempts = _table(tmp_path / "grid" / "attempts.csv")
    assert [(row["fit"], row["optimizer.lr"], row["repeat"]) for row in attempts[:4]] == [
        ("fold-0/000", "0.0001", "0"), ("fold-0/001", "0.0001", "1"), ("fold-0/002", "0.01", "0"), ("fold-0/003", "0.01", "1"),
    ]  # fmt: skip
    for fold in ("fold-0", "fold-1"):
        losses = [float(row["validation loss"]) for row in attempts if row["split"] == fold]
        told = [row["fit"] for row in attempts if row["split"] == fold and row["reports"] == "True"]
        better = "01" if sum(losses[:2]) <= sum(losses[2:]) else "23"
        assert told == [f"{fold}/00{number}" for number in better]
    tested = [row for row in _table(tmp_path / "grid" / "predictions.csv") if row["part"] == "test"]
    reporting = {row["fit"] for row in attempts if row["reports"] == "True"}
    assert len(tested) == 120 and {row["fold"] for row in tested} == reporting
    command("train", *tiny, "--set", "grid={seed: [1, 2]}").refused(2, "'seed'", "several runs")
    command("train", *tiny, "--set", "grid={optimizer.lr: [fast]}").refused(2, "optimizer.lr")


def test_five_scores_come_first_and_all_on_request(command, tiny) -> None:
    answer = command("train", *tiny, "--out", "few", "--quiet").ok
    assert [line.split()[0] for line in answer.out.splitlines() if re.match(r"  [a-z]", line)][1:] == [
        "auc", "sensitivity", "specificity", "balanced-accuracy", "brier",
    ]  # fmt: skip
    assert "more scores: --all-scores" in answer.err and "epoch" not in answer.err
    assert "auprc" in command("train", *tiny, "--out", "all", "--all-scores").ok.out
