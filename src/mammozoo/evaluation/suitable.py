"""Whether a model may answer for an image: by what the file's header says, by its content, and by what it was trained on.

A refusal is of an image that shows nothing, or is of another modality; `--force` makes a warning of it. A warning is of an
image that is unlike the training images, or was one of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy.typing as npt

from mammozoo.data.duplicates.seen import Seen
from mammozoo.data.io.dicom import is_for_processing, read_modality
from mammozoo.data.modality import other_kind
from mammozoo.data.ood import features, nothing_to_see, ood_warnings
from mammozoo.models.config import ModelConfig

#: DICOM modalities (PS3.3 C.7.3.1.1.1) that fit a model's.
_FITTING = {"ultrasound": {"US"}, "mammography": {"MG"}, "microscopy": {"SM", "GM", "XC"}}
#: Those of which the content decides: no file of DICOM, "other", and for mammography radiographs, as which old ones are stored.
_OPEN = {"ultrasound": {None, "OT"}, "mammography": {None, "OT", "CR", "DX", "RG"}, "microscopy": {None, "OT"}}
SEEN = "seen in training or model selection, or nearly so: says nothing of how good the model is"


class Suitable:
    """What there is to say of images before the model of this config answers."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.seen = Seen(config.training.seen)

    def judge(self, pixels: npt.NDArray[Any], path: Path | None = None) -> tuple[str | None, list[str]]:
        """(why the model does not answer, else None; warnings) for an image as read, and its file if it has one."""
        modality, warnings = self.config.training.modality, list[str]()
        found = features(pixels)
        stated = read_modality(path) if path is not None else None
        if stated == "MG" and path is not None and is_for_processing(path):
            warnings.append("a mammogram for processing, the detector's raw values: use the one for presentation")
        if pixels in self.seen:
            warnings.append(SEEN)
        if (empty := nothing_to_see(found)) is not None:
            return empty, warnings
        unlike = ood_warnings(found, self.config.guard)
        return self._other(pixels, modality, stated, bool(unlike)), [*warnings, *unlike]

    def _other(self, pixels: npt.NDArray[Any], modality: str, stated: str | None, unlike: bool) -> str | None:
        """In words, that an image is of another modality; None if it may be of the model's."""
        if modality not in _FITTING or stated in _FITTING[modality]:
            return None
        if stated not in _OPEN[modality]:
            return f"the file's header says modality {stated}; the model was trained on {modality}"
        if self.config.training.synthetic:  # what was drawn need not look like its modality
            return None
        if modality == "mammography" and self.config.guard is not None and not unlike:
            return None  # a part of a mammogram, for a model of parts, is hard to tell from other textures
        kind = other_kind(pixels, modality)
        return kind and f"no {modality} by its content ({kind}), and the model was trained on {modality}"
