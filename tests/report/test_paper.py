"""Tables, figures and paragraphs for a paper, of a table of predictions and of a run."""

import csv
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mammozoo import api
from mammozoo.evaluation.selection import ALL
from mammozoo.report.paper import material_of, write_paper
from mammozoo.report.paper_plots import net_benefit
from mammozoo.report.paper_tables import Table
from mammozoo.report.plots import precision_band

from ..helpers import outcome, random_outcome


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images of 45 patients, of two devices."""
    found = random_outcome(2, 90, 45)
    rows = [
        f"{i},{i % 45},{'malignant' if found.labels[i] else 'benign'},{found.probabilities[i, 1]:.4f},{'A & B' if i % 3 else 'C_1'}"
        for i in range(90)
    ]
    path = tmp_path_factory.mktemp("paper") / "theirs.csv"
    path.write_text("\n".join(["id,patient,truth,prob_malignant,device", *rows]), encoding="utf-8")
    return path


def test_the_paper_of_a_table_says_what_evaluate_says(command, theirs: Path, tmp_path: Path) -> None:
    words = ["report", theirs, "--subgroup", "device", "--out", "page.html", "--paper", "paper"]
    assert command(*words).ok.out.split() == ["page.html", "paper"]
    paper = tmp_path / "paper"
    scored = api.evaluate(theirs, subgroup="device")
    with (paper / "tables" / "performance.csv").open(encoding="utf-8") as handle:
        rows = {row["score"]: row["value (95 % interval)"] for row in csv.DictReader(handle)}
    for name in ("auc", "sensitivity", "brier"):
        s = scored.scores[name]
        assert rows[name] == f"{s.value:.3f} ({s.low:.3f}–{s.high:.3f})"
    text = (paper / "text.md").read_text(encoding="utf-8")
    assert rows["auc"] in text and "90 images, 45 patients" in text and "2,000 draws of the 45" in text
    for name in ("flow", "roc", "precision-recall", "reliability", "risk", "decision-curve", "forest", "confusion"):
        picture = Image.open(paper / "figures" / f"{name}.png")
        assert round(picture.info["dpi"][0]) == 300 and f"({name})" in (paper / "figures" / "captions.md").read_text(
            "utf-8"
        )
        colours = np.asarray(picture.convert("RGB")).astype(int)
        assert (np.ptp(colours, axis=2) <= 24).all(), f"{name} is legible without colour"
        assert (paper / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert r"device: A \& B" in (paper / "tables" / "subgroups.tex").read_text(encoding="utf-8")
    command(*words).refused(9, "not empty")


def test_folds_are_pooled_where_there_are_folds(theirs: Path, tmp_path: Path) -> None:
    head, *rows = theirs.read_text(encoding="utf-8").splitlines()
    folded = tmp_path / "folded.csv"
    folded.write_text("\n".join([f"{head},fold", *(f"{row},{int(row.split(',')[1]) % 2}" for row in rows)]), "utf-8")
    for path, pooled in ((theirs, False), (folded, True)):
        paper = write_paper(tmp_path / path.stem, material_of(path, subgroup="device"))
        for file in ("text.md", "tables/subgroups.md"):
            text = (paper / file).read_text(encoding="utf-8")
            assert ("subgroup" in text or "By device" in text or "AUC by device" in text) and (
                "folds pooled" in text
            ) is pooled


def test_the_paper_of_a_run_holds_its_own_parts(tiny_run, tmp_path: Path) -> None:
    paper = write_paper(tmp_path / "paper", material_of(tiny_run.path, ALL, subgroup="shape"))
    with (paper / "tables" / "characteristics.csv").open(encoding="utf-8") as handle:
        rows = list(csv.reader(handle))
    parts = tiny_run.facts["splits"][0]
    assert rows[0][1:] == ["training", "validation", "test"]
    assert [int(n) for n in rows[1][1:]] == [sum(parts[part].values()) for part in ("train", "val", "test")]
    text = (paper / "text.md").read_text(encoding="utf-8")
    assert "random" in text and "Generated images" in text, "what CLAIM knows of the run"


def test_repeats_are_not_rows_that_were_left_out(theirs: Path, tmp_path: Path) -> None:
    head, *rows = theirs.read_text(encoding="utf-8").splitlines()
    path = tmp_path / "repeated.csv"
    path.write_text("\n".join([f"{head},repeat", *(f"{row},{k}" for k in "01" for row in rows)]), encoding="utf-8")
    made = material_of(path)
    assert "180 rows" in made.flow.steps[0][0] and not made.flow.steps[0][1]
    assert "90 images, 45 patients" in made.flow.steps[1][0]
    text = (write_paper(tmp_path / "paper", made) / "text.md").read_text(encoding="utf-8")
    assert "2 repeats" in text
    path.write_text(
        "\n".join([head, *(row.replace(f",{i}," if i < 9 else "?", ",,", 1) for i, row in enumerate(rows))]), "utf-8"
    )
    assert "90 images, 45 patients (9 images without one)" in material_of(path).flow.steps[1][0]


def test_what_latex_would_take_for_a_command_is_text() -> None:
    latex = Table("t", "a_b", ["age", "n"], [["[40, 50) <5 & ≤6|±", "1"]]).files()["t.tex"].decode()
    assert r"{[}40, 50) \textless{}5 \& $\leq$6\textbar{}$\pm$ & 1" in latex, (
        "a bracket after a line end would be a length"
    )


def test_net_benefit_and_the_band_by_hand() -> None:
    found = outcome([0, 0, 1, 1], [0.2, 0.6, 0.4, 0.9])
    cuts, model, every = net_benefit(found)
    half = int(np.argmin(np.abs(cuts - 0.5)))
    assert model[half] == pytest.approx(1 / 4 - 1 / 4) and every[half] == pytest.approx(0)
    low = int(np.argmin(np.abs(cuts - 0.3)))
    assert model[low] == pytest.approx(2 / 4 - 1 / 4 * 3 / 7)
    sure = outcome([0, 1] * 20, [0.1, 0.9] * 20)
    _, lowest, _ = precision_band(sure)
    assert (lowest == 1).all(), "no draw of a perfect model has a precision below 1"


def test_cells_are_escaped_in_each_kind_of_table() -> None:
    files = Table("t", "50% & more", ["a|b", "n"], [["x_1, y", "≥ 0.5"], [r"\input{secret}", "3"]]).files()
    assert rb"a\|b" in files["t.md"] and rb"x\_1" in files["t.tex"] and rb"50\% \& more" in files["t.tex"]
    assert rb"\input" not in files["t.tex"]
    assert list(csv.reader(BytesIO(files["t.csv"]).read().decode().splitlines()))[1] == ["x_1, y", "≥ 0.5"]
