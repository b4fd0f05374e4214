"""How test images were kept apart from training: the method in words, and what is checked again for the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mammozoo.config.sections import SplitSettings
from mammozoo.data.splits.make import PARTS
from mammozoo.models.config import LEAKY
from mammozoo.report.content import Content


@dataclass(frozen=True)
class Separation:
    """How the parts were drawn, what was kept together, what was checked, and whether the run leaks or is stamped so."""

    method: str
    level: str
    checks: tuple[str, ...]
    leaky: bool


def separation(content: Content) -> Separation:
    """The statement for a run; groups and digests are computed again from `split.csv`."""
    crossing = sum(model.crossing() for model in content.models)
    leaky = crossing > 0 or LEAKY in content.facts.get("stamps", ())
    return Separation(_method(content.recipe.split), _level(content), tuple(_checks(content, crossing)), leaky)


def counts(content: Content) -> list[tuple[str, str, dict[str, int], int, int]]:
    """(split, part, class → images, images, groups) of every part; classes as far as `run.json` has them."""
    classes = {entry["name"]: entry for entry in content.facts.get("splits", [])}
    rows: list[tuple[str, str, dict[str, int], int, int]] = []
    for fold in content.models:
        for part in PARTS:
            groups = [group for _, group, p in fold.split if p == part]
            rows.append((fold.name, part, classes.get(fold.name, {}).get(part, {}), len(groups), len(set(groups))))
    return rows


def _method(split: SplitSettings) -> str:
    if split.file is not None or split.official:
        source = "The data set's own split." if split.file is None else f"Taken from the file {split.file.name}."
        text = f"{source} Where it has no validation part, {split.val:.0%} of all images were cut from the training side by group."
    elif split.leave_out is not None:
        text = (
            f"Left out for testing: {split.leave_out}. Images of a group with one of these are in no part; {split.val:.0%} of the "
            "others, stratified by class, are for validation."
        )
    elif split.inner > 1:
        text = (
            f"Nested cross-validation, stratified by class: {split.folds} outer folds, in each {split.inner} inner ones. The inner "
            "folds validate and choose; the outer ones test every image once, by the mean probability of the inner models."
        )
    elif split.folds > 1:
        text = (
            f"{split.folds}-fold cross-validation, stratified by class: every image is tested once; {split.val:.0%} of all "
            "images, cut from the training side, are for validation."
        )
    else:
        text = (
            f"One stratified holdout, to the nearest group: {split.test:.0%} of the images for testing and {split.val:.0%} for "
            "validation."
        )
    return f"{text} Split seed {split.seed}."


def _level(content: Content) -> str:
    by = content.recipe.split.by
    if by == "image":
        return "Single images were drawn: patients and near-duplicates were not kept together."
    if by == "patient":
        return "All images of a patient stay in one part, by the data set's own patient identifiers."
    if content.synthetic:
        return "Generated images are independent of each other; each is a group of its own."
    rule = ""
    if limits := content.facts.get("near_duplicates"):
        rule = f": perceptual hashes that differ in at most {limits['bits']} of 64 bits"
        if "keypoints" in limits:  # in runs since version 0.2
            rule = (
                f": at least {limits['keypoints']:.0%} of the keypoints of one, or of its mirror image, lie on those of the other "
                f"after an affine map; or, if there are few keypoints, hashes that differ in at most {limits['bits']} of 64 bits"
            )
    return (
        "A group stays in one part. A group is a patient, where the data set names patients, joined with near-duplicate "
        f"images, as mammozoo {content.facts['mammozoo']} finds them{rule}."
    )


def _checks(content: Content, crossing: int) -> Iterator[str]:
    folds = content.models
    number = f"{len(folds)} splits" if len(folds) > 1 else "split"
    yield (
        f"Groups, checked again for this report: in the {number}, {crossing or 'no'} group"
        f"{'s have' if crossing > 1 else ' has'} images in more than one part."
    )
    if changed := sum(fold.digest() != fold.config.training.split_sha256 for fold in folds):
        yield f"The digest of {changed} of {len(folds)} splits is not that in the model's config: files were changed."
    else:
        yield "The digest of every split, computed again, is that in its model's config."
    weights = str(content.facts.get("weights", ""))
    if weights.startswith(("zoo:", "hub:", "run:")):
        stamped = LEAKY in content.facts.get("stamps", ()) and not crossing
        yield "The starting weights list the images used in their training or model selection; " + (
            "some of them are test images here."
            if stamped
            else "test images were compared with that list before training."
        )
    elif weights != "random":
        yield "The starting weights do not list the images used in their training; nothing could be compared."
    if content.recipe.split.by == "patient":
        yield "Near-duplicates across patients were not searched for."
