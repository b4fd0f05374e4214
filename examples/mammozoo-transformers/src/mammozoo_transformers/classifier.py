"""Predictor `transformers`: a folder as `save_pretrained` writes it, with its image processor and pins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from mammozoo import PredictorSpec
from mammozoo.errors import IncompatibleError, UsageError
from mammozoo.models.config import Calibration, ModelConfig, Training
from torch import nn

from mammozoo_transformers.pins import RECORD, Pins, checked
from mammozoo_transformers.processor import first, input_of

_MOST = 2**20  # bytes of config.json
_SUFFIX = "ForImageClassification"


class Classifier(nn.Module):
    """(N, 3, h, w) → (N, K) logits of a transformers model."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits, in the order of `id2label`."""
        logits: torch.Tensor = self.network(pixel_values=images).logits
        return logits


def build(folder: Path) -> tuple[nn.Module, ModelConfig]:
    """The classifier in `folder`; raises as `checked` and `input_of`, UsageError and IncompatibleError for what it is not."""
    from transformers import AutoModelForImageClassification
    from transformers.utils import logging

    pins, content = checked(folder), _content(folder)
    for key, why in (
        ("auto_map", "it brings code of its own, which is not run"),
        ("quantization_config", "its weights are quantised"),
    ):
        if key in content:
            raise IncompatibleError(f"The model in '{folder}' is not taken: {why} (`{key}` in config.json).")
    if content.get("problem_type") not in (None, "single_label_classification"):
        raise IncompatibleError(
            f"The model in '{folder}' answers '{content['problem_type']}'; mammozoo takes one class an image."
        )
    shown = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        network, told = AutoModelForImageClassification.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
    except Exception as error:  # transformers, safetensors and torch have no common class
        raise IncompatibleError(f"transformers cannot load the model in '{folder}': {first(error)}.") from error
    finally:
        logging.set_verbosity(shown[1])
        if shown[0]:
            logging.enable_progress_bar()
    if lacking := sorted(told["missing_keys"]):
        raise IncompatibleError(f"The weights in '{folder}' lack {len(lacking)} tensors, such as '{lacking[0]}'.")
    return Classifier(network.eval()), _config(folder, network.config, pins)


def _config(folder: Path, its: Any, pins: Pins) -> ModelConfig:
    named = tuple(str(its.id2label[number]) for number in range(its.num_labels))
    classes = pins.classes or named
    if len(classes) != len(named) or len({*classes}) < len(classes) or len(classes) < 2:
        raise UsageError(
            f"The model in '{folder}' has {len(named)} outputs ({', '.join(named)}). `classes` in {RECORD} gives each its own "
            "name, and mammozoo takes two or more."
        )
    channels = getattr(its, "num_channels", 3)
    if channels != 3:
        raise IncompatibleError(f"The model in '{folder}' takes {channels} channels; transformers gives it 3.")
    fitted = pins.temperature and Calibration(temperature=pins.temperature, chosen_on="unknown data")
    return ModelConfig(
        name=folder.name, backbone=its.model_type, strategy="", head="", training=Training(dataset=""), classes=classes,
        input=input_of(folder), thresholds=pins.thresholds, threshold=pins.threshold, calibration=fitted or None,
        stamps=pins.stamps, licence=pins.licence or "not stated",
    )  # fmt: skip


def _content(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    content = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size <= _MOST else None
    return content if isinstance(content, dict) else {}


def fits(path: Path) -> bool:
    """A folder whose `config.json` is of a transformers image classifier."""
    try:
        kinds = _content(path).get("architectures") if path.is_dir() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(kinds, list) and any(isinstance(kind, str) and kind.endswith(_SUFFIX) for kind in kinds)


CLASSIFIERS = PredictorSpec("transformers", "image classifiers of transformers, in safetensors and pinned", build, fits)
