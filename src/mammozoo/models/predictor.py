"""Models of other programs: whatever turns prepared images into logits of classes answers as a model of ours does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mammozoo.config.names import named_folder
from mammozoo.errors import FailedError
from mammozoo.models.config import CONFIG, MAX_CONFIG, ModelConfig
from mammozoo.models.model import Model
from mammozoo.plugins import registry


@dataclass(frozen=True)
class PredictorSpec:
    """Models of another program, by the name of their format.

    Attributes:
        fits: whether a file, or a folder with a `config.json` that is not ours, is such a model; it raises nothing.
        build: its path → the network and its config. The network turns (N, channels, h, w) normalised float32 images into (N, K)
            logits, or logarithms of probabilities, in the order of the config's K classes. It runs no code of the file, and raises
            UsageError if the file does not say its classes and preprocessing, IncompatibleError if it is no such model.
    """

    name: str
    summary: str
    build: Callable[[Path], tuple[nn.Module, ModelConfig]]
    fits: Callable[[Path], bool]


class Foreign(Model):
    """(N, C, H, W) normalised images → (N, K) float32 logits of a network that a predictor has built."""

    def __init__(self, network: nn.Module, config: ModelConfig):
        nn.Module.__init__(self)
        self.network, self.classes, self.name = network.eval(), config.classes, config.name
        self.layout = torch.contiguous_format

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits, one of each class."""
        logits: torch.Tensor = self.network(images.contiguous())
        if logits.shape != (promised := (len(images), len(self.classes))):
            raise FailedError(f"'{self.name}' answers {promised} numbers with {tuple(logits.shape)}: other classes?")
        return logits.float().to(images.device)

    def train(self, mode: bool = True) -> Foreign:
        """It is not trained."""
        return self


def predictor_at(path: Path) -> PredictorSpec | None:
    """The predictor that has the model in a file or folder; None for models of ours, and where there is none."""
    if path.is_dir():
        config = path / CONFIG
        if not config.is_file() or config.stat().st_size > MAX_CONFIG or b'"mammozoo"' in config.read_bytes():
            return None
    elif not path.is_file():
        return None
    return next((item.value for item in registry().items("predictors").values() if item.value.fits(path)), None)


def foreign(reference: str | Path) -> tuple[Path, PredictorSpec] | None:
    """Path and predictor of another program's model; of a bare word, which else names a zoo's model, only that of a file."""
    path = named_folder(reference)
    if path is None and os.path.isfile(reference):  # noqa: PTH113 — false for what cannot be a path
        path = Path(reference)
    spec = None if path is None else predictor_at(path)
    return (path, spec) if path is not None and spec is not None else None


def weights_of(model: Path) -> Path:
    """The file whose SHA-256 is a model's: another program's own file, or `model.safetensors` of a folder."""
    return model if model.is_file() else model / "model.safetensors"
