"""Findings about mammograms: inverted films and labels beside the breast, by class; a network can learn either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import chi2_contingency

from mammozoo.data.quality.findings import Finding, Severity
from mammozoo.data.quality.survey import ImageFacts

_TELLING = 0.001  # p above which shares of the classes may differ by chance


def film_findings(facts: Sequence[ImageFacts], *, surely: bool) -> Iterator[Finding]:
    """Of the images that were looked at as films; `surely` says that they are mammograms, which may all have a label."""
    films = [image for image in facts if image.film is not None]
    inverted = [image for image in films if image.film and image.film.inverted]
    labelled = [image for image in films if image.film and image.film.label]
    for kind, found, what, way in (
        ("inverted-film", inverted, "images show a dark breast on bright ground", "preprocess: polarity or breast"),
        ("corner-label", labelled, "images have a label beside the breast", "preprocess: breast"),
    ):
        if not found:
            continue
        counts, every = (Counter(image.sample.label for image in some) for some in (found, films))
        table = np.array([[counts[label], every[label] - counts[label]] for label in every])
        telling = len(table) > 1 and bool(table.any(axis=0).all()) and chi2_contingency(table).pvalue < _TELLING
        shares = ", ".join(f"{counts[label]} of {every[label]} {label}" for label in every)
        detail = f"{len(found)} {what}: {shares}; {way}"
        detail += "; the shares differ, so a model may learn that instead of the tissue" if telling else ""
        severity: Severity = "warning" if telling or kind == "inverted-film" else "info"
        if severity == "warning" or surely:
            yield Finding(kind, severity, tuple(image.sample.image for image in found), detail)
