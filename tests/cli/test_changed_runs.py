"""A run whose files are damaged, or were changed, is refused by every command that reads them; never a bug, never a score."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ..helpers import edit_json


def put(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


def edit(change: Callable[[dict], object]) -> Callable[[Path], object]:
    return lambda path: edit_json(path, change)


def cells(column: str, value: str, rows: slice = slice(None)) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        header, *lines = [line.split(",") for line in path.read_text().splitlines()]
        for line in lines[rows]:
            line[header.index(column)] = value
        path.write_text("\n".join(map(",".join, [header, *lines])) + "\n")

    return change


def first_lines(count: int) -> Callable[[Path], object]:
    return lambda path: path.write_text("".join(path.read_text().splitlines(keepends=True)[:count]))


REPORT, EVALUATE, COMPARE = ("report", "run", "--no-heatmaps"), ("evaluate", "./run"), ("compare", "run", "whole")
RESUME = ("train", "--resume", "run", "--no-report")
EXTEND = ("train", "--extend", "run", "--epochs", "2", "--out", "more")
PUSH = ("zoo", "push", "run", "--to", "zoo", "--license", "MIT", "--dry-run", "--allow-stamped")
CASES = [
    *(("run.json", put(text), command) for text, command in zip(("[]", "7", '{"a":' * 3000, ""), (REPORT, RESUME, EXTEND,
    PUSH), strict=True)),
    ("run.json", edit(lambda c: c.update(splits=[])), REPORT), ("run.json", edit(lambda c: c.update(splits={"a": 1})),
    REPORT),
    ("run.json", edit(lambda c: c.update(stamps=7)), REPORT), ("run.json", edit(lambda c: c.update(near_duplicates=[1])),
    REPORT),
    ("run.json", edit(lambda c: c.update(model=[])), REPORT), ("run.json", edit(lambda c: c.update(versions="x")), REPORT),
    ("run.json", edit(lambda c: c.pop("mammozoo")), REPORT), ("run.json", edit(lambda c: c.update(model=3)), PUSH),
    *(("scores.json", put(text), REPORT) for text in ("[]", "7", '"x"', '{"auc": {"value": "x"}}',
    '{"auc": {"value": [1]}}')),
    ("scores.json", edit(lambda c: c["auc"].update(low=None)), REPORT), ("scores.json",
    edit(lambda c: c["auc"].update(n="x")), REPORT),
    *(("splits.json", put(text), RESUME) for text in ("[]", "7", '{"splits": 7}', '{"splits": [7]}',
    '{"splits": [{"name": []}]}')),
    *(("holdout/key.json", put(text), RESUME) for text in ("[]", "7", "null", '{"data": {"a": []}}')),
    *(("holdout/history.csv", put(text), REPORT) for text in ("", "a,b\n1,2\n", "epoch\nx\n", "\0")),
    ("holdout/history.csv", cells("best", "maybe"), REPORT), ("holdout/history.csv", cells("epoch", "1.5"), RESUME),
    ("holdout/split.csv", cells("group", "x"), REPORT), ("holdout/split.csv", put("a,b\n1,2\n"), RESUME),
    *(("predictions.csv", cells(name, x), EVALUATE) for name in ("p_malignant", "threshold") for x in ("7.5", "-3", "inf")),
    *(("predictions.csv", cells("p_malignant", "nan", slice(-1, None)), c) for c in (REPORT, EVALUATE, COMPARE, PUSH)),
    *(("predictions.csv", change, c) for change, c in zip((put(""), first_lines(1), first_lines(2)), (REPORT, COMPARE,
    EVALUATE), strict=True)),
    ("predictions.csv", lambda path: path.write_text(path.read_text(), encoding="utf-32"), EVALUATE),
    ("predictions.csv", cells("part", "exam"), EVALUATE), ("predictions.csv", cells("fold", "../../x"), REPORT),
    ("holdout/predictions.csv", cells("p_malignant", "7.5"), RESUME), ("attempts.csv", put("a,a\n1,2\n"), REPORT),
    ("recipe.yaml", put("epochs: -1\n"), REPORT),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "words"), CASES)
def test_it_is_incompatible(name: str, change, words: tuple[str, ...], run_copy: Path, tiny_run, command) -> None:
    run = run_copy.rename(run_copy.parent / "run")
    if words == RESUME:
        edit_json(run / "run.json", lambda content: content.update(status="interrupted"))
    change(run / name)
    words = tuple(str(tiny_run.path) if word == "whole" else word for word in words)
    command(*words).refused(7)
    assert not (run / "report.html").exists() and not (run_copy.parent / "more").exists()


def test_damaged_weights_are_no_bug_of_the_report(run_copy: Path, command) -> None:
    (run_copy / "model.safetensors").write_bytes(b"\xff" * 100)
    command("report", run_copy, "--no-heatmaps").refused(6, "model.safetensors")


def test_an_entry_of_a_later_version_stays(run_copy: Path, command) -> None:
    edit_json(run_copy / "scores.json", lambda content: content.update(later=[1], more={"a": 1}))
    edit_json(run_copy / "run.json", lambda content: content.update(later={"a": []}))
    assert json.loads((run_copy / "run.json").read_text())["later"]
    assert command("report", run_copy, "--no-heatmaps").code == 0
