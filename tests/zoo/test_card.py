"""The published card: metadata that the Hub understands, and in the text what the run says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from mammozoo.models.config import ModelConfig, read_config
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.card import Publication, publish_card, write_card

ABOUT = Publication("tiny", "1.2.0", "CC-BY-NC-4.0", "ask first.", "lab/tiny-model")


@pytest.fixture
def run(tiny_run: RunDirectory) -> tuple[ModelConfig, dict[str, Any]]:
    return read_config(tiny_run.path), json.loads((tiny_run.path / "run.json").read_text())


def front(card: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return content


def test_metadata(run: tuple[ModelConfig, dict[str, Any]]) -> None:
    config, facts = run
    card = publish_card(config, facts, "", ABOUT)
    data = front(card)
    assert data["license"] == "cc-by-nc-4.0" and data["library_name"] == "mammozoo"
    assert data["pipeline_tag"] == "image-classification" and "research-only" in data["tags"]
    (model,) = data["model-index"]
    assert model["name"] == "tiny"
    (result,) = model["results"]
    assert result["dataset"]["split"] == "test" and result["dataset"]["revision"] == config.training.split_sha256
    auc = next(m for m in result["metrics"] if m["type"] == "roc_auc")
    score = config.scores["auc"]
    assert auc["value"] == score["value"]
    assert auc["args"] == {"ci_low": score["low"], "ci_high": score["high"], "level": 0.95, "n": score["n"]}
    assert f"95 % interval {score['low']:.3f} to {score['high']:.3f}" in auc["name"]
    ModelCard(card).data.to_dict()  # the Hub's own reader


def test_the_text_is_the_runs(run: tuple[ModelConfig, dict[str, Any]]) -> None:
    config, facts = run
    card = publish_card(config, facts, "", ABOUT)
    assert config.intended_use in card and config.training.split_sha256 in card
    for stamp in config.stamps:
        assert stamp[1:] in card
    for score in config.scores.values():
        assert score["value"] is None or f"| {score['value']:.3f} |" in card
    assert "# tiny\n" in card and "version 1.2.0: CC-BY-NC-4.0" in card and "ask first. Research only." in card
    assert "--model hub:lab/tiny-model@COMMIT" in card and "THIS_FOLDER" not in card
    assert card == publish_card(config, facts, "", ABOUT), "nothing in it hangs on the time"


def test_a_model_without_its_run_keeps_its_card(run: tuple[ModelConfig, dict[str, Any]]) -> None:
    config, facts = run
    own = write_card(config, facts).replace("## Use", "## Limits\n\nGenerated images only.\n\n## Use")
    card = publish_card(config, None, own, ABOUT)
    assert "Generated images only." in card and card.count("---\n") == 2
    assert front(card)["license"] == "cc-by-nc-4.0"
    assert card.replace("## Limits\n\nGenerated images only.\n\n", "") == publish_card(config, facts, own, ABOUT)


@pytest.mark.parametrize("license", ["LicenseRef-ours", "MIT AND Apache-2.0"])
def test_a_licence_that_the_hub_does_not_know(run: tuple[ModelConfig, dict[str, Any]], license: str) -> None:
    data = front(publish_card(*run, "", dataclasses.replace(ABOUT, license=license)))
    assert data["license"] == "other" and data["license_name"] == license


def test_an_adapter_names_its_base(run: tuple[ModelConfig, dict[str, Any]]) -> None:
    about = dataclasses.replace(ABOUT, kind="adapter", base="their-base", base_repository="lab/base")
    card = publish_card(*run, "", about)
    assert front(card)["base_model"] == "lab/base" and front(card)["base_model_relation"] == "adapter"
    assert "difference to `their-base`" in card


def test_a_backbone_is_timms(run: tuple[ModelConfig, dict[str, Any]]) -> None:
    card = publish_card(*run, "", dataclasses.replace(ABOUT, kind="backbone"))
    assert front(card)["library_name"] == "timm" and "model-index" not in front(card)
    assert 'timm.create_model("hf-hub:lab/tiny-model@COMMIT"' in card and "mammozoo predict" not in card


def test_the_card_of_a_run_is_what_it_was(run: tuple[ModelConfig, dict[str, Any]], tiny_run: RunDirectory) -> None:
    assert Path(tiny_run.path / "README.md").read_text() == write_card(*run)
