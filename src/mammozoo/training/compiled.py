"""The forward pass of training through torch.compile: fewer passes over memory, after a first step that takes its time."""

from __future__ import annotations

import logging

import torch
from torch import nn

from mammozoo.errors import FailedError, UsageError

log = logging.getLogger(__name__)


class Compiled:
    """A network whose full batches are compiled; other batches (an epoch's last) go through it as it is.

    So there is one graph, the same whatever came before it: a resumed fit computes what an uninterrupted one does. The
    network's own modules and the names of its state are untouched.

    Args:
        network: what is called with (N, C, H, W) images.
        size: images of a full batch.
    """

    def __init__(self, network: nn.Module, size: int):
        self.network, self.size = network, size
        torch.compiler.reset()  # graphs of earlier fits would count against dynamo's limit
        self.refusal = _refusal()
        self.fast = torch.compile(network, dynamic=False)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """The logits.

        Raises:
            FailedError: the network cannot be compiled.
        """
        if len(images) != self.size:
            logits: torch.Tensor = self.network(images)
            return logits
        try:
            logits = self.fast(images)
        except self.refusal as error:
            raise FailedError(
                f"torch.compile cannot compile this network: {_first(error)}. Leave --compile out."
            ) from error
        return logits


def require_compiler(device: torch.device) -> None:
    """Compile one addition.

    Raises:
        UsageError: it does not work here: no C++ compiler, or on a GPU no Triton.
    """
    torch.compiler.reset()
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except (_refusal(), RuntimeError, OSError) as error:
        needs = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler such as g++"
        raise UsageError(
            f"--compile needs {needs}, and torch.compile does not work here: {_first(error)}. Leave --compile out, or "
            "install the compiler."
        ) from error


def _refusal() -> type[Exception]:
    """What torch.compile raises; importing it takes seconds, so only those who compile do."""
    from torch._dynamo.exc import TorchDynamoException

    return TorchDynamoException


def _first(error: Exception) -> str:
    """The line of an error that says most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
