"""`[MODEL] [IMAGES]`: one order of arguments for predict, explain, evaluate and diagnose."""

import json
import shutil
from pathlib import Path

import pytest
import typer

from mammozoo.cli import app
from mammozoo.cli.which import model_and_data, split_model
from mammozoo.zoo.registry import default_model

#: Command → what stands in the place of images, and what else it needs.
DATA = {
    "predict": ("pictures", ()),
    "explain": ("pictures", ("--overwrite",)),
    "evaluate": ("phantom:n=20", ()),
    "diagnose": ("phantom:n=20", ("--images", "4")),
}


@pytest.mark.parametrize("name", DATA)
def test_the_model_stands_first_or_last_or_behind_its_option(command, run_copy, pictures, name: str) -> None:
    shutil.move(run_copy, "runs/first")
    data, more = DATA[name]
    answers = []
    for words in (
        ["runs/first", data],
        [data, "runs/first"],
        [data, "--model", "runs/first"],
        ["--model", "run:runs/first", data],
    ):
        content = command(name, *words, *more, "--device", "cpu", "--json").ok.json
        answers.append({**content, "model": None})
    assert answers[0] == answers[1] == answers[2] == answers[3]
    assert len(json.dumps(answers[0])) > 500


@pytest.mark.parametrize("name", DATA)
def test_help_tells_of_the_order(command, name: str) -> None:
    usage = command(name, "-h").ok.out.splitlines()[0]
    assert usage.endswith("[MODEL] [IMAGES]..." if DATA[name][0] == "pictures" else "[MODEL] [DATA]")
    inner = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    assert "--model" in [option for parameter in inner.params for option in parameter.opts]


def test_the_built_in_model_answers_where_none_is_named(command, pictures) -> None:
    assert model_and_data("pictures", (), None) == (default_model(), ["pictures"])
    assert model_and_data("phantom:n=20", (), None) == (default_model(), ["phantom:n=20"])
    assert model_and_data(None, (), None) == (default_model(), [])
    answer = command("evaluate", "phantom:n=20", "--device", "cpu", "--json").ok
    assert answer.json["model"] == default_model() and f"the built-in model is used: {default_model()}" in answer.err
    command("evaluate").refused(2, "[MODEL] [DATA]")
    command("diagnose", default_model()).refused(2, "[MODEL] [DATA]")


def test_a_word_that_names_a_model_of_the_zoo_and_a_folder(command, pictures) -> None:
    """In `predict` it has always been the folder, elsewhere the model; `./` says that a folder is meant."""
    name = default_model()
    shutil.copytree(pictures, name)
    assert split_model(name, ["more"], None, paths_first=True) == (None, [name, "more"])
    assert split_model(name, [name], None) == (name, [name])
    assert split_model(f"./{name}", (), None) == (None, [f"./{name}"])
    rows = command("predict", name, "--device", "cpu", "--json").ok.json["results"]
    assert len(rows) == len(list(pictures.iterdir()))
    assert split_model(name, [f"./{name}"], None, paths_first=False) == (name, [f"./{name}"])


def test_what_is_neither_model_nor_data_is_refused_as_a_model(command, run_copy, pictures) -> None:
    command("explain", "pictures", "runs/frist", "--device", "cpu").refused(3, "runs/frist")
    command("evaluate", "runs/frist", "phantom:n=20").refused(3, "no model in 'runs/frist'")
    command("evaluate", "copy").refused(3, "./copy")  # a bare word is a zoo's
    command("evaluate", "./copy", "phantom:n=20", "--dataset", "phantom:n=30").refused(2, "One data set")
    (Path("broken")).mkdir()
    Path("broken/config.json").write_text("{}")
    command("explain", "./broken", "pictures").refused(7, "broken")
    command("predict", "zoo:no-such-model", "pictures").refused(3, "no-such-model")
