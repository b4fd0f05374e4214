"""`mammozoo list` and `mammozoo plugins list`."""

from __future__ import annotations

import pytest

import mammozoo

KINDS = ("datasets", "backbones", "strategies", "heads", "metrics", "transforms", "recipes", "papers")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_as_json(command, kind) -> None:
    answer = command("list", kind, "--json")
    assert answer.code == 0
    content = answer.json
    assert set(content) == {"schema", "kind", "items"}
    assert content["kind"] == kind
    assert content["items"]
    for item in content["items"]:
        of_recipes = {"paper"} if kind == "recipes" else set()
        assert set(item) == {"name", "plugin", "distribution", "version", "summary"} | of_recipes
        assert all(isinstance(text, str) for text in item.values())
        assert item["name"] and item["distribution"] == "mammozoo" and item["version"] == mammozoo.__version__


def test_recipes_name_their_papers(command) -> None:
    items = {item["name"]: item["paper"] for item in command("list", "recipes", "--json").json["items"]}
    assert items["byra-busi"] == items["byra-busi-as-published"] == "byra-2021"
    assert items["default"] == ""
    assert "byra-2021" in command("list", "recipes", "--match", "byra-busi").out


def test_a_paper_is_listed_by_its_title_and_shown(command) -> None:
    items = {item["name"]: item["summary"] for item in command("list", "papers", "--json").json["items"]}
    assert items["byra-2021"].startswith("Breast mass classification")
    answer = command("show", "byra-2021")
    assert answer.code == 0
    assert "recipe: byra-busi-as-published" in answer.out


def test_a_table_for_people_and_a_filter(command) -> None:
    answer = command("list", "strategies", "--match", "drs")
    assert "drs" in answer.out
    assert "frozen" not in answer.out


def test_an_unknown_kind_is_refused_with_the_nearest(command) -> None:
    command("list", "strategys").refused(2, "'strategys'", "Did you mean 'strategies'?")


def test_plugins_as_json(command) -> None:
    items = command("plugins", "list", "--json").json["items"]
    for item in items:
        assert set(item) == {"name", "distribution", "version", "state", "reason", "adds", "notes", "seconds"}
        assert (item["state"], item["reason"]) == ("loaded", "")
    adds = {item["name"]: item["adds"] for item in items}
    assert adds["drs"]["strategies"] == ["drs"]
    assert "phantom" in adds["datasets"]["datasets"]
