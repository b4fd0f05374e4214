"""Is a split made elsewhere fair? Who stands on both sides of it, and whether its parts are alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2_contingency

from mammozoo.data.dataset import Sample
from mammozoo.data.duplicates.grouping import group
from mammozoo.data.duplicates.matching import Pair
from mammozoo.data.quality.findings import closeness
from mammozoo.data.splits.make import PARTS, Part, Split

#: A class's share in a part that is further than this from its share in the whole split is named,
UNEVEN = 0.10
#: where chance alone would make the parts so different less often than this.
_CHANCE = 0.01


@dataclass(frozen=True)
class CutPair:
    """Two near-duplicates in different parts."""

    files: tuple[str, str]
    parts: tuple[Part, Part]
    bits: int
    correlation: float
    view: str

    @property
    def how(self) -> str:
        """How alike the two are."""
        return closeness(self.bits, self.correlation, self.view)


@dataclass(frozen=True)
class SplitAudit:
    """What is to be said of one split.

    Attributes:
        counts: part → class → images.
        patients: patient → the parts that share it.
        pairs: near-duplicates in different parts, the closest first.
        groups: how many groups of related images (patient or near-duplicate, also through a third image) are cut.
        tested: the part that is scored: `test`, or `val` where there is no test part.
        touched: how many images of that part have their patient or a near-duplicate in another part.
        uneven: classes whose shares differ strongly, in words.
        unlisted: images of the data set that no part lists.
    """

    name: str
    counts: dict[Part, dict[str, int]]
    patients: dict[str, tuple[Part, ...]]
    pairs: tuple[CutPair, ...]
    groups: int
    tested: Part
    touched: int
    uneven: tuple[str, ...]
    unlisted: tuple[str, ...]

    @property
    def leaky(self) -> bool:
        """Something stands on both sides."""
        return self.groups > 0

    @property
    def images(self) -> int:
        """Images of the part that is scored."""
        return sum(self.counts[self.tested].values())

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.leaky:
            return f"{self.name}: no patient and no group of near-duplicates is cut"
        share = self.touched / max(1, self.images)
        return (
            f"{self.name}: LEAKY, {self.touched} of {self.images} {self.tested} images ({share:.0%}) have their patient or a "
            "near-duplicate in another part"
        )


@dataclass(frozen=True)
class Audit:
    """All splits of a file; `unknown` are the names it lists that the data set does not have."""

    splits: tuple[SplitAudit, ...]
    unknown: tuple[str, ...]

    @property
    def leaky(self) -> bool:
        """At least one split is."""
        return any(split.leaky for split in self.splits)

    @property
    def verdict(self) -> str:
        """One line for the whole file."""
        bad = sum(split.leaky for split in self.splits)
        if bad:
            return f"LEAKY: {bad} of {len(self.splits)} splits have related images on both sides"
        return f"not leaky: {len(self.splits)} splits cut no patient and no group of near-duplicates"


def audit_splits(
    samples: Sequence[Sample], pairs: Sequence[Pair], splits: Sequence[Split], unknown: Sequence[str] = ()
) -> Audit:
    """Judge splits of `samples`, among which `pairs` are near-duplicates."""
    groups = group([sample.patient for sample in samples], pairs)
    return Audit(tuple(_audit(samples, pairs, groups, split) for split in splits), tuple(unknown))


def _audit(samples: Sequence[Sample], pairs: Sequence[Pair], groups: npt.NDArray[np.intp], split: Split) -> SplitAudit:
    parts: dict[int, Part] = {place: part for part in PARTS for place in split.part(part).tolist()}
    names = sorted({sample.label for sample in samples})
    counts = {
        part: {name: sum(samples[place].label == name for place in split.part(part)) for name in names}
        for part in PARTS
    }
    tested: Part = "test" if len(split.test) else "val"
    listed = [pair for pair in pairs if pair.i in parts and pair.j in parts]
    cut = sorted((p for p in listed if parts[p.i] != parts[p.j]), key=lambda pair: (pair.bits, -pair.correlation))
    by_patient = _parts_of(parts, {place: samples[place].patient for place in parts})
    by_group = _parts_of(parts, {place: str(groups[place]) for place in parts})
    torn = {patient: found for patient, found in by_patient.items() if len(found) > 1}
    related = {place for pair in cut for place in (pair.i, pair.j)}
    touched = [p for p in split.part(tested).tolist() if p in related or samples[p].patient in torn]
    return SplitAudit(
        name=split.name,
        counts=counts,
        patients=torn,
        pairs=tuple(
            CutPair(
                (samples[pair.i].image, samples[pair.j].image),
                (parts[pair.i], parts[pair.j]),
                pair.bits,
                round(pair.correlation, 4),
                pair.view,
            )
            for pair in cut
        ),
        groups=sum(len(found) > 1 for found in by_group.values()),
        tested=tested,
        touched=len(touched),
        uneven=tuple(_uneven(counts, names)),
        unlisted=tuple(sample.image for place, sample in enumerate(samples) if place not in parts),
    )


def _parts_of(parts: Mapping[int, Part], owner: Mapping[int, str | None]) -> dict[str, tuple[Part, ...]]:
    """Owner (patient, group) → the parts in which it has images, in the order of PARTS."""
    found: dict[str, set[Part]] = {}
    for place, name in owner.items():
        if name is not None:
            found.setdefault(name, set()).add(parts[place])
    return {name: tuple(part for part in PARTS if part in where) for name, where in found.items()}


def _uneven(counts: Mapping[Part, Mapping[str, int]], names: Sequence[str]) -> Iterator[str]:
    table = {part: np.array([counts[part][name] for name in names]) for part in PARTS if sum(counts[part].values())}
    present = np.array(list(table.values())).reshape(-1, len(names))
    present = present[:, present.sum(axis=0) > 0]
    if min(present.shape) < 2 or chi2_contingency(present).pvalue >= _CHANCE:
        return
    whole = sum(table.values()) / present.sum()
    for part, row in table.items():
        for name, share, usual in zip(names, row / row.sum(), whole, strict=True):
            if abs(share - usual) > UNEVEN:
                yield f"{share:.0%} of {part} is {name}, of all parts together {usual:.0%}"


def content(audit: Audit) -> dict[str, object]:
    """Everything as plain data, for JSON."""
    splits = [
        {**dataclasses.asdict(split), "leaky": split.leaky, "images": split.images, "verdict": split.verdict}
        for split in audit.splits
    ]
    return {"verdict": audit.verdict, "leaky": audit.leaky, "unknown": list(audit.unknown), "splits": splits}
