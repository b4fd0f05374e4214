"""`mammozoo plugins check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_a_sound_strategy(command: Callable[..., Any]) -> None:
    answer = command("plugins", "check", "gamma", "--only", "gamma", "--with", "gamma:layer=2")
    assert answer.code == 0, answer.out
    assert "adapt-is-deterministic" in answer.out and "strategies: gamma:layer=2" in answer.out
    assert "15 checks: 15 passed, 0 failed, 0 skipped." in answer.err


def test_json_and_the_exit_code_of_a_failure(command: Callable[..., Any]) -> None:
    """A folder that is no phantom's: generated data take no --root, so that busi without its files is what fails."""
    answer = command("plugins", "check", "datasets", "--only", "busi", "--root", ".", "--json")
    assert answer.code == 1
    assert answer.json["failed"] == 5
    failed = [item for item in answer.json["items"] if item["state"] == "failed"]
    assert {item["item"] for item in failed} == {"busi"}
    assert all("NotFoundError" in item["reason"] for item in failed)


def test_a_catalogue_must_be_narrowed(command: Callable[..., Any]) -> None:
    command("plugins", "check", "basics").refused(2, "'basics' brings", "--only")


def test_an_unknown_plugin(command: Callable[..., Any]) -> None:
    command("plugins", "check", "dsr").refused(3, "no plugin 'dsr'", "Did you mean 'drs'?")
