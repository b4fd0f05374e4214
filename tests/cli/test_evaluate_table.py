"""Tables of predictions in `evaluate`, `compare` and `report`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """90 images of 45 patients, of three classes, of two devices, and a column that nobody knows."""
    rng, lines = (
        np.random.default_rng(0),
        ["File;Patient ID;Histology;prob_normal;prob_benign;prob_malignant;Device;marks"],
    )
    for number in range(90):
        truth = number // 2 % 3
        raw = np.exp(rng.normal(size=3) + 1.5 * np.eye(3)[truth])
        p = ";".join(f"{value:.4f}".replace(".", ",") for value in raw / raw.sum())
        label = ("Normal", "benign", "MALIGNANT")[truth]
        lines.append(
            f"{number}.png;{number // 2};{label};{p};{'GE' if number % 4 < 2 else 'Toshiba'};{'no' if number % 5 else 'yes'}"
        )
    (tmp_path / "theirs.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    return tmp_path / "theirs.csv"


def test_a_table_is_scored_like_a_model(command, theirs: Path, tmp_path: Path) -> None:
    words = ["evaluate", theirs, "--positive", "malignant", "--negative", "benign,normal"]
    content = command(
        *words, "--subgroup", "device,marks", "--where", "marks=no", "--json", "--csv", "rows.csv"
    ).ok.json
    assert (content["model"], content["n"], content["classes"]) == (
        theirs.as_posix(),
        72,
        ["benign or normal", "malignant"],
    )
    assert [(part["column"], part["value"]) for part in content["subgroups"]] == [
        ("device", "GE"),
        ("device", "Toshiba"),
        ("marks", "no"),
    ]
    assert content["intervals"] == {"kind": "bca", "level": 0.95, "draws": 2000, "groups": 45}
    assert content["table"]["taken"]["truth"] == "histology" and content["study"]["missed"]["of"] == 24
    again = command("evaluate", tmp_path / "rows.csv", "--json").ok.json
    assert again["scores"] == content["scores"], "what --csv writes is a table, too"
    answer = command(*words).ok
    assert (
        "truth: histology" in answer.err and "patient: patient id" in answer.err and "risk and coverage" in answer.out
    )
    units = command(*words, "--aggregate", "mean", "--json").ok.json
    assert (units["n"], units["level"]) == (45, "patient")
    plain = command(*words, "--interval", "percentile", "--json").ok.json
    assert plain["scores"]["auc"]["value"] == command(*words, "--json").json["scores"]["auc"]["value"]
    assert plain["intervals"]["kind"] == "percentile"
    lower = command(*words, "--threshold", "0.2", "--json").ok.json
    assert lower["scores"]["sensitivity"]["value"] > plain["scores"]["sensitivity"]["value"]
    assert lower["threshold"]["lowest"] == 0.2 and plain["threshold"] is None, "the most probable class was decided for"


def test_what_does_not_go_with_a_table(command, theirs: Path, tiny_run) -> None:
    command("evaluate", theirs, "--dataset", "busi").refused(2, "--dataset")
    command("evaluate", theirs, "--threshold", "youden").refused(2, "youden", "validation")
    command("evaluate", theirs, "--threshold", "0.3").refused(2, "--positive")
    command("evaluate", theirs, "--subgroup", "divice").refused(2, "'device'")
    command("evaluate", theirs, "--where", "marks=maybe").refused(2, "No row", "marks=maybe")
    command("evaluate", theirs, "--interval", "exact").refused(2, "percentile")
    command("evaluate", theirs, "--negative", "benign").refused(2, "--positive")
    command("evaluate", theirs, "--columns", "truth=nothing").refused(2, "'nothing'")
    command("evaluate", "nowhere.csv").refused(3, "nowhere.csv")
    command("evaluate", tiny_run.path, "--truth", theirs).refused(2, "--truth")


def test_tables_are_compared(command, theirs: Path, tmp_path: Path) -> None:
    """By id, whatever the order of rows and columns, and capitals of classes."""
    head, *rows = theirs.read_text(encoding="utf-8-sig").lower().splitlines()
    (tmp_path / "same.csv").write_text("\n".join([head, *rows[::-1]]))
    answer = command("compare", theirs, "same.csv", "--metric", "auc[malignant]", "--json").ok
    assert {row["difference"] for row in answer.json["rows"]} == {0.0} and answer.json["rows"][0]["groups"] == 45
    assert "theirs.csv: Taken: " in answer.err
    (tmp_path / "fewer.csv").write_text("\n".join([head, *rows[:-1]]))
    command("compare", theirs, "fewer.csv", "--metric", "accuracy").refused(2, "'89.png'")
    (tmp_path / "hard.csv").write_text(
        "\n".join(
            [
                "file,histology,pred",
                *(f"{n}.png,{('normal', 'benign', 'malignant')[n // 2 % 3]},benign" for n in range(90)),
            ]
        )
    )
    command("compare", theirs, "hard.csv", "--metric", "auc").refused(2, "hard.csv", "probabilities")
    assert command("compare", theirs, "hard.csv", "--metric", "accuracy").code == 0


def test_the_report_of_a_table(command, theirs: Path, tmp_path: Path) -> None:
    """All scores and subgroups on one page; with the images, pictures of the worst mistakes by their ids."""
    (tmp_path / "images").mkdir()
    for number in range(0, 90, 2):
        Image.new("L", (40, 30), number).save(tmp_path / "images" / f"{number}.PNG")
    words = ["report", theirs, "--subgroup", "device", "--positive", "malignant"]
    scores = command("evaluate", theirs, "--positive", "malignant", "--subgroup", "device", "--json").ok.json
    assert command(*words).ok.out.strip() == (tmp_path / "theirs.report.html").as_posix()
    text = (tmp_path / "theirs.report.html").read_text(encoding="utf-8")
    for score in (*scores["scores"].values(), *(part["scores"]["auc"] for part in scores["subgroups"])):
        assert f"{score['value']:.3f}" in text
    assert "Without --root" in text and "<img" not in text and "histology" in text and "Toshiba" in text
    assert command(*words, "--root", "images").code == 0
    text = (tmp_path / "theirs.report.html").read_text(encoding="utf-8")
    shown, missing = text.count("<img"), text.count("lies below the root")
    assert shown + missing == 8 and shown and missing
    command(*words, "--root", "nowhere").refused(3, "nowhere")
    (tmp_path / "theirs.report.html").write_text("mine")
    command(*words).refused(9, "theirs.report.html")
    command(*words, "--out", theirs).refused(9, "is an input")
    command("evaluate", tmp_path / "again.csv", "--csv", tmp_path / "again.csv").refused(3, "again.csv")
    assert command("evaluate", theirs, "--csv", "again.csv").code == 0
    command("evaluate", "again.csv", "--csv", "again.csv").refused(9, "is an input")


def test_a_report_of_hard_labels_and_of_one_class(command, tmp_path: Path) -> None:
    for name, text in (
        ("hard", "id,truth,pred\na,0,1\nb,1,1\n"),
        ("one", "id,truth,prob_benign,prob_malignant\na,benign,.4,.6\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
        assert command("report", f"{name}.csv").code == 0
        page = (tmp_path / f"{name}.report.html").read_text(encoding="utf-8")
        assert "No ROC" in page and ("reliability" in page.lower()) == (name == "one")
        scores = command("evaluate", f"{name}.csv", "--csv", "rows.csv", "--json").ok.json["scores"]
        assert command("evaluate", "rows.csv", "--json").ok.json["scores"] == scores


def test_options_of_a_table_are_refused_for_a_run(command, tiny_run) -> None:
    command("report", tiny_run.path, "--subgroup", "shape").refused(2, "table")


def test_what_a_table_says_of_itself_is_true(command, tmp_path) -> None:
    rows = ["id,truth,p_benign,p_malignant,p_normal,split"]
    for number in range(30):
        label = ("benign", "malignant", "normal")[number % 3]
        rows.append(f"i{number},{label},0.{number % 5 + 1},0.{5 - number % 5},{0.4:.1f},train")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    told = command("evaluate", "t.csv", "--positive", "malignant", "--threshold", "0.4").ok
    assert "No row of 'split' is of the test part" in told.err and "Decisions are" not in told.err
    assert "groups" in told.out and "patients" not in told.out
    command("evaluate", "t.csv", "--member", "fold-1").refused(2, "--member")
