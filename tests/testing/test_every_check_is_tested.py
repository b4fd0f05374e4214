"""No check without a test that breaks just that: the tables of the tests beside this one, against the rules of the code."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections import defaultdict
from pathlib import Path
from types import ModuleType

import pytest

from mammozoo.testing.plugin import RULES

#: What the tests call the things of each kind: `test_a_broken_head_fails_just_that` is about heads.
KINDS = {
    "plugin": "plugins", "data_set": "datasets", "backbone": "backbones", "head": "heads", "strategy": "strategies",
    "metric": "metrics", "transform": "transforms", "recipe": "recipes", "paper": "papers", "zoo": "zoos",
    "event_hook": "events",
}  # fmt: skip


def loaded(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"seen_{file.stem}", file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def broken() -> dict[str, set[str]]:
    """Kind → checks with which a test is parametrised that breaks them, one by one."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in sorted(Path(__file__).parent.glob("test_broken_*.py")):
        for name, test in inspect.getmembers(loaded(file), inspect.isfunction):
            if which := re.fullmatch(r"test_a_broken_(\w+)_fails_just_that", name):
                (mark,) = test.pytestmark
                assert mark.name == "parametrize" and mark.args[0][0] == "rule"
                found[KINDS[which[1]]] |= {row[0] for row in mark.args[1]}
    return found


@pytest.mark.parametrize("kind", RULES)
def test_every_check_has_a_thing_that_breaks_just_that(broken: dict[str, set[str]], kind: str) -> None:
    names = [rule.name for rule in RULES[kind]]
    assert broken[kind] == set(names)
    assert len(names) == len(set(names))


def test_every_check_says_what_must_hold_and_what_to_do() -> None:
    assert set(RULES) == set(KINDS.values())
    for rule in (rule for rules in RULES.values() for rule in rules):
        for text in (rule.summary, rule.advice):
            assert re.fullmatch(r"[A-Z`(].*[.]", text), (rule.name, text)
