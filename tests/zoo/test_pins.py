"""Weights that a recipe names by a word: the same bytes the next time, or none."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import timm
import torch
import yaml
from hub_server import Hub

from mammozoo.config.loading import load
from mammozoo.config.recipe import Recipe
from mammozoo.errors import NotVerifiedError
from mammozoo.models.weights import to_bytes
from mammozoo.report.diagnosis import diagnose
from mammozoo.training.experiment import resume, train
from mammozoo.training.prepare import prepare
from mammozoo.training.run_directory import RunDirectory

from ..helpers import edit_json, flip, tiny

REPOSITORY = "timm/test_resnet.r160_in1k"
IMAGENET = {"weights": "imagenet", "strategy": "full"}


def publish(hub: Hub, value: float) -> str:
    """Weights of timm's smallest network that are all `value`; the id of their commit."""
    state = {name: torch.full_like(t, value) for name, t in timm.create_model("test_resnet").state_dict().items()}
    kept = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    return hub.publish(REPOSITORY, {"model.safetensors": to_bytes(kept)})


def start_of(recipe: Recipe) -> float:
    """The value of the weights that a training by the recipe starts from."""
    return float(next(prepare(recipe).backbone.parameters()).detach().flatten()[0])


@pytest.fixture
def first(hub, hub_here, tmp_path) -> Iterator[tuple[RunDirectory, str, Path]]:
    """A run from ImageNet weights, their commit, and the cache that they are in; meanwhile the Hub has others."""
    commit = publish(hub, 0.25)
    cache = hub_here("alice")
    run = train(tiny(**IMAGENET), tmp_path / "run")
    publish(hub, 0.5)
    yield run, commit, cache


def test_a_run_keeps_what_its_weights_were_and_repeats_with_them(first, hub_here: Callable[..., Path]) -> None:
    run, commit, cache = first
    (pin,) = run.recipe.pinned
    assert (pin.repository, pin.revision) == (REPOSITORY, commit)
    assert yaml.safe_load((run.path / "recipe.yaml").read_text())["pinned"] == [pin.model_dump()]
    assert pin.sha256 in {path.name for path in cache.rglob("blobs/*")}
    again = load(str(run.path / "recipe.yaml"))
    hub_here("alice", "elsewhere")
    assert start_of(tiny(**IMAGENET)) == 0.5, "under that name there are other weights now"
    hub_here("alice", "nowhere")
    assert start_of(again) == 0.25
    assert diagnose(run.path, "phantom:n=8", images=4, device="cpu").against == "its starting weights"
    other = load(str(run.path / "recipe.yaml"), {"weights": "random"})
    assert prepare(other).recipe.pinned == (), "what is not used is not recorded"


@pytest.mark.parametrize(
    "how", ["damaged in the cache", "other bytes under the commit", "other weights here, and no network"]
)
def test_other_bytes_are_refused(first, hub, hub_here: Callable[..., Path], monkeypatch, how: str) -> None:
    run, commit, cache = first
    edit_json(run.path / "run.json", lambda facts: facts.update(status="interrupted"))
    if how == "damaged in the cache":
        (path,) = cache.rglob("snapshots/*/model.safetensors")
        flip(path)
        with pytest.raises(NotVerifiedError, match="damaged since it was sent"):
            prepare(tiny(**IMAGENET))
    elif how == "other bytes under the commit":
        hub_here("alice", "elsewhere")
        repo = hub.repos[REPOSITORY]
        repo.commits[commit] = repo.at("main")
    else:
        hub_here("alice", "elsewhere")
        assert start_of(tiny(**IMAGENET)) == 0.5
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for again in (lambda: prepare(load(str(run.path / "recipe.yaml"))), lambda: resume(run.path)):
        with pytest.raises(NotVerifiedError, match=REPOSITORY):
            again()


def test_the_same_bytes_of_another_commit_will_do(first, hub, hub_here: Callable[..., Path], monkeypatch) -> None:
    run, _, _ = first
    publish(hub, 0.25)
    hub_here("alice", "elsewhere")
    assert start_of(tiny(**IMAGENET)) == 0.25
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert start_of(load(str(run.path / "recipe.yaml"))) == 0.25
