"""`mammozoo plugins check`."""

from __future__ import annotations

import re
import signal
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mammozoo import plugins

Command = Callable[..., Any]
stops = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="nothing stops a loop without end on this system")


def test_a_sound_strategy(command: Command) -> None:
    answer = command("plugins", "check", "gamma", "--only", "gamma", "--with", "gamma:layer=2")
    assert answer.code == 0, answer.out
    assert "adapt-is-deterministic" in answer.out and "strategies: gamma:layer=2" in answer.out
    assert "18 checks: 18 passed, 0 failed, 0 skipped." in answer.err


def test_json_and_the_exit_code_of_a_failure(command: Command) -> None:
    """A folder that is no data set's: one check says so, and what cannot be tried without images is skipped."""
    answer = command("plugins", "check", "datasets", "--only", "busi", "--root", ".", "--json")
    assert answer.code == 1
    assert answer.json["failed"] == 1
    (failed,) = [item for item in answer.json["items"] if item["state"] == "failed"]
    assert (failed["item"], failed["check"]) == ("busi", "opens")
    assert "NotFoundError" in failed["reason"]
    skipped = [item for item in answer.json["items"] if item["state"] == "skipped"]
    assert len(skipped) == 5 and all("'opens' fails; mend that first" in item["reason"] for item in skipped)


def test_a_reason_that_many_have_is_said_once(command: Command) -> None:
    answer = command("plugins", "check", "gamma", "--only", "gamma")
    assert answer.code == 0
    assert answer.out.count("Give others with --with gamma:OPTION=…") == 1
    assert "skipped (14 checks): It does not go with these options" in answer.out


def test_a_catalogue_must_be_narrowed(command: Command) -> None:
    command("plugins", "check", "basics").refused(2, "'basics' brings", "3 heads", "--only 'heads:*'")


def test_a_kind_alone(command: Command) -> None:
    answer = command("plugins", "check", "basics", "--only", "heads:*", "--json")
    assert answer.code == 0
    assert {(item["kind"], item["item"]) for item in answer.json["items"]} == {
        ("plugins", "basics"), ("heads", "gap"), ("heads", "gap-fc"), ("heads", "flatten-2fc"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dsr"], ["no plugin 'dsr'", "Did you mean 'drs'?", "pip install -e"]),
        (
            ["drs", "--only", "dsr"],
            ["Nothing of this plugin is called 'dsr'", "Did you mean 'drs'?", "It brings byra-"],
        ),
        (["drs", "--backbone", "resnet81"], ["Unknown backbone 'resnet81'"]),
    ],
)
def test_names_that_are_not_there(command: Command, words: list[str], said: list[str]) -> None:
    command("plugins", "check", *words).refused(3, *said)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Loads a plugin `odd` from its source."""

    def install(source: str) -> None:
        (tmp_path / "odd.py").write_text(textwrap.dedent(source))
        monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(tmp_path / "odd.py"))
        plugins.registry.cache_clear()

    yield install
    plugins.registry.cache_clear()


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
def test_whatever_a_plugin_does_is_a_failed_row(command: Command, installed: Callable[[str], None]) -> None:
    """It exits, hangs, raises what is no Exception, asks, changes the folder, and prints by four ways: JSON all the same."""
    installed(ODD)
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
def test_an_import_that_hangs_is_a_failed_row(command: Command, installed: Callable[[str], None]) -> None:
    installed("while True:\n    pass\n")
    answer = command("plugins", "check", "odd", "--json", "--timeout", "0.5")
    assert answer.code == 1
    states = {item["check"]: (item["state"], item["reason"]) for item in answer.json["items"]}
    assert states["loads"][0] == "failed" and "stopped after 0.5 seconds" in states["loads"][1]
    assert states["hooks-are-heard"][0] == "skipped"
