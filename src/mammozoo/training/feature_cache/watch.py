"""A forward pass observed: which module was called when, and what it gave."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from mammozoo.models.model import Model


@dataclass
class Call:
    """What one module did in a forward pass: `started` and `ended` count the starts and ends of all modules."""

    calls: int = 0
    started: int = -1
    ended: int = -1
    output: torch.Tensor | None = None


def watch(model: Model, images: torch.Tensor) -> dict[str, Call]:
    """One forward pass in evaluation mode: who was called when, and gave what."""
    seen: dict[str, Call] = {}
    clock = itertools.count()
    handles = []
    for name, module in model.named_modules():
        if name:
            seen[name] = Call()
            start = functools.partial(_start, seen[name], clock)
            end = functools.partial(_end, seen[name], clock)
            handles += [module.register_forward_pre_hook(start), module.register_forward_hook(end)]
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _start(call: Call, clock: Iterator[int], module: nn.Module, given: object) -> None:
    call.calls += 1
    call.started = next(clock) if call.calls == 1 else call.started


def _end(call: Call, clock: Iterator[int], module: nn.Module, given: object, output: object) -> None:
    call.ended = next(clock)
    call.output = output if isinstance(output, torch.Tensor) else None
