"""The lean form of timm's batch norm with an activation behind it; apart, because a network without timm should not import it."""

from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d

from mammozoo_drs.norm import fixed, is_fixed


class LeanBatchNormAct2d(BatchNormAct2d):
    """timm's `BatchNormAct2d` with the same parameters and values that keeps nothing while it is frozen."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) → (N, C, H, W)."""
        if is_fixed(self, x):
            return self.act(self.drop(fixed(self, x)))
        return super().forward(x)  # type: ignore[no-untyped-call]
