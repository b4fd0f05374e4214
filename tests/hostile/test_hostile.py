"""Hostile inputs of six kinds, by seed: each gets its answer or its refusal, in time and memory, and takes nothing away.

`MAMMOZOO_HOSTILE=2000` tries that many of each kind, `MAMMOZOO_HOSTILE_SEED` others (`tox -e hostile`). One alone, as a failure
names it: `MAMMOZOO_HOSTILE=1 MAMMOZOO_HOSTILE_FROM=137`.
"""

import json
import multiprocessing
import os
import sys

import pytest

from .house import inhabit
from .kinds import KINDS

HOW_MANY = int(os.environ.get("MAMMOZOO_HOSTILE", "200"))
FIRST = int(os.environ.get("MAMMOZOO_HOSTILE_FROM", "0"))
SEED = os.environ.get("MAMMOZOO_HOSTILE_SEED", "0")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does")
@pytest.mark.parametrize("name", KINDS)
def test_none_of_them_is_wrong(name: str, tmp_path, tiny_run) -> None:
    found = tmp_path / "found.jsonl"
    given = (tmp_path / "house", tiny_run.path, KINDS[name], name, range(FIRST, FIRST + HOW_MANY), SEED, found)
    process = multiprocessing.get_context("fork").Process(target=inhabit, args=given)
    process.start()
    process.join()
    lines = [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []
    wrong = [line for line in lines if "wrong" in line]
    assert process.exitcode == 0, f"the process ended with {process.exitcode} in {lines[-1:]}"
    assert lines[-1]["done"] == HOW_MANY
    numbers = [line["number"] for line in wrong]
    assert not wrong, f"seed {SEED}, {name}: {len(wrong)} are wrong, {numbers[:50]}.\n" + "\n".join(
        w["wrong"] for w in wrong[:3]
    )
