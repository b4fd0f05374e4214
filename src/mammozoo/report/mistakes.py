"""The worst mistakes: wrongly classified test images that gave their true class the least probability, with heatmaps."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from mammozoo.config.sections import Root
from mammozoo.data.dataset import Dataset
from mammozoo.data.io.images import read_image, to_uint8
from mammozoo.data.io.listing import list_images, some
from mammozoo.data.joined import kinds_of, open_dataset
from mammozoo.data.preprocessing import Pixels
from mammozoo.errors import MammozooError, NotFoundError, UsageError
from mammozoo.evaluation.explain import heat, overlay
from mammozoo.evaluation.prediction_table import loosely
from mammozoo.evaluation.predictions import Predictions
from mammozoo.models.device import choose_engine
from mammozoo.models.factory import load_model
from mammozoo.progress import Progress
from mammozoo.report.content import Content

SHOWN = 8  #: mistakes
_SIDE = 320  # pixels; a larger picture is made smaller, to keep the file small


@dataclass(frozen=True)
class Mistake:
    """A wrong decision; `p` is the probability of the label. `picture` and `heatmap` are data URIs, empty if missing.

    `others` and `conflict` name test images of the same group (patient, or near-duplicates), and those with another label,
    but for images of her other breast.
    """

    sample: str
    name: str  # what a reader sees of it
    fold: str
    label: str
    decision: str
    p: float
    picture: str = ""
    heatmap: str = ""
    others: str = ""
    conflict: str = ""


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


def show(content: Content, root: Root | None, heatmaps: bool, progress: Progress) -> Gallery:
    """The worst mistakes with the input of the model as a picture, and a heatmap of the model that made the mistake."""
    wrong, mistakes = worst(content.test)
    if not heatmaps:
        return Gallery(wrong, mistakes, ["Pictures and heatmaps were left out on request."])
    name = content.recipe.dataset
    try:
        on_disk = any(kind.needs_root for kind in kinds_of(name).values())
        dataset = open_dataset(name, (root or content.recipe.root) if on_disk else None)
        progress.start("drawing heatmaps", len(mistakes))
        drawn = {(m.sample, m.fold): m for m in _drawn(content, dataset, mistakes, progress)}
    except MammozooError as error:
        progress.note(f"No pictures in the report: {error}")  # the page itself names no folder of this machine
        return Gallery(wrong, mistakes, ["No pictures: the data cannot be read where the recipe or --root says."])
    notes = [
        f"The {what} of '{mistake.sample}' could not be made."
        for mistake in drawn.values()
        for what in ("picture", "heatmap")
        if not getattr(mistake, what)
    ]
    return Gallery(wrong, [drawn[m.sample, m.fold] for m in mistakes], notes)


def worst(test: Predictions) -> tuple[int, list[Mistake]]:
    """How many decisions are wrong, and the worst of them."""
    outcome, mistakes = test.outcome, list[Mistake]()
    wrong = np.flatnonzero(outcome.decisions != outcome.labels)
    p = outcome.probabilities[wrong, outcome.labels[wrong]]
    names = _short(test.samples.tolist())
    try:
        breasts = test.units("breast")  # of one patient, one may be ill and the other not
    except UsageError:
        breasts = np.full(len(test), "")
    for i in wrong[np.lexsort((test.samples[wrong], p))][:SHOWN]:
        label, decision = (outcome.classes[number[i]] for number in (outcome.labels, outcome.decisions))
        own = float(outcome.probabilities[i, outcome.labels[i]])
        kin = np.flatnonzero((outcome.groups == outcome.groups[i]) & (test.samples != test.samples[i]))
        other_breast = (breasts[kin] != breasts[i]) & (breasts[kin] != "") & (breasts[i] != "")
        clash = (outcome.labels[kin] != outcome.labels[i]) & ~other_breast
        others, against = kin[~clash], kin[clash]
        mistakes.append(
            Mistake(
                str(test.samples[i]), names[i], str(test.folds[i]), label, decision, own,
                others=f"Same patient or near-duplicate: {some([names[k] for k in others])}" if len(others) else "",
                conflict=f"Same patient or near-duplicate with another label: {some([names[k] for k in against])}"
                if len(against) else "",
            )
        )  # fmt: skip
    return len(wrong), mistakes


def _short(names: Sequence[str]) -> list[str]:
    """Absolute names without the folder that all of them share; others as they are."""
    try:
        folder = PurePath(os.path.commonpath([PurePath(name).parent for name in names]) if names else "")
    except ValueError:  # relative and absolute ones, or several drives
        folder = PurePath()
    return [PurePath(name).relative_to(folder).as_posix() if folder.is_absolute() else name for name in names]


def show_files(test: Predictions, root: Path | None) -> Gallery:
    """The worst mistakes with the pictures that lie below `root` under the ids of the images, if one is given."""
    wrong, mistakes = worst(test)
    if root is None:
        return Gallery(wrong, mistakes, ["Without --root there are no pictures."])
    by_name: dict[str, Path] = {}
    for path in list_images(root).images:
        by_name.setdefault(path.relative_to(root).as_posix().lower(), path)
        by_name.setdefault(loosely(path.name), path)
    drawn, notes = list[Mistake](), list[str]()
    for mistake in mistakes:
        file = by_name.get(mistake.sample.lower(), by_name.get(loosely(mistake.sample)))
        try:
            if file is None:
                raise NotFoundError(f"No picture of '{mistake.sample}' lies below the root.")
            pixels = to_uint8(read_image(file))
            drawn.append(replace(mistake, picture=_data_uri(pixels[..., None] if pixels.ndim == 2 else pixels)))
        except MammozooError as error:
            drawn.append(mistake)
            missing = isinstance(error, NotFoundError)
            notes.append(str(error) if missing else f"The picture of '{mistake.sample}' could not be made.")
    return Gallery(wrong, drawn, notes)


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
