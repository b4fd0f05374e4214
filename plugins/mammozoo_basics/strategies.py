"""The standard transfer strategies, against which every other is measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field
from torch import nn

from mammozoo import Model, Strategy
from mammozoo.errors import UsageError
from mammozoo.models.backbone import By


class Frozen(Strategy):
    """Feature extraction: only the head learns."""

    name = "frozen"

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """Nothing of the backbone."""
        return []


class Full(Strategy):
    """Fine-tuning of everything."""

    name = "full"

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """All of the backbone."""
        return model.backbone.parameters()


class Scratch(Full):
    """Everything learns, from random weights."""

    name = "scratch"
    init = "random"


class LastBlocks(Strategy):
    """Fine-tuning of the last k blocks (or stages, or layers)."""

    name = "last-blocks"

    def __init__(self, k: Annotated[int, Field(le=10_000)] = 1, by: By = "block"):
        if k < 1:
            raise UsageError(f"last-blocks: k must be at least 1, not {k}; for none of them say 'frozen'.")
        self.k, self.by = k, by

    def trainable(self, model: Model) -> Iterable[nn.Parameter]:
        """The parameters of the last k groups."""
        groups = model.backbone.groups(self.by)
        if self.k > len(groups):
            raise UsageError(
                f"last-blocks: this backbone has {len(groups)} {self.by}s, fewer than {self.k}; for all say 'full'."
            )
        return [parameter for group in groups[-self.k :] for parameter in group.parameters]


STRATEGIES = [Frozen, LastBlocks, Full, Scratch]
