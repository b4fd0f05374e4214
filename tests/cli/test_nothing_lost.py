"""No command replaces what it did not write: exit code 9, and every file has the bytes that it had."""

from pathlib import Path

import pytest
from tests.builtin.trees.pictures import folder

from mammozoo.errors import ConflictError
from mammozoo.files import OWN, refuse_to_replace, sha256
from mammozoo.training.experiment import _refuse_occupied


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images in class folders, a table of labels beside them, and texts of the user's."""
    root = folder(tmp_path / "data", each=2)
    rows = "".join(
        f"data/{path.relative_to(root).as_posix()},{path.parent.name}\n" for path in sorted(root.rglob("*.png"))
    )
    (tmp_path / "labels.csv").write_text("path,label\n" + rows)
    for name in ("blocks.csv", "table.json", "report.html", "notes.txt", "diagnosis.png"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    return tmp_path


def state(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "words",
    [
        "predict --csv data/benign/000.png data/benign/001.png",
        "predict data/benign --csv data/benign/new.csv",
        "predict data/benign/000.png --csv data/../data/benign/000.png",
        "predict data/benign/000.png --csv labels.csv",
        "predict data/benign/000.png --csv mine/notes.txt",
        "predict data/benign/000.png --csv mine",
        "predict data/benign/000.png --csv RUN/predictions.csv",
        "evaluate RUN --dataset csv --root labels.csv --csv labels.csv",
        "evaluate RUN --dataset csv --root labels.csv --csv data/benign/000.png",
        "evaluate RUN --dataset folder --root data --csv data/new.csv",
        "evaluate RUN --csv RUN/predictions.csv",
        "data check folder --root data --html data/benign/001.png",
        "data check folder --root data --html data/new/page.html",
        "data check folder --root data --html mine/report.html",
        "explain RUN data/benign/000.png --out data/benign",
        "explain RUN data/benign --out data/benign/new",
        "explain RUN --dataset csv --root labels.csv --out .",
        "explain RUN --dataset csv --root labels.csv --out . --overwrite",
        "explain RUN --dataset folder --root data --out data --overwrite",
        "diagnose RUN --dataset phantom:n=60 --out mine",
        "report RUN --out mine",
        "train --dataset folder --root data --out data/run",
        "train --dataset folder --root data --out mine",
        "train --dataset folder --root .",
    ],
)
def test_nothing_of_the_users_is_replaced(words: str, data: Path, tiny_run, command) -> None:
    before, run = state(data), state(tiny_run.path)
    command(*(word.replace("RUN", str(tiny_run.path)) for word in words.split())).refused(9)
    assert (state(data), state(tiny_run.path)) == (before, run)


def test_a_command_replaces_what_it_wrote_before(data: Path, tiny_run, command) -> None:
    patients = "patient,path\n" + "".join(f"p,data/{name}/000.png\n" for name in ("benign", "malignant"))
    (data / "patients.csv").write_text(patients)
    for words, path in (
        (("predict", "data/benign/000.png", "--model", tiny_run.path, "--csv"), "out.csv"),
        (("predict", "patients.csv", "--model", tiny_run.path, "--aggregate", "max", "--csv"), "patients-out.csv"),
        (("evaluate", tiny_run.path, "--csv"), "scored.csv"),
        (("data", "check", "folder", "--root", "data", "--html"), "pairs.html"),
        (("explain", tiny_run.path, "data/benign/000.png", "--overwrite", "--out"), "maps"),
        (("report", tiny_run.path, "--no-heatmaps", "--out"), "page.html"),
    ):
        first = command(*words, path)
        written = state(data)
        assert first.code in (0, 1) and command(*words, path).code == first.code, first.err
        assert state(data) == written
    (data / "out.csv").write_text((data / "out.csv").read_text().replace("error", "error,my remark"))
    command("predict", "data/benign/000.png", "--csv", "out.csv").refused(9, "already")


def test_a_run_may_fill_an_empty_folder_beside_its_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    (data / "empty").mkdir()
    for out in (Path("empty"), Path("new"), None):
        _refuse_occupied(out, Path("data"), Path("labels.csv"), None)
    for out in (Path("data"), Path("data/run"), Path("mine")):
        with pytest.raises(ConflictError):
            _refuse_occupied(out, Path("data"))


def test_every_kind_of_file_may_be_new_or_empty_and_nothing_else(tmp_path: Path) -> None:
    for number, kind in enumerate([*OWN, None]):
        path = tmp_path / str(number)
        refuse_to_replace(path, kind)
        path.touch()
        refuse_to_replace(path, kind)
        path.write_text("path,label\na.png,benign\n")
        with pytest.raises(Exception, match="already") as refused:
            refuse_to_replace(path, kind)
        assert refused.value.exit_code == 9
