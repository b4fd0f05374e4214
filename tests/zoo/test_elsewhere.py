"""What a model scored on other data, and what it must not be used for, on its card and in its entry."""

import json

import pytest
import yaml

PUSH = ("--to", "zoo", "--license", "Apache-2.0", "--data-terms", "none", "--allow-stamped", "--name", "tiny")


@pytest.fixture
def elsewhere(command, tiny_run, tmp_path) -> dict[str, object]:
    """Scores of the small run on other phantoms, in `elsewhere.json`."""
    words = ("--dataset", "phantom:n=40,seed=9", "--subgroup", "shape", "--json")
    content = command("evaluate", tiny_run.path, *words).ok.json
    (tmp_path / "elsewhere.json").write_text(json.dumps(content))
    return content


def test_card_and_entry_show_the_scores_and_limits(command, tiny_run, elsewhere, tmp_path) -> None:
    (tmp_path / "limits.md").write_text("Not for **mammograms**.\n")
    words = ("--evaluated", "elsewhere.json", "--limits", "limits.md")
    assert command("zoo", "push", tiny_run.path, *PUSH, *words).code == 0
    entry = yaml.safe_load((tmp_path / "zoo" / "zoo.yaml").read_text())["models"][0]
    _, other = entry["evaluation"]
    auc = elsewhere["scores"]["auc"]
    assert other["dataset"] == "phantom:n=40,seed=9" and other["part"] == "all" and other["n"] == elsewhere["n"]
    assert other["scores"]["auc"] == {key: auc[key] for key in ("value", "low", "high")}
    card = next((tmp_path / "zoo").rglob("README.md")).read_text()
    section = card[card.index("## On other data") : card.index("## Licence")]
    assert f"| {auc['value']:.3f} | {auc['low']:.3f}–{auc['high']:.3f} | {auc['n']} |" in section
    for name in ("sensitivity", "specificity"):
        assert f"| {elsewhere['scores'][name]['value']:.3f} |" in section
    assert f"{elsewhere['threshold']['lowest']:.3f}" in section and "Synthetic" in section
    for part in filter(lambda part: part["scores"], elsewhere["subgroups"]):
        assert f"| shape: {part['value']} |" in section
    assert "## What it must not be used for\n\nNot for **mammograms**." in card
    assert "## On other data" not in (tiny_run.path / "README.md").read_text()


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"sha256": None}, {"n": 0}, {"scores": {"auc": 0.9}}, {"seen": None}]
)
def test_scores_of_another_model_or_of_nothing_are_refused(
    command, tiny_run, elsewhere, tmp_path, change: dict[str, object]
) -> None:
    (tmp_path / "elsewhere.json").write_text(json.dumps(elsewhere | change))
    answer = command("zoo", "push", tiny_run.path, *PUSH, "--evaluated", "elsewhere.json")
    assert answer.code in (2, 10) and "elsewhere.json" in answer.err and not (tmp_path / "zoo").exists()


@pytest.mark.parametrize("option", ["--evaluated", "--limits"])
def test_a_file_that_is_none_is_named(command, tiny_run, tmp_path, option: str) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name in ("bytes", "missing"):
        answer = command("zoo", "push", tiny_run.path, *PUSH, option, name)
        assert answer.code == 2 and name in answer.err
