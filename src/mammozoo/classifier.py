"""A model at hand: loaded once, asked about files or about images in memory. What `predict` does, for a notebook."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mammozoo.errors import UsageError
from mammozoo.evaluation.predict import Prediction, find_images, predict_files, same_answer
from mammozoo.files import disk_error
from mammozoo.models.config import ModelConfig
from mammozoo.models.device import Engine, choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import Model
from mammozoo.zoo.registry import default_model, find_model

log = logging.getLogger(__name__)

Picture = str | Path | npt.NDArray[Any] | Image.Image
_IN_PNG = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})  # Pillow's modes; both files lose nothing
_IN_TIFF = frozenset({"I", "F", "CMYK"})


@dataclass(frozen=True)
class Classifier:
    """A model in evaluation mode, its config, and where it runs; `load` makes one.

    Attributes:
        folder: of its files.
        model: the network, a torch module: (N, channels, h, w) float32 → (N, outputs) logits.
        config: what `config.json` holds: input, thresholds, calibration, training, scores.
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
        self, images: Picture | Iterable[Picture], *, batch: int = 32, abstain: bool = False
    ) -> list[Prediction]:
        """A prediction for each image, in order. For research only: the opinion of a network is no finding.

        `images` is one image or several, and kinds may be mixed:

        * text or a path: a file, a folder (lesion masks in it are left out) or a pattern, as `mammozoo predict` takes them;
          a file named twice is predicted once.
        * an array: (H, W) uint8, uint16, bool or float, (H, W, 1) the same, (H, W, 3) uint8 RGB. As in a file, values deeper
          than 8 bits are stretched from the image's own minimum to its maximum.
        * a Pillow image; EXIF orientation is applied.

        An image in memory takes the road of a file (it is kept in a temporary folder meanwhile), so it gets the answer that
        its file would get. Its `Prediction.file` is its place, `images[3]`, and it has no `sha256`.

        A file that cannot be read has its reason in `Prediction.error` and does not stop the others. With `abstain` an image
        in the model's uncertain band gets no label.

        Raises:
            NotFoundError: a path leads to nothing.
            UsageError: something is no image, an array of another shape or type, or `abstain` of a model without a band.
        """
        several: Iterable[Any] = [images] if isinstance(images, str | Path | np.ndarray | Image.Image) else images
        with tempfile.TemporaryDirectory(prefix="mammozoo-") as folder:
            places: dict[str, str] = {}
            paths = []
            for number, image in enumerate(several):
                if isinstance(image, str | Path):
                    paths.append(str(image))
                    continue
                path = _stored(image, Path(folder) / str(number), f"images[{number}]")
                paths.append(str(path))
                places[path.as_posix()] = f"images[{number}]"
            files = find_images(paths)
            found = list(predict_files(self.model, self.config, files, self.engine, batch, abstain=abstain))
        if remark := same_answer(found):
            log.warning("%s", remark)
        return [_of_memory(one, places[one.file]) if one.file in places else one for one in found]


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> Classifier:
    """The model that `model` names: a run's or model's folder, a zoo name, `zoo:NAME`, `hub:ORG/NAME@COMMIT`.

    Without a name it is the built-in model. Its files are checked against the zoo's hashes. No server is asked, but for a
    `hub:` model that was not pulled before.

    Raises:
        NotFoundError: no such model, or it is on the Hub and was never pulled.
        NotVerifiedError: its files are not those that the zoo promises, or are damaged.
        IncompatibleError: it needs another mammozoo, or a plugin that is not installed.
        UsageError: the device cannot be used here.
    """
    if precision not in ("auto", "bf16", "fp32"):
        raise UsageError(f"`precision` is auto, bf16 or fp32, not '{precision}'.")
    folder = find_model(default_model() if model is None else str(model))
    network, config = load_model(folder)
    engine = choose_engine(device, precision)
    return Classifier(folder, engine.place(network), config, engine)


def _stored(image: Any, stem: Path, place: str) -> Path:
    """An image in memory as a lossless file beside `stem`; `place` is what messages call it."""
    if not isinstance(image, np.ndarray | Image.Image):
        raise UsageError(
            f"{place} is a {type(image).__name__}. Give a path, a NumPy array or a Pillow image (of a tensor its .numpy())."
        )
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(_pixels(image, place))
    else:
        try:
            picture = ImageOps.exif_transpose(image)
        except OSError as error:  # Pillow decodes as late as here
            raise UsageError(f"{place} cannot be decoded ({error}).") from error
    if picture.mode not in _IN_PNG | _IN_TIFF:
        raise UsageError(f"{place} has Pillow's mode '{picture.mode}'. Convert it first: image.convert('RGB') or 'L'.")
    path = stem.with_suffix(".png" if picture.mode in _IN_PNG else ".tif")
    try:
        picture.save(path, compress_level=1)  # of PNG; TIFF stays uncompressed
    except OSError as error:
        raise disk_error(error, path) from error
    return path


def _pixels(array: npt.NDArray[Any], place: str) -> npt.NDArray[Any]:
    """The array in a type that files hold: (H, W) uint8, uint16 or float32, or (H, W, 3) uint8."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.size and array.ndim == 2:
        if array.dtype == np.bool_:
            return array.astype(np.uint8) * 255
        if array.dtype in (np.uint8, np.uint16):
            return array
        if np.issubdtype(array.dtype, np.floating):
            return array.astype(np.float32)
    if array.size and array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8:
        return array
    shape = " x ".join(map(str, array.shape)) or "no axis"
    raise UsageError(
        f"{place} is an array of {shape}, {array.dtype}. An image is (H, W) uint8, uint16, bool or float, or (H, W, 3) uint8. "
        "Of a stack give list(stack)."
    )


def _of_memory(prediction: Prediction, place: str) -> Prediction:
    """The prediction under the image's own name instead of that of its temporary file."""
    error = prediction.error and prediction.error.replace(f"'{prediction.file}'", place)
    return dataclasses.replace(prediction, file=place, sha256=None, error=error)
