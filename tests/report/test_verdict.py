"""What comes first in a report, what is marked among the worst mistakes; the supplement, and what to cite."""

import json
import re
from pathlib import Path

import pytest

from mammozoo.errors import UsageError
from mammozoo.files import read_table, write_table
from mammozoo.report.mistakes import worst
from mammozoo.report.page import write_report

from ..helpers import edit_json, outcome, predictions


def test_the_verdict_comes_first_and_the_list_of_scores_after_the_mistakes(tiny_report: Path, tiny_run) -> None:
    page = tiny_report.read_text(encoding="utf-8")
    auc = json.loads((tiny_run.path / "scores.json").read_text(encoding="utf-8"))["auc"]
    before_curves = page[: page.index('id="curves"')]
    assert f"AUC {auc['value']:.3f}" in before_curves
    assert "How certain" in before_curves and "What next" in before_curves
    assert "<table" not in before_curves
    assert page.index("Every score of the run") > page.index('id="mistakes"')


@pytest.mark.parametrize(("low", "high"), [(0.45, 0.9), (0.8, 0.95)])
def test_the_verdict_is_that_of_the_scores(run_copy: Path, low: float, high: float) -> None:
    edit_json(run_copy / "scores.json", lambda scores: scores["auc"].update(value=0.85, low=low, high=high))
    page = write_report(run_copy, heatmaps=False).read_text()
    assert ("not distinguishable from guessing" in page) == ("add data" in page) == (low < 0.5)


def test_a_label_that_contradicts_one_of_its_group_is_marked(run_copy: Path) -> None:
    rows = read_table(run_copy / "predictions.csv")
    tested = [row for row in rows if row["part"] == "test"]
    wrong = next(row for row in tested if row["label"] != row["decision"])
    other = next(row for row in tested if row["label"] != wrong["label"])
    same = next(row for row in tested if row["label"] == wrong["label"] and row is not wrong)
    assert "another label" not in write_report(run_copy, heatmaps=False).read_text()
    other["group"] = same["group"] = wrong["group"]
    write_table(run_copy / "predictions.csv", rows)
    page = write_report(run_copy, heatmaps=False).read_text()
    assert re.search(rf"with another label: &#39;{other['sample']}&#39;", page)
    assert re.search(rf"near-duplicate: &#39;{same['sample']}&#39;", page)
    # Her other breast may have another label; an image of the same one, or of nobody knows which, may not.
    for side, conflict in (("R", False), ("L", True), ("", True)):
        for row in rows:
            row |= {"patient": "A" if row in (wrong, other) else row["patient"], "meta_side": ""}
        wrong["meta_side"], other["meta_side"] = "L", side
        write_table(run_copy / "predictions.csv", rows)
        assert ("another label" in write_report(run_copy, heatmaps=False).read_text()) == conflict


def test_absolute_names_are_shown_without_the_folder_that_they_share() -> None:
    names = [f"/data/of/a clinic/{label}/{i}.png" for i, label in enumerate(["benign", "malignant"] * 2)]
    wrong = predictions(outcome([0, 1, 0, 1], [0.9, 0.1, 0.2, 0.8], groups=[0, 1, 0, 1]), names)
    first, second = worst(wrong)[1]
    assert {first.sample, second.sample} == {*names[:2]}
    assert {first.name, second.name} == {"benign/0.png", "malignant/1.png"}
    assert "/data" not in first.others + second.others and "/2.png" in first.others + second.others
    assert worst(predictions(wrong.outcome, ["a.png", "b/c.png", "d", "e"]))[1][0].name in {"a.png", "b/c.png"}


def test_the_supplement_has_every_score_the_split_and_the_checklist(tiny_run, run_copy: Path, tmp_path) -> None:
    path = write_report(tiny_run.path, format="md", out=tmp_path / "s.md")
    text = path.read_text(encoding="utf-8")
    for score in json.loads((tiny_run.path / "scores.json").read_text()).values():
        assert score["value"] is None or f"| {score['value']:.3f} |" in text
    assert len(re.findall(r"^\| \d+ \| .* \| (?:filled|partly|open) \| ", text, re.MULTILINE)) == 44
    assert tiny_run.facts["model"]["sha256"] in text
    assert write_report(tiny_run.path, format="md", out=path).read_text(encoding="utf-8") == text  # its own, replaced
    widths = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in text.splitlines()
        if line.startswith("| ") and " | filled | " in line
    }
    assert widths == {5}
    recipe = (run_copy / "recipe.yaml").read_text()
    (run_copy / "recipe.yaml").write_text(re.sub("^summary: .*", "summary: a|b <i>", recipe, flags=re.MULTILINE))
    assert r"a\|b \<i\>" in write_report(run_copy, format="md").read_text()
    with pytest.raises(UsageError, match="html or md"):
        write_report(run_copy, format="pdf")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "cited"),
    [
        ({}, ["@software{mammozoo", "@misc{model"]),
        ({"strategy": "drs"}, ["@misc{byra-2021,", "10.1016/j.bspc.2021.102828"]),
        ({"dataset": "busi"}, ["@misc{busi,", "Data in Brief"]),
        ({"dataset": "mine=busi+bus-bra"}, ["@misc{mine,", "@misc{bus-bra,", "Medical Physics"]),
        ({"paper": "falconi-2020"}, ["@misc{falconi-2020,"]),
    ],
)
def test_what_to_cite(command, run_copy: Path, changes: dict[str, str], cited: list[str]) -> None:
    recipe = (run_copy / "recipe.yaml").read_text()
    for key, value in changes.items():
        recipe = re.sub(f"^{key}: .*", f"{key}: {value}", recipe, count=1, flags=re.MULTILINE)
    (run_copy / "recipe.yaml").write_text(recipe)
    text = command("cite", run_copy).ok.out
    assert all(word in text for word in cited)
    assert text.count("{") == text.count("}")
    assert not re.search(r"(?<!\\)[&%$#_]", re.sub("url = .*", "", text))  # TeX would obey these
    keys = re.findall(r"^@\w+\{(.*),$", text, re.MULTILINE)
    assert len(keys) == len(set(keys)) >= 2 + len(changes)
    assert command("cite", run_copy / "nothing").code == 3
