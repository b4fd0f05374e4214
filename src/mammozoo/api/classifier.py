"""A model, loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mammozoo.api.given import named_model
from mammozoo.errors import UsageError

if TYPE_CHECKING:
    from mammozoo.evaluation.predict import Picture, Prediction
    from mammozoo.models.config import ModelConfig
    from mammozoo.models.device import Engine
    from mammozoo.models.model import Model


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, its folder and config, and where it runs; `load` makes one.

    Attributes:
        model: the network, a torch module: (N, channels, h, w) float32 → (N, outputs) logits.
        config: the content of `config.json`: input, thresholds, calibration, training, scores.
        engine: device and precision.
    """

    folder: Path
    model: Model = field(repr=False)
    config: ModelConfig = field(repr=False)
    engine: Engine

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in output order; of two the second is the positive one."""
        return self.config.classes

    def predict(
        self, images: Picture | Iterable[Picture], *, batch: int = 32, abstain: bool = False, force: bool = False
    ) -> list[Prediction]:
        """A prediction for each image, in order. For research only: the output of a network is not a finding.

        `images` is one image or several, and kinds may be mixed:

        * text or a path: a file, a folder (lesion masks in it are left out) or a pattern, as `mammozoo predict` takes them.
          A file that is named twice has two predictions.
        * an array: (H, W) uint8, uint16, bool or float, (H, W, 1) the same, (H, W, 3) uint8 RGB. As in a file, values deeper
          than 8 bits are stretched from the image's own minimum to its maximum.
        * a Pillow image; EXIF orientation is applied.

        An image in memory gets the answer that its file would get. Its `Prediction.file` is its place, `images[3]`, and it
        has no `sha256`.

        An image that cannot be read, shows nothing or is of another modality than the model's has the reason in
        `Prediction.error` and does not stop the others; `force` answers for all that can be read. With `abstain` an image in
        the model's uncertain band gets no label.

        Raises:
            NotFoundError: a path leads to nothing.
            UsageError: an array of another shape or type, another object, or `abstain` of a model without a band.
        """
        from mammozoo.evaluation.predict import predict_images

        predictions, remark = predict_images(
            self.model, self.config, images, self.engine, batch, abstain=abstain, force=force
        )
        if remark:
            logging.getLogger(__name__).warning("%s", remark)
        return predictions


def load(
    model: str | Path | None = None,
    *,
    member: str | None = None,
    tta: str | None = None,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Classifier:
    """The model that `model` names: a zoo's (`NAME`, `zoo:NAME`), `hub:ORG/NAME@COMMIT`, or a folder.

    A folder, of a run or a model, is a `Path`, text with a separator (`./NAME`), or `run:FOLDER`; a bare word is a zoo's.
    Of a run that trained several models (folds, repeats) it is all of them together: the mean of their probabilities.
    `member` names one of them: `best`, or a fold such as `fold-2`.

    It may also be another program's model that a predictor reads, such as an ONNX file, by its path.

    With `tta="flip"` each answer is the mean over an image and its mirror image. Thresholds and temperature are those that were
    chosen without it.

    Without a name it is the built-in model. Its files are checked against the zoo's hashes. Only a `hub:` model that was
    not pulled before is asked of a server.

    Raises:
        NotFoundError: no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: its files are not those that the zoo promises, or are damaged.
        IncompatibleError: it needs another mammozoo, or a plugin that is not installed.
        UsageError: the device cannot be used here, or the model was trained without mirror images.
    """
    from mammozoo.models.device import choose_engine
    from mammozoo.models.factory import load_model
    from mammozoo.models.mirrored import augmented
    from mammozoo.zoo.registry import default_model, find_answering

    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"The precision is auto, bf16 or fp32, not '{precision}'.")
    folder = find_answering(default_model() if model is None else named_model(model), member, others=True)
    network, config = load_model(folder)
    engine = choose_engine(device, precision)
    return Classifier(folder, engine.place(augmented(network, config, tta)), config, engine)
