"""A published backbone is a model of timm's: its own loader takes it from the Hub, and it computes the same."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from hub_server import Hub

from mammozoo.config.recipe import load
from mammozoo.errors import UsageError
from mammozoo.models.config import read_config
from mammozoo.models.factory import load_model
from mammozoo.training.experiment import train
from mammozoo.training.run_directory import RunDirectory
from mammozoo.zoo.card import Publication
from mammozoo.zoo.entry import HubSource
from mammozoo.zoo.push import push
from mammozoo.zoo.staging import Staged, stage
from mammozoo.zoo.timm_layout import timm_state

ABOUT = Publication("tiny", "1.0.0", "Apache-2.0", "none: generated images", "lab/tiny", "backbone")
LOAD = """
import sys, numpy, timm, torch
images = torch.from_numpy(numpy.load(sys.argv[2]))
whole = timm.create_model(sys.argv[1], pretrained=True).eval()
four = timm.create_model(sys.argv[1], pretrained=True, num_classes=4)
with torch.no_grad():
    numpy.savez(sys.argv[3], maps=whole.forward_features(images).numpy(), pooled=whole(images).numpy(), four=four(images).numpy())
"""


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A small run whose strategy inserts nothing into the network."""
    settings = {
        "dataset": "phantom:n=60", "backbone": "test_resnet", "weights": "random", "size": 64, "epochs": 1, "strategy": "full",
    }  # fmt: skip
    return train(load(None, settings), tmp_path_factory.mktemp("runs") / "plain")


@pytest.fixture
def backbone(plain_run: RunDirectory, tmp_path: Path) -> Staged:
    return stage(plain_run.path, ABOUT, tmp_path / "staged", allow_stamped=True)


def test_timm_loads_it_from_the_hub(
    hub: Hub, hub_here: Callable[..., Path], backbone: Staged, plain_run: RunDirectory, tmp_path: Path
) -> None:
    revision = push(backbone).revision
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    np.save(tmp_path / "images.npy", images.numpy())
    answer = subprocess.run(
        [sys.executable, "-c", LOAD, f"hf-hub:lab/tiny@{revision}", str(tmp_path / "images.npy"), str(tmp_path / "out.npz")],
        env=os.environ | hub.environment(tmp_path / "elsewhere", "alice"), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    told = np.load(tmp_path / "out.npz")
    model, _ = load_model(plain_run.path)
    with torch.no_grad():
        maps = model.backbone(images)
    np.testing.assert_array_equal(told["maps"], maps.numpy())
    np.testing.assert_allclose(told["pooled"], maps.mean((2, 3)).numpy(), rtol=1e-5, atol=1e-6)
    assert told["four"].shape == (2, 4)


def test_its_config_is_timms_and_ours(backbone: Staged, plain_run: RunDirectory) -> None:
    content = json.loads((backbone.folder / "config.json").read_text())
    assert content["architecture"] == read_config(plain_run.path).backbone and content["num_classes"] == 0
    assert "mammozoo" not in content["pretrained_cfg"], "timm stops at a key that it does not know"
    assert read_config(backbone.folder).training == read_config(plain_run.path).training, (
        "the images used in training go along"
    )
    assert backbone.entry(HubSource(hub="lab/tiny", revision="a" * 40)) is None, "it is no model that could predict"


def test_only_timms_own_layers() -> None:
    state = {
        f"backbone.net.{name}": t for name, t in timm.create_model("test_resnet", num_classes=0).state_dict().items()
    }
    assert "backbone.net.conv1.0.weight" in state
    timm_state("test_resnet", state)
    with pytest.raises(UsageError, match="not timm's own any more"):
        timm_state("test_resnet", {name: t for name, t in state.items() if "conv1.0" not in name})
    with pytest.raises(UsageError, match="not timm's own any more"):
        timm_state("test_resnet", state | {"backbone.net.inserted.scale": torch.ones(1)})
    with pytest.raises(UsageError, match="network of timm"):
        timm_state("resnet9:width=32", state)


def test_a_strategy_that_inserts_layers(tiny_run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Publish the whole model, or an adapter"):
        stage(tiny_run.path, ABOUT, tmp_path / "staged", allow_stamped=True)


def test_the_kind_is_part_of_what_is_published(backbone: Staged, plain_run: RunDirectory, tmp_path: Path) -> None:
    whole = stage(plain_run.path, dataclasses.replace(ABOUT, kind="full"), tmp_path / "whole", allow_stamped=True)
    assert whole.files["model.safetensors"].stat().st_size > backbone.files["model.safetensors"].stat().st_size
