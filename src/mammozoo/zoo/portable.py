"""A model as one file that runs without mammozoo, ONNX or TorchScript, and the proof that it answers as the model does."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mammozoo.data.io.images import read_image
from mammozoo.errors import FailedError, IncompatibleError, UsageError
from mammozoo.files import refuse_to_replace, write_bytes
from mammozoo.models.config import ModelConfig
from mammozoo.models.ensemble import Ensemble, answers
from mammozoo.models.model import Model, probabilities

Answer = Callable[[torch.Tensor], torch.Tensor]

#: Key of the metadata in the file.
KEY = "mammozoo"
#: Largest difference between a probability of the file and the model's.
PARITY = 1e-4
_OPSET = 17
_LEAST = 1e-12  # of a mean probability, so that its logarithm is finite


@dataclass(frozen=True)
class Exported:
    """What was written: SHA-256 and size in bytes, the images compared, the largest difference of a probability."""

    file: Path
    format: str
    sha256: str
    bytes: int
    images: int
    difference: float


class Portable(nn.Module):
    """(N, channels, h, w) normalised images → (N, K) logits; softmax(logits / temperature) are the probabilities.

    Those of an ensemble are the logarithms of its mean probabilities; its temperature is 1 unless it was recalibrated.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self.members = model.models if isinstance(model, Ensemble) else []
        for network in (model, *self.members):
            network.layout = torch.contiguous_format

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits, one of each class."""
        if not isinstance(self.model, Ensemble):
            return _of_each_class(self.model(images))
        scaled = zip(self.members, self.model.temperatures, strict=True)
        p = [torch.softmax(_of_each_class(member(images)) / temperature, 1) for member, temperature in scaled]
        return torch.stack(p).mean(0).clamp_min(_LEAST).log()


def _of_each_class(logits: torch.Tensor) -> torch.Tensor:
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def metadata(config: ModelConfig, licence: str) -> dict[str, Any]:
    """What the file says of itself: how pixels become its input, and how its logits become decisions."""
    keys = {"name", "classes", "input", "thresholds", "threshold", "stamps", "intended_use"}
    return {
        **config.model_dump(mode="json", include=keys),
        "temperature": config.temperature
        if config.calibration and (config.temperature != 1 or not config.members)
        else None,
        "licence": licence or None,
    }


def write_portable(
    model: Model, config: ModelConfig, format: str, out: Path, images: Sequence[Path], licence: str = ""
) -> Exported:
    """Write `out`, unless it would answer one of `images`, or its mirror image, otherwise than the model, in float32 on the CPU.

    Raises:
        UsageError: the format is none of these, or its libraries are not installed.
        ConflictError: there is something at `out`.
        IncompatibleError: the network cannot be written in this format.
        FailedError: a probability differs by more than 1e-4.
    """
    if format not in ("onnx", "torchscript"):
        raise UsageError(f"--format is onnx or torchscript, not '{format}'.")
    missing = [name for name in ("onnx", "onnxruntime") if format == "onnx" and not importlib.util.find_spec(name)]
    if missing:
        raise UsageError(f"ONNX needs {' and '.join(missing)}. Run: pip install {' '.join(missing)}")
    refuse_to_replace(out, None, images)
    prepare = config.input.preparer()
    pixels = np.stack([prepare(read_image(path)) for path in images])
    x = config.input.normalize(torch.from_numpy(pixels)).contiguous()
    x = torch.cat([x, x.flip(3)])
    write, read = (_onnx, _read_onnx) if format == "onnx" else (_torchscript, _read_torchscript)
    network = Portable(model).eval()
    facts = json.dumps(metadata(config, licence), allow_nan=False)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracers, for their own authors
        expected, _ = answers(model, x, config.temperature)
        try:
            with torch.inference_mode(False), torch.no_grad():
                content = write(network, x[[0, -1]].clone(), facts)
        except Exception as error:  # whatever the tracers raise of a network that they cannot follow
            why = f"{error}".strip().partition("\n")[0].rstrip(".")
            raise IncompatibleError(f"The network of '{config.name}' cannot be written as {format}: {why}.") from error
        answer = read(content)
        # Alone and together: a size that the tracer took for a constant shows.
        found = [
            torch.cat([probabilities(answer(part), config.temperature) for part in torch.split(x, n)])
            for n in (1, len(x))
        ]
    difference = float((torch.stack(found) - expected).abs().max())
    if not difference <= PARITY:  # NaN is not either
        raise FailedError(
            f"'{config.name}' as {format} gives other answers than the model: a probability differs by {difference:.2g}, "
            f"and {PARITY:g} is allowed. Nothing was written."
        )
    write_bytes(out, content)
    return Exported(out, format, hashlib.sha256(content).hexdigest(), len(content), len(images), difference)


def _onnx(network: nn.Module, x: torch.Tensor, facts: str) -> bytes:
    import onnx

    traced = io.BytesIO()
    torch.onnx.export(
        network, (x,), traced, dynamo=False, opset_version=_OPSET,  # type: ignore[arg-type]
        input_names=["images"], output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
    )  # fmt: skip
    model = onnx.load_model_from_string(traced.getvalue())
    onnx.helper.set_model_props(model, {KEY: facts})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _read_onnx(content: bytes) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def answer(x: torch.Tensor) -> torch.Tensor:
        (logits,) = session.run(None, {"images": x.numpy()})
        found: npt.NDArray[np.float32] = logits
        return torch.from_numpy(found)

    return answer


def _torchscript(network: nn.Module, x: torch.Tensor, facts: str) -> bytes:
    content = io.BytesIO()
    traced = torch.jit.trace(network, (x,), check_trace=False)  # type: ignore[no-untyped-call]
    torch.jit.save(traced, content, _extra_files={KEY: facts})
    return content.getvalue()


def _read_torchscript(content: bytes) -> Answer:
    return torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]
