"""What a glance at a few of one's own images adds to a recipe: their modality, and `polarity` if mammograms are inverted."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np

from mammozoo.config.names import Spec, parse
from mammozoo.config.sections import Root
from mammozoo.data.io.breast import look_at
from mammozoo.data.joined import open_dataset
from mammozoo.data.modality import LEAST, SMALLEST, share, statistics
from mammozoo.errors import MammozooError

_LOOKED, _FEWEST = 40, 10  # images that are looked at, at most and at least
_CLEAR = 0.95  # share of them that is of one modality, if they are said to be


def by_content(name: str, root: Root | None) -> dict[str, tuple[Any, str]]:
    """Key of a recipe → value and reason, for a data set that takes an option `modality` and was given none.

    Nothing is added if the images are not clearly of one modality, too small to tell, or cannot be read, which is said elsewhere.
    """
    spec = parse(name)
    try:
        dataset = open_dataset(name, root)
        if dataset.info.modality != "any" or "modality" not in signature(type(dataset)).parameters:
            return {}
        samples = dataset.samples()
        images = []
        for place in np.unique(np.linspace(0, len(samples) - 1, _LOOKED).astype(int)):
            image = dataset.read(samples[place])
            images += [image] if max(image.shape[:2]) >= SMALLEST else []
    except (MammozooError, OSError):
        return {}
    if len(images) < _FEWEST:
        return {}
    found = [statistics(image) for image in images]
    counts = {one: sum(share(of, one) >= least for of in found) for one, least in LEAST.items()}
    modality, count = max(counts.items(), key=lambda item: item[1])
    if count < _CLEAR * len(images):
        return {}
    seen = f"of {len(images)} images that were looked at"
    why = f"{count} {seen} look like {modality}; the model will answer for nothing else"
    added: dict[str, tuple[Any, str]] = {
        "dataset": (str(Spec(spec.name, spec.arguments, (*spec.options, ("modality", modality)))), why)
    }
    if modality == "mammography" and (dark := sum(look_at(one).inverted for one in images if one.ndim == 2)):
        added["preprocess"] = (["polarity"], f"{dark} {seen} show a dark breast on bright ground")
    return added
