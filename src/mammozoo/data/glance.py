"""What a glance at a few of one's own images adds to a recipe: their modality, and `polarity` if mammograms are inverted."""

from __future__ import annotations

import contextlib
from inspect import signature
from typing import Any

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
    except (MammozooError, OSError):
        return {}
    found, inverted = [], 0
    for sample in samples[:: -(-len(samples) // _LOOKED) or 1]:
        with contextlib.suppress(Exception):  # also of a plugin's own reader: training says what cannot be read
            image = dataset.read(sample)
            if max(image.shape[:2]) >= SMALLEST:
                found.append(statistics(image))
                inverted += image.ndim == 2 and look_at(image).inverted
    if len(found) < _FEWEST:
        return {}
    counts = {one: sum(share(of, one) >= least for of in found) for one, least in LEAST.items()}
    modality, count = max(counts.items(), key=lambda item: item[1])
    if count < _CLEAR * len(found):
        return {}
    seen = f"of {len(found)} images that were looked at"
    why = f"{count} {seen} look like {modality}; the model will answer for nothing else"
    added: dict[str, tuple[Any, str]] = {
        "dataset": (str(Spec(spec.name, spec.arguments, (*spec.options, ("modality", modality)))), why)
    }
    if modality == "mammography" and inverted:
        added["preprocess"] = (["polarity"], f"{inverted} {seen} show a dark breast on bright ground")
    return added
