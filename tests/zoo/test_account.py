"""Card, report and zoo say what was carried out: derived from the files of the run, and whose each score is."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from mammozoo.errors import IncompatibleError
from mammozoo.evaluation.predictions import Predictions
from mammozoo.evaluation.scores import as_json, score_all
from mammozoo.files import read_table, write_table
from mammozoo.models.config import LEAKY, read_config
from mammozoo.report.content import read
from mammozoo.report.page import write_report
from mammozoo.training.experiment import train
from mammozoo.zoo.account import Account, read_account
from mammozoo.zoo.card import Publication, publish_card, write_card
from mammozoo.zoo.directory import write_entries
from mammozoo.zoo.entry import FolderSource
from mammozoo.zoo.staging import stage

from ..helpers import edit_json, tiny

ABOUT = Publication("ours", "1.0.0", "Apache-2.0", "none: generated images", "lab/ours")


def account(model: str, *rows: tuple[str, str, float, bool], monitor: str = "loss") -> Account:
    """Rows are (fit, point, monitored value, reports); a point may name its repeat after a colon."""
    table = []
    for fit, point, value, reports in rows:
        rate, _, repeat = point.partition(":")
        more = {"repeat": repeat} if repeat else {}
        split = fit if "/" not in fit else fit.rpartition("/")[0]
        table.append(
            {
                "fit": fit,
                "split": split,
                "lr": rate,
                **more,
                f"validation {monitor}": str(value),
                "reports": str(reports),
            }
        )
    return Account({"model": {"fold": model}, "splits": []}, table)


def test_one_of_all_or_a_point_with_all_its_models() -> None:
    fits = [
        ("h/0", "3:0", 0.7, False),
        ("h/1", "3:1", 0.6, True),
        ("h/2", "1:0", 0.5, False),
        ("h/3", "1:1", 0.8, False),
    ]
    one = account("h/1", *fits)
    assert (one.trained, one.reporting, one.part, one.representative) == (4, ["h/1"], "test", "")
    assert one.choice == (
        "4 models were trained: 2 points of the grid (lr 3 or 1) × 2 repeats. The model with the best validation loss reports: "
        "h/1 (lr 3, repeat 1)."
    )
    both = account("h/0", *[(*fit[:3], fit[1].startswith("3")) for fit in fits])
    assert both.choice.endswith("The point with the best mean validation loss reports: h (lr 3).")
    assert both.part == "test parts of 2 models"
    assert both.representative == "The weights are those of h/0.", "the other one that reports is better"
    every = account("h/1", *[(fit, f"3{point[1:]}", value, True) for fit, point, value, _ in fits[:2]])
    assert every.choice == "2 models were trained: 2 repeats. All of them report."


def test_the_many_numbers_of_a_search_are_a_range() -> None:
    found = account("h/0", *[(f"h/{k}", f"{10.0**-k}", k, k == 0) for k in range(6)])
    assert "6 points of the grid (lr 6 values from 1e-05 to 1)" in found.choice
    words = account("h/0", *[(f"h/{k}", "abcdef"[k], k, k == 0) for k in range(6)])
    assert "(lr a or b or c or d or e or f)" in words.choice


def test_folds_choose_each_and_the_direction_is_the_metrics() -> None:
    fits = [("f0/0", "3", 0.7, True), ("f0/1", "1", 0.6, False), ("f1/0", "3", 0.5, False), ("f1/1", "1", 0.9, True)]
    found = account("f1/1", *fits, monitor="auc")
    assert (
        "2 points of the grid (lr 3 or 1) × 2 folds. Of each fold the model with the best validation auc"
        in found.choice
    )
    assert found.choice.endswith("reports: f0/0 (lr 3), f1/1 (lr 1).")
    assert found.representative == "The weights are those of f1/1, the best of them by its own validation auc."
    assert account("f1/1", *fits).representative == "The weights are those of f1/1.", "of losses 0.7 is the best"
    plain = Account({"model": {"fold": "f1"}, "splits": [{"name": "f0"}, {"name": "f1"}]})
    assert (plain.trained, plain.reporting, plain.choice) == (2, ["f0", "f1"], "")
    assert plain.representative == "The weights are those of f1, the best of them by its own validation part."


def claim(page: str, topic: str) -> str:
    """The answer of one item of the checklist."""
    text = re.sub(r"<[^>]+>", " ", page.partition('id="claim"')[2].partition(topic)[2].partition("</tr>")[0])
    return " ".join(text.split())


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Any:
    """Two rates with three repeats each."""
    grid = {"optimizer.lr": [0.003, 0.001]}
    recipe = tiny(dataset="phantom:n=60", size=64, grid=grid, repeats=3, patience=1, epochs=2, threshold="half")
    return train(recipe, tmp_path_factory.mktemp("runs") / "searched")


def test_report_and_card_tell_of_the_fits_that_report(searched) -> None:
    rows = read_table(searched.path / "attempts.csv")
    reporting = [row for row in rows if row["reports"] == "True"]
    (rate,) = {row["optimizer.lr"] for row in reporting}
    other = next(row["optimizer.lr"] for row in rows if row["optimizer.lr"] != rate)
    assert len(reporting) == 3 and searched.facts["model"]["fold"] == reporting[0]["fit"]
    page = write_report(searched.path, heatmaps=False).read_text(encoding="utf-8")
    trained = claim(page, "Training procedure")
    assert f"learning rate {rate}," in trained and other not in trained
    assert "seeds 0, 1 and 2;" in trained and "Models trained: 6, of which 3 report." in trained
    assert "at most 2 epochs" in trained
    assert "Head: random, from seed 0, 1 and 2." in claim(page, "Initial values of the parameters")
    tried = "6 models were trained: 2 points of the grid (optimizer.lr 0.003 or 0.001) × 3 repeats."
    chosen = f"The point with the best mean validation loss reports: holdout (optimizer.lr {rate})."
    told = claim(page, "Choice of the final model")
    assert "In each training the epoch with the best validation loss." in told
    assert f"{tried} {chosen}" in told and f"The weights are those of {reporting[0]['fit']}." in told
    assert "6 trained models, of which 3 report." in page
    assert page.partition("Every trained model</caption>")[2].partition("</table>")[0].count("<tr>") == 7
    card = (searched.path / "README.md").read_text(encoding="utf-8")
    assert chosen in card and f"Of this model, {reporting[0]['fit']}, on its own test part" in card
    assert card.count("| auc |") == 2 and "These are not scores of this model alone." in card


def test_a_damaged_table_of_fits_is_refused(searched, tmp_path, command) -> None:
    """However it is damaged: cut anywhere, without a column, of another run. Card and report believe what it says."""
    run = Path(shutil.copytree(searched.path, tmp_path / "copy", ignore=shutil.ignore_patterns("figures")))
    table = run / "attempts.csv"
    good, rows = table.read_bytes(), read_table(table)
    damaged = {
        "nothing": b"",
        "a text": b"hello",
        "another encoding": good + b"\xff",
        "an open quote": good.replace(b"holdout", b'"holdout', 1),
        "one long word": good.replace(b"holdout", b"h" * 200_000, 1),
        "another run's fit": good.replace(b"holdout/002", b"holdout/999"),
        "twice": good + good.partition(b"\n")[2],
        **{f"cut at {n}": good[:n] for n in range(1, len(good) - 1, 23)},
    }
    for key, value in (("fit", "x"), ("split", "x"), ("validation loss", ""), ("reports", "no")):
        for name, changed in (
            ("", {k: v for k, v in rows[0].items() if k != key}),
            (f" is '{value}'", rows[0] | {key: value}),
        ):
            write_table(table, [changed, *({k: row[k] for k in changed} for row in rows[1:])])
            damaged[f"{key}{name or ' is missing'}"] = table.read_bytes()
    for number in range(len(rows)):
        write_table(table, rows[:number])
        damaged[f"only {number} rows"] = table.read_bytes()
    write_table(table, [row | {"reports": row["fit"] != searched.facts["model"]["fold"]} for row in rows])
    damaged["the run's model does not report"] = table.read_bytes()
    for what, content in damaged.items():
        table.write_bytes(content)
        try:
            read(run)
        except IncompatibleError as error:
            assert "attempts.csv" in str(error), what
        else:
            pytest.fail(f"{what}: the report takes it")
    command("report", run).refused(7, "attempts.csv")
    with pytest.raises(IncompatibleError, match=r"attempts\.csv"):
        stage(run, ABOUT, tmp_path / "ours", allow_stamped=True)
    table.unlink()
    with pytest.raises(IncompatibleError, match=r"attempts\.csv"):
        read(run)
    table.write_bytes(good)
    assert read(run).account.trained == 6
    for key in ("splits", "model"):
        edit_json(run / "run.json", lambda facts, key=key: facts.pop(key))
        command("report", run).refused(7, "run.json")
        (run / "run.json").write_bytes((searched.path / "run.json").read_bytes())


def test_folds_show_the_published_models_own_score_first(tmp_path, command, monkeypatch) -> None:
    folds = tiny(dataset="phantom:n=60", size=64, **{"split.folds": 3, "split.val": 0.2})
    run = train(folds, tmp_path / "run")
    fold, config = run.facts["model"]["fold"], read_config(run.path)
    predictions = Predictions.from_rows(read_table(run.path / fold / "predictions.csv"), config.classes)
    alone = as_json(score_all(predictions.of("test").outcome, seed=run.recipe.seed))
    own = run.facts["model"]["scores"]
    assert {name: own[name] for name in alone} == alone and own["auc"] != config.scores["auc"]

    def shown(score: dict[str, Any]) -> str:
        return f"| auc | {score['value']:.3f} | {score['low']:.3f}–{score['high']:.3f} | {score['n']} |"

    card = (run.path / "README.md").read_text(encoding="utf-8")
    order = (f"Of this model, {fold}, on its own", shown(own["auc"]), "Of 3 models", shown(config.scores["auc"]))
    places = [card.index(text) for text in order]
    assert places == sorted(places)
    assert f"The weights are those of {fold}, the best of them" in card
    hub = publish_card(config, read_account(run.path, run.facts), "", ABOUT).split("---\n")[1]
    assert str(own["auc"]["value"]) in hub and str(config.scores["auc"]["value"]) not in hub
    page = write_report(run.path, heatmaps=False).read_text(encoding="utf-8")
    assert "Models trained: 3." in claim(page, "Training procedure")

    entry = stage(run.path, ABOUT, tmp_path / "ours", allow_stamped=True).entry(FolderSource(path="ours"))
    assert entry is not None
    assert [(one.part, one.n) for one in entry.evaluation] == [
        ("test", own["auc"]["n"]),
        ("test parts of 3 models", 60),
    ]
    assert entry.evaluation[0].scores["auc"].value == own["auc"]["value"]
    write_entries(tmp_path / "zoo.yaml", [entry])
    monkeypatch.setenv("MAMMOZOO_ZOO", str(tmp_path))
    told = " ".join(command("zoo", "list").ok.out.split())
    assert (
        f"auc {own['auc']['value']:.3f} ({own['auc']['low']:.3f}–{own['auc']['high']:.3f}), n = {own['auc']['n']}"
        in told
    )
    assert f"{config.scores['auc']['value']:.3f}" not in told
    told = command("zoo", "info", "ours").ok.out
    assert told.index("test ") < told.index("test parts of 3 models")

    facts = {**run.facts, "model": {"fold": fold, "sha256": ""}}  # a run of an earlier version
    old = write_card(config, read_account(run.path, facts))
    assert "These are not scores of this model alone. Of 3 models" in old and old.count("| auc |") == 1
    leaky = write_card(config.model_copy(update={"stamps": (LEAKY,)}), read_account(run.path, run.facts))
    assert "the split leaks" in leaky and "no image of it" not in leaky and "had not seen" not in leaky
