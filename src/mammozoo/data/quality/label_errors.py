"""Which labels are probably wrong, by confident learning (Northcutt, Jiang & Chuang 2021, JAIR 70:1373), as cleanlab has it.

The threshold of a class is the mean probability of that class among the images that carry its label. An image belongs to the
class whose threshold its probability reaches, of several to the most probable one. Where that is another class than the label,
and the most probable class is another too, the label is doubted. First come those with the smallest margin: probability of the
label less that of the most probable other class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mammozoo.data.classes import read_classes
from mammozoo.data.dataset import Sample
from mammozoo.data.quality.findings import Finding
from mammozoo.data.splits.exclusions import LABEL_ERROR
from mammozoo.errors import UsageError

_EPSILON = 1e-6


@dataclass(frozen=True)
class OutOfFold:
    """Probabilities of images by models that were not trained on them; `run` says whose, `warning` what speaks against them.

    `classes` are as a recipe writes them; `of` maps the name of an image to its (K,) probabilities.
    """

    run: str
    classes: tuple[str, ...]
    of: Mapping[str, npt.NDArray[np.float64]]
    warning: str = ""


@dataclass(frozen=True)
class LabelError:
    """A doubted label: the image, its label's class and probability, and the class that it probably is of, with that one's."""

    image: str
    label: str
    p_label: float
    suggested: str
    p_suggested: float

    @property
    def margin(self) -> float:
        """From -1, surely wrong, to 0."""
        return self.p_label - self.p_suggested

    @property
    def text(self) -> str:
        """The probabilities in words."""
        return f"labelled {self.label} ({self.p_label:.3f} out of fold), probably {self.suggested} ({self.p_suggested:.3f})"


def doubted(labels: npt.NDArray[np.intp], p: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """(index, class that it is probably of) of each doubted label, the worst first, of (N,) labels and (N, K) probabilities.

    A class without an image has the threshold infinity.
    """
    every = range(p.shape[1])
    cuts = np.array([p[labels == k, k].mean() if (labels == k).any() else np.inf for k in every])
    reached = p >= cuts - _EPSILON
    best = p.argmax(axis=1)
    belongs = np.where(reached.sum(axis=1) > 1, best, reached.argmax(axis=1))
    found = np.flatnonzero(reached.any(axis=1) & (belongs != labels) & (best != labels))
    margins = p[found, labels[found]] - p[found].max(axis=1)
    return [(int(i), int(belongs[i])) for i in found[np.argsort(margins, kind="stable")]]


def label_errors(
    samples: Sequence[Sample], labels: Sequence[str], scores: OutOfFold, dataset: str
) -> tuple[list[LabelError], int]:
    """(the doubted labels among samples of a data set with these `labels`, how many of the samples have probabilities).

    `dataset` is its name, for messages.

    Raises:
        UsageError: none has, or a class of the run is none of the data set.
    """
    classes = read_classes(scores.classes, labels, dataset)
    scored = [s for s in samples if s.image in scores.of and s.label in classes.numbers]
    if not scored:
        raise UsageError(
            f"--with: '{scores.run}' has tested {len(scores.of)} images, and none of them is in '{dataset}'. Name a run on it."
        )
    numbers = np.array([classes.numbers[sample.label] for sample in scored], np.intp)
    p = np.array([scores.of[sample.image] for sample in scored])
    names = classes.names
    return [
        LabelError(scored[i].image, names[numbers[i]], float(p[i, numbers[i]]), names[k], float(p[i, k]))
        for i, k in doubted(numbers, p)
    ], len(scored)


def label_findings(found: Sequence[LabelError], scored: int, images: int, scores: OutOfFold) -> Iterator[Finding]:
    """One finding: the doubted labels, of how many images with a probability."""
    of = f"of the {scored} images that '{scores.run}' has tested, of {images} in all{scores.warning}"
    if not found:
        yield Finding(LABEL_ERROR, "info", (), f"no label is doubted {of}")
        return
    detail = f"{len(found)} labels are probably wrong, {of}; the worst first: {found[0].text}"
    yield Finding(LABEL_ERROR, "warning", tuple(one.image for one in found), detail)
