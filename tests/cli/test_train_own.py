"""`mammozoo train FOLDER_OR_TABLE`: one's own data in the place of a recipe."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mammozoo.config.loading import load
from mammozoo.config.sections import value_at
from mammozoo.data.io.images import to_uint8
from mammozoo.data.joined import open_dataset
from mammozoo.data.layouts import dataset_at
from mammozoo.models.config import read_config
from mammozoo.plugins import registry
from mammozoo.training.estimate import estimate
from mammozoo.training.prepare import prepare

from ..builtin.trees import declared, pictures
from ..builtin.trees.bcdr import bcdr_f03
from ..builtin.trees.breast import breast
from ..builtin.trees.bus_bra import bus_bra
from ..builtin.trees.cbis_ddsm import cbis_ddsm
from ..builtin.trees.inbreast import inbreast
from ..builtin.trees.mini_mias import mini_mias

PUBLISHED: dict[str, Callable[[Path], Path]] = {
    "busi": pictures.busi,
    "breastmnist": pictures.breastmnist,
    "breakhis": pictures.breakhis,
    "bus-bra": bus_bra,
    "breast": breast,
    "cbis-ddsm": cbis_ddsm,
    "inbreast": inbreast,
    "mini-mias": mini_mias,
    "bcdr-f03": bcdr_f03,
    "udiat-b": declared.udiat_b,
    "vindr-mammo": declared.vindr_mammo,
    "cmmd": declared.cmmd,
    "cdd-cesm": declared.cdd_cesm,
    "folder": pictures.folder,
}
TINY = ("--backbone", "test_resnet", "--weights", "random", "--set", "size=64", "--epochs", "1", "--no-report")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_layout_of_a_folder_is_known(name: str, tmp_path: Path) -> None:
    """Its own data set, and no other, reads it."""
    PUBLISHED[name](tmp_path / "data")
    found, root = dataset_at(tmp_path / "data")
    assert found == name
    assert registry().get("datasets", found)(root).samples()


def test_every_published_data_set_that_has_marks_is_tried() -> None:
    marked = {name for name, item in registry().items("datasets").items() if item.value.info.marks}
    assert marked == PUBLISHED.keys() - {"folder"}


def test_one_s_own_images_are_trained_on(command, tmp_path: Path) -> None:
    pictures.folder(tmp_path / "Clinic A", each=12)
    answer = command("train", "Clinic A", *TINY, "--folds", "2").ok
    for words in ("'folder'", "mammozoo show own", "strategy = full", "split.folds = 2: given"):
        assert words in answer.err
    (run,) = (tmp_path / "runs").iterdir()
    assert "_Clinic-A_" in run.name and read_config(run).name == "clinic-a-test-resnet-full"
    assert not load(str(run / "recipe.yaml")).why.get("split.folds"), "a value that was given has no reason"


def _drawn(folder: Path, dataset: str, inverted: int = 0) -> Path:
    """Generated images as files in class folders, the first few of them as negatives."""
    drawn = open_dataset(dataset, None)
    for number, sample in enumerate(drawn.samples()):
        (folder / sample.label).mkdir(parents=True, exist_ok=True)
        image = to_uint8(drawn.read(sample))
        Image.fromarray(255 - image if number < inverted else image).save(folder / sample.label / f"{number:02}.png")
    return folder


def test_a_glance_at_the_images_says_what_they_are(command, tmp_path: Path) -> None:
    """And the model that is trained on them answers for nothing else."""
    films = _drawn(tmp_path / "films", "phantom:n=30,modality=mammography", inverted=3)
    scans = _drawn(tmp_path / "scans", "phantom:n=20")
    assert load(str(scans)).dataset == "folder:modality=ultrasound" and not load(str(scans)).preprocess
    recipe = load(str(films))
    assert (recipe.dataset, recipe.preprocess) == ("folder:modality=mammography", ("polarity",))
    assert "30 of 30 images" in recipe.why["dataset"] and "3 of 30" in recipe.why["preprocess"]
    given = load(str(films), {"preprocess": ["breast"], "dataset": "folder"})
    assert (given.dataset, given.preprocess) == ("folder", ("breast",)), "what is given stays"
    assert "20 of 20" in command("train", "scans", *TINY, "--folds", "2", "--out", "run").ok.err
    command("predict", next((films / "malignant").iterdir()), "--model", "run/").refused(1, "trained on ultrasound")
    assert command("predict", next((scans / "malignant").iterdir()), "--model", "run/").ok
    (films / "normal" / "damaged.png").write_bytes(b"\x89PNG")
    assert load(str(films)).preprocess == ("polarity",), "what cannot be read is said elsewhere"
    for path in [*(scans / "benign").iterdir()][:2]:
        path.replace(films / "benign" / f"scan-{path.name}")
    assert load(str(films)).dataset == "folder", "two of 32 are something else"


def test_a_folder_in_the_place_of_a_data_set(command, tmp_path: Path, tiny_run) -> None:
    data = pictures.folder(tmp_path / "Clinic A", each=12)
    table = tmp_path / "names.csv"
    table.write_text("path,label\n" + "".join(f"{p.as_posix()},{p.parent.name}\n" for p in data.rglob("*.png")))
    for place, kind in (("Clinic A", "folder"), ("names.csv", "csv")):
        assert command("data", "show", place, "--json").ok.json["found"]["images"] == 24
        assert command("data", "check", place, "--json").json["images"] == 24
        recipe = load(None, {"dataset": str(tmp_path / place)})
        assert (recipe.dataset, recipe.root) == (kind, tmp_path / place)
    assert command("evaluate", tiny_run.path, "names.csv", "--device", "cpu", "--json").ok.json["n"] == 24
    command("evaluate", tiny_run.path, "names.csv", "--dataset", "phantom").refused(2, "One data set")
    out = ("--out", "maps", "--limit", "2", "--device", "cpu", "--json")
    assert command("explain", tiny_run.path, "--dataset", "Clinic A", *out).ok
    assert len([*(tmp_path / "maps").rglob("*.npy")]) == 2
    assert command("diagnose", tiny_run.path, "--dataset", "Clinic A", "--images", "4", "--device", "cpu").ok


def test_a_table_in_or_in_place_of_a_folder(command, tmp_path: Path) -> None:
    images = sorted(pictures.folder(tmp_path / "flat", each=6).rglob("*.png"))
    table = tmp_path / "flat" / "labels.tsv"
    rows = [f"{path.relative_to(table.parent).as_posix()}\t{path.parent.name}" for path in images]
    table.write_text("\n".join(["path\tlabel", *rows]))
    assert dataset_at(table) == ("csv", table)
    home = tmp_path / "one"
    home.mkdir()
    assert dataset_at(Path(table.rename(home / "labels.tsv")).parent) == ("csv", home / "labels.tsv")
    (home / "other.csv").write_text("a,b")
    with pytest.raises(Exception, match=r"several tables: labels\.tsv, other\.csv"):
        dataset_at(home)


def test_what_is_no_data_is_refused_with_the_way_out(command, tmp_path: Path) -> None:
    command("train", "clinic/images").refused(3, "clinic/images")
    command("train", "drss").refused(3, "drss")
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text("{}")
    command("train", "./run").refused(2, "mammozoo train --resume")
    (tmp_path / "notes.txt").write_text("x")
    command("train", "./notes.txt").refused(2, "table")
    (tmp_path / "empty").mkdir()
    command("train", "empty").refused(2, "class folders")
    pictures.busi(tmp_path / "both" / "busi", 2)
    bus_bra(tmp_path / "both" / "bra", 2)
    command("train", "both").refused(2, "bus-bra and busi")
    command("train", "--dataset", "phantom:n=60", "--preset", "quick").refused(2, "own-quick --dataset")
    command("train", "bath", "--preset", "quick").refused(2, "Did you mean 'both'")
    command("train", "both", "--preset", "slow").refused(2, "quick or best")


def test_a_recipe_wins_over_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures.folder(tmp_path / "default", each=2)
    monkeypatch.chdir(tmp_path)
    assert load("default").dataset == "phantom:n=800"
    assert load("default/").dataset == "folder"


@pytest.mark.parametrize("source", [None, "default"])
def test_only_phantoms_and_their_network_are_seen_at_the_size_of_the_default(source: str | None) -> None:
    assert load(source).size == load(source, {"dataset": "phantom:n=50", "strategy": "full"}).size == (64, 64)
    for others in ({"dataset": "busi", "root": "."}, {"backbone": "resnet18"}):
        assert load(source, others).size is None, "the network's own"
        assert load(source, {**others, "size": 48}).size == (48, 48)
    assert load(source, {"grid.epochs": [1, 2]}).size == (64, 64)
    networks = ["resnet18", "tf_efficientnet_lite0"]
    listed = [{"backbone": name} for name in networks]
    for grid in ({"grid.backbone": networks}, {"grid": {"backbone": networks}}, {"grid": listed}):
        assert [point.size for _, point in load(source, grid).points()] == [None, None], "each network's own"
        assert [point.size for _, point in load(source, {**grid, "size": 48}).points()] == [(48, 48)] * 2


def test_reasons_belong_to_values_that_the_recipes_have() -> None:
    for name in ("own", "own-quick", "own-best"):
        recipe = load(name)
        assert recipe.why
        for key in recipe.why:
            value_at(recipe.model_dump(mode="json"), key)


def test_the_time_is_told_before_and_changes_nothing(tmp_path: Path) -> None:
    data = pictures.folder(tmp_path / "clinic", each=12)
    settings = {"backbone": "test_resnet", "weights": "random", "size": 64, "device": "cpu", "split.folds": 2}
    short, long = (prepare(load(str(data), settings | {"epochs": epochs})) for epochs in (2, 20_000))
    before = torch.get_rng_state()
    assert estimate(short) == ""
    assert "minutes at most for 2 fits" in (line := estimate(long))
    assert 1 < int(line.split()[1]) < 600, "240,000 images of 64 × 64 through a network of some thousand parameters"
    assert torch.equal(torch.get_rng_state(), before)
    frozen = prepare(load(str(data), settings | {"epochs": 20_000, "strategy": "frozen", "augment": []}))
    assert "About 1 minutes" in estimate(frozen), "features are computed once"


@pytest.mark.parametrize(("each", "folds"), [(12, 5), (3, 3)])
def test_a_recipe_for_a_folder_is_what_train_would_take(command, tmp_path, each: int, folds: int) -> None:
    pictures.folder(tmp_path / "my clinic", each)
    said = command("init", "my clinic").ok
    assert f"{2 * each} images ({each} benign, {each} malignant), no patient is named" in said.out
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert f"# {load('own').why['strategy']}\nstrategy:" in text
    written, taken = load("recipe.yaml"), load("./my clinic")
    assert written.split.folds == folds
    same = {"why": {}, "summary": "", "root": None, "split": taken.split}
    assert written.model_copy(update=same) == taken.model_copy(update=same)
    assert written.root == tmp_path / "my clinic"
    command("init", "my clinic").refused(9, "recipe.yaml")
    command("init", "default", "--out", "other.yaml").refused(2, "mammozoo show")
    command("init", "my clinic", "--preset", "fast", "--out", "other.yaml").refused(3, "own-fast")
