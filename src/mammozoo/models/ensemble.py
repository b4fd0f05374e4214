"""Several models as one: its probability is the mean of theirs, each calibrated by its own temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from mammozoo.models.model import Model, probabilities

#: Nearest that a mean probability comes to 0 and 1, so that its logit is finite.
_NEAREST = 1e-12


class Ensemble(Model):
    """(N, C, H, W) normalised images → (N, outputs) float32 logits of the mean of the members' probabilities.

    All members have the same input and classes. There is no backbone: what asks for one takes a member.
    """

    def __init__(self, members: Sequence[Model], temperatures: Sequence[float]):
        nn.Module.__init__(self)
        self.members, self.temperatures = nn.ModuleList(members), tuple(temperatures)
        self.classes, self.layout = members[0].classes, members[0].layout

    @property
    def models(self) -> list[Model]:
        """The members."""
        return cast(list[Model], list(self.members))

    def each(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (members, N, K) probabilities of every member, float64, on the CPU."""
        answers = []
        for member, temperature in zip(self.models, self.temperatures, strict=True):
            member.layout = self.layout
            answers.append(probabilities(member(images), temperature))
        return torch.stack(answers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits; those of two classes are one."""
        return logits_of(self.each(images).mean(0)).to(images.device)

    def train(self, mode: bool = True) -> Ensemble:
        """An ensemble is not trained; its members are."""
        nn.Module.train(self, mode)
        return self


def logits_of(p: torch.Tensor) -> torch.Tensor:
    """(N, K) float64 probabilities → (N, outputs) float32 logits; those of two classes are one."""
    p = p.clamp(_NEAREST, 1 - _NEAREST)
    return (torch.logit(p[:, 1:]) if p.shape[1] == 2 else p.log()).float()


def answers(model: Model, images: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The (N, K) probabilities of a model, and the (members, N, K) of an ensemble's members, None of a single model.

    The `temperature` of an ensemble is 1 unless it was recalibrated as a whole; it divides the log odds of mean and members.
    """
    if not isinstance(model, Ensemble):
        return probabilities(model(images), temperature), None
    each = model.each(images)
    if temperature == 1:
        return each.mean(0), each
    members = torch.stack([probabilities(logits_of(one), temperature) for one in each])
    return probabilities(logits_of(each.mean(0)), temperature), members
