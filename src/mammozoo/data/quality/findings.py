"""Findings: problems and remarks about a data set, from the facts of its images; kind, severity, files and a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mammozoo.data.duplicates.matching import Pair
from mammozoo.data.quality.size_leak import size_leaks
from mammozoo.data.quality.survey import ImageFacts
from mammozoo.data.splits.make import official_part
from mammozoo.text import interval

#: `error`: training would fail or learn from wrong data. `warning`: look at it. `info`: good to know.
Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

_FLAT = 8  # grey levels of 256; an image whose middle 99 % spans fewer shows nothing
_SMALL = 64  # shorter side in pixels below which an image holds little of a breast
_LARGE = 8  # images, and times the median, from which on a group of near-duplicates is shown with its weakest links
_IMBALANCED = 10  # ratio of the largest to the smallest class from which on it is a warning
#: Lower end of the interval of image size's AUC above which the size gives the class away.
TELLING = 0.6
# An image counts as inverted if its correlation with the mean image of the set is below `_INVERTED`. The mean is used only if
# the median correlation reaches `_TYPICAL`. On 680 images of BUSI: none flagged; of 1 to 40 % inverted on purpose 78–89 % found.
_INVERTED, _TYPICAL, _ENOUGH = -0.5, 0.4, 20
_BLOCK = 1024  # images at once, so that memory stays flat

# Properties that may differ within a set: kind of finding, severity, value of an image (None if it has none), remark.
_MIXED: tuple[tuple[str, Severity, Callable[[ImageFacts], str | None], str], ...] = (
    ("bit-depth", "warning", lambda image: image.depth, "deeper ones are stretched to their own range"),
    ("colour", "info", lambda i: ("grey", "colour")[i.colour], "all are read as grey unless the model wants colour"),
    ("photometric", "info", lambda image: image.photometric, "MONOCHROME1 is inverted on reading"),
)


@dataclass(frozen=True)
class Finding:
    """One kind of problem; `files` as the samples name them, `detail` as a sentence."""

    kind: str
    severity: Severity
    files: tuple[str, ...]
    detail: str


def some(names: Sequence[str], first: int = 3) -> str:
    """The first few of many names."""
    return ", ".join(names[:first]) + (" …" if len(names) > first else "")


def file_findings(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Findings of single images and masks, and of images compared with the rest of the set; not of near-duplicates."""
    for image in facts:
        if image.problem is not None:
            yield Finding("unreadable-image", "error", (image.sample.image,), image.problem)
        for mask in image.masks:
            if mask.problem is not None:
                yield Finding("unreadable-mask", "error", (mask.file,), mask.problem)
    for label, members in _by_class(facts).items():
        yield from _mask_findings(label, members)
    readable = [image for image in facts if image.problem is None]
    yield from _pixel_findings(readable)
    for kind, severity, value, remark in _MIXED:
        counts = Counter(name for image in readable if (name := value(image)) is not None)
        if len(counts) > 1:  # the files are those without the most frequent value
            usual = counts.most_common(1)[0][0]
            rare = tuple(image.sample.image for image in readable if value(image) not in (usual, None))
            listed = ", ".join(f"{n} {name}" for name, n in counts.most_common())
            yield Finding(kind, severity, rare, f"{listed}; {remark}")
    yield from _inverted(readable)


def class_findings(facts: Sequence[ImageFacts], classes: Sequence[str]) -> Iterator[Finding]:
    """Numbers of images of each class, and of patients."""
    images = Counter(image.sample.label for image in facts)
    counts = {name: images[name] for name in classes}
    ratio = max(counts.values()) / max(1, min(counts.values())) if counts else 1.0
    listed = ", ".join(f"{n} {name}" for name, n in counts.items())
    severe = not all(counts.values()) or ratio >= _IMBALANCED
    yield Finding("classes", "warning" if severe else "info", (), f"{listed}; largest to smallest {ratio:.1f} : 1")
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for image in facts:
        if image.sample.patient is not None:
            labels[image.sample.patient].add(image.sample.label)
    nameless = _names(facts, lambda image: image.sample.patient is None)
    if not labels:
        yield Finding("patients", "info", (), "no patient is named; only near-duplicates keep related images together")
    elif nameless:
        yield Finding("patients", "warning", nameless, f"{len(nameless)} of {len(facts)} images name no patient")
    else:
        yield Finding("patients", "info", (), f"{len(labels)} patients in {len(facts)} images")
    if both := [patient for patient, names in labels.items() if len(names) > 1]:
        files = _names(facts, lambda image: image.sample.patient in both)
        detail = f"{len(both)} patients have images of several classes ({some(both)}); two lesions can differ"
        yield Finding("patient-two-labels", "info", files, detail)


def duplicate_findings(
    facts: Sequence[ImageFacts], pairs: Sequence[Pair], groups: Sequence[Sequence[int]], *, generated: bool
) -> Iterator[Finding]:
    """Near-duplicates; a group of them with different labels is an error."""
    samples = [image.sample for image in facts]
    conflicts = [pair for pair in pairs if samples[pair.i].label != samples[pair.j].label]
    if generated:
        yield Finding("near-duplicates", "info", (), "not looked for: the images are generated, each by itself")
    if groups:
        files = tuple(samples[place].image for members in groups for place in members)
        within = f"{len(pairs) - len(conflicts)} pairs within a class, {len(conflicts)} across classes"
        detail = f"{len(groups)} groups of {len(files)} images show the same scan: {within}"
        yield Finding("near-duplicates", "warning", files, detail)
    large = _LARGE * float(np.median([len(members) for members in groups])) if groups else 0.0
    for members in groups:
        if len(members) > max(large, _LARGE):
            weakest = sorted((pair for pair in pairs if pair.i in members), key=lambda pair: pair.share)[:3]
            links = "; ".join(f"{samples[pair.i].image} / {samples[pair.j].image}: {pair.how}" for pair in weakest)
            detail = f"one group has {len(members)} images, held together by {links}"
            yield Finding("large-group", "warning", tuple(samples[place].image for place in members), detail)
        if inside := [pair for pair in conflicts if pair.i in members]:
            named = [f"{samples[pair.i].label} / {samples[pair.j].label}: {pair.how}" for pair in inside]
            yield Finding("label-conflict", "error", tuple(samples[place].image for place in members), "; ".join(named))


def part_findings(facts: Sequence[ImageFacts], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Patients and near-duplicates in two of the data set's own parts."""
    samples = [image.sample for image in facts]
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
    if shared := {name: owned for name, owned in places.items() if len({part[place] for place in owned}) > 1}:
        files = tuple(samples[place].image for owned in shared.values() for place in owned)
        detail = f"{len(shared)} patients have images in several official parts: {some(list(shared))}"
        yield Finding("parts-share-patient", "error", files, detail)
    if crossing := [pair for pair in pairs if part[pair.i] and part[pair.j] and part[pair.i] != part[pair.j]]:
        files = tuple(dict.fromkeys(samples[place].image for pair in crossing for place in (pair.i, pair.j)))
        named = [f"{samples[p.i].image} ({part[p.i]}) and {samples[p.j].image} ({part[p.j]})" for p in crossing]
        detail = f"{len(crossing)} pairs of near-duplicates stand in different official parts: {some(named, 2)}"
        yield Finding("parts-share-near-duplicate", "error", files, detail)


def size_findings(facts: Sequence[ImageFacts], groups: npt.NDArray[np.intp]) -> Iterator[Finding]:
    """How well the image size alone predicts the class."""
    readable = [place for place, image in enumerate(facts) if image.problem is None]
    sizes = np.array([facts[place].shape for place in readable], np.intp).reshape(-1, 2)
    if leaks := size_leaks(sizes, [facts[place].sample.label for place in readable], groups[readable]):
        listed = ", ".join(f"{leak.label} {leak.auc:.2f} ({interval(leak.low, leak.high, 2)})" for leak in leaks)
        detail = f"AUC of width and height alone, out of fold, with 95 % interval: {listed}"
        telling = max(leak.low for leak in leaks) > TELLING
        detail += "; a model may learn the format instead of the tissue" if telling else ""
        yield Finding("size-tells-class", "warning" if telling else "info", (), detail)


def _mask_findings(label: str, members: Sequence[ImageFacts]) -> Iterator[Finding]:
    masks = [(image, mask) for image in members for mask in image.masks if mask.shape]
    empty = tuple(mask.file for _, mask in masks if mask.empty)
    if empty and len(empty) == len(masks):
        yield Finding("empty-mask", "info", empty, f"every mask of class {label} is empty, as of images without lesion")
    elif empty:
        yield Finding("empty-mask", "warning", empty, f"{len(empty)} of {len(masks)} masks of class {label} are empty")
    for image, mask in masks:
        if image.problem is None and mask.shape and mask.shape != image.shape:
            (mask_height, mask_width), (height, width) = mask.shape, image.shape
            detail = f"mask of {mask_width} × {mask_height} pixels, image of {width} × {height}"
            yield Finding("mask-size", "error", (mask.file, image.sample.image), detail)
    bare = _names(members, lambda image: not image.masks)
    if 0 < 2 * len(bare) < len(members):
        detail = f"{len(bare)} of {len(members)} images of class {label} have no mask"
        yield Finding("missing-mask", "warning", bare, detail)


def _pixel_findings(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    if constant := _names(facts, lambda image: image.constant):
        yield Finding("constant", "error", constant, f"{len(constant)} images have the same value in every pixel")
    if flat := _names(facts, lambda image: image.spread < _FLAT and not image.constant):
        detail = f"{len(flat)} images have 99 % of their pixels within {_FLAT} of 256 grey levels"
        yield Finding("nearly-constant", "warning", flat, detail)
    if small := _names(facts, lambda image: min(image.shape) < _SMALL):
        yield Finding("small", "warning", small, f"{len(small)} images have a side below {_SMALL} pixels")
    if marked := _names(facts, lambda image: image.marks > 0):
        shares = [
            f"{sum(image.marks > 0 for image in members)} of {len(members)} {label}"
            for label, members in _by_class(facts).items()
        ]
        detail = f"{len(marked)} grey images carry marks in colour (calipers, text, Doppler): {', '.join(shares)}"
        yield Finding("colour-marks", "warning", marked, detail)


def _inverted(facts: Sequence[ImageFacts]) -> Iterator[Finding]:
    """Images that are anticorrelated with the mean image, if the set has a typical image."""
    shown = [(image.sample.image, image.thumb) for image in facts if image.thumb is not None and not image.constant]
    if len(shown) < _ENOUGH:
        return

    def units() -> Iterator[npt.NDArray[np.float64]]:
        for start in range(0, len(shown), _BLOCK):
            block = np.array([thumb for _, thumb in shown[start : start + _BLOCK]], float)
            block = block.reshape(len(block), -1)
            block -= block.mean(axis=1, keepdims=True)
            yield block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-9)

    mean = np.sum([unit.sum(axis=0) for unit in units()], axis=0) / len(shown)
    correlation = np.concatenate([unit @ (mean / max(float(np.linalg.norm(mean)), 1e-9)) for unit in units()])
    files = tuple(file for (file, _), r in zip(shown, correlation, strict=True) if r < _INVERTED)
    if files and np.median(correlation) >= _TYPICAL:
        detail = f"{len(files)} images look inverted: their correlation with the mean image is below {_INVERTED}"
        yield Finding("inverted", "warning", files, detail)


def _by_class(facts: Sequence[ImageFacts]) -> dict[str, list[ImageFacts]]:
    members: defaultdict[str, list[ImageFacts]] = defaultdict(list)
    for image in facts:
        members[image.sample.label].append(image)
    return members


def _names(facts: Sequence[ImageFacts], which: Callable[[ImageFacts], bool]) -> tuple[str, ...]:
    return tuple(image.sample.image for image in facts if which(image))
