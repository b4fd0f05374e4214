"""An exponential moving average of what trains: steadier weights than those of the last step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mammozoo.training.checkpoint import State, load_trainable_state, trainable_state


class Average:
    """The mean of a model's trainable parameters and buffers; the weight of earlier steps grows up to `decay`.

    Attributes:
        state: the averaged tensors, as `trainable_state` names them.
        steps: steps averaged so far.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.state, self.steps = model, decay, trainable_state(model), 0

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimizer."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 9))
        own = self.model.state_dict()
        moving = [name for name, tensor in self.state.items() if tensor.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([self.state[name] for name in moving], [own[name] for name in moving], 0)
        for name in self.state.keys() - set(moving):
            self.state[name].copy_(own[name])

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """The model has the averaged weights, and afterwards its own again."""
        own: State = trainable_state(self.model)
        load_trainable_state(self.model, self.state)
        try:
            yield
        finally:
            load_trainable_state(self.model, own)
