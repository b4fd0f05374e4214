"""`data check`: all problems of a data set: files, near-duplicates, labels, official parts, sizes; as data and as a page."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from mammozoo.config.sections import Root
from mammozoo.data.dataset import Dataset, files_of, sets_of
from mammozoo.data.duplicates.fingerprint import collect
from mammozoo.data.duplicates.matching import Pair, group, near_duplicates
from mammozoo.data.io.dicom import frame_remarks
from mammozoo.data.quality import findings as find
from mammozoo.data.quality.films import film_findings
from mammozoo.data.quality.label_errors import LabelError, OutOfFold, label_errors, label_findings
from mammozoo.data.quality.sheet import picture
from mammozoo.data.quality.survey import ImageFacts, survey
from mammozoo.progress import Progress

#: Largest number of pairs of one label on the page; all contradicting pairs are on it.
MOST = 400
_SIDE = 240  # longer side of a picture on the page, in pixels


@dataclass(frozen=True)
class Check:
    """The result of `check`."""

    dataset: Dataset
    facts: list[ImageFacts]  # of every sample, in the data set's order
    pairs: list[Pair]  # near-duplicates, as positions among `facts`
    groups: list[list[int]]  # positions of the images of each connected group of near-duplicates
    findings: list[find.Finding]  # the worst first; their files are relative to the root that the user gave
    files: list[str]  # path of each image relative to that root
    label_errors: list[LabelError] = field(default_factory=list)  # the worst first; none unless there are probabilities

    @property
    def failed(self) -> bool:
        """Whether one of the findings is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def classes(self) -> dict[str, int]:
        """Number of images of each class."""
        counts = Counter(image.sample.label for image in self.facts)
        return {name: counts[name] for name in self.dataset.classes}

    def labels(self, pair: Pair) -> list[str]:
        """The labels of the two images of a pair."""
        return [self.facts[place].sample.label for place in (pair.i, pair.j)]

    def content(self) -> dict[str, Any]:
        """The check as plain data, for JSON."""
        return {
            "dataset": self.dataset.info.name,
            "images": len(self.facts),
            "classes": self.classes,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "groups": [[self.files[i] for i in members] for members in self.groups],
            "pairs": [
                {"files": [self.files[pair.i], self.files[pair.j]], "labels": self.labels(pair), **pair.facts()}
                for pair in self.pairs
            ],
            **({"label_errors": [dataclasses.asdict(one) for one in self.label_errors]} if self.label_errors else {}),
        }

    def page(self, progress: Progress) -> str:
        """One self-contained HTML page: near-duplicates side by side, contradicting labels first, and the other findings."""
        import jinja2

        import mammozoo

        conflicts = [pair for pair in self.pairs if len({*self.labels(pair)}) == 2]
        same = [pair for pair in self.pairs if len({*self.labels(pair)}) == 1]
        shown = [*conflicts, *same[:MOST]]
        progress.start("drawing pairs", 2 * len(shown))
        pictures: dict[int, str] = {}
        for place in (place for pair in shown for place in (pair.i, pair.j)):
            if place not in pictures:  # one image can be in many pairs
                pictures[place] = picture(self.dataset, self.facts[place].sample, _SIDE)
            progress.advance()
        template = (files(__package__) / "pairs.html.j2").read_text("utf-8")
        page = jinja2.Environment(autoescape=True).from_string(template)
        return page.render(
            version=mammozoo.__version__, check=self, pictures=pictures, conflicts=conflicts, same=same, most=MOST
        )


def check(dataset: Dataset, root: Root | None, progress: Progress, scores: OutOfFold | None = None) -> Check:
    """Read every image and mask once and check them; a file that cannot be read is a finding.

    With `scores` labels are doubted too.

    Raises:
        NotFoundError, UsageError: the samples cannot be listed, or the scores are of other images.
    """
    samples = list(dataset.samples())
    errors, scored = label_errors(samples, dataset.classes, scores, dataset.info.name) if scores else ([], 0)
    progress.start("reading images", len(samples))
    facts = survey(dataset, samples, progress.advance)
    every = duplicates_among(dataset, facts)
    pairs = [pair for pair in every if not _one_picture(dataset, facts[pair.i], facts[pair.j])]
    numbers = group([None] * len(facts), pairs)
    groups = [np.flatnonzero(numbers == number).tolist() for number in np.flatnonzero(np.bincount(numbers) > 1)]
    findings = [
        *(find.Finding("note", "info", (), n) for n in (*dataset.notes, *frame_remarks(files_of(dataset, samples)))),
        *find.file_findings(facts),
        *film_findings(facts, surely=dataset.info.modality == "mammography"),
        *find.class_findings(facts, dataset.classes),
        *find.duplicate_findings(facts, pairs, groups, generated=dataset.info.synthetic),
        *find.part_findings(facts, every),
        *find.size_findings(facts, group([sample.patient for sample in samples], every)),
        *(label_findings(errors, scored, len(samples), scores) if scores else ()),
    ]
    findings.sort(key=lambda finding: find.SEVERITIES.index(finding.severity))

    def relative(file: str) -> str:
        if not isinstance(root, Path) or dataset.root is None:
            return file
        return Path(os.path.relpath(dataset.path(file), root if root.is_dir() else root.parent)).as_posix()

    findings = [dataclasses.replace(f, files=tuple(dict.fromkeys(map(relative, f.files)))) for f in findings]
    return Check(dataset, facts, pairs, groups, findings, [relative(sample.image) for sample in samples], errors)


def _one_picture(dataset: Dataset, one: ImageFacts, other: ImageFacts) -> bool:
    """Whether two samples are lesions of one image: neither copies of each other, nor a contradiction if their labels differ."""
    assert one.fingerprint is not None and other.fingerprint is not None
    same = dataset.path(one.sample.image) == dataset.path(other.sample.image)  # frames of one file differ in the rest
    return same and np.array_equal(one.fingerprint.fine, other.fingerprint.fine)


def duplicates_among(dataset: Dataset, facts: Sequence[ImageFacts]) -> list[Pair]:
    """Near-duplicates among the readable, not constant images, as positions among `facts`.

    Generated images are independent by construction, even if their hashes are close.
    """
    if dataset.info.synthetic:
        return []
    places = [place for place, image in enumerate(facts) if image.fingerprint is not None and not image.constant]
    prints = collect([one for place in places if (one := facts[place].fingerprint) is not None])
    samples = [facts[place].sample for place in places]
    pairs = near_duplicates(prints, [sample.patient for sample in samples], sets_of(dataset, samples))
    return [dataclasses.replace(pair, i=places[pair.i], j=places[pair.j]) for pair in pairs]
