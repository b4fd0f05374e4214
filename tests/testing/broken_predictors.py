"""Each check of predictors, tried on one that breaks just that."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from mammozoo import Input, PredictorSpec
from mammozoo.models.config import ModelConfig, Training


class Answer(nn.Module):
    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(images)


def means(images: torch.Tensor) -> torch.Tensor:
    return images.mean((2, 3))[:, :2]


def predictor(function: Callable[[torch.Tensor], torch.Tensor] = means, licence: str = "mit", **more: Any) -> Any:
    config = ModelConfig(
        name="theirs", backbone="theirs", strategy="", head="", classes=("a", "b"), input=Input(size=(8, 8)),
        training=Training(dataset=""), licence=licence,
    )  # fmt: skip
    given = {"name": "theirs", "summary": "theirs", "fits": lambda path: (path / "benign").is_dir()} | more
    return PredictorSpec(build=lambda path: (Answer(function), config), **given)


SOUND = {"predictors": [predictor()]}
BROKEN = {
    "predictors": [
        ("has-name-and-summary", "'a b'", predictor(name="a b")),
        ("leaves-others-alone", "other", predictor(fits=lambda path: path.is_dir() and any(path.iterdir()))),
        ("says-what-it-is", "licence", predictor(licence="")),
        ("answers-each-alone", "batch", predictor(lambda x: means(x - x.mean(0, keepdim=True)))),
        ("answers-each-alone", "finite", predictor(lambda x: means(x) / 0)),
    ]
}
