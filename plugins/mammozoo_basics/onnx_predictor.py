"""Predictor `onnx`: ONNX files, with what mammozoo has written into them or a record beside them, on the processor."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pydantic
import torch
from pydantic import Field
from torch import nn

from mammozoo import Input, UsageError
from mammozoo.documents import Document, parse_json
from mammozoo.errors import FailedError, IncompatibleError, problems
from mammozoo.models.config import INTENDED_USE, Calibration, ModelConfig, Threshold, Training
from mammozoo.models.predictor import PredictorSpec
from mammozoo.zoo.portable import KEY

_LEAST = 1e-12  # of a probability, so that its logarithm is finite
_SUM = 1e-3  # by which the sum of probabilities may differ from 1


class Record(pydantic.BaseModel):
    """What has to be known of a file: `MODEL.onnx.yaml`, or the metadata that `mammozoo export` writes.

    Attributes:
        classes: in the order of the output; of two the second is the positive one.
        output: of two classes it may also be one number, of the positive class.
        licence: of the weights; null says that it is not known.
    """

    model_config = pydantic.ConfigDict(defer_build=True, extra="forbid", frozen=True)

    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    input: Input
    licence: str | None
    output: Literal["logits", "probabilities"] = "logits"
    temperature: Annotated[float, Field(ge=0.01, le=100)] | None = None
    thresholds: dict[str, Threshold] = {}
    threshold: str = ""
    name: str = ""
    stamps: tuple[str, ...] = ()
    intended_use: str = INTENDED_USE

    @pydantic.model_validator(mode="after")
    def _fits_itself(self) -> Self:
        if len({*self.classes}) < len(self.classes):
            raise ValueError("`classes` names one twice")
        if self.threshold and self.threshold not in self.thresholds:
            raise ValueError(f"`threshold` names '{self.threshold}', which is not among `thresholds`")
        return self

    def config(self, path: Path) -> ModelConfig:
        """The config of the model in the file."""
        fitted = self.temperature and Calibration(temperature=self.temperature, chosen_on="unknown data")
        return ModelConfig(
            name=self.name or path.stem, backbone="onnx", strategy="", head="", training=Training(dataset=""),
            classes=self.classes, input=self.input, thresholds=self.thresholds, threshold=self.threshold,
            calibration=fitted or None, stamps=self.stamps, intended_use=self.intended_use, licence=self.licence or "not stated",
        )  # fmt: skip


class Session(nn.Module):
    """(N, channels, h, w) → (N, K) logits, by onnxruntime; a file for one image at a time gets them one at a time."""

    def __init__(self, path: Path, record: Record):
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
        self.path, self.record = path, record
        try:  # from bytes: a file cannot then read others
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no common class
            raise IncompatibleError(
                f"'{path}' is not an ONNX model that onnxruntime can run: {_first(error)}."
            ) from error
        (self.given, *more), outputs = self.session.get_inputs(), self.session.get_outputs()
        promised = (record.input.channels, *record.input.size)
        pairs = zip(self.given.shape[1:], promised, strict=False)
        fits = len(self.given.shape) == 4 and all(not isinstance(one, int) or one == said for one, said in pairs)
        if more or not fits or self.given.type != "tensor(float)":
            what = f"{len(more) + 1} inputs" if more else f"{self.given.type} of {self.given.shape}"
            said = ", ".join(map(str, promised))
            raise IncompatibleError(f"'{path}' takes {what}, and by its record one of (N, {said}) float32 numbers.")
        self.output = next((one.name for one in outputs if one.name == record.output), outputs[0].name)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits, or the logarithms of the probabilities."""
        x, n = images.float().cpu(), self.given.shape[0]
        try:
            parts = torch.split(x, n if isinstance(n, int) and n > 0 else len(x))
            found = [torch.tensor(self.session.run([self.output], {self.given.name: p.numpy()})[0]) for p in parts]
        except Exception as error:
            raise FailedError(f"'{self.path}' does not answer: {_first(error)}.") from error
        answer = torch.cat(found).float()
        if answer.ndim == 2 and answer.shape[1] == 1 and len(self.record.classes) == 2:
            rest = torch.zeros_like(answer) if self.record.output == "logits" else 1 - answer
            answer = torch.cat([rest, answer], 1)
        if self.record.output == "probabilities":
            if not (bool((answer >= 0).all()) and bool(((answer.sum(1) - 1).abs() < _SUM).all())):
                raise FailedError(
                    f"'{self.path}' answers with no probabilities. Should its .yaml file say `output: logits`?"
                )
            answer = answer.clamp_min(_LEAST).log()
        return answer


def build(path: Path) -> tuple[nn.Module, ModelConfig]:
    """The model in an ONNX file; a record beside it counts more than what stands in it."""
    if not importlib.util.find_spec("onnxruntime"):
        raise UsageError("ONNX needs onnxruntime. Run: pip install onnxruntime")
    beside = path.with_name(path.name + ".yaml")
    source, content = (beside, Document.read(beside, UsageError).content) if beside.is_file() else (path, _within(path))
    try:
        record = Record.model_validate(content)
    except pydantic.ValidationError as error:
        raise UsageError(f"'{source}' lacks facts that mammozoo needs: {problems(error, 'it', 1)}.") from None
    return Session(path, record), record.config(path)


def _within(path: Path) -> Any:
    """The record in the file's own metadata."""
    import onnxruntime

    try:
        facts = onnxruntime.InferenceSession(path.read_bytes()).get_modelmeta().custom_metadata_map
        content = parse_json(facts[KEY])
    except KeyError:
        raise UsageError(
            f"'{path}' does not say its classes and preprocessing. Write them into '{path.name}.yaml' beside it: `classes`, "
            "`input`, `output` and `licence`."
        ) from None
    except Exception as error:
        raise IncompatibleError(f"'{path}' is not an ONNX model that onnxruntime can run: {_first(error)}.") from error
    return content


def _first(error: Exception) -> str:
    return f"{error}".strip().partition("\n")[0].rstrip(".")


def fits(path: Path) -> bool:
    """A file that ends in `.onnx`."""
    return path.is_file() and path.suffix.lower() == ".onnx"


PREDICTORS = [PredictorSpec("onnx", "ONNX files of any program, by onnxruntime", build, fits)]
