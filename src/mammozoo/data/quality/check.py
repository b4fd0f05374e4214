"""`data check`: all problems of a data set at once: files, near-duplicates, labels, official parts, sizes."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mammozoo.data.dataset import Dataset
from mammozoo.data.duplicates.fingerprint import collect
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.duplicates.matching import Pair, near_duplicates
from mammozoo.data.quality.findings import (
    SEVERITIES,
    Finding,
    class_findings,
    duplicate_findings,
    file_findings,
    part_findings,
    size_findings,
)
from mammozoo.data.quality.survey import ImageFacts, survey
from mammozoo.progress import Progress


@dataclass(frozen=True)
class Check:
    """The result of `check`.

    Attributes:
        facts: of every sample, in the data set's order.
        pairs: near-duplicates, as positions among `facts`.
        groups: positions of the images of each connected group of near-duplicates.
        findings: the worst first; their files are relative to the root that the user gave.
        files: path of each image relative to that root.
    """

    dataset: Dataset
    facts: list[ImageFacts]
    pairs: list[Pair]
    groups: list[list[int]]
    findings: list[Finding]
    files: list[str]

    @property
    def failed(self) -> bool:
        """Whether one of the findings is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def classes(self) -> dict[str, int]:
        """Number of images of each class."""
        counts = Counter(image.sample.label for image in self.facts)
        return {name: counts[name] for name in self.dataset.classes}

    def conflicts(self, pair: Pair) -> bool:
        """Whether the two images of a pair have different labels."""
        return self.facts[pair.i].sample.label != self.facts[pair.j].sample.label

    def content(self) -> dict[str, Any]:
        """The check as plain data, for JSON."""
        return {
            "dataset": self.dataset.info.name,
            "images": len(self.facts),
            "classes": self.classes,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "groups": [[self.files[i] for i in members] for members in self.groups],
            "pairs": [
                {
                    "files": [self.files[pair.i], self.files[pair.j]],
                    "labels": [self.facts[pair.i].sample.label, self.facts[pair.j].sample.label],
                    "bits": pair.bits,
                    "correlation": round(pair.correlation, 4),
                    "view": pair.view,
                }
                for pair in self.pairs
            ],
        }


def check(dataset: Dataset, root: Path | None, progress: Progress) -> Check:
    """Read every image and mask once and check them; a file that cannot be read is a finding.

    Raises:
        NotFoundError, UsageError: the samples cannot be listed.
    """
    samples = list(dataset.samples())
    progress.start("reading images", len(samples))
    facts = survey(dataset, samples, progress.advance)
    pairs = duplicates_among(dataset, facts)
    numbers = group([None] * len(facts), pairs)
    groups = [np.flatnonzero(numbers == number).tolist() for number in np.flatnonzero(np.bincount(numbers) > 1)]
    generated = "not looked for: the images are generated, each by itself"
    findings = [
        *(Finding("note", "info", (), note) for note in dataset.notes),
        *file_findings(facts),
        *class_findings(facts, dataset.classes),
        *([Finding("near-duplicates", "info", (), generated)] if dataset.info.synthetic else []),
        *duplicate_findings(facts, pairs, groups),
        *part_findings(facts, pairs),
        *size_findings(facts, group([sample.patient for sample in samples], pairs)),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))

    def relative(file: str) -> str:
        if root is None or dataset.root is None:
            return file
        return Path(os.path.relpath(dataset.path(file), root if root.is_dir() else root.parent)).as_posix()

    findings = [dataclasses.replace(finding, files=tuple(map(relative, finding.files))) for finding in findings]
    return Check(dataset, facts, pairs, groups, findings, [relative(sample.image) for sample in samples])


def duplicates_among(dataset: Dataset, facts: Sequence[ImageFacts]) -> list[Pair]:
    """Near-duplicates among the readable, not constant images, as positions among `facts`.

    Generated images are independent by construction, even if their hashes are close.
    """
    if dataset.info.synthetic:
        return []
    places = [place for place, image in enumerate(facts) if image.fingerprint is not None and not image.constant]
    prints = collect([one for place in places if (one := facts[place].fingerprint) is not None])
    return [dataclasses.replace(pair, i=places[pair.i], j=places[pair.j]) for pair in near_duplicates(prints)]
