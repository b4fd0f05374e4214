"""One step of the optimizer: forward, loss, backward, update; on a CUDA card replayed from a graph."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from mammozoo.models.device import Engine
from mammozoo.models.randomness import kept_generators

log = logging.getLogger(__name__)

Tensors = Sequence[torch.Tensor]


class Step:
    """Steps on batches of (images or features, labels, ...).

    A step is some thousand small pieces of work. A card does them faster than Python names them, so forward and backward
    of full batches are recorded as a CUDA graph, and from then on one call has the card do them all. A network that asks
    the card for a number on the way, or draws from a generator of the processor, is computed piece by piece.
    """

    def __init__(
        self,
        forward: Callable[..., torch.Tensor],
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        model: nn.Module,
        engine: Engine,
        full: int = 0,
        clip: float = 0.0,
    ):
        """`forward(x, *rest)` gives the logits of a batch (x, labels, *rest); batches of `full` images are replayed.

        A gradient whose norm is above `clip` is scaled to it; 0 leaves all as they are.
        """
        self.clip = clip
        self.forward, self.loss, self.model, self.engine = forward, loss, model, engine
        self.full = full if engine.device.type == "cuda" else 0
        self.graph: _Graph | None = None

    def __call__(
        self,
        optimizer: torch.optim.Optimizer,
        batch: Tensors,
        weight: float = 1.0,
        first: bool = True,
        last: bool = True,
    ) -> torch.Tensor:
        """Update the parameters; the mean loss, where it was computed. `weight` multiplies the gradients.

        Of several batches whose gradients are added up, the `first` begins and the `last` updates; these are not replayed.
        """
        full = len(batch[1]) == self.full
        if full and self.graph is None:
            self._record(optimizer, batch)
        if full and self.graph is not None:
            loss = self.graph(batch)
        else:
            if first:
                optimizer.zero_grad(set_to_none=True)
            loss = self._work(batch, weight)
        if not last:
            return loss
        if self.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        optimizer.step()
        return loss

    def _work(self, batch: Tensors, weight: float = 1.0) -> torch.Tensor:
        x, labels, *rest = batch
        loss = self.loss(self.forward(x, *rest), labels)
        with self.engine.exactly():
            (loss * weight).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _record(self, optimizer: torch.optim.Optimizer, batch: Tensors) -> None:
        """The graph, after one pass that chooses and compiles kernels; neither leaves a trace in the model or a generator."""
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        with kept_generators(self.engine.device):
            before = _processor_state()
            self._work(batch)
            drawn = before != _processor_state()
            for buffer, value in buffers:
                buffer.copy_(value)
            optimizer.zero_grad(set_to_none=True)
            try:
                if drawn:
                    raise RuntimeError("the network draws from a generator of the processor")
                self.graph = _Graph(self._work, batch, parameters)
                log.info("Steps are replayed from a CUDA graph.")
            except RuntimeError as error:
                log.info("Steps are not replayed from a CUDA graph: %s.", str(error).partition("\n")[0].rstrip("."))
                self.full = 0
                torch.cuda.synchronize()


class _Graph:
    """Forward and backward of batches of one shape."""

    def __init__(self, work: Callable[[Tensors], torch.Tensor], batch: Tensors, parameters: Tensors):
        self.batch = [tensor.clone() for tensor in batch]
        self.recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.recorded, capture_error_mode="thread_local"):
            self.loss = work(self.batch)
        self.gradients = [(parameter, parameter.grad) for parameter in parameters]

    def __call__(self, batch: Tensors) -> torch.Tensor:
        for own, given in zip(self.batch, batch, strict=True):
            own.copy_(given)
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        self.recorded.replay()
        return self.loss.clone()


def _processor_state() -> str:
    """What a generator of the processor would change by being drawn from."""
    return f"{random.getstate()} {np.random.get_state()} {torch.get_rng_state().tolist()}"
