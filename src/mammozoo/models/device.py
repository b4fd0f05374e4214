"""Device and precision of a model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
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
        """bfloat16 where that was chosen, else float32 without TF32."""
        return self.exactly() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)

    def exactly(self) -> contextlib.AbstractContextManager[object]:
        """float32 is float32: torch lets cuDNN round it to TF32, whose ten bits are hardly more than bfloat16's.

        For backward passes, which `autocast` must not enclose. Nothing changes while bfloat16 was chosen.
        """
        cuda = self.device.type == "cuda" and self.dtype == torch.float32
        return without_tf32() if cuda else contextlib.nullcontext()

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
        cards = torch.cuda.device_count() if place.type == "cuda" else 0
        if cards and place.index is not None and place.index >= cards:
            raise RuntimeError(f"the cards of this machine are numbered from 0 to {cards - 1}")
        if place.type == "meta":
            raise RuntimeError("tensors there have no numbers")
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
        with torch.cuda.device(device):  # torch asks the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # torch offers these only under private names, and not in all versions.
    probes = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("amx_tile", "avx512_bf16"))
    return any(probe() for probe in probes if probe)


@contextlib.contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions of float32 on a CUDA card keep all bits, as on the processor; torch's setting is put back afterwards."""
    try:
        was = torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set operator by operator, by somebody who knows what it shall be
        yield
        return
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = was
