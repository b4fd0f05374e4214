"""Groups of samples that must stay in one part of a split: connected components of "same patient or near-duplicate".

A random split of BUSI puts a near-duplicate of every third test image into train.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.data.duplicates.matching import Pair


def group(patients: Sequence[str | None], duplicates: Sequence[Pair] = ()) -> npt.NDArray[np.intp]:
    """(N,) group numbers of the samples, ascending in the order of first appearance.

    Args:
        patients: patient of each sample, None if unknown.
        duplicates: pairs of near-duplicates among the samples.
    """
    first: dict[str, int] = {}
    same = [(first.setdefault(patient, index), index) for index, patient in enumerate(patients) if patient is not None]
    edges = np.array([*same, *((pair.i, pair.j) for pair in duplicates)], np.intp).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(len(patients),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[inverse]
