"""Our own plugins keep the contract that others are held to."""

import re
from pathlib import Path

import pytest

from mammozoo.errors import NotFoundError, UsageError
from mammozoo.testing import Check, checks, parametrize_with_checks, run
from mammozoo.testing.plugin import RULES

OURS = [
    *checks(
        "basics",
        only=["strategies:*", "heads:*", "metrics:*", "transforms:*", "recipes:*", "test_resnet"],
        specs=["last-blocks:k=2,by=layer", "resize:24", "centre-crop:20"],
    ),
    *checks("drs"),
    *checks("expdecay"),
    *checks("gamma", specs=["gamma:layer=2"]),
    *checks("resnet9", specs=["resnet9:width=8"]),
    *checks("multistage"),
    *checks("datasets", only=["phantom"], specs=["phantom:n=12"]),
]


@pytest.mark.parametrize("check", OURS, ids=str)
def test_ours_with_what_they_need(check: Check) -> None:
    check.run()


@parametrize_with_checks("datasets")
def test_data_sets_without_data(check: Check) -> None:
    """What can be had without data: the rest is a skip that asks for --root."""
    result = run(check)
    assert result.state != "failed", result.reason
    assert result.state == "passed" or "--root" in result.reason


def test_a_data_set_on_real_files(local_data) -> None:
    found = [run(check) for check in checks("datasets", only=["busi"], root=local_data / "data" / "busi")]
    assert {result.state for result in found} == {"passed"}, found


def test_names_that_are_not_there() -> None:
    for words, options, error, said in (
        ("basic", {}, NotFoundError, r"'basic'.*'basics'"),
        ("drs", {"backbone": "resnet81"}, NotFoundError, r"'resnet81'"),
        ("drs", {"specs": ["dsr:rate=2"]}, NotFoundError, r"'dsr'.*'drs'"),
        (0, {}, UsageError, "0"),
    ):
        with pytest.raises(error, match=said):
            checks(words, **options)


def test_modules_single_things_and_missing_options() -> None:
    import mammozoo_drs
    from mammozoo_drs.drs import Drs

    alone = {(check.name, check.item) for check in checks(Drs)}
    whole = {(check.name, check.item) for check in checks(mammozoo_drs)}
    assert ("adapt-is-deterministic", "drs") in alone < whole
    results = map(run, checks("gamma", only=["gamma"]))
    states = {result.state: result for result in results if result.kind == "strategies"}
    assert set(states) == {"passed", "skipped"}
    assert "--with gamma:" in states["skipped"].reason and "gamma:layer=8" in states["skipped"].reason


def test_every_check_is_on_the_page_and_says_what_must_hold_and_what_to_do() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-plugins.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    row = re.compile(r"^\| `([\w-]+)` \| (.+?) \|$", re.MULTILINE)
    listed = {kind.lower(): row.findall(text) for kind, text in sections.items()}
    assert listed == {kind: [(rule.name, rule.summary) for rule in rules] for kind, rules in RULES.items()}
    for rule in (rule for rules in RULES.values() for rule in rules):
        for text in (rule.summary, rule.advice):
            assert re.fullmatch(r"[A-Z`(].*[.]", text), (rule.name, text)


def test_a_plugin_that_failed_is_one_failed_check(from_file) -> None:
    source = "from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): raise KeyError('lost')\n"
    result, heard = map(run, checks(from_file(source)))
    assert heard.state == "skipped"
    assert (result.check, result.state) == ("loads", "failed")
    assert "register_strategies raised KeyError: 'lost'" in result.reason
