"""Which findings of `data check` are reasons to leave an image out, as a list for a person to edit."""

from __future__ import annotations

from mammozoo.data.quality.check import Check
from mammozoo.data.splits.exclusions import LABEL_ERROR, Exclusion


def to_exclude(check: Check) -> list[Exclusion]:
    """Unreadable and constant images, near-duplicates that contradict each other, doubted labels; each image once."""
    samples = [image.sample for image in check.facts]
    found: dict[str, dict[str, str]] = {}
    for image in check.facts:
        if image.problem is not None:
            found.setdefault(image.sample.image, {})["unreadable-image"] = image.problem
        elif image.constant:
            found.setdefault(image.sample.image, {})["constant"] = "the same value in every pixel"
    for members in check.groups:
        labels = sorted({samples[place].label for place in members})
        for place in members if len(labels) > 1 else ():
            near = [(pair, pair.j if pair.i == place else pair.i) for pair in check.pairs if place in (pair.i, pair.j)]
            other = [
                f"{samples[o].image} ({samples[o].label}): {p.how}"
                for p, o in near
                if samples[o].label != samples[place].label
            ]
            text = (
                other[0]
                if other
                else f"its group of {len(members)} near-duplicates has the labels {' and '.join(labels)}"
            )
            found.setdefault(samples[place].image, {})["label-conflict"] = text
    for one in check.label_errors:
        found.setdefault(one.image, {})[LABEL_ERROR] = one.text
    return [Exclusion(image, "; ".join(why), "; ".join(why.values())) for image, why in found.items()]
