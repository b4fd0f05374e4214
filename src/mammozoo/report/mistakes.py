"""The worst mistakes: wrongly classified test images that gave their true class the least probability, with heatmaps."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from mammozoo.config.names import call, parse
from mammozoo.data.dataset import Dataset
from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import MammozooError
from mammozoo.evaluation.explain import heat, overlay
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.plugins import registry
from mammozoo.progress import Progress
from mammozoo.report.content import Content

SHOWN = 8  #: mistakes
_SIDE = 320  # pixels; a larger picture is made smaller, to keep the file small


@dataclass(frozen=True)
class Mistake:
    """A wrong decision; `p` is the probability of the label. `picture` and `heatmap` are data URIs, empty if missing."""

    sample: str
    fold: str
    label: str
    decision: str
    p: float
    picture: str = ""
    heatmap: str = ""


@dataclass(frozen=True)
class Gallery:
    """The worst of `wrong` mistakes; `notes` say why pictures are missing."""

    wrong: int
    mistakes: Sequence[Mistake]
    notes: Sequence[str] = ()

    @property
    def heatmaps(self) -> int:
        """How many mistakes have a heatmap."""
        return sum(bool(mistake.heatmap) for mistake in self.mistakes)


def show(content: Content, root: Path | None, heatmaps: bool, progress: Progress) -> Gallery:
    """The worst mistakes with the input of the model as a picture, and a heatmap of the model that made the mistake."""
    test, outcome = content.test, content.outcome
    wrong = np.flatnonzero(outcome.decisions != outcome.labels)
    mistakes = []
    for i in wrong:
        label, decision = (outcome.classes[number[i]] for number in (outcome.labels, outcome.decisions))
        p = float(outcome.probabilities[i, outcome.labels[i]])
        mistakes.append(Mistake(str(test.samples[i]), str(test.folds[i]), label, decision, p))
    mistakes = sorted(mistakes, key=lambda m: (m.p, m.sample))[:SHOWN]
    if not heatmaps:
        return Gallery(len(wrong), mistakes, ["Pictures and heatmaps were left out on request."])
    spec = parse(content.recipe.dataset)
    try:
        kind = registry().get("datasets", spec.name)
        dataset = call(kind, spec, (root or content.recipe.root) if kind.needs_root else None)
        progress.start("drawing heatmaps", len(mistakes))
        drawn = {(m.sample, m.fold): m for m in _drawn(content, dataset, mistakes, progress)}
    except MammozooError as error:
        progress.note(f"No pictures in the report: {error}")  # the page itself names no folder of this machine
        return Gallery(len(wrong), mistakes, ["No pictures: the data cannot be read where the recipe or --root says."])
    notes = [
        f"The {what} of '{mistake.sample}' could not be made."
        for mistake in drawn.values()
        for what in ("picture", "heatmap")
        if not getattr(mistake, what)
    ]
    return Gallery(len(wrong), [drawn[m.sample, m.fold] for m in mistakes], notes)


def _drawn(content: Content, dataset: Dataset, mistakes: list[Mistake], progress: Progress) -> Iterator[Mistake]:
    """The mistakes by fold, so that each model is loaded once. On the CPU in float32: the page is the same everywhere."""
    engine = choose_engine("cpu", "fp32")
    samples = {sample.image: sample for sample in dataset.samples()}
    configs = {fold.name: fold.config for fold in content.folds}
    for fold, members in groupby(sorted(mistakes, key=lambda m: m.fold), key=lambda m: m.fold):
        config, model = configs[fold], None
        try:
            model, _ = load_model(content.run.path / fold)
        except MammozooError as error:
            progress.note(str(error))
        for mistake in members:
            try:
                if (sample := samples.get(mistake.sample)) is None:
                    raise MammozooError(f"'{mistake.sample}' is not in the data at this root.")
                box = dataset.box(sample) if config.input.region else None
                pixels = config.input.preparer()(dataset.read(sample), box)
                mistake = replace(mistake, picture=_data_uri(pixels))
                if model is not None:
                    heatmap = overlay(pixels, heat(model, config, pixels, engine))
                    mistake = replace(mistake, heatmap=_data_uri(heatmap))
            except MammozooError as error:
                progress.note(str(error))
            progress.advance()
            yield mistake


def _data_uri(pixels: Pixels) -> str:
    """(h, w, 1 or 3) uint8 as a JPEG in a `data:` address."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
