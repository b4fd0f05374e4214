"""Our own plugins keep the contract that others are held to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mammozoo import plugins
from mammozoo.errors import NotFoundError, UsageError
from mammozoo.testing import Check, checks, parametrize_with_checks, run
from mammozoo.testing.plugin import RULES

SOUND = [
    *checks(
        "basics",
        only=["frozen", "last-blocks", "full", "scratch", "test_resnet", "default"],
        specs=["last-blocks:k=2,by=layer"],
    ),
    *checks("drs", only=["drs"]),
    *checks("expdecay", only=["expdecay"]),
    *checks("gamma", only=["gamma"], specs=["gamma:layer=2"]),
    *checks("resnet9", only=["resnet9"], specs=["resnet9:width=8"]),
    *checks("datasets", only=["phantom"], specs=["phantom:n=12"]),
    *checks("basics", only=["heads:*"]),
]


@pytest.mark.parametrize("check", SOUND, ids=str)
def test_ours_with_what_they_need(check: Check) -> None:
    check.run()


@parametrize_with_checks("datasets")
def test_data_sets_without_data(check: Check) -> None:
    """What can be had without data: the rest is a skip that asks for --root."""
    result = run(check)
    assert result.state != "failed", result.reason
    assert result.state == "passed" or "--root" in result.reason


@pytest.mark.parametrize(
    "check",
    [
        check
        for plugin, specs in {
            "basics": ["resize:24", "centre-crop:20"], "drs": [], "expdecay": [], "gamma": [], "resnet9": [], "multistage": [],
        }.items()
        for check in checks(plugin, specs=specs)
        if check.kind in ("recipes", "papers", "metrics", "transforms")
    ],
    ids=str,
)  # fmt: skip
def test_our_recipes_metrics_and_transforms(check: Check) -> None:
    check.run()


def test_a_data_set_on_real_files(local_data: Path) -> None:
    found = [run(check) for check in checks("datasets", only=["busi"], root=local_data / "data" / "busi")]
    assert {result.state for result in found} == {"passed"}, found


def test_names_that_are_not_there() -> None:
    with pytest.raises(NotFoundError, match=r"'basic'.*'basics'"):
        checks("basic")
    with pytest.raises(NotFoundError, match=r"'resnet81'"):
        checks("drs", backbone="resnet81")
    with pytest.raises(NotFoundError, match=r"'dsr'.*'drs'"):
        checks("drs", specs=["dsr:rate=2"])
    with pytest.raises(UsageError, match="0"):
        checks(0)


def test_a_module_and_a_single_thing() -> None:
    import mammozoo_drs
    from mammozoo_drs.drs import Drs

    alone = {(check.name, check.item) for check in checks(Drs)}
    whole = {(check.name, check.item) for check in checks(mammozoo_drs)}
    assert ("adapt-is-deterministic", "drs") in alone < whole


def test_options_that_are_missing_are_a_skip_that_says_what_to_do() -> None:
    states = {
        result.state: result for result in map(run, checks("gamma", only=["gamma"])) if result.kind == "strategies"
    }
    assert set(states) == {"passed", "skipped"}
    assert "--with gamma:" in states["skipped"].reason and "gamma:layer=8" in states["skipped"].reason


def test_the_page_lists_every_check_of_each_kind_and_no_other() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-plugins.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    listed = {
        kind.lower(): re.findall(r"^\| `([\w-]+)` \| (.+?) \|$", text, re.MULTILINE) for kind, text in sections.items()
    }
    assert listed == {kind: [(rule.name, rule.summary) for rule in rules] for kind, rules in RULES.items()}


def test_a_plugin_that_failed_is_one_failed_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sad.py"
    file.write_text("from mammozoo import hookimpl\n@hookimpl\ndef register_strategies(): raise KeyError('lost')\n")
    monkeypatch.setenv("MAMMOZOO_PLUGIN_FILES", str(file))
    plugins.registry.cache_clear()
    try:
        found = checks("sad")
    finally:
        plugins.registry.cache_clear()
    result, heard = map(run, found)
    assert heard.state == "skipped"
    assert (result.check, result.state) == ("loads", "failed")
    assert "register_strategies raised KeyError: 'lost'" in result.reason
