"""Which samples must stay together: those of one patient, and near-duplicates.

A random split of BUSI puts a near-duplicate of every third test image into train. Groups are the connected components
of "same patient or near-duplicate".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mammozoo.data.duplicates.matching import Pair


def group(patients: Sequence[str | None], duplicates: Sequence[Pair] = ()) -> npt.NDArray[np.intp]:
    """A group number for every sample; numbers count up in the order of first appearance.

    Args:
        patients: patient of each sample, None where unknown.
        duplicates: pairs of near-duplicates among the samples.
    """
    n = len(patients)
    first: dict[str, int] = {}
    same = [(first.setdefault(patient, index), index) for index, patient in enumerate(patients) if patient is not None]
    edges = np.array([*same, *((pair.i, pair.j) for pair in duplicates)], np.intp).reshape(-1, 2)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(start))[inverse]
