"""Batch norms that keep nothing while they are frozen (`norm_fixed` says how), and a network's turned into them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from mammozoo_drs.norm_fixed import fixed, is_fixed

NetworkT = TypeVar("NetworkT", bound=nn.Module)


class LeanBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with the same parameters and values that keeps nothing while it is frozen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        return fixed(self, x) if is_fixed(self, x) else super().forward(x)


def lean(network: NetworkT) -> NetworkT:
    """`network` with its batch norms turned lean in place; names and values stay, and other subclasses are left alone."""
    for module in network.modules():
        if (kind := _lean_form(type(module))) is not None:
            module.__class__ = kind
    return network


def _lean_form(kind: type[nn.Module]) -> type[nn.Module] | None:
    if kind is nn.BatchNorm2d:
        return LeanBatchNorm2d
    if kind.__name__ == "BatchNormAct2d" and kind.__module__.startswith("timm."):
        from mammozoo_drs.norm_timm import LeanBatchNormAct2d

        return LeanBatchNormAct2d
    return None
