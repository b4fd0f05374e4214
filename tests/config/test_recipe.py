"""The recipe: which of several settings applies, and what is refused."""

import time

import pytest
import yaml

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.config.sections import Optimizer, Phase, value_at
from mammozoo.errors import NotFoundError, UsageError

LEAST = "dataset: phantom\nbackbone: resnet9\n"


@pytest.fixture
def recipe(tmp_path):
    def made(text: str = "", overrides: dict[str, object] | None = None) -> Recipe:
        path = tmp_path / "mine.yaml"
        path.write_text(LEAST + text)
        return load(str(path), overrides)

    return made


def test_a_field_has_its_default_that_of_the_file_or_an_override(recipe) -> None:
    made = recipe()
    assert (made.strategy, made.head, made.epochs, made.optimizer) == ("frozen", "gap", 20, Optimizer())
    assert made.name == "mine"
    text = "epochs: 7\noptimizer: {lr: 0.5, momentum: 0.1}\n"
    assert recipe(text).epochs == 7
    made = recipe(text, {"epochs": 9, "optimizer.lr": 0.25})
    assert made.epochs == 9
    assert (made.optimizer.lr, made.optimizer.momentum) == (0.25, 0.1)  # its neighbours stay
    with pytest.raises(UsageError, match="'epochs' holds a value"):
        recipe("epochs: 3\n", {"epochs.more": 1})


def test_a_summary_is_that_of_the_recipe_as_it_stands(recipe) -> None:
    text = "summary: resnet9 on phantoms\n"
    assert recipe(text, {"epochs": 3, "backbone": "resnet9"}).summary == "resnet9 on phantoms"
    for key, value in (
        ("dataset", "phantom:n=9"),
        ("backbone", "resnet18"),
        ("strategy", "full"),
        ("weights", "random"),
    ):
        assert recipe(text, {key: value}).summary == ""
        assert recipe(text, {key: value, "summary": "mine"}).summary == "mine"


def test_a_grid_is_set_key_by_key_or_as_a_whole(recipe) -> None:
    """Its keys have dots of their own."""
    whole = recipe("grid: {optimizer.lr: [0.1, 0.2], batch: [4]}\n")
    assert recipe("grid: {batch: [4]}\n", {"grid.optimizer.lr": [0.1, 0.2]}).grid == whole.grid
    assert value_at(whole.model_dump(mode="json"), "grid.optimizer.lr") == [0.1, 0.2]
    with pytest.raises(UsageError) as refused:
        recipe("grid: {optimizer: {lr: [0.1]}}\n")
    assert str(refused.value) == "Recipe 'mine.yaml': grid.optimizer: must be a valid list; grid: must be a valid list."


def test_a_flag_beats_set(command, tmp_path) -> None:
    """On the command line, which is where the two meet."""
    least = "dataset: phantom:n=24\nbackbone: test_resnet\nweights: random\nsize: 32\nepochs: 7\n"
    (tmp_path / "mine.yaml").write_text(least)
    words = ["--set", "optimizer.lr=0.5", "--lr", "0.25", "--set", "seed=4", "--set", "epochs=8", "--dry-run", "--json"]
    made = command("train", "mine.yaml", *words).json["recipe"]
    assert (made["optimizer"]["lr"], made["seed"], made["epochs"]) == (0.25, 4, 8)


@pytest.mark.parametrize("text", ["1e-3", "'1e-3'", "0.001", "1.0e-3"])
def test_every_way_to_write_a_number(recipe, text: str) -> None:
    assert recipe(f"optimizer: {{lr: {text}}}\n").optimizer.lr == 0.001
    assert recipe("", {"optimizer.lr": "1e-3"}).optimizer.lr == 0.001


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stratgy: drs\n", ["'stratgy'", "'strategy'"]),
        ("optimizer: {beta: 0.9}\n", ["'optimizer.beta'", "'beta"]),
        ("split: {fold: 5}\n", ["'split.fold'", "'folds'"]),
        ("phases: [{epochs: 1, lrr: 1}]\n", ["'phases.lrr'", "'lr'"]),
        ("epochs: many\n", ["epochs", "integer"]),
        ("epochs: 0\n", ["epochs", "1"]),
        ("batch: 1\n", ["batch", "2"]),
        ("optimizer: {lr: 0}\n", ["optimizer.lr", "0"]),
        ("optimizer: {name: adamm}\n", ["optimizer.name", "'adam'"]),
        ("optimizer: 3\n", ["optimizer"]),
        ("threshold: best\n", ["threshold", "youden"]),
        ("split: {val: 0.5, test: 0.5}\n", ["no images for training"]),
        ("split: {by: image}\n", ["leaks", "allow_leakage"]),
        ("phases: [{lr: 1}]\n", ["phases.0.epochs", "required"]),
    ],
)
def test_refusals_name_the_key(recipe, text: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        recipe(text)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("text", ["", "[1, 2]", "just words", "a: [", "\t: x"])
def test_a_file_that_is_not_a_mapping(tmp_path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml"):
        load(str(tmp_path / "mine.yaml"))


def test_required_keys_and_a_file_that_is_not_there(tmp_path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 3\n")
    with pytest.raises(UsageError, match=r"dataset.*backbone"):
        load(str(tmp_path / "mine.yaml"))
    with pytest.raises(NotFoundError, match="nowhere"):
        load(str(tmp_path / "nowhere.yaml"))


def test_short_forms_and_phases_which_replace_epochs_and_optimizer(recipe) -> None:
    made = recipe("epochs: 3\noptimizer: {name: sgd, lr: 0.1}\n")
    assert made.all_phases() == (Phase(name="sgd", lr=0.1, epochs=3),)
    made = recipe("epochs: 99\nphases: [{name: adam, lr: 1e-3, epochs: 2}, {name: sgd, lr: 1e-2, epochs: 3}]\n")
    assert made.all_phases() == (Phase(name="adam", lr=1e-3, epochs=2), Phase(name="sgd", lr=1e-2, epochs=3))
    made = recipe("size: 64\nclasses: benign+malignant\naugment: hflip + affine\n")
    assert (made.size, made.classes, made.augment) == ((64, 64), ("benign", "malignant"), ("hflip", "affine"))
    assert recipe("size: [64, 96]\n").size == (64, 96)


def test_what_it_writes_it_reads_and_that_is_every_field(recipe, tmp_path) -> None:
    text = "root: some/where\nphases: [{epochs: 2}]\nsize: 64\nsummary: 'ümlaut: and colon'\nclasses: ['no', 'yes']\n"
    made = recipe(text)
    (tmp_path / "again.yaml").write_text(made.to_yaml(), encoding="utf-8")
    assert load(str(tmp_path / "again.yaml")) == made
    assert made.classes == ("no", "yes")  # which YAML would read as False and True
    assert set(yaml.safe_load(recipe().to_yaml())) == set(Recipe.model_fields)


@pytest.mark.parametrize("text", ["1:" * 200_000 + "1", "2026-01-01", "017", "0x1F", "1_0:30", "+1:30", "012:30"])
def test_what_is_no_number_in_json_is_a_text(text: str, command) -> None:
    begin = time.process_time()
    command("train", "--set", f"summary={text}", "--set", "batch=1").refused(2, "batch")
    assert time.process_time() - begin < 2


def test_a_recipe_reads_back_what_it_writes(tmp_path) -> None:
    """The writer knows YAML 1.1, the reader less of it: no text may become a number on the way."""
    for text in (
        "1.5e3",
        "1e3",
        "+.5",
        "0o17",
        "1:30",
        "yes",
        "2026-01-01",
        "~",
        "",
        "1_000",
        "0x1F",
        ".inf",
        "-.5",
        "1.",
        "<<",
        "=",
    ):
        recipe = load(None, {"summary": text, "optimizer.lr": 1e-5})
        path = tmp_path / "again.yaml"
        path.write_text(recipe.to_yaml())
        assert load(str(path)) == recipe
