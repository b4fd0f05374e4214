"""The worst mistakes: the test images that a model was surest about, and wrong, with what it looked at."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mammozoo.config.names import call, parse
from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import MammozooError, NotFoundError
from mammozoo.evaluation.explain import heat, overlay
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.models.model import Model
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.report.content import Content, Tested

#: How many mistakes are shown.
SHOWN = 8
_SIDE = 320  # pixels; a larger picture is made smaller, to keep the file small


@dataclass(frozen=True)
class Mistake:
    """A wrong decision; `picture` and `heatmap` are data URIs, empty where they could not be made."""

    image: Tested
    picture: str = ""
    heatmap: str = ""


@dataclass(frozen=True)
class Gallery:
    """The worst of `wrong` mistakes; `notes` say why pictures are missing."""

    wrong: int
    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...] = ()

    @property
    def pictures(self) -> int:
        """How many mistakes have a picture."""
        return sum(bool(mistake.picture) for mistake in self.mistakes)

    @property
    def heatmaps(self) -> int:
        """How many have a heatmap."""
        return sum(bool(mistake.heatmap) for mistake in self.mistakes)


def worst(content: Content, count: int = SHOWN) -> list[Tested]:
    """The wrong test images that gave their true class the least probability, least first."""
    return sorted((i for i in content.images if i.wrong), key=lambda i: (i.p[i.label], i.sample))[:count]


def show(content: Content, root: Path | None, heatmaps: bool, progress: Progress) -> Gallery:
    """The worst mistakes with pictures as the model saw them, and heatmaps from the model that made the mistake."""
    chosen = worst(content)
    wrong = sum(image.wrong for image in content.images)
    bare = tuple(Mistake(image) for image in chosen)
    if not heatmaps:
        return Gallery(wrong, bare, ("Pictures and heatmaps were left out on request.",))
    try:
        dataset, samples = _find(content, root, chosen)
    except MammozooError as error:
        progress.note(f"No pictures in the report: {error}")  # the page itself names no folder of this machine
        return Gallery(wrong, bare, ("No pictures: the data cannot be read where the recipe or --root says.",))
    progress.start("drawing heatmaps", len(chosen))
    drawn = {mistake.image: mistake for mistake in _draw(content, dataset, samples, chosen, progress)}
    missing = [f"{name} of '{m.image.sample}' could not be made." for m in drawn.values() for name in _missing(m)]
    return Gallery(wrong, tuple(drawn[image] for image in chosen), tuple(missing))


def _find(content: Content, root: Path | None, chosen: Sequence[Tested]) -> tuple[Dataset, Mapping[str, Sample]]:
    """The data set, and those of its samples that are `chosen`."""
    spec = parse(content.recipe.dataset)
    kind = registry().get("datasets", spec.name)
    dataset: Dataset = call(kind, spec, (root or content.recipe.root) if kind.needs_root else None)
    wanted = {image.sample for image in chosen}
    return dataset, {sample.image: sample for sample in dataset.samples() if sample.image in wanted}


def _draw(
    content: Content, dataset: Dataset, samples: Mapping[str, Sample], chosen: Sequence[Tested], progress: Progress
) -> Iterator[Mistake]:
    """Fold after fold, so that each model is loaded once. On the CPU in float32: the page is the same everywhere."""
    engine = choose_engine("cpu", "fp32")
    for fold in (fold for fold in content.folds if any(image.fold == fold.name for image in chosen)):
        model: Model | None = None
        with _told(progress):
            model, _ = load_model(content.run.path / fold.name)
        for image in (image for image in chosen if image.fold == fold.name):
            picture = heatmap = ""
            with _told(progress):
                if image.sample not in samples:
                    raise NotFoundError(f"'{image.sample}' is not in the data at this root.")
                sample, input = samples[image.sample], fold.config.input
                pixels = input.preparer()(dataset.read(sample), dataset.box(sample) if input.region else None)
                picture = _data_uri(pixels)
                if model is not None:
                    heatmap = _data_uri(overlay(pixels, heat(model, fold.config, pixels, engine)))
            progress.advance()
            yield Mistake(image, picture, heatmap)


@contextlib.contextmanager
def _told(progress: Progress) -> Iterator[None]:
    """What cannot be drawn is said, and the report goes on without it."""
    try:
        yield
    except MammozooError as error:
        progress.note(str(error))


def _missing(mistake: Mistake) -> list[str]:
    return [name for name, made in (("The picture", mistake.picture), ("The heatmap", mistake.heatmap)) if not made]


def _data_uri(pixels: Pixels) -> str:
    """(h, w, 1 or 3) uint8 as a JPEG in a `data:` address."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
