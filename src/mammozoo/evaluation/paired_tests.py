"""Tests of "no difference" between two models on the same images, some of which are not independent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from mammozoo.evaluation.outcome import Outcome


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m times (m − k + 1), never falling, at most 1."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected.tolist()


def delong(a: Sequence[Outcome], b: Sequence[Outcome]) -> tuple[float, float]:
    """(difference of the AUCs of a and b, its standard error); two classes, each the mean over folds, groups numbered alike.

    The structural components of DeLong, DeLong & Clarke-Pearson 1988, summed by group as in Obuchowski 1997; of single
    images that is DeLong's own variance. With midranks, as in Sun & Xu 2014, so that memory stays linear in the images.
    """
    place = np.unique(np.concatenate([outcome.groups for outcome in (*a, *b)]), return_inverse=True)[1]
    count = int(place.max()) + 1
    sums, held, difference, start = np.zeros((2, count)), np.zeros((2, count), bool), 0.0, 0
    for weight, outcome in [(1 / len(a), one) for one in a] + [(-1 / len(b), one) for one in b]:
        group, start = place[start : start + len(outcome)], start + len(outcome)
        positive, scores = outcome.labels == 1, outcome.probabilities[:, 1]
        ranks, m, n = stats.rankdata(scores), int(positive.sum()), int((~positive).sum())
        v10 = (ranks[positive] - stats.rankdata(scores[positive])) / n
        v01 = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
        area = float(v10.mean())
        difference += weight * area
        for row, members, parts in ((0, positive, (v10 - area) / m), (1, ~positive, (v01 - area) / n)):
            sums[row] += weight * np.bincount(group[members], parts, count)
            held[row, group[members]] = True
    i10, i01 = held.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a class in one group alone has no variance
        variance = (
            np.sum(sums[0] ** 2) * i10 / (i10 - 1)
            + np.sum(sums[1] ** 2) * i01 / (i01 - 1)
            + 2 * np.sum(sums[0] * sums[1]) * count / (count - 1)
        )
        return difference, float(np.sqrt(variance))


def mcnemar(net: npt.NDArray[np.intp]) -> float:
    """Exact two-sided p of (G,) groups, in each how many more images one model gets right than the other.

    Equal models may be exchanged in each group, so that each sign is as likely as the other (Fisher's randomisation test).
    The p is the share of all signs with a sum at least as far from 0. With single images it is McNemar's exact test.
    """
    chance = np.ones(1)  # of each sum of the groups so far, from the lowest to the highest
    for size, times in zip(*np.unique(np.abs(net[net != 0]), return_counts=True), strict=True):
        of_size = np.zeros(2 * size * times + 1)
        of_size[:: 2 * size] = stats.binom.pmf(np.arange(times + 1), times, 0.5)
        chance = np.convolve(chance, of_size)
    total = np.arange(len(chance)) - len(chance) // 2
    return float(min(1, chance[np.abs(total) >= abs(net.sum())].sum()))
