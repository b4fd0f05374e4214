"""`mammozoo evaluate`: a model on a data set."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from mammozoo.data.duplicates.fingerprint import collect, fingerprint
from mammozoo.evaluation.thresholds import choose_threshold, fit_temperature
from mammozoo.files import read_table
from mammozoo.models.config import read_config
from mammozoo.plugins import registry
from mammozoo.training.experiment import train

from ..helpers import edit_json, tiny


def test_json_csv_and_a_table_for_people(command, tiny_run, tmp_path) -> None:
    content = command(
        "evaluate", tiny_run.path, "--dataset", "phantom:n=30,seed=7", "--csv", "all.csv", "--json"
    ).ok.json
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
    answer = command("evaluate", tiny_run.path, "--dataset", "phantom:n=20,seed=7").ok
    assert "auc" in answer.out and "95 % interval" in answer.out
    assert "Threshold: closest-to-corner" in answer.err
    assert "! synthetic" in answer.err


@pytest.fixture
def clinic(tmp_path) -> Path:
    """24 pictures of 12 patients with two lesions each, two hospitals; the second lesion of every other patient is malignant."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient,lesion,hospital"]
    for number in range(24):
        Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / f"{number}.png")
        patient, malignant = number // 2, number % 4 == 3
        label = "malignant" if malignant else "benign"
        lines.append(f"{number}.png,{label},P{patient},L{number},{'north' if patient < 11 else 'south'}")
    table = tmp_path / "clinic.csv"
    table.write_text("\n".join(lines))
    return table


def test_patients(command, tiny_run, clinic: Path, tmp_path) -> None:
    words = ["evaluate", tiny_run.path, "--dataset", "csv", "--root", clinic, "--csv", "all.csv", "--json"]
    images = command(*words).json
    assert (images["n"], images["level"]) == (24, "image")
    patients = command(*words, "--aggregate", "max").json
    assert (patients["n"], patients["level"], patients["aggregate"]) == (12, "patient", "max")
    assert "it has 9 independent patients" in patients["remark"], "too few to choose on"
    assert {**patients["threshold"], "level": None} == {**images["threshold"], "level": None}
    assert patients["threshold"]["level"] == "image" and patients["unit_temperature"] is None
    with (tmp_path / "all.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    worst = [max(float(row["p_malignant"]) for row in rows if row["patient"] == f"P{k}") for k in range(12)]
    assert patients["scores"]["auc"]["value"] == pytest.approx(roc_auc_score([k % 2 for k in range(12)], worst))
    lesions = command(*words, "--aggregate", "mean", "--by", "lesion").json
    assert lesions["scores"] == images["scores"], "every picture is a lesion of its own here"


@pytest.fixture(scope="module")
def hospital(tmp_path_factory) -> Path:
    """Two or three pictures of each of 44 patients, every other one ill."""
    folder, rng = tmp_path_factory.mktemp("hospital"), np.random.default_rng(1)
    lines = ["path,label,patient"]
    for number in range(100):
        patient = number % 44
        picture = rng.integers(0, 220, (32, 32)) + 35 * (patient % 2)
        Image.fromarray(picture.astype(np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'malignant' if patient % 2 else 'benign'},P{patient}")
    (folder / "table.csv").write_text("\n".join(lines))
    return folder / "table.csv"


def test_patients_of_a_run_have_the_threshold_and_the_temperature_of_validation_patients(
    command, hospital: Path, tmp_path
) -> None:
    """Of its own test parts each fold's, of other data those of the fold whose model it is."""
    run = train(tiny(dataset="csv", root=hospital, **{"split.folds": 2, "split.val": 0.25}), tmp_path / "run")
    edit_json(run.path / "fold-1/config.json", lambda fit: fit["mammozoo"]["calibration"].update(temperature=2.5))
    content = command("evaluate", run.path, "--aggregate", "max", "--threshold", "youden", "--json").ok.json
    assert (content["n"], content["level"], content["remark"]) == (44, "patient", None)
    rows = [row for row in read_table(run.path / "predictions.csv") if row["part"] == "val"]
    chosen = {}
    for fold in ("fold-0", "fold-1"):
        highest: dict[tuple[str, str], float] = {}
        for row in (row for row in rows if row["fold"] == fold):
            key = row["patient"], row["label"]
            highest[key] = max(highest.get(key, 0.0), float(row["p_malignant"]))
        labels, p = np.array([label == "malignant" for _, label in highest]), np.array([*highest.values()])
        temperature = fit_temperature(torch.from_numpy(logit(p))[:, None], labels.astype(int))
        chosen[fold] = choose_threshold("youden", labels.astype(int), expit(logit(p) / temperature)), temperature
    for name, place in (("threshold", 0), ("unit_temperature", 1)):
        values = sorted(one[place] for one in chosen.values())
        assert [content[name]["lowest"], content[name]["highest"]] == pytest.approx(values)
    own = [read_config(run.path / fold).temperature for fold in chosen]
    assert content["temperature"] == {"lowest": min(own), "highest": max(own)} and min(own) < max(own) == 2.5
    assert (content["threshold"]["level"], content["threshold"]["chosen_on"]) == ("patient", "validation")
    assert {"value", "pooled"} <= set(content["scores"]["auc"]), "the mean over folds, as of images"

    other = [
        "evaluate",
        run.path,
        "--dataset",
        "csv",
        "--root",
        hospital,
        "--aggregate",
        "max",
        "--threshold",
        "youden",
    ]
    together = command(*other, "--json").ok.json["threshold"]
    assert (together["level"], together["chosen_on"]) == ("patient", "pooled validation")
    other += ["--member", "best"]
    told = command(*other, "--json").ok.json
    expected = chosen[run.facts["model"]["fold"]]
    assert (told["threshold"]["lowest"], told["unit_temperature"]["lowest"]) == pytest.approx(expected)
    assert told["threshold"]["lowest"] == told["threshold"]["highest"] and told["n"] == 44
    edit_json(run.path / "run.json", lambda facts: facts.pop("model"))
    command(*other).refused(7, "run.json")
    (run.path / "predictions.csv").unlink()  # as in a zoo
    told = command(*other).ok.err
    assert "those of single images" in told and "for single images" in told


def test_subgroups(command, tiny_run, clinic: Path) -> None:
    words = ["evaluate", tiny_run.path, "--dataset", "csv", "--root", clinic, "--subgroup", "hospital"]
    north, south = command(*words, "--json").json["subgroups"]
    assert (north["value"], north["n"], north["groups"]) == ("north", 22, 11)
    assert north["scores"]["auc"]["n"] == 22
    assert (south["value"], south["n"], south["groups"], south["scores"]) == ("south", 2, 1, None)
    shown = command(*words)
    assert "too few" in shown.out and "fewer than 10" in shown.err
    command(*words, "--aggregate", "max").refused(2, "--aggregate")
    command(*words[:-1], "hospitals").refused(2, "'hospital'")


def test_a_run_on_its_own_test_images_at_another_threshold(command, tiny_run) -> None:
    content = command("evaluate", tiny_run.path, "--json").json
    assert (content["n"], content["split"]) == (12, "test")
    scores = json.loads((tiny_run.path / "scores.json").read_text())
    of_training = {"beta", "accuracy-gap"}  # these two need more than the test part
    of_evaluate = {"aurc", "ece-top-class", "brier-all-classes"}
    assert {name: score for name, score in content["scores"].items() if name not in of_evaluate} == {
        name: score for name, score in scores.items() if name not in of_training
    }
    assert of_evaluate <= content["scores"].keys() and len(content["study"]["risk_coverage"]["at"]) == 6
    config = json.loads((tiny_run.path / "config.json").read_text())["mammozoo"]
    for name in ("youden", "sensitivity:0.9"):
        content = command("evaluate", tiny_run.path, "--threshold", name, "--json").json
        used = content["threshold"]
        assert used["name"] == name and used["chosen_on"] == "validation"
        assert used["lowest"] == used["highest"] == config["thresholds"][name]["value"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--aggregate", "median"], 2, "noisy-or"),
        (["--aggregate", "mean", "--by", "device"], 2, "lesion"),
        (["--aggregate", "mean", "--by", "breast"], 2, "breast"),
        (["--root", "somewhere"], 2, "--dataset"),
        (["--threshold", "yuden"], 2, "'youden'"),
        (["--dataset", "fantom"], 3, "'phantom'"),
        (["--dataset", "phantom:n=none"], 2, "'n'"),
        (["--dataset", "folder"], 2, "--root"),
        (["--dataset", "folder", "--root", "nowhere"], 3, "nowhere"),
        (["--dataset", "phantom", "--device", "gpu"], 2, "'gpu'"),
    ],
)
def test_refusals(command, tiny_run, words: list[str], code: int, said: str) -> None:
    command("evaluate", tiny_run.path, *words).refused(code, said)
    command("evaluate", "nothing", "--dataset", "phantom").refused(3, "'nothing'")


def test_images_used_in_training_are_counted_and_left_out_on_request(command, run_copy, tmp_path) -> None:
    """With all that are of one group with them; what remains is scored as if the rest were not there."""
    phantom, lines, hashes = registry().get("datasets", "phantom")(None, n=60), ["path,label,patient"], []
    for number, sample in enumerate(phantom.samples()[:40]):
        image = phantom.read(sample)
        hashes.append(fingerprint(image))
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{sample.label},P{number // 2}")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    (tmp_path / "rest.csv").write_text("\n".join([lines[0], *lines[9:]]))
    seen = collect(hashes).written(np.array([0, 1, 2, 4, 6]))  # three of them have a sister of the same patient
    edit_json(run_copy / "config.json", lambda content: content["mammozoo"]["training"].update(seen=seen))
    words = ("evaluate", run_copy, "--dataset", "csv", "--json", "--root")
    everything, rest = (command(*words, f"{name}.csv").ok.json for name in ("all", "rest"))
    assert (everything["n"], everything["seen"], rest["seen"]) == (40, 5, 0)
    assert any("leaky" in stamp for stamp in everything["stamps"])
    unseen = command(*words, "all.csv", "--unseen").ok
    assert (unseen.json["n"], unseen.json["seen"], unseen.json["scores"]) == (32, 5, rest["scores"])
    assert not any("leaky" in stamp for stamp in unseen.json["stamps"])
    assert "5 of 40" in unseen.err and "3 more" in unseen.err and "32" in unseen.err
    hashes = collect(hashes).written(np.arange(40))
    edit_json(run_copy / "config.json", lambda content: content["mammozoo"]["training"].update(seen=hashes))
    command(*words, "all.csv", "--unseen").refused(2, "leaves no image", "40 of 40")
    command("evaluate", run_copy, "--unseen").refused(2, "--dataset")
