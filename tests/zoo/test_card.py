"""The published card: metadata that the Hub understands, and in the text what the run says."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from huggingface_hub import ModelCard

from mammozoo import RunDirectory, UsageError
from mammozoo.models.config import ModelConfig, read_config
from mammozoo.models.factory import load_model
from mammozoo.training.experiment import train
from mammozoo.zoo.account import Account, read_account
from mammozoo.zoo.card import Publication, publish_card, write_card
from mammozoo.zoo.entry import HubSource
from mammozoo.zoo.push import push
from mammozoo.zoo.staging import Staged, stage
from mammozoo.zoo.timm_layout import timm_state

from ..helpers import python, tiny

ABOUT = Publication("tiny", "1.2.0", "CC-BY-NC-4.0", "ask first.", "lab/tiny-model")


@pytest.fixture
def run(tiny_run) -> tuple[ModelConfig, Account]:
    facts = json.loads((tiny_run.path / "run.json").read_text())
    return read_config(tiny_run.path), read_account(tiny_run.path, facts)


def front(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_metadata_and_text_are_the_runs(run: tuple[ModelConfig, Account], tiny_run) -> None:
    config, account = run
    card = publish_card(config, account, "", ABOUT)
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
    assert config.intended_use in card and config.training.split_sha256 in card
    for stamp in config.stamps:
        assert stamp[1:] in card
    for score in config.scores.values():
        assert score["value"] is None or f"| {score['value']:.3f} |" in card
    assert "# tiny\n" in card and "version 1.2.0: CC-BY-NC-4.0" in card and "ask first. Research only." in card
    assert "--model hub:lab/tiny-model@COMMIT" in card and "THIS_FOLDER" not in card
    assert card == publish_card(config, account, "", ABOUT), "nothing in it hangs on the time"
    assert Path(tiny_run.path / "README.md").read_text() == write_card(*run)


def test_a_model_without_its_run_keeps_its_card(run: tuple[ModelConfig, Account]) -> None:
    config, account = run
    own = write_card(config, account).replace("## Use", "## Limits\n\nGenerated images only.\n\n## Use")
    card = publish_card(config, None, own, ABOUT)
    assert "Generated images only." in card and card.count("---\n") == 2
    assert front(card)["license"] == "cc-by-nc-4.0"
    assert card.replace("## Limits\n\nGenerated images only.\n\n", "") == publish_card(config, account, own, ABOUT)


@pytest.mark.parametrize("license", ["LicenseRef-ours", "MIT AND Apache-2.0"])
def test_a_licence_that_the_hub_does_not_know(run: tuple[ModelConfig, Account], license: str) -> None:
    data = front(publish_card(*run, "", dataclasses.replace(ABOUT, license=license)))
    assert data["license"] == "other" and data["license_name"] == license


def test_an_adapter_names_its_base_and_a_backbone_is_timms(run: tuple[ModelConfig, Account]) -> None:
    about = dataclasses.replace(ABOUT, kind="adapter", base="their-base", base_repository="lab/base")
    card = publish_card(*run, "", about)
    assert front(card)["base_model"] == "lab/base" and front(card)["base_model_relation"] == "adapter"
    assert "difference to `their-base`" in card
    card = publish_card(*run, "", dataclasses.replace(ABOUT, kind="backbone"))
    assert front(card)["library_name"] == "timm" and "model-index" not in front(card)
    assert 'timm.create_model("hf-hub:lab/tiny-model@COMMIT"' in card and "mammozoo predict" not in card


# ---------------------------------------------------------------- a published backbone is a model of timm's

BACKBONE = Publication("tiny", "1.0.0", "Apache-2.0", "none: generated images", "lab/tiny", "backbone")
LOAD = """
import sys, numpy, timm, torch
images = torch.from_numpy(numpy.load(sys.argv[2]))
whole = timm.create_model(sys.argv[1], pretrained=True).eval()
four = timm.create_model(sys.argv[1], pretrained=True, num_classes=4)
with torch.no_grad():
    numpy.savez(sys.argv[3], maps=whole.forward_features(images).numpy(), pooled=whole(images).numpy(), four=four(images).numpy())
"""


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory) -> RunDirectory:
    return train(tiny(size=64, strategy="full"), tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture
def backbone(plain_run: RunDirectory, tmp_path) -> Staged:
    return stage(plain_run.path, BACKBONE, tmp_path / "staged", allow_stamped=True)


def test_timm_loads_it_from_the_hub(hub, hub_here, backbone: Staged, plain_run: RunDirectory, tmp_path) -> None:
    revision = push(backbone).revision
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "images.npy", images.numpy())
    words = ("-c", LOAD, f"hf-hub:lab/tiny@{revision}", tmp_path / "images.npy", tmp_path / "out.npz")
    assert python(*words, **hub.environment(tmp_path / "elsewhere", "alice")).ok
    told = np.load(tmp_path / "out.npz")
    model, _ = load_model(plain_run.path)
    with torch.no_grad():
        maps = model.backbone(images)
    np.testing.assert_array_equal(told["maps"], maps.numpy())
    np.testing.assert_allclose(told["pooled"], maps.mean((2, 3)).numpy(), rtol=1e-5, atol=1e-6)
    assert told["four"].shape == (2, 4)


def test_its_config_is_timms_and_ours_and_its_kind_a_part_of_it(backbone, plain_run: RunDirectory, tmp_path) -> None:
    content = json.loads((backbone.folder / "config.json").read_text())
    assert content["architecture"] == read_config(plain_run.path).backbone and content["num_classes"] == 0
    assert "mammozoo" not in content["pretrained_cfg"], "timm stops at a key that it does not know"
    assert read_config(backbone.folder).training == read_config(plain_run.path).training
    assert backbone.entry(HubSource(hub="lab/tiny", revision="a" * 40)) is None, "it is no model that could predict"
    whole = stage(plain_run.path, dataclasses.replace(BACKBONE, kind="full"), tmp_path / "whole", allow_stamped=True)
    assert whole.files["model.safetensors"].stat().st_size > backbone.files["model.safetensors"].stat().st_size


def test_only_timms_own_layers_and_no_strategy_that_inserts_more(tiny_run, tmp_path) -> None:
    plain = timm.create_model("test_resnet", num_classes=0).state_dict()
    state = {f"backbone.net.{name}": tensor for name, tensor in plain.items()}
    assert "backbone.net.conv1.0.weight" in state
    timm_state("test_resnet", state)
    less = {name: t for name, t in state.items() if "conv1.0" not in name}
    for changed in (less, state | {"backbone.net.inserted.scale": torch.ones(1)}):
        with pytest.raises(UsageError, match="not timm's own any more"):
            timm_state("test_resnet", changed)
    with pytest.raises(UsageError, match="network of timm"):
        timm_state("resnet9:width=32", state)
    with pytest.raises(UsageError, match="Publish the whole model, or an adapter"):
        stage(tiny_run.path, BACKBONE, tmp_path / "staged", allow_stamped=True)
