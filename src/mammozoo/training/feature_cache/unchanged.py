"""Try something on a model and leave it as it was: buffers, modes, torch's random state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from mammozoo.models.device import Engine
from mammozoo.models.model import Model
from mammozoo.models.randomness import kept_generators

Buffers = dict[str, torch.Tensor]


@contextlib.contextmanager
def untouched(model: Model, engine: Engine) -> Iterator[None]:
    """Whatever happens inside, buffers, modes and torch's random state are afterwards what they were."""
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    was = {module: module.training for module in model.modules()}
    with kept_generators(engine.device):
        try:
            yield
        finally:
            restore_buffers(model, buffers)
            set_modes(was)


def set_modes(was: dict[nn.Module, bool]) -> None:
    """Training or evaluation mode of each module, as it was."""
    for module, mode in was.items():
        module.training = mode


@torch.no_grad()
def restore_buffers(model: Model, buffers: Buffers) -> None:
    """Buffers as they were."""
    for key, value in model.named_buffers():
        value.copy_(buffers[key])
