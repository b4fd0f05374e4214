"""`mammozoo explain`: files, scores, sanity, data sets, refusals."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo.evaluation import explanations
from mammozoo.evaluation.explain import untrained
from mammozoo.files import sha256
from mammozoo.models.config import ModelConfig
from mammozoo.models.factory import load_model
from mammozoo.models.model import Model
from mammozoo.plugins import registry
from mammozoo.training.experiment import train

from ..helpers import edit_config, tiny

KEYS = {
    "file", "label", "fold", "class", "decision", "probability", "heat_inside", "area_inside", "hit", "hit_by_chance", "hit_center",
    "overlay", "array", "rank_correlation", "warnings", "error",
}  # fmt: skip


@pytest.fixture
def pictures(pictures) -> Path:
    """Three phantoms as PNG files, the first two with their masks beside them, BUSI's way."""
    for path in sorted(pictures.iterdir())[3:]:
        path.unlink()
    dataset = registry().get("datasets", "phantom")(None, n=60)
    for sample in dataset.samples()[:2]:
        halves = [dataset.mask(sample).copy() for _ in range(2)]
        halves[0][:, 64:], halves[1][:, :64] = False, False
        for half, name in zip(halves, ("_mask", "_mask_1"), strict=True):
            Image.fromarray(half.astype(np.uint8) * 255).save(pictures / f"{sample.image}{name}.png")
    return pictures


def test_a_table_of_images_in_their_place(command, tiny_run, pictures, tmp_path) -> None:
    """As in `predict` and `evaluate`: the data set csv of that table."""
    names = [path.name for path in sorted(pictures.glob("*.png")) if "_mask" not in path.name]
    rows = "".join(
        f"pictures/{name},{label}\n" for name, label in zip(names, ("benign", "malignant", "benign"), strict=True)
    )
    (tmp_path / "table.csv").write_text("path,label\n" + rows)
    results = command("explain", tiny_run.path, "table.csv", "--out", "maps", "--json").ok.json["results"]
    assert {Path(r["file"]).name: r["label"] for r in results}[names[1]] == "malignant" and len(results) == 3
    command("explain", tiny_run.path, "table.csv", f"pictures/{names[0]}").refused(2, "a table of images")


def test_json_files_and_masks(command, tiny_run, pictures, tmp_path) -> None:
    dataset = registry().get("datasets", "phantom")(None, n=60)
    scored = []
    for explained in ("benign", "malignant"):
        words = ("--class", explained, "--out", explained, "--sanity", "--json")
        content = command("explain", tiny_run.path, "pictures", *words).ok.json
        assert set(content) == {"schema", "model", "method", "stamps", "results", "summary", "sanity"}
        assert content["model"]["sha256"] == sha256(tiny_run.path / "model.safetensors")
        assert [Path(r["file"]).name for r in content["results"]] == [f"phantom-0-0000{i}.png" for i in range(3)]
        for number, result in enumerate(content["results"]):
            assert set(result) == KEYS
            assert result["error"] is None
            assert result["class"] == explained
            found = np.load(tmp_path / result["array"])
            assert found.shape == (64, 64) and found.dtype == np.float32
            with Image.open(tmp_path / result["overlay"]) as drawn:
                assert drawn.mode == "RGB" and drawn.width > 2 * drawn.height
            assert (result["area_inside"] is not None) == (number < 2 and found.any())
            assert found.any() != any("no heat" in warning for warning in result["warnings"])
            if result["area_inside"] is not None:
                scored.append((result["area_inside"], dataset.mask(dataset.samples()[number]).mean()))
        assert content["sanity"]["randomisations"] == 5
        assert content["sanity"]["rank_correlation"]["n"] + content["sanity"]["undefined"] == 3
    assert scored
    assert all(found == pytest.approx(whole, rel=0.1) for found, whole in scored), "both halves of the mask"


def test_a_table_for_people(command, tiny_run, pictures) -> None:
    answer = command("explain", tiny_run.path, "pictures", "--class", "malignant", "--sanity").ok
    for word in ("file", "class", "heat inside", "overlay", "phantom-0-00001"):
        assert word in answer.out
    assert "! synthetic data" in answer.err
    assert "Sanity: rank correlation" in answer.err
    assert "Research only" in answer.err


def test_a_mask_by_name_and_occlusion(command, tiny_run, pictures, tmp_path) -> None:
    mask = np.zeros((128, 128), np.uint8)
    mask[:64] = 255
    Image.fromarray(mask).save(tmp_path / "upper.png")
    words = ("explain", tiny_run.path, "pictures/phantom-0-00002.png", "--mask", "upper.png", "--method", "occlusion")
    results = [
        command(*words, "--class", name, "--out", name, "--json").json["results"][0] for name in ("benign", "malignant")
    ]
    maps = [np.load(tmp_path / result["array"]) for result in results]
    assert any(found.any() for found in maps)
    assert sum(result["probability"] for result in results) == pytest.approx(1)
    for result, found in zip(results, maps, strict=True):
        assert result["area_inside"] == (0.5 if found.any() else None)
        if found.any():
            assert result["heat_inside"] == pytest.approx(found[:32].sum() / found.sum(), rel=1e-4)


def test_nothing_is_overwritten_unasked(command, tiny_run, pictures, tmp_path) -> None:
    image = "pictures/phantom-0-00002.png"
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / image, tmp_path / "other")
    both = command("explain", tiny_run.path, image, "other", "--json").json["results"]
    assert len({result["overlay"] for result in both}) == 2
    command("explain", tiny_run.path, image).refused(9, "already exists", "--overwrite")
    assert command("explain", tiny_run.path, image, "--overwrite").code == 0
    before = sha256(tmp_path / image)
    command("explain", tiny_run.path, image, "--out", "pictures", "--overwrite").refused(9, "input")
    assert sha256(tmp_path / image) == before


def test_a_bad_file_or_mask_does_not_stop_the_others(command, tiny_run, pictures) -> None:
    (pictures / "broken.png").write_text("no image")
    Image.new("L", (40, 40), 255).save(pictures / "phantom-0-00002_mask.png")  # of another size than its image
    answer = command("explain", tiny_run.path, "pictures", "--json")
    assert answer.code == 1
    results = {Path(result["file"]).name: result for result in answer.json["results"]}
    assert [name for name, result in results.items() if result["error"]] == ["broken.png", "phantom-0-00002.png"]
    assert "40×40" in results["phantom-0-00002.png"]["error"]
    assert results["phantom-0-00000.png"]["overlay"]


def test_of_its_own_data_set_a_run_explains_the_test_part(command, tiny_run) -> None:
    content = command("explain", tiny_run.path, "--dataset", "phantom:n=60", "--json").ok.json
    with (tiny_run.path / "predictions.csv").open() as handle:
        test = {row["sample"]: row["label"] for row in csv.DictReader(handle) if row["part"] == "test"}
    assert {result["file"]: result["label"] for result in content["results"]} == test
    assert {result["fold"] for result in content["results"]} == {"holdout"}
    assert set(content["summary"]["by_class"]) == {"benign", "malignant"}
    scored = [result for result in content["results"] if result["heat_inside"] is not None]
    assert content["summary"]["heat_inside"]["n"] == len(scored) == len(test) - content["summary"]["without_heat"]
    values = [result["heat_inside"] for result in scored]
    assert content["summary"]["heat_inside"]["value"] == pytest.approx(np.mean(values))
    for name, means in content["summary"]["by_decision"].items():
        hits = [result["hit"] for result in scored if (result["decision"] == result["label"]) == (name == "right")]
        assert (means["hit"]["n"], means["hit"]["value"]) == (len(hits), pytest.approx(np.mean(hits)))
    assert sum(means["hit"]["n"] for means in content["summary"]["by_decision"].values()) == len(scored)


def test_the_class_of_the_label_can_be_explained(command, tiny_run) -> None:
    words = ["explain", tiny_run.path, "--dataset", "phantom:n=8,seed=5", "--json"]
    results = command(*words, "--class", "true").ok.json["results"]
    assert [result["class"] for result in results] == [result["label"] for result in results]
    malignant = command(*words, "--class", "malignant", "--out", "malignant").ok.json["results"]
    assert {result["class"] for result in malignant} == {"malignant"}
    assert [result["decision"] for result in malignant] == [result["decision"] for result in results]


def test_a_fold_is_explained_by_its_own_model_and_other_data_whole_or_in_part(command, tiny_run, tmp_path) -> None:
    content = command("explain", tiny_run.path, "--dataset", "phantom:n=10,seed=5", "--limit", "4", "--json").json
    assert len(content["results"]) == 4
    assert {result["fold"] for result in content["results"]} == {None}
    command("explain", tiny_run.path, "--dataset", "phantom:n=10,seed=5", "--part", "val").refused(2, "--part")
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run"))
    (run / "holdout" / "model.safetensors").unlink()
    command("explain", run, "--dataset", "phantom:n=60").refused(3, "holdout")


def test_each_fold_is_loaded_once_and_its_images_meet_every_random_network(command, tmp_path, monkeypatch) -> None:
    """Images of several folds stand in turn, so a model that is loaded at each change is loaded for nearly every image."""
    folds = train(tiny(split={"folds": 2}), tmp_path / "folds").path
    loaded: list[Path] = []
    controls: list[int] = []

    def load(folder: Path) -> tuple[Model, ModelConfig]:
        loaded.append(folder)
        return load_model(folder)

    def new(config: ModelConfig, seed: int) -> Model:
        controls.append(seed)
        return untrained(config, seed)

    monkeypatch.setattr(explanations, "load_model", load)
    monkeypatch.setattr(explanations, "untrained", new)
    words = ("--part", "test", "--sanity", "--out", tmp_path / "out", "--json")
    results = command("explain", folds, "--dataset", "phantom:n=24", *words).ok.json["results"]
    assert len(loaded) == 2 and sorted(controls) == sorted([*range(5)] * 2)
    names = [result["file"] for result in results]
    assert names == sorted(names) and len({result["fold"] for result in results[:10]}) == 2


def test_refusals(command, run_copy, pictures) -> None:
    for words, code, *said in (
        ([], 2, "--dataset"),
        (["pictures", "--dataset", "phantom"], 2, "either images or --dataset"),
        (["pictures", "--part", "test"], 2, "--dataset"),
        (["pictures", "--method", "gradcam"], 2, "Did you mean 'grad-cam'"),
        (["pictures", "--class", "malign"], 2, "Did you mean 'malignant'"),
        (["pictures", "--class", "true"], 2, "--dataset"),
        (["pictures", "--mask", "pictures/phantom-0-00000_mask.png"], 2, "one image"),
        (["nowhere.png"], 3, "nowhere.png"),
    ):
        command("explain", run_copy, *words).refused(code, *said)
    command("explain", "no-such-model", "pictures").refused(3, "no-such-model")
    edit_config(run_copy, backbone="test_vit")
    command("explain", run_copy, "pictures").refused(7, "do not fit the network")
