"""Everything that is wrong or odd with a data set, found at once: files, near-duplicates, labels, official parts, sizes."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mammozoo.data.dataset import Dataset, Sample
from mammozoo.data.duplicates.fingerprint import collect
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.duplicates.matching import Pair, near_duplicates
from mammozoo.data.quality.findings import SEVERITIES, Finding, class_findings, closeness, file_findings, some
from mammozoo.data.quality.size_leak import size_leaks
from mammozoo.data.quality.survey import ImageFacts, survey
from mammozoo.data.splits.make import official_part
from mammozoo.progress import Progress

#: Lower end of the interval of image size's AUC above which the size gives the class away.
TELLING = 0.6


@dataclass(frozen=True)
class Check:
    """What `check` found.

    Attributes:
        facts: of every sample, in the data set's order.
        pairs: near-duplicates, as positions among `facts`.
        groups: positions of the images of each connected group of near-duplicates.
        findings: the worst first; their files are relative to the root that the user gave.
        files: what each image is called there.
    """

    dataset: Dataset
    facts: list[ImageFacts]
    pairs: list[Pair]
    groups: list[list[int]]
    findings: list[Finding]
    files: list[str]

    @property
    def failed(self) -> bool:
        """Some finding is an error."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def classes(self) -> dict[str, int]:
        """Images of each class."""
        counts = Counter(image.sample.label for image in self.facts)
        return {name: counts[name] for name in self.dataset.classes}

    def conflicts(self, pair: Pair) -> bool:
        """The two images of a pair have different labels."""
        return self.facts[pair.i].sample.label != self.facts[pair.j].sample.label

    def content(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
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
    """Read every image and mask once and judge them; a file that cannot be read is a finding.

    Raises:
        NotFoundError, UsageError: the data set cannot be listed at all.
    """
    samples = list(dataset.samples())
    progress.start("reading images", len(samples))
    facts = survey(dataset, samples, progress.advance)
    pairs = duplicates_among(dataset, facts)
    alike = group([None] * len(facts), pairs)
    members = [np.flatnonzero(alike == number).tolist() for number in np.flatnonzero(np.bincount(alike) > 1)]
    findings = [
        *(Finding("note", "info", (), note) for note in dataset.notes),
        *file_findings(facts),
        *class_findings(facts, dataset.classes),
        *_duplicates(samples, pairs, members, dataset.info.synthetic),
        *_shared_parts(samples, pairs),
        *_sizes(facts, group([sample.patient for sample in samples], pairs)),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    called = _caller(dataset, root)
    named = [dataclasses.replace(finding, files=tuple(map(called, finding.files))) for finding in findings]
    return Check(dataset, facts, pairs, members, named, [called(sample.image) for sample in samples])


def duplicates_among(dataset: Dataset, facts: Sequence[ImageFacts]) -> list[Pair]:
    """The near-duplicates among the images that can be read and show something, as positions among `facts`.

    Generated images are independent by construction, whatever their hashes say.
    """
    if dataset.info.synthetic:
        return []
    seen = [place for place, image in enumerate(facts) if image.fingerprint is not None and not image.constant]
    prints = collect([found for place in seen if (found := facts[place].fingerprint) is not None])
    return [dataclasses.replace(pair, i=seen[pair.i], j=seen[pair.j]) for pair in near_duplicates(prints)]


def _duplicates(
    samples: Sequence[Sample], pairs: Sequence[Pair], groups: Sequence[Sequence[int]], synthetic: bool
) -> Iterator[Finding]:
    if synthetic:
        yield Finding("near-duplicates", "info", (), "not looked for: the images are generated, each by itself")
    elif groups:
        files = tuple(samples[place].image for members in groups for place in members)
        across = sum(samples[pair.i].label != samples[pair.j].label for pair in pairs)
        detail = (
            f"{len(groups)} groups of {len(files)} images show the same scan: {len(pairs) - across} pairs within a class, "
            f"{across} across classes"
        )
        yield Finding("near-duplicates", "warning", files, detail)
    for members in groups:
        if len({samples[place].label for place in members}) > 1:
            inside = [pair for pair in pairs if pair.i in members]
            crossing = [pair for pair in inside if samples[pair.i].label != samples[pair.j].label]
            named = [
                f"{samples[pair.i].label} / {samples[pair.j].label}: {closeness(pair.bits, pair.correlation, pair.view)}"
                for pair in crossing
            ]
            yield Finding("label-conflict", "error", tuple(samples[place].image for place in members), "; ".join(named))


def _shared_parts(samples: Sequence[Sample], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Patients and near-duplicates that stand in two of the data set's own parts."""
    part = [official_part(sample) for sample in samples]
    counts = Counter(name for name in part if name is not None)
    if not counts:
        return
    listed = ", ".join(f"{n} {name}" for name, n in sorted(counts.items(), key=lambda item: str(item[0])))
    yield Finding("parts", "info", (), f"official parts: {listed}, {len(samples) - counts.total()} in none")
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        if sample.patient is not None and part[place] is not None:
            places[sample.patient].append(place)
    torn = {patient: found for patient, found in places.items() if len({part[place] for place in found}) > 1}
    if torn:
        files = tuple(samples[place].image for found in torn.values() for place in found)
        detail = f"{len(torn)} patients have images in several official parts: {some(list(torn))}"
        yield Finding("parts-share-patient", "error", files, detail)
    cut = [pair for pair in pairs if part[pair.i] and part[pair.j] and part[pair.i] != part[pair.j]]
    if cut:
        files = tuple(dict.fromkeys(samples[place].image for pair in cut for place in (pair.i, pair.j)))
        named = [f"{samples[p.i].image} ({part[p.i]}) and {samples[p.j].image} ({part[p.j]})" for p in cut]
        detail = f"{len(cut)} pairs of near-duplicates stand in different official parts: {some(named, 2)}"
        yield Finding("parts-share-near-duplicate", "error", files, detail)


def _sizes(facts: Sequence[ImageFacts], groups: npt.NDArray[np.intp]) -> Iterator[Finding]:
    seen = [place for place, image in enumerate(facts) if image.problem is None]
    sizes = np.array([facts[place].shape for place in seen], np.intp).reshape(-1, 2)
    leaks = size_leaks(sizes, [facts[place].sample.label for place in seen], groups[seen])
    if leaks:
        listed = ", ".join(f"{leak.label} {leak.auc:.2f} ({leak.low:.2f}–{leak.high:.2f})" for leak in leaks)
        telling = max(leak.low for leak in leaks) > TELLING
        yield Finding(
            "size-tells-class",
            "warning" if telling else "info",
            (),
            f"AUC of width and height alone, out of fold, with 95 % interval: {listed}"
            + ("; a model may learn the format instead of the tissue" if telling else ""),
        )


def _caller(dataset: Dataset, root: Path | None) -> Callable[[str], str]:
    """From what a sample calls a file to its path relative to the root that the user gave, with forward slashes."""
    if root is None or dataset.root is None:
        return str
    base = root if root.is_dir() else root.parent
    return lambda file: Path(os.path.relpath(dataset.path(file), base)).as_posix()
