"""`mammozoo predict` of many files: kept as it goes, gone on with after a kill, in parts, and named on the standard input."""

import csv
import io
import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from mammozoo import api
from mammozoo.errors import ConflictError
from mammozoo.progress import Progress

FORK = multiprocessing.get_context("fork")


class Killed(Progress):
    """Kills its process after forty images."""

    done = 0

    def advance(self, images: int = 1) -> None:
        self.done += images
        if self.done == 40:
            os.kill(os.getpid(), signal.SIGKILL)


def _many(pictures: Path, folder: Path, copies: int) -> list[str]:
    for number in range(copies):
        shutil.copytree(pictures, folder / f"{number:03d}")
    return sorted(str(path) for path in folder.rglob("*.png"))


def _rows(table: Path) -> dict[str, dict[str, str]]:
    with table.open() as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


def test_a_call_that_was_killed_goes_on_where_it_stopped(tiny_run, pictures, tmp_path) -> None:
    files, journal = _many(pictures, tmp_path / "many", 30), tmp_path / "journal"
    words = {"batch": 4, "journal": journal, "progress": Killed()}
    worker = FORK.Process(target=api.predict, args=(files, tiny_run.path), kwargs=words, daemon=True)
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    before = journal.read_text().splitlines()
    assert len(before) == 1 + 40
    marked = json.loads(before[3]) | {"label": "of the first call"}
    # A kill may come within a line.
    journal.write_text("\n".join([*before[:3], json.dumps(marked), *before[4:], before[-1][:40]]))
    Path(json.loads(before[5])["file"]).touch()  # changed since
    answered = api.predict(files, tiny_run.path, batch=8, journal=journal).predictions
    whole = api.predict(files, tiny_run.path, batch=8).predictions
    assert [one.file for one in answered] == files
    for ours, theirs in zip(answered, whole, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities)
        assert ours.label == ("of the first call" if ours.file == marked["file"] else theirs.label)
    names = [json.loads(line)["file"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(names) == sorted([*files, json.loads(before[5])["file"]])
    with pytest.raises(ConflictError, match="another model, version or option"):
        api.predict(files, tiny_run.path, force=True, journal=journal)


def test_a_file_that_could_not_be_read_is_read_again(tiny_run, pictures, tmp_path) -> None:
    """The network drive may have been away."""
    files, journal = sorted(map(str, pictures.glob("*.png"))), tmp_path / "journal"
    place = Path(files[1])
    whole, stood = place.read_bytes(), place.stat()
    place.write_bytes(bytes(len(whole)))
    os.utime(place, ns=(stood.st_atime_ns, stood.st_mtime_ns))
    assert api.predict(files, tiny_run.path, journal=journal).predictions[1].error
    place.write_bytes(whole)
    os.utime(place, ns=(stood.st_atime_ns, stood.st_mtime_ns))
    for _ in range(2):
        again = api.predict(files, tiny_run.path, journal=journal).predictions
        assert [one.error for one in again] == [None] * len(files)
    assert len(journal.read_text().splitlines()) == 1 + len(files) + 1


def test_the_table_replaces_its_journal_and_parts_make_up_the_whole(command, tiny_run, pictures, tmp_path) -> None:
    files = _many(pictures, tmp_path / "many", 9)
    answer = command("predict", "many", "--model", tiny_run.path, "--csv", "whole.csv").ok
    assert f"predicting: {len(files)} images" in answer.err
    parts: dict[str, dict[str, str]] = {}
    for number in (1, 2, 3):
        words = ("--model", tiny_run.path, "--csv", f"{number}.csv", "--shard", f"{number}/3", "-q")
        assert command("predict", "many", *words).code == 0
        part = _rows(tmp_path / f"{number}.csv")
        assert not parts.keys() & part.keys()
        parts |= part
    assert {name: row["label"] for name, row in parts.items()} == {
        name: row["label"] for name, row in _rows(tmp_path / "whole.csv").items()
    }
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file() and "csv" in path.name) == [
        "1.csv", "2.csv", "3.csv", "whole.csv",
    ]  # fmt: skip


def test_paths_come_from_the_standard_input(command, tiny_run, pictures, monkeypatch) -> None:
    names = [f"pictures/{path.name}" for path in sorted(pictures.iterdir())][:3]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(names) + "\n\n"))
    found = command("predict", "-", "--model", tiny_run.path, "--json").ok.json["results"]
    assert [one["file"] for one in found] == names
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert command("predict", "-", "--model", tiny_run.path).code == 2


@pytest.mark.parametrize("words", [("--shard", "0/2"), ("--shard", "3/2"), ("--shard", "9/9"), ("--shard", "half")])
def test_a_part_that_there_is_not_is_refused(command, tiny_run, pictures, words: tuple[str, ...]) -> None:
    answer = command("predict", "pictures", "--model", tiny_run.path, *words)
    assert answer.code == 2 and "--shard" in answer.err


def test_parts_do_not_tear_patients_apart(command, tiny_run, pictures, tmp_path) -> None:
    (tmp_path / "women.csv").write_text(
        "path,patient\n" + "".join(f"pictures/{p.name},A\n" for p in pictures.iterdir())
    )
    answer = command("predict", "women.csv", "--model", tiny_run.path, "--aggregate", "max", "--shard", "1/2")
    assert answer.code == 2 and "images of one patient" in answer.err
