"""Papers as data, their runs, and what stands beside the reported numbers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mammozoo import Progress, RunDirectory
from mammozoo.errors import ConflictError, NotFoundError, UsageError
from mammozoo.evaluation.predictions import read_predictions
from mammozoo.reproduction.departures import SEE, Departure, departures, verdict
from mammozoo.reproduction.paper import Paper, load_paper
from mammozoo.reproduction.results import Results, collect, markdown, write_tables
from mammozoo.reproduction.runs import Task, differences, plan_runs, train_tasks
from mammozoo.training.checkpoint import Stopped

from ..builtin.trees.pictures import busi

SMALL = {
    "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "strategy": "frozen", "size": 64, "epochs": 1,
    "split": {"test": 0.3, "val": 0.2},
}  # fmt: skip
BY_IMAGE = {**SMALL, "split": {**SMALL["split"], "by": "image"}, "allow_leakage": True}
FIELDS: dict[str, Any] = {
    "key": "nobody-2020", "title": "Nothing learnt", "citation": "Nobody 2020.", "data": "drawn", "dataset": "phantom",
    "split": "by image", "n": 18,
    "rows": [
        {"name": "frozen", "reported": {"auc": 0.99}},
        {"name": "lost", "settings": {"weights": "file:nowhere.safetensors"}, "reported": {"auc": 0.5, "accuracy": 0.5}},
    ],
    "protocols": {"published": {"recipe": "by-image.yaml"}, "sound": {"recipe": "by-group.yaml"}},
    "departures": ["the paper learnt nothing"],
}  # fmt: skip


def write_paper(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in {"by-group": SMALL, "by-image": BY_IMAGE}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    path = folder / "nobody-2020.yaml"
    path.write_text(yaml.safe_dump(FIELDS | changes, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Paper:
    return load_paper(str(write_paper(tmp_path_factory.mktemp("paper"))))


def wanted(paper: Paper, out: Path, **settings: Any) -> list[Task]:
    return plan_runs(paper, out, protocols=("published", "sound"), seeds=2, settings={"precision": "fp32", **settings})


@pytest.fixture(scope="module")
def made(paper: Paper, tmp_path_factory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("out")
    failed = train_tasks(wanted(paper, out), Progress())
    return out, collect(paper, out, failed)


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tittle": "x"}, "tittle: is no key"),
        ({"rows": [{"name": "a", "reported": {"acuracy": 1.0}}]}, "Did you mean 'accuracy'?"),
        ({"rows": [{"name": "a"}, {"name": "a"}]}, "two rows are named 'a'"),
        ({"rows": [{"name": "../a"}]}, "rows.0.name"),
        ({"key": "other"}, "must be the file's stem"),
        ({"protocols": {"best": {"recipe": "default"}}}, "protocols.best"),
    ],
)
def test_a_wrong_paper_is_refused_with_the_reason(tmp_path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        load_paper(str(write_paper(tmp_path, **changes)))


def test_what_is_not_there_is_named(tmp_path, paper: Paper) -> None:
    with pytest.raises(NotFoundError, match="Did you mean 'byra-2021'"):
        load_paper("byra-2020")
    with pytest.raises(NotFoundError, match="Did you mean 'default'"):
        load_paper(str(write_paper(tmp_path, protocols={"sound": {"recipe": "defualt"}})))
    with pytest.raises(NotFoundError, match=r"no row 'frosen'\. Did you mean 'frozen'\?"):
        paper.row("frosen")
    assert load_paper(str(write_paper(tmp_path, rows=[{"name": "a"}]))).scores == ("auc", "accuracy")


# ---------------------------------------------------------------- the runs


def test_a_seed_moves_training_and_split_and_differences_have_dotted_keys(paper: Paper, tmp_path) -> None:
    tasks = [task for task in wanted(paper, tmp_path, seed=5) if task.row == "frozen"]
    assert [task.path.relative_to(tmp_path).as_posix() for task in tasks] == [
        "published/frozen/seed-5", "sound/frozen/seed-5", "published/frozen/seed-6", "sound/frozen/seed-6",
    ]  # fmt: skip
    assert [(task.recipe.seed, task.recipe.split.seed) for task in tasks] == [(5, 0), (5, 0), (6, 1), (6, 1)]
    assert {task.state for task in tasks} == {"to do"}
    a = {"name": "x", "grid": {"optimizer.lr": [1]}, "optimizer": {"name": "adam", "lr": 1}, "epochs": 3}
    b = {"name": "y", "grid": {}, "optimizer": {"name": "adam", "lr": 2}, "epochs": 3}
    assert differences(a, b) == [("grid", {"optimizer.lr": [1]}, {}), ("optimizer.lr", 1, 2)]
    c = {"stages": [{"name": "first", "root": None, "epochs": 1}]}
    d = {"stages": [{"name": "first", "root": "here", "epochs": 2}]}
    assert differences(c, d) == [("stages.0.epochs", 1, 2)]


def test_missing_data_are_told_before_anything_is_trained(paper: Paper, tmp_path) -> None:
    tasks = wanted(paper, tmp_path, dataset="busi")
    with pytest.raises(UsageError, match="--root"):
        train_tasks(tasks, Progress())
    assert not any(task.path.exists() for task in tasks)


def test_a_stage_without_its_data_is_told_before_anything_is_trained(paper: Paper, tmp_path) -> None:
    stage = {"name": "first", "dataset": "busi", "epochs": 1}
    tasks = wanted(paper, tmp_path, stages=[stage])
    with pytest.raises(UsageError, match=r"Stage 'first' needs .*stages\.0\.root"):
        train_tasks(tasks, Progress())
    assert not any(task.path.exists() for task in tasks)


def test_one_row_that_fails_ends_none_of_the_others_and_the_number_is_the_mean(made: tuple[Path, Results]) -> None:
    out, results = made
    assert results.failed
    assert [(line.row, line.protocol) for line in results.lines if line.metric == "auc"] == [
        ("frozen", "published"), ("lost", "published"), ("frozen", "sound"), ("lost", "sound"),
    ]  # fmt: skip
    for line in results.lines:
        if line.row == "lost":
            assert line.obtained is None
            assert line.verdict.startswith("failed: There is no weights file 'nowhere.safetensors'")
    assert sorted(path.name for path in (out / "sound" / "frozen").iterdir()) == ["seed-0", "seed-1"]
    (line,) = [x for x in results.lines if (x.row, x.metric, x.protocol) == ("frozen", "auc", "sound")]
    runs = [out / f"sound/frozen/seed-{seed}" for seed in (0, 1)]
    values = [json.loads((run / "scores.json").read_text())["auc"]["value"] for run in runs]
    assert line.obtained == pytest.approx(sum(values) / 2)
    assert (line.least, line.most) == pytest.approx((min(values), max(values)))
    assert (line.seeds, line.reported, line.split) == (2, 0.99, "50/20/30 % by group")
    tested = {name for run in runs for name in read_predictions(run).of("test").samples}
    assert (line.images, line.groups) == (len(tested), len(tested))


def test_complete_runs_are_left_alone_unless_settings_differ(paper: Paper, made: tuple[Path, Results]) -> None:
    out, _ = made
    before = {path: path.read_bytes() for path in out.rglob("run.json")}
    tasks = [task for task in wanted(paper, out) if task.row == "frozen"]
    assert {task.state for task in tasks} == {"done"}
    assert train_tasks(tasks, Progress()) == {}
    assert {path: path.read_bytes() for path in out.rglob("run.json")} == before
    with pytest.raises(ConflictError, match="epochs is 1 there and 2 now"):
        wanted(paper, made[0], epochs=2)
    wanted(paper, made[0], device="cpu", workers=1)  # these change no result


def test_a_stopped_run_goes_on_to_the_same_bytes(paper: Paper, made: tuple[Path, Results], tmp_path) -> None:
    whole, _ = made
    tasks = plan_runs(paper, tmp_path, protocols=["sound"], rows=["frozen"], settings={"precision": "fp32"})
    with pytest.raises(Stopped):
        train_tasks(tasks, Progress(), stop=lambda: True)
    assert tasks[0].state == "begun"
    assert collect(paper, tmp_path).lines == ()  # an interrupted run has no result
    assert train_tasks(tasks, Progress()) == {}
    place = Path("sound/frozen/seed-0/predictions.csv")
    assert (tmp_path / place).read_bytes() == (whole / place).read_bytes()


# ---------------------------------------------------------------- the numbers


def test_the_gap_is_published_minus_sound_and_the_tables_hold_the_same_numbers(made, tmp_path) -> None:
    _, results = made
    obtained = {line.protocol: line.obtained for line in results.lines if (line.row, line.metric) == ("frozen", "auc")}
    (gap,) = [gap for gap in results.gaps if gap.metric == "auc"]
    assert gap.row == "frozen"
    assert gap.difference == pytest.approx(obtained["published"] - obtained["sound"])
    assert gap.seeds == 2
    page, table, content = write_tables(results, tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text == markdown(results)
    held = json.loads(content.read_text(encoding="utf-8"))
    assert [row["obtained"] for row in held["rows"]] == [line.obtained for line in results.lines]
    assert len(table.read_text(encoding="utf-8").splitlines()) == 1 + len(results.lines)
    first = results.lines[0]
    assert f"| frozen | auc | 0.990 | {first.obtained:.3f} ({first.low:.3f} to {first.high:.3f}) | 2: " in text
    assert "* stamped: synthetic data: says nothing about patients\n" in text
    assert "* split 50/20/30 % by group; the paper's: by image (sound/frozen)\n" in text


# ---------------------------------------------------------------- verdicts and departures


@pytest.mark.parametrize(
    ("found", "reported", "words"),
    [
        ([], 0.9, "within the interval"),
        ([], 0.95, "outside the interval"),
        ([], None, "not reported"),
        ([Departure("paper", "x")], 0.9, SEE),
        ([Departure("stamp", "leaky split: not comparable"), Departure("paper", "x")], 0.9, "leaky split: not comparable"),
        ([Departure("data", "x"), Departure("data", "y"), Departure("split", "z")], 0.9, "other data; other split"),
        ([Departure("settings", "x"), Departure("note", "y")], 0.9, "other settings"),
    ],
)  # fmt: skip
def test_a_number_is_held_against_the_interval_only_where_nothing_departs(found, reported, words: str) -> None:
    assert verdict(found, reported, 0.8, 0.92) == words


def test_departures_are_found_by_comparing(tmp_path) -> None:
    paper = load_paper(str(write_paper(tmp_path, dataset="busi")))
    changed = {"weights": "file:/home/somebody/w.safetensors", "epochs": 3, "seed": 4, "device": "cpu"}
    recipe = paper.recipe("sound", "frozen", changed)
    found = departures(paper, "sound", "frozen", RunDirectory(tmp_path, recipe, {"stamps": ["synthetic data"]}))
    assert [(d.kind, d.text) for d in found] == [
        ("stamp", "synthetic data"), ("data", "data set phantom:n=60 instead of busi"),
        ("split", "split 50/20/30 % by group; the paper's: by image"),
        ("settings", "weights: file:w.safetensors instead of random"), ("settings", "epochs: 3 instead of 1"),
        ("paper", "the paper learnt nothing"),
    ]  # fmt: skip
    paper = load_paper(str(write_paper(tmp_path, departures=[])))
    recipe = paper.recipe("published", "frozen")
    assert departures(paper, "published", "frozen", RunDirectory(tmp_path, recipe, {"stamps": []})) == []


def test_excluded_images_are_other_data(tmp_path) -> None:
    paper = load_paper(str(write_paper(tmp_path, departures=[])))
    recipe = paper.recipe("published", "frozen", {"exclude": "/home/somebody/list.csv"})
    run = RunDirectory(tmp_path, recipe, {"stamps": [], "excluded": {"constant": 2}})
    found = departures(paper, "published", "frozen", run)
    assert found == [Departure("data", "2 images were excluded: 2 constant")]
    assert verdict(found, 0.9, 0.8, 0.92) == "other data"


def test_an_incomplete_data_set_departs(tmp_path) -> None:
    paper = load_paper("resnet9")
    recipe = paper.recipe("published", "changing", {"root": str(busi(tmp_path, each=1))})
    found = departures(paper, "published", "changing", RunDirectory(tmp_path, recipe, {}))
    assert any(d.kind == "data" and "3 images, published are 780" in d.text for d in found)
