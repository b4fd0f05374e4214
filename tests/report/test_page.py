"""The report's page: its numbers are the run's, its HTML is whole, nothing in it is executed or fetched."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

from mammozoo.data.splits.make import PARTS
from mammozoo.errors import NotFoundError
from mammozoo.evaluation.metric import printed
from mammozoo.files import read_table as _rows
from mammozoo.files import write_table as _write
from mammozoo.models.config import LEAKY, SYNTHETIC
from mammozoo.report.content import read
from mammozoo.report.page import write_report
from mammozoo.training.experiment import train

from ..helpers import edit_json as _change
from ..helpers import tiny

_VOID = {"meta", "br", "img", "link", "hr", "input"}
_HOSTILE = '<script>alert("$x$")</script>'


@dataclass
class _Page(HTMLParser):
    """A page taken apart: all its text, its tables as rows of cells, its start tags; wrong nesting is an error."""

    source: str
    text: str = ""
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._caption = ""
        self.feed(self.source)
        self.close()
        assert self._open == [], "elements that nobody closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "br":
            self.handle_data("\n")
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        elif self._open[-1:] and ("td" in self._open or "th" in self._open):
            self._rows[-1][-1] += data

    def table(self, start: str) -> list[list[str]]:
        return next(rows for caption, rows in self.tables.items() if caption.startswith(start))[1:]


def _read(path: Path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tiny_report) -> _Page:
    return _read(tiny_report)


def test_the_page_is_the_same_every_time_with_every_score(page: _Page, tiny_run, tiny_report, tmp_path) -> None:
    scores = json.loads((tiny_run.path / "scores.json").read_text(encoding="utf-8"))
    table = {row[0].splitlines()[0]: row[1:4] for row in page.table("Every score")}
    assert len(table) == len(scores) > 5
    for name, score in scores.items():
        value = "undefined" if score["value"] is None else f"{score['value']:.3f}"
        low, high = score["low"], score["high"]
        bounds = "none" if low is None else f"{low:.3f}{' to ' if low < 0 else '–'}{high:.3f}"
        assert table[printed(name)] == [value, bounds, str(score["n"])]
    again = write_report(tiny_run.path, out=tmp_path / "again.html")
    assert again.read_bytes() == tiny_report.read_bytes()


def test_the_split_and_the_confusion_matrix_are_those_of_the_run(page: _Page, tiny_run) -> None:
    tested = [row for row in _rows(tiny_run.path / "predictions.csv") if row["part"] == "test"]
    for label, *cells, total in page.table("Confusion matrix"):
        of_label = [row["decision"] for row in tested if row["label"] == label]
        assert int(total) == len(of_label) > 0
        for name, cell in zip(("benign", "malignant"), cells, strict=True):
            count = of_label.count(name)
            # the count and its share stand in one cell
            assert cell == f"{count}{100 * count / len(of_label):.1f} %"
    split = _rows(tiny_run.path / "holdout" / "split.csv")
    table = page.table("Images by split")
    assert [int(row[-2]) for row in table] == [sum(row["part"] == part for row in split) for part in PARTS]
    assert tiny_run.facts["splits"][0]["test"]["malignant"] == int(table[2][3])
    digest = json.loads((tiny_run.path / "holdout" / "config.json").read_text())["mammozoo"]["training"]["split_sha256"]
    assert page.table("Digest")[0] == ["holdout", digest]
    assert "no group has images in more than one part" in page.text
    assert "computed again, is that in its model's config" in page.text


def test_a_split_that_was_tampered_with_is_called_out(run_copy: Path) -> None:
    rows = _rows(run_copy / "holdout" / "split.csv")
    rows[0]["group"] = rows[-1]["group"]  # a training image and a test image
    rows[1]["sample"] = "another image"
    _write(run_copy / "holdout" / "split.csv", rows)
    page = _read(write_report(run_copy, heatmaps=False))
    assert "1 group has images in more than one part" in page.text
    assert "is not that in the model's config: files were changed" in page.text
    assert "This split leaks" in page.text


def test_stamps_stand_out_and_the_use_is_research(page: _Page, run_copy: Path) -> None:
    stamps = [i for i, (tag, given) in enumerate(page.tags) if tag == "p" and given.get("class") == "stamp"]
    headings = [i for i, (tag, _) in enumerate(page.tags) if tag == "h2"]
    assert len(stamps) == 1
    assert stamps[0] < headings[0]
    assert SYNTHETIC[1:] in page.text
    assert "Research only" in page.text
    _change(run_copy / "run.json", lambda facts: facts.update(stamps=[SYNTHETIC, LEAKY, "judged after training"]))
    changed = _read(write_report(run_copy, heatmaps=False))
    assert LEAKY[1:] in changed.text
    first = next(i for i, (tag, _) in enumerate(changed.tags) if tag == "h2")
    assert sum(given.get("class") == "stamp" for _, given in changed.tags[:first]) == 3, (
        "run.json has more than config.json"
    )


def test_the_epoch_that_was_kept_is_the_last_that_was_the_best_so_far(run_copy: Path) -> None:
    (row,) = _rows(run_copy / "holdout" / "history.csv")
    _write(run_copy / "holdout" / "history.csv", [row | {"epoch": n, "best": n < 3} for n in (1, 2, 3)])
    assert read(run_copy).folds[0].best.epoch == 2


def test_the_worst_mistakes_come_first_and_have_two_pictures_each(page: _Page, tiny_run) -> None:
    tested = [row for row in _rows(tiny_run.path / "predictions.csv") if row["part"] == "test"]
    wrong = sorted(
        (row for row in tested if row["label"] != row["decision"]),
        key=lambda row: (float(row[f"p_{row['label']}"]), row["sample"]),
    )
    assert wrong, "a model of one epoch makes mistakes"
    pictures = [given["alt"] for tag, given in page.tags if tag == "img"]
    named = [row["sample"] for row in wrong[:8]]
    assert pictures == [f"{name}{what}" for name in named for what in (", the input of the model", " with its heatmap")]
    assert f"{len(wrong)} of {len(tested)} test images were decided wrongly" in page.text


def test_without_the_data_the_page_says_why_there_are_no_pictures(run_copy: Path) -> None:
    recipe = (
        (run_copy / "recipe.yaml").read_text().replace("dataset: phantom:n=60", "dataset: busi\nroot: /no/such/folder")
    )
    (run_copy / "recipe.yaml").write_text(recipe.replace("root: null\n", ""))
    page = _read(write_report(run_copy))
    assert "No pictures: the data cannot be read" in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "taken for" in page.text  # the mistakes are listed all the same
    assert "/no/such" not in page.source


def test_hostile_names_are_text(run_copy: Path) -> None:
    """A class, a file and a recipe may be called anything: nothing of it becomes markup, in figures neither."""

    def rename(text: str) -> str:
        return text.replace("malignant", _HOSTILE)

    for config in (run_copy / "config.json", run_copy / "holdout" / "config.json"):
        _change(config, lambda c: c["mammozoo"].update(classes=["benign", _HOSTILE], name=_HOSTILE))
    for table in (run_copy / "predictions.csv", run_copy / "holdout" / "split.csv"):
        rows = [{rename(key): rename(value) for key, value in row.items()} for row in _rows(table)]
        _write(table, [row | {"sample": _HOSTILE} for row in rows])
    page = _read(write_report(run_copy))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    assert page.text.count(_HOSTILE) > 10
    assert all(not name.startswith("on") for _, given in page.tags for name in given)


def test_nothing_is_fetched_or_runs_and_the_structure_serves_screen_readers(page: _Page) -> None:
    for tag, given in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed")
        assert given.get("src", "data:").startswith("data:image/") if tag == "img" else "src" not in given
        if "href" in given and tag != "a":
            assert given["href"].startswith("#")
    assert "@import" not in page.source
    assert re.findall(r"url\((?!#)", page.source) == []
    assert len(page.source) < 2_000_000
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == 1
    assert tags.count("table") == len(page.tables) == tags.count("caption")
    assert all(given.get("scope") for tag, given in page.tags if tag == "th")
    figures = [given for tag, given in page.tags if tag == "svg" and "aria-hidden" not in given]
    assert len(figures) == 5
    assert all(given["role"] == "img" and re.search(r"\d\.\d", given["aria-label"]) for given in figures)
    ids = [given["id"] for _, given in page.tags if "id" in given]
    assert len(ids) == len(set(ids))
    links = {given["href"][1:] for tag, given in page.tags if given.get("href", "").startswith("#")}
    assert links <= set(ids)


def test_folds_are_shown_each_and_together(tmp_path) -> None:
    recipe = tiny(dataset="phantom:n=60", monitor="auc", **{"split.folds": 3, "split.val": 0.2})
    run = train(recipe, tmp_path / "run")
    page = _read(write_report(run.path))
    trained = page.table("Trained models")
    assert [row[0] for row in trained] == ["fold-0", "fold-1", "fold-2"]
    assert sum(int(row[-3]) for row in trained) == 60
    assert len(page.table("Images by split")) == 9
    assert len(page.table("Digest")) == 3
    assert "the test parts of 3 folds and are their mean" in page.text


def test_three_classes_have_a_curve_each(run_copy: Path) -> None:
    """The run's files made to hold a third class; no model is needed where no picture is drawn."""
    classes = ["benign", "malignant", "normal"]
    for config in (run_copy / "config.json", run_copy / "holdout" / "config.json"):
        _change(config, lambda c: c["mammozoo"].update(classes=classes, thresholds={}, threshold=""))
    rows = _rows(run_copy / "predictions.csv")
    for number, row in enumerate(rows):
        p = dict.fromkeys(classes, 0.2) | {classes[number % 3]: 0.6}
        row.update({f"p_{name}": str(value) for name, value in p.items()})
        row.update(label=classes[number // 2 % 3], decision=classes[number % 3], threshold="")
    _write(run_copy / "predictions.csv", rows)
    _change(
        run_copy / "scores.json", lambda s: s.update({"auc[normal]": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}})
    )
    page = _read(write_report(run_copy, heatmaps=False))
    assert [row[0] for row in page.table("Confusion matrix")] == classes
    roc = next(given["aria-label"] for tag, given in page.tags if given.get("aria-label", "").startswith("ROC"))
    assert all(f"{name}: area 0." in roc for name in classes)
    assert "normal against the rest" in page.text


def test_settings_are_those_of_the_file_and_an_unfinished_run_has_no_report(run_copy: Path, tmp_path) -> None:
    """A key that the run's version did not know has no value in its report, and no folder of this machine shows."""
    lines = (run_copy / "recipe.yaml").read_text().splitlines(keepends=True)
    kept = [line.replace("weights: random", "weights: file:/home/someone/w.safetensors") for line in lines]
    (run_copy / "recipe.yaml").write_text("".join(line for line in kept if not line.startswith("workers:")))
    table = dict(row for row in _read(write_report(run_copy, heatmaps=False)).table("The recipe"))
    assert "workers" not in table
    assert table["weights"] == "file:w.safetensors"
    assert table["dataset"] == "phantom:n=60"
    (run_copy / "predictions.csv").unlink()
    with pytest.raises(NotFoundError, match=r"predictions\.csv"):
        write_report(run_copy)
    with pytest.raises(NotFoundError, match=r"no run\.json"):
        write_report(tmp_path)


def test_real_images(local_data, tmp_path) -> None:
    """Pictures are read from where the data is now, not where it was at training."""
    root = tmp_path / "busi"
    for kind in ("malignant", "normal"):
        (root / kind).mkdir(parents=True)
        for number in range(1, 31):
            for file in (local_data / "data" / "busi").rglob(f"{kind} ({number})*.png"):
                (root / kind / file.name).symlink_to(file)
    run = train(tiny(dataset="busi", root=root, classes="malignant+normal"), tmp_path / "run")
    moved = root.rename(tmp_path / "moved")
    page = _read(write_report(run.path))
    assert "No pictures" in page.text
    assert "taken for" in page.text
    assert str(tmp_path) not in page.source
    page = _read(write_report(run.path, root=moved))
    pictures = [given for tag, given in page.tags if tag == "img"]
    assert pictures
    assert len(pictures) == 2 * page.text.count("taken for")
    assert "its licence decides where this page may go" in page.text
    gone = next(given["alt"].partition(",")[0] for given in pictures)
    (moved / gone).unlink()
    page = _read(write_report(run.path, root=moved))
    assert f"The picture of '{gone}' could not be made." in page.text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == len(pictures) - 2
