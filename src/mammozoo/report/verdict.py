"""What a run found, in a few sentences: how good, how certain, what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from mammozoo.evaluation.scores import bounds
from mammozoo.report.content import Content


def verdict(content: Content, leaky: bool) -> list[tuple[str, str]]:
    """(question, answer in plain text), for the top of a report."""
    return [
        ("How good", " ".join(_quality(content))),
        ("How certain", _certainty(content)),
        ("What next", _advice(content, leaky)),
    ]


def _quality(content: Content) -> Iterator[str]:
    auc, outcome = content.scores.get("auc"), content.outcome
    if auc is None or auc.value is None:
        yield f"{int((outcome.decisions == outcome.labels).sum())} of {len(outcome)} test images were classified correctly."
    else:
        certain = f" (95 % interval {bounds(auc)})" if bounds(auc) else ""
        yield f"AUC {auc.value:.3f}{certain} on {auc.n} test images."
        if auc.low is not None and auc.low <= 0.5:
            yield "This is not distinguishable from guessing."
    for number, name in reversed(list(enumerate(outcome.classes))):
        own = outcome.labels == number
        yield f"Of {int(own.sum())} {name} images {int((outcome.decisions[own] == number).sum())} were classified correctly."


def _certainty(content: Content) -> str:
    auc = content.scores.get("auc")
    if auc is None or auc.low is None or auc.high is None:
        return "There is no interval, because there are too few images or only one class. Add data before you trust a score."
    width = auc.high - auc.low
    groups = len(set(content.outcome.groups.tolist()))
    sure = (
        "narrow enough for differences of a few hundredths" if width < 0.06 else "too wide to tell similar models apart"
    )
    return f"The interval of the AUC is {width:.2f} wide, from {groups} independent groups: {sure if width < 0.25 else 'add data'}."


def _advice(content: Content, leaky: bool) -> str:
    if leaky:
        return "The split leaks: train again with a split that keeps groups together, before you compare or publish."
    if content.synthetic:
        return "The images were generated, so the scores say nothing about patients: train on images of patients."
    return "Look at the worst mistakes for wrong labels, then score the model on images from another hospital or device (evaluate)."
