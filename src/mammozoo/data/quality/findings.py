"""What is wrong or odd with the files of a data set, as findings: one kind of trouble, how bad, and which files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mammozoo.data.quality.survey import ImageFacts, MaskFacts

#: `error`: training would fail or learn what is wrong. `warning`: look at it. `info`: good to know.
Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

#: Grey levels of 256; an image whose middle 99 % spans fewer shows nothing.
FLAT = 8
#: Shorter side in pixels below which an image holds little of a breast.
SMALL = 64
#: Ratio of the largest to the smallest class from which on it is a warning.
IMBALANCED = 10
#: Correlation with the mean image of the set below which an image counts as inverted, and the median that the others
#: must reach for the mean to say anything. On 680 images of BUSI: none flagged; of 1 to 40 % inverted on purpose 78–89 % found.
INVERTED, TYPICAL, _ENOUGH = -0.5, 0.4, 20


@dataclass(frozen=True)
class Finding:
    """One kind of trouble; `files` as the samples name them, `detail` in a sentence."""

    kind: str
    severity: Severity
    files: tuple[str, ...]
    detail: str


def file_findings(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Everything that an image or a mask says by itself or beside the others; near-duplicates are not looked at."""
    yield from _unreadable(facts)
    yield from _masks(facts)
    readable = [image for image in facts if image.problem is None]
    yield from _pixels(readable)
    yield from _formats(readable)
    yield from _inverted(readable)


def class_findings(facts: Sequence[ImageFacts], classes: Sequence[str]) -> Iterator[Finding]:
    """How many images of each class and how many patients there are."""
    counts = {name: sum(image.sample.label == name for image in facts) for name in classes}
    ratio = max(counts.values()) / max(1, min(counts.values())) if counts else 1.0
    listed = ", ".join(f"{n} {name}" for name, n in counts.items())
    severe = not all(counts.values()) or ratio >= IMBALANCED
    yield Finding("classes", "warning" if severe else "info", (), f"{listed}; largest to smallest {ratio:.1f} : 1")
    patients = [image.sample.patient for image in facts if image.sample.patient is not None]
    if not patients:
        yield Finding("patients", "info", (), "no patient is named; only near-duplicates keep related images together")
    elif len(patients) < len(facts):
        nameless = tuple(image.sample.image for image in facts if image.sample.patient is None)
        yield Finding("patients", "warning", nameless, f"{len(nameless)} of {len(facts)} images name no patient")
    else:
        yield Finding("patients", "info", (), f"{len(set(patients))} patients in {len(facts)} images")
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for image in facts:
        if image.sample.patient is not None:
            labels[image.sample.patient].add(image.sample.label)
    both = [patient for patient, found in labels.items() if len(found) > 1]
    if both:
        files = _names(facts, lambda image: image.sample.patient in both)
        detail = f"{len(both)} patients have images of several classes ({some(both)}); two lesions can differ"
        yield Finding("patient-two-labels", "info", files, detail)


def some(names: Sequence[str], first: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(names[:first]) + (" …" if len(names) > first else "")


def closeness(bits: int, correlation: float, view: str) -> str:
    """How alike two near-duplicates are, in words."""
    how = "" if view == "whole" else f", {view}"
    return f"{bits} bits, correlation {correlation:.2f}{how}"


def _unreadable(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    for image in facts:
        if image.problem is not None:
            yield Finding("unreadable-image", "error", (image.sample.image,), image.problem)
        for mask in image.masks:
            if mask.problem is not None:
                yield Finding("unreadable-mask", "error", (mask.file,), mask.problem)


def _masks(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    for label in dict.fromkeys(image.sample.label for image in facts):
        members = [image for image in facts if image.sample.label == label]
        masks = [(image, mask) for image in members for mask in image.masks if mask.shape]
        empty = tuple(mask.file for _, mask in masks if mask.empty)
        if empty and len(empty) == len(masks):
            yield Finding(
                "empty-mask", "info", empty, f"every mask of class {label} is empty, as of images without lesion"
            )
        elif empty:
            yield Finding(
                "empty-mask", "warning", empty, f"{len(empty)} of {len(masks)} masks of class {label} are empty"
            )
        for image, mask in masks:
            if image.problem is None and mask.shape != image.shape:
                yield Finding("mask-size", "error", (mask.file, image.sample.image), _sizes(image, mask))
        bare = _names(members, lambda image: not image.masks)
        if 0 < 2 * len(bare) < len(members):
            detail = f"{len(bare)} of {len(members)} images of class {label} have no mask"
            yield Finding("missing-mask", "warning", bare, detail)


def _pixels(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    if constant := _names(facts, lambda image: image.constant):
        yield Finding("constant", "error", constant, f"{len(constant)} images have the same value in every pixel")
    if flat := _names(facts, lambda image: image.spread < FLAT and not image.constant):
        detail = f"{len(flat)} images have 99 % of their pixels within {FLAT} of 256 grey levels"
        yield Finding("nearly-constant", "warning", flat, detail)
    if small := _names(facts, lambda image: min(image.shape) < SMALL):
        yield Finding("small", "warning", small, f"{len(small)} images have a side below {SMALL} pixels")
    if marked := _names(facts, lambda image: image.marks > 0):
        shares = []
        for label in dict.fromkeys(image.sample.label for image in facts):
            members = [image for image in facts if image.sample.label == label]
            found = sum(image.marks > 0 for image in members)
            shares.append(f"{found} of {len(members)} {label}")
        detail = f"{len(marked)} grey images carry marks in colour (calipers, text, Doppler): {', '.join(shares)}"
        yield Finding("colour-marks", "warning", marked, detail)


def _formats(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    deep = "deeper ones are stretched to their own range"
    yield from _mixed(facts, "bit-depth", "warning", lambda image: image.depth, deep)
    colour = "all are read as grey unless the model wants colour"
    yield from _mixed(facts, "colour", "info", lambda image: "colour" if image.colour else "grey", colour)
    inverted = "MONOCHROME1 is inverted on reading"
    yield from _mixed(facts, "photometric", "info", lambda image: image.photometric, inverted)


def _mixed(
    facts: Sequence[ImageFacts], kind: str, severity: Severity, value: Callable[[ImageFacts], str | None], why: str
) -> Iterator[Finding]:
    """One finding where images have several values; the files are those of all but the most frequent one."""
    counts = Counter(found for image in facts if (found := value(image)) is not None)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        rare = _names(facts, lambda image: value(image) not in (usual, None))
        yield Finding(kind, severity, rare, f"{', '.join(f'{n} {found}' for found, n in counts.most_common())}; {why}")


def _inverted(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Images that look like the negative of the others: anticorrelated with the mean image, where there is a typical one."""
    seen = [image for image in facts if image.fingerprint is not None and not image.constant]
    if len(seen) < _ENOUGH:
        return
    thumbs = np.array([image.fingerprint.thumb for image in seen if image.fingerprint], float).reshape(len(seen), -1)
    unit = thumbs - thumbs.mean(axis=1, keepdims=True)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-9)
    mean = unit.mean(axis=0)
    alike = unit @ (mean / max(float(np.linalg.norm(mean)), 1e-9))
    if np.median(alike) < TYPICAL:
        return
    if files := tuple(image.sample.image for image, r in zip(seen, alike, strict=True) if r < INVERTED):
        detail = f"{len(files)} images look inverted: their correlation with the mean image is below {INVERTED}"
        yield Finding("inverted", "warning", files, detail)


def _names(facts: Sequence[ImageFacts], which: Callable[[ImageFacts], bool]) -> tuple[str, ...]:
    return tuple(image.sample.image for image in facts if which(image))


def _sizes(image: ImageFacts, mask: MaskFacts) -> str:
    assert mask.shape is not None
    return f"mask of {mask.shape[1]} × {mask.shape[0]} pixels, image of {image.shape[1]} × {image.shape[0]}"
