"""A vision transformer of a few thousand numbers, written by transformers in the layout of the Hub, and images."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mammozoo_transformers.pins import pin

CARD = "---\ntags: [breast]\nlicense: mit\n---\n# A model\n"
Make = Callable[..., Path]


def written(folder: Path, processor: Any = None, **change: Any) -> Path:
    """The classifier with its image processor and card, in `folder`."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    config = ViTConfig(
        **{
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
            "patch_size": 8, "id2label": {0: "benign", 1: "malignant"}, "initializer_range": 0.3,
        }
        | change
    )  # fmt: skip
    network = ViTForImageClassification(config)
    assert sum(parameter.numel() for parameter in network.parameters()) < 20_000
    network.save_pretrained(folder)
    (processor or ViTImageProcessor(size={"height": 32, "width": 32})).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


@pytest.fixture
def save() -> Make:
    """`save(folder, processor)` writes a model there."""
    return written


@pytest.fixture(scope="session")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, saved and pinned; tests that change it take `copy`."""
    folder = written(tmp_path_factory.mktemp("hub") / "tiny-vit")
    pin(folder)
    return folder


@pytest.fixture
def copy(pinned: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(pinned, tmp_path / "tiny-vit"))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey and coloured images of several shapes, smaller and larger than the input."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number, shape in enumerate([(40, 60), (61, 37, 3), (200, 150, 3), (24, 30)]):
        coarse = rng.integers(0, 256, (8, 8, *shape[2:]), dtype=np.uint8)
        Image.fromarray(coarse).resize(shape[1::-1], Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder
