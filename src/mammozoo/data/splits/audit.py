"""Audit of a split that was made elsewhere: related images in different parts, and class shares of the parts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2_contingency

from mammozoo.data.dataset import Sample
from mammozoo.data.duplicates.matching import Pair, group
from mammozoo.data.splits.make import PARTS, Indices, Part, Split

#: A class is named if its share in a part differs from its share in the whole split by more than this,
UNEVEN = 0.10
#: and if chance alone makes the parts so different less often than this.
_CHANCE = 0.01


@dataclass(frozen=True)
class CrossingPair:
    """Two near-duplicates in different parts."""

    files: tuple[str, str]
    parts: tuple[Part, Part]
    pair: Pair


@dataclass(frozen=True)
class SplitAudit:
    """The audit of one split."""

    name: str
    counts: dict[Part, dict[str, int]]  # images of each class
    patients: dict[str, tuple[Part, ...]]  # those in several parts, with these
    pairs: tuple[CrossingPair, ...]  # the closest first
    groups: int  # of related images (patient or near-duplicate, also through a third image) in several parts
    tested: Part  # the scored part: `test`, or `val` if there is no test part
    touched: int  # images of that part with their patient or a near-duplicate in another part
    uneven: tuple[str, ...]  # classes whose shares differ strongly, in words
    unlisted: tuple[str, ...]  # images of the data set that are in no part

    @property
    def leaky(self) -> bool:
        """Whether related images are in different parts."""
        return self.groups > 0

    @property
    def images(self) -> int:
        """Number of images of the scored part."""
        return sum(self.counts[self.tested].values())

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.leaky:
            return f"{self.name}: no patient and no group of near-duplicates is cut"
        share = f"{self.touched} of {self.images} {self.tested} images ({self.touched / max(1, self.images):.0%})"
        return f"{self.name}: LEAKY, {share} have their patient or a near-duplicate in another part"


@dataclass(frozen=True)
class Audit:
    """All splits of a file; `unknown` are listed names that the data set does not have."""

    splits: tuple[SplitAudit, ...]
    unknown: tuple[str, ...]

    @property
    def leaky(self) -> bool:
        """Whether at least one split is leaky."""
        return any(split.leaky for split in self.splits)

    @property
    def verdict(self) -> str:
        """One line for the whole file."""
        if bad := sum(split.leaky for split in self.splits):
            return f"LEAKY: {bad} of {len(self.splits)} splits have related images on both sides"
        return f"not leaky: {len(self.splits)} splits cut no patient and no group of near-duplicates"


def audit_splits(
    samples: Sequence[Sample], pairs: Sequence[Pair], splits: Sequence[Split], unknown: Sequence[str] = ()
) -> Audit:
    """Audit splits of `samples`, among which `pairs` are near-duplicates."""
    groups = group([sample.patient for sample in samples], pairs)
    return Audit(tuple(_audit(samples, pairs, groups, split) for split in splits), tuple(unknown))


def content(audit: Audit) -> dict[str, object]:
    """The audit as plain data, for JSON."""
    splits = [
        {
            **dataclasses.asdict(split),
            "pairs": [{"files": one.files, "parts": one.parts, **one.pair.facts()} for one in split.pairs],
            **{key: getattr(split, key) for key in ("leaky", "images", "verdict")},
        }
        for split in audit.splits
    ]
    return {"verdict": audit.verdict, "leaky": audit.leaky, "unknown": list(audit.unknown), "splits": splits}


def _audit(samples: Sequence[Sample], pairs: Sequence[Pair], groups: Indices, split: Split) -> SplitAudit:
    parts: dict[int, Part] = {place: part for part in PARTS for place in split.part(part).tolist()}
    labels = sorted({sample.label for sample in samples})
    images = {part: Counter(samples[place].label for place in split.part(part)) for part in PARTS}
    counts = {part: {label: images[part][label] for label in labels} for part in PARTS}
    crossing = [pair for pair in pairs if len({parts.get(pair.i), parts.get(pair.j), None}) == 3]
    patients = _crossing((samples[place].patient, part) for place, part in parts.items())
    related = {place for pair in crossing for place in (pair.i, pair.j)}
    tested: Part = "test" if len(split.test) else "val"
    return SplitAudit(
        name=split.name,
        counts=counts,
        patients=patients,
        pairs=tuple(
            CrossingPair((samples[pair.i].image, samples[pair.j].image), (parts[pair.i], parts[pair.j]), pair)
            for pair in sorted(crossing, key=lambda pair: (-pair.share, pair.bits))
        ),
        groups=len(_crossing((str(groups[place]), part) for place, part in parts.items())),
        tested=tested,
        touched=sum(p in related or samples[p].patient in patients for p in split.part(tested).tolist()),
        uneven=tuple(_uneven(counts, labels)),
        unlisted=tuple(sample.image for place, sample in enumerate(samples) if place not in parts),
    )


def _crossing(placed: Iterable[tuple[str | None, Part]]) -> dict[str, tuple[Part, ...]]:
    """Owner (patient, group) → its parts in the order of PARTS, for owners in several parts."""
    places: dict[str, set[Part]] = {}
    for owner, part in placed:
        if owner is not None:
            places.setdefault(owner, set()).add(part)
    return {owner: tuple(part for part in PARTS if part in where) for owner, where in places.items() if len(where) > 1}


def _uneven(counts: Mapping[Part, Mapping[str, int]], labels: Sequence[str]) -> Iterator[str]:
    table = {part: np.array([counts[part][label] for label in labels]) for part in PARTS if sum(counts[part].values())}
    present = np.array(list(table.values())).reshape(-1, len(labels))
    present = present[:, present.sum(axis=0) > 0]
    if min(present.shape) < 2 or chi2_contingency(present).pvalue >= _CHANCE:
        return
    whole = sum(table.values()) / present.sum()
    for part, row in table.items():
        for label, share, usual in zip(labels, row / row.sum(), whole, strict=True):
            if abs(share - usual) > UNEVEN:
                yield f"{share:.0%} of {part} is {label}, of all parts together {usual:.0%}"
