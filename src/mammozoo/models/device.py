"""Device and precision of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mammozoo.data.preprocessing import Input
from mammozoo.errors import UsageError
from mammozoo.models.model import Model

if TYPE_CHECKING:
    from mammozoo.data.loader import Batch


@dataclass(frozen=True)
class Engine:
    """A device and the dtype of convolutions on it (parameters stay float32)."""

    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 if chosen, else no effect."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def place(self, model: Model) -> Model:
        """The model on the device, channels last."""
        return model.to(self.device).to(memory_format=torch.channels_last)

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`, as in recipes."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @torch.inference_mode()
    def logits(self, model: Model, loader: Iterable[Batch], input: Input) -> tuple[torch.Tensor, torch.Tensor]:
        """((N, outputs) float32 logits, (N,) labels) of all batches, on the CPU, in order."""
        model.eval()
        outputs, truth = [], []
        for pixels, labels, _ in loader:
            with self.autocast():
                outputs.append(model(input.normalize(pixels.to(self.device))).float().cpu())
            truth.append(labels)
        return torch.cat(outputs), torch.cat(truth)


def choose_engine(device: str = "auto", precision: str = "auto") -> Engine:
    """The best device, or the given one; with `auto` precision bf16 if the hardware multiplies it, else fp32.

    Raises:
        UsageError: the device cannot be used on this machine.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        raise UsageError(f"Device '{device}' cannot be used here: {first}. Use --device auto or cpu.") from None
    if precision == "auto":
        precision = "bf16" if has_bf16(place) else "fp32"
    return Engine(place, torch.bfloat16 if precision == "bf16" else torch.float32)


def has_bf16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 in hardware: AMX or AVX512-BF16, or a CUDA card from Ampere on."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # torch offers these only under private names, and not in all versions.
    probes = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return any(probe() for probe in probes if probe)
