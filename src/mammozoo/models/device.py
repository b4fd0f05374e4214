"""Device and precision of a model."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mammozoo.data.preprocessing import Input
from mammozoo.errors import UsageError
from mammozoo.models.model import Model, has_depthwise

#: Images from which on cuDNN's search for depthwise convolutions pays: it then saves more than it takes.
_MANY = 100_000
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # parameters of mallopt(3)


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

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor on the device; a card is not waited for."""
        return tensor.to(self.device, non_blocking=self.device.type == "cuda")

    def place(self, model: Model, images: int = 0) -> Model:
        """The model on the device, in the memory format that suits it; `images` are those to be trained."""
        if self.device.type == "cpu":
            keep_freed_memory()
        model.layout = self.layout(model, images)
        return model.to(self.device).to(memory_format=model.layout)

    def layout(self, network: nn.Module, images: int = 0) -> torch.memory_format:
        """Channels last, except for depthwise convolutions on a CUDA card that have little to do.

        cuDNN takes some ten seconds for each new shape of a batch before it runs those, channels last, three times as fast.
        """
        slow = self.device.type == "cuda" and images < _MANY and has_depthwise(network)
        return torch.contiguous_format if slow else torch.channels_last

    @property
    def precision(self) -> str:
        """`bf16` or `fp32`, as in recipes."""
        return "bf16" if self.dtype == torch.bfloat16 else "fp32"

    @torch.inference_mode()
    def logits(
        self, model: Model, loader: Iterable[Sequence[torch.Tensor]], input: Input
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((N, outputs) float32 logits, (N,) labels) of all batches of pixels, labels and more, on the CPU, in order."""
        model.eval()
        outputs, truth = [], []
        for pixels, labels, *_ in loader:
            with self.autocast():
                outputs.append(model(input.normalize(self.take(pixels))).float())
            truth.append(labels)
        return torch.cat(outputs).cpu(), torch.cat(truth).cpu()


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
        first = str(error).partition("\n")[0].rstrip(".")
        if first.startswith(("Expected one of", "Invalid device")):
            first = "it is none of auto, cpu, cuda and mps"
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


@functools.cache
def keep_freed_memory() -> None:
    """Let this process keep up to 2 GB that one batch has freed for the next one; nothing where the user has tuned malloc.

    glibc gives large blocks back at once, and the system clears every page that it hands out again: of mobile networks on a
    processor that takes longer than their convolutions.
    """
    if sys.platform == "linux" and not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        with contextlib.suppress(OSError, AttributeError):  # other C libraries have no `mallopt`
            libc = ctypes.CDLL(None)
            libc.mallopt(_M_MMAP_MAX, 0)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


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
