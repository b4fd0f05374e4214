"""A whole run: trained from a base, saved, loaded, predicted with, and published as an adapter of that base."""

from __future__ import annotations

from pathlib import Path

import mammozoo
import pytest
import torch
from mammozoo import RunDirectory
from mammozoo.models.weights import read_tensors
from mammozoo.zoo.adapter import join, read_adapter, split

SMALL = {"backbone": "resnet9:width=8", "epochs": 1, "device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A network that was trained as a whole."""
    folder = tmp_path_factory.mktemp("base") / "base"
    return mammozoo.train(None, SMALL, out=folder, dataset="phantom:n=60", strategy="scratch", weights="random")


@pytest.mark.parametrize(("strategy", "share"), [("peft-lora:r=1", 0.1), ("peft-ia3", 0.05)])
def test_from_training_to_a_published_adapter(strategy: str, share: float, base: RunDirectory, tmp_path: Path) -> None:
    """The base's weights are in it to the bit, what was added moved; the adapter holds that, and gives the model back."""
    run = mammozoo.train(
        None, SMALL, out=tmp_path / "run", dataset="phantom:n=60,seed=5", strategy=strategy, weights=str(base.path)
    )
    assert run.facts["plugins"]["mammozoo-peft"]

    before, after = (read_tensors(each.path / "model.safetensors") for each in (base, run))
    frozen = {name.replace(".base_layer", ""): tensor for name, tensor in after.items()}
    assert all(torch.equal(tensor, frozen[name]) for name, tensor in before.items() if name.startswith("backbone."))
    started_at = 1.0 if strategy == "peft-ia3" else 0.0  # of the factors, and of B
    learnt = [tensor for name, tensor in after.items() if "ia3_l" in name or "lora_B" in name]
    assert len(learnt) == 8 and all(bool((tensor != started_at).any()) for tensor in learnt)

    (found,) = mammozoo.load(run.path).predict(Path(mammozoo.__file__).with_name("example.png"))
    assert found.probabilities is not None and sum(found.probabilities.values()) == pytest.approx(1)

    split(run.path, base.path, tmp_path / "adapter", base_name="the-base")
    adapter = tmp_path / "adapter" / "adapter.safetensors"
    assert adapter.stat().st_size < share * (run.path / "model.safetensors").stat().st_size
    assert {name.partition(".")[0] for name in read_adapter(tmp_path / "adapter").tensors} == {"backbone", "head"}
    join(tmp_path / "adapter", base.path, tmp_path / "joined")
    assert (tmp_path / "joined" / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """A of LoRA is random, and drawn from the run's seed."""
    runs = [
        mammozoo.train(None, SMALL, out=tmp_path / name, dataset="phantom:n=60", strategy="peft-lora", weights="random")
        for name in ("one", "two")
    ]
    one, two = ((run.path / "model.safetensors").read_bytes() for run in runs)
    assert one == two
