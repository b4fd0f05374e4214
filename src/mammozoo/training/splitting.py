"""The splits that a recipe describes, and whether they or the starting weights leak."""

from __future__ import annotations

import numpy as np

from mammozoo.config.recipe import Recipe
from mammozoo.data.loaded import Data
from mammozoo.data.splits import make
from mammozoo.data.splits.exclusions import split_without
from mammozoo.data.splits.files import read_splits
from mammozoo.data.splits.leakage import LeakageError, check_groups, seen_before
from mammozoo.data.splits.left_out import values_of
from mammozoo.data.splits.make import Split
from mammozoo.errors import UsageError


def make_splits(recipe: Recipe, data: Data) -> list[Split]:
    """The splits that the recipe's `split` describes; by `image` every sample is its own group."""
    try:
        return _make_splits(recipe, data)
    except make.TooFewGroupsError as error:
        raise error.named(data.classes) from None


def _make_splits(recipe: Recipe, data: Data) -> list[Split]:
    settings = recipe.split
    groups = np.arange(len(data.samples)) if settings.by == "image" else data.groups
    if settings.file is not None:
        listed = read_splits(settings.file, [*data.names, *(one.image for one in data.excluded)])
        if listed.unknown:
            raise UsageError(
                f"Split file '{settings.file}' lists {len(listed.unknown)} images that '{recipe.dataset}' does not have (or whose "
                f"class is left out): {', '.join(listed.unknown[:5])}{' …' if len(listed.unknown) > 5 else ''}."
            )
        splits = [split_without(split, len(data.names), settings.file) for split in listed.splits]
        return make.with_validation(splits, data.labels, groups, val=settings.val, seed=settings.seed)
    if settings.official:
        parts = [make.official_part(sample) for sample in data.samples]
        return make.official(parts, data.labels, groups, val=settings.val, seed=settings.seed)
    if settings.leave_out is not None:
        values, wanted = values_of(data.samples, settings.leave_out)
        return make.leave_out(values, wanted, data.labels, groups, val=settings.val, seed=settings.seed)
    if settings.inner > 1:
        return make.nested(data.labels, groups, folds=settings.folds, inner=settings.inner, seed=settings.seed)
    if settings.folds == 1:
        return make.holdout(data.labels, groups, val=settings.val, test=settings.test, seed=settings.seed)
    return make.k_fold(data.labels, groups, folds=settings.folds, val=settings.val, seed=settings.seed)


def check_leakage(splits: list[Split], data: Data, seen: tuple[str, ...]) -> None:
    """Raise LeakageError if a group is on both sides of a split, or a test image is a near-duplicate of one in `seen`."""
    for split in splits:
        check_groups(split, data.groups, data.names)
    known = seen_before(data, np.unique(np.concatenate([split.test for split in splits])), seen)
    if len(known):
        raise LeakageError(
            f"{len(known)} of the test images were used for the starting weights (the first is '{data.names[known[0]]}'). "
            "Start from other weights, such as those of photographs (`mammozoo train FOLDER` does), or set `allow_leakage: true` "
            "and have every output stamped."
        )
