"""`mammozoo plugins check`."""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
stops = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing stops a loop without end on this system")


def test_a_sound_strategy_and_a_reason_that_many_have(command) -> None:
    answer = command("plugins", "check", "gamma", "--only", "gamma", "--with", "gamma:layer=2").ok
    assert "adapt-is-deterministic" in answer.out and "strategies: gamma:layer=2" in answer.out
    assert "18 checks: 18 passed, 0 failed, 0 skipped." in answer.err
    answer = command("plugins", "check", "gamma", "--only", "gamma").ok
    assert answer.out.count("Give others with --with gamma:OPTION=…") == 1
    assert "skipped (14 checks): It does not go with these options" in answer.out


def test_json_and_the_exit_code_of_a_failure(command) -> None:
    """A folder that is no data set's: one check says so, and what cannot be tried without images is skipped."""
    answer = command("plugins", "check", "datasets", "--only", "busi", "--root", ".", "--json")
    assert answer.code == 1
    assert answer.json["failed"] == 1
    (failed,) = [item for item in answer.json["items"] if item["state"] == "failed"]
    assert (failed["item"], failed["check"]) == ("busi", "opens")
    assert "NotFoundError" in failed["reason"]
    skipped = [item for item in answer.json["items"] if item["state"] == "skipped"]
    assert len(skipped) == 5 and all("'opens' fails; mend that first" in item["reason"] for item in skipped)


def test_a_catalogue_must_be_narrowed_to_names_that_are_there(command) -> None:
    command("plugins", "check", "basics").refused(2, "'basics' brings", "3 heads", "--only 'heads:*'")
    answer = command("plugins", "check", "basics", "--only", "heads:*", "--json").ok
    assert {(item["kind"], item["item"]) for item in answer.json["items"]} == {
        ("plugins", "basics"), ("heads", "gap"), ("heads", "gap-fc"), ("heads", "flatten-2fc"),
    }  # fmt: skip
    for words, *said in (
        (["dsr"], "no plugin 'dsr'", "Did you mean 'drs'?", "pip install -e"),
        (["drs", "--only", "dsr"], "Nothing of this plugin is called 'dsr'", "Did you mean 'drs'?", "It brings byra-"),
        (["drs", "--backbone", "resnet81"], "Unknown backbone 'resnet81'"),
    ):
        command("plugins", "check", *words).refused(3, *said)


ODD = """
    import os, subprocess, sys
    from mammozoo import Metric, Strategy, hookimpl

    print("imported")
    os.write(1, b"imported\\n")

    class Exits(Strategy):
        \"\"\"Ends the program.\"\"\"
        name = "exits"
        def adapt(self, model):
            sys.exit("enough")

    class Hangs(Strategy):
        \"\"\"Never comes back.\"\"\"
        name = "hangs"
        def adapt(self, model):
            while True:
                pass

    class Silly(BaseException):
        def __str__(self):
            raise RuntimeError("no words")

    class Raises(Strategy):
        \"\"\"Raises what is no Exception and cannot be printed.\"\"\"
        name = "raises"
        def trainable(self, model):
            raise Silly

    class Prints(Strategy):
        \"\"\"Prints by all ways, and asks.\"\"\"
        name = "prints"
        def trainable(self, model):
            print("{")
            os.write(1, b"{")
            sys.__stdout__.write("{")
            subprocess.run([sys.executable, "-c", "print('{')"])
            return None
        def lr_scale(self, model):
            input("which? ")

    def score(outcome):
        os.chdir("/")
        return 1 / 0

    @hookimpl
    def register_strategies():
        print("asked")
        return [Exits, Hangs, Raises, Prints]

    @hookimpl
    def register_metrics():
        return [Metric("odd", "divides by zero", score)]
"""
REASONS = {
    ("exits", "adapts-a-network"): "SystemExit was raised (odd.py, line N, in adapt): enough",
    ("hangs", "adapts-a-network"): "It was stopped after 2 seconds (odd.py, line N, in adapt)",
    ("raises", "adapts-a-network"): "Silly was raised (odd.py, line N, in trainable).",
    ("prints", "learning-rates-are-positive"): "EOFError was raised (odd.py, line N, in lr_scale)",
    ("odd", "gives-a-float"): "ZeroDivisionError was raised (odd.py, line N, in score): division by zero",
}


@stops
def test_whatever_a_plugin_does_is_a_failed_row(command, from_file) -> None:
    """It exits, hangs, raises what is no Exception, asks, changes the folder, and prints by four ways: JSON all the same."""
    from_file(ODD, "odd")
    answer = command("plugins", "check", "odd", "--json", "--timeout", "2")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    failed = {(i["item"], i["check"]): i["reason"] for i in answer.json["items"] if i["state"] == "failed"}
    assert set(failed) == set(REASONS), failed
    for key, words in REASONS.items():
        assert words in re.sub(r"line \d+", "line N", failed[key])
    assert answer.json["failed"] == len(REASONS)
    assert Path.cwd() != Path("/")


@stops
def test_an_import_that_hangs_is_a_failed_row(command, from_file) -> None:
    from_file("while True:\n    pass\n", "odd")
    answer = command("plugins", "check", "odd", "--json", "--timeout", "0.5")
    assert answer.code == 1
    states = {item["check"]: (item["state"], item["reason"]) for item in answer.json["items"]}
    assert states["loads"][0] == "failed" and "stopped after 0.5 seconds" in states["loads"][1]
    assert states["hooks-are-heard"][0] == "skipped"


# ---------------------------------------------------------------- `mammozoo plugins new`


def test_files_on_stdout_and_what_comes_next_on_stderr(command, tmp_path) -> None:
    answer = command("plugins", "new", "our-hospital", "--kind", "dataset").ok
    written = answer.out.splitlines()
    assert "our-hospital/src/mammozoo_our_hospital/__init__.py" in written
    assert all((tmp_path / path).is_file() for path in written)
    for line in (
        "mammozoo-our-hospital is written: a dataset 'our-hospital'.",
        "pip install -e 'our-hospital[test]'",
        "python -m pytest our-hospital",
        "mammozoo train --dataset our-hospital --root our-hospital/pictures",
    ):
        assert line in answer.err


def test_json_and_a_folder_with_a_space(command, tmp_path) -> None:
    """The lines that come next can be pasted: the one that draws pictures is run here."""
    words = ("--kind", "dataset", "--out", "my plugins", "--json")
    content = command("plugins", "new", "Mammozoo_Our.Hospital", *words).ok.json
    assert (content["name"], content["kind"]) == ("our-hospital", "dataset")
    assert (content["distribution"], content["module"]) == ("mammozoo-our-hospital", "mammozoo_our_hospital")
    assert content["folder"] == "my plugins/Mammozoo_Our.Hospital"
    assert all((tmp_path / content["folder"] / path).is_file() for path in content["files"])
    assert shlex.split(content["next"][0])[-1] == "my plugins/Mammozoo_Our.Hospital[test]"
    _, *words = shlex.split(content["next"][2])
    subprocess.run([sys.executable, *words], check=True, timeout=60)
    assert len(list((tmp_path / content["folder"] / "pictures" / "malignant").glob("*_left.png"))) == 12


def test_nothing_is_overwritten(command, tmp_path) -> None:
    command("plugins", "new", "net", "--kind", "backbon").refused(2, "'backbon'", "'backbone'")
    command("plugins", "new", "my net", "--kind", "backbone").refused(2, "'my net'", "our-hospital")
    command("plugins", "new", "drs", "--kind", "strategy").refused(9, "'drs' is taken")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "net").mkdir()
    assert command("plugins", "new", "net", "--kind", "metric").code == 0, "an empty folder is welcome"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    command("plugins", "new", "net", "--kind", "metric").refused(9, "'net' is not empty", "--out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_file_in_the_way(command, tmp_path) -> None:
    (tmp_path / "net").write_text("mine")
    command("plugins", "new", "net", "--kind", "metric").refused(9, "'net' is a file")
    command("plugins", "new", "other", "--kind", "metric", "--out", "net").refused(4, "Cannot write")
    assert (tmp_path / "net").read_text() == "mine"
