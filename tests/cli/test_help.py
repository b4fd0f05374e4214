"""`--help` answers at once: nothing heavy is imported for it."""

from __future__ import annotations

import resource
import subprocess
import sys

import click
import pytest
import typer

from mammozoo.cli import app

HEAVY = ("torch", "torchvision", "timm", "sklearn", "albumentations", "numpy", "PIL", "yaml", "huggingface_hub")
ASK = f"""
import sys
from mammozoo.cli import main
sys.argv = ["mammozoo", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def _commands(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(command, "commands", {})
    return [words, *(found for name, inner in below.items() for found in _commands(inner, (*words, name)))]


COMMANDS = _commands(typer.main.get_command(app))


def test_the_walk_finds_the_commands() -> None:
    assert {(), ("train",), ("predict",), ("plugins", "list"), ("doctor",)} <= set(COMMANDS)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words) or "mammozoo")
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", ASK, *words, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert "--help" in answer.stdout
    assert answer.stderr.strip() == "imported:"


def test_help_takes_less_than_half_a_second() -> None:
    def seconds() -> float:  # of the processor, so that a busy machine does not fail the test
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "mammozoo", "train", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5
