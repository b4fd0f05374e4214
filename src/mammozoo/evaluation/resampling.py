"""Bootstrap draws of whole groups, and statistics that many scores share, computed once for all draws of a chunk.

scikit-learn computes each point estimate. Scores built on these statistics give the same numbers for weights of one, and
those of scikit-learn on repeated rows for whole-number weights; tests check both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from mammozoo.evaluation.outcome import Outcome

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
PerSample = Callable[[Outcome], Values]

CELLS = 200_000  # draws × samples of one chunk, so that it stays in the processor's cache
BLOCKS = 200  # most parts that a jackknife leaves out in turn; enough for the skewness
#: Samples from which on groups are first dealt out among `MOST` and drawn so, and ranks are joined to `MOST` steps of equal size:
#: a draw then costs the same however many there are. The width of an interval changes by about 1/√(2 · MOST), 1.6 %.
LARGE, MOST = 200_000, 2000


@dataclass(frozen=True, eq=False)
class Source:
    """An outcome to draw from, with the tables that all draws share."""

    outcome: Outcome
    in_order: bool = False  #: whether tied samples are ranked in their order, and not as one
    _tables: dict[PerSample, Values] = field(default_factory=dict, repr=False)

    @cached_property
    def index(self) -> npt.NDArray[np.intp]:
        """(N,) the group of each sample, numbered from 0 in the order of `outcome.groups`."""
        return np.unique(self.outcome.groups, return_inverse=True)[1]

    @cached_property
    def groups(self) -> int:
        """G, the number of groups."""
        return int(self.index.max()) + 1

    @cached_property
    def ranking(self) -> tuple[npt.NDArray[np.intp], Counts, npt.NDArray[np.intp]]:
        """By falling probability of the positive class: (N,) groups, (N,) labels, (J,) the last place of each tie."""
        score = self.outcome.probabilities[:, 1]
        order = np.argsort(-score, kind="stable")
        labels = (self.outcome.labels[order] == 1).astype(np.int32)
        ends = np.arange(len(order)) if self.in_order else np.flatnonzero(np.diff(score[order], append=-np.inf))
        return self.index[order], labels, ends

    @cached_property
    def steps(self) -> tuple[Values, Values]:
        """(G, J) samples of each group at each of at most `MOST` steps of falling probability: all, and the positive ones."""
        groups, labels, ends = self.ranking
        ends = np.unique(np.append(ends[np.searchsorted(ends, np.linspace(0, len(labels) - 1, MOST))], ends[-1]))
        step = np.searchsorted(ends, np.arange(len(labels)))
        shape = (self.groups, len(ends))
        tables = (csr_array((values, (groups, step)), shape=shape) for values in (np.ones(len(labels)), labels * 1.0))
        every, positive = (np.asarray(table.todense()) for table in tables)
        return every, positive

    @cached_property
    def by_confidence(self) -> Source:
        """The two-class source of whether a decision is wrong, ranked by the falling probability of the class decided for."""
        o = self.outcome
        p = o.probabilities[np.arange(len(o)), o.decisions]
        wrong = (o.decisions != o.labels).astype(np.intp)
        return Source(Outcome(("right", "wrong"), wrong, np.stack([1 - p, p], axis=1), wrong, o.groups), in_order=True)

    @cached_property
    def each_against_rest(self) -> tuple[Source, ...]:
        """The two-class sources of each class against all others."""
        return tuple(Source(self.outcome.one_against_rest(number)) for number in range(len(self.outcome.classes)))

    def table(self, of: PerSample) -> Values:
        """(G, M) sums over each group of the (N, M) that `of` returns; cached, so that it is called once."""
        if of not in self._tables:
            n = len(self.outcome)
            members = csr_array((np.ones(n), (self.index, np.arange(n))), shape=(self.groups, n))
            self._tables[of] = members @ of(self.outcome).reshape(n, -1)
        return self._tables[of]


@dataclass(frozen=True)
class Ranked:
    """The ROC points of B draws at the J distinct probabilities, the highest first.

    Attributes:
        true: (B, J) samples of the positive class with at least this probability.
        false: (B, J) samples of the negative class with at least this probability.
        steps: whether neighbouring probabilities were joined, see `LARGE`; then precision changes within a step.
    """

    true: Counts
    false: Counts
    steps: bool = False

    @property
    def positives(self) -> Counts:
        """(B,) how many of the positive class were drawn."""
        return self.true[:, -1]

    @property
    def negatives(self) -> Counts:
        """(B,) how many of the negative class were drawn."""
        return self.false[:, -1]

    @cached_property
    def area(self) -> Values:
        """(B,) area under the ROC curve by trapezoids, so that ties count half; NaN if a class was not drawn."""
        true, false = self.true.astype(np.float64), self.false.astype(np.float64)
        twice = true[:, 0] * false[:, 0]
        twice += np.einsum("bj,bj->b", true[:, 1:] + true[:, :-1], np.diff(false, axis=1))
        return share(twice / 2, true[:, -1] * false[:, -1])

    @cached_property
    def average_precision(self) -> Values:
        """(B,) precision at each point, weighted by the rise in sensitivity; NaN if a class was not drawn."""
        precision = self.true / np.maximum(self.true + self.false, 1)
        if self.steps:
            precision[:, 1:] = (precision[:, 1:] + precision[:, :-1]) / 2
        rises = np.diff(self.true, axis=1, prepend=np.int32(0))
        return share(np.einsum("bj,bj->b", rises, precision), np.where(self.negatives > 0, self.positives, 0))


@dataclass(frozen=True, eq=False)
class Resamples:
    """A chunk of B draws of one outcome's groups; all scores share the draws and their statistics.

    Attributes:
        source: the outcome to draw from.
        times: (B, G) how often each group was drawn.
    """

    source: Source
    times: Counts

    def __len__(self) -> int:
        return len(self.times)

    @property
    def outcome(self) -> Outcome:
        """The outcome to draw from: N samples of K classes."""
        return self.source.outcome

    @cached_property
    def weights(self) -> Values:
        """(B, N) how often each sample was drawn."""
        return self.times[:, self.source.index].astype(np.float64)

    @cached_property
    def total(self) -> Values:
        """(B,) how many samples were drawn; groups differ in size, so this differs between draws."""
        return self.sums(_one)[:, 0]

    def sums(self, of: PerSample) -> Values:
        """(B, M) sums over each draw of `of(outcome)`, (N,) or (N, M).

        Pass a function of a module, not a new lambda each time: its sums over the groups are cached by function.
        """
        return self._times @ self.source.table(of)

    @cached_property
    def confusion(self) -> Values:
        """(B, K, K) counts, rows are labels and columns decisions."""
        k = len(self.outcome.classes)
        return self.sums(_cells).reshape(-1, k, k)

    @cached_property
    def ranked(self) -> Ranked:
        """ROC points by the probability of the positive class. For two classes only: see `each_against_rest`.

        Raises:
            ValueError: there are more classes.
        """
        if not self.outcome.binary:
            raise ValueError("Only two classes can be ranked; take `each_against_rest`.")
        if len(self.outcome) > LARGE:
            every, positive = (np.cumsum(self._times @ table, axis=1).astype(np.int32) for table in self.source.steps)
            return Ranked(positive, every - positive, steps=True)
        groups, labels, ends = self.source.ranking
        drawn = self.times[:, groups]
        every = np.cumsum(drawn, axis=1, dtype=np.int32)[:, ends]
        drawn *= labels
        true = np.cumsum(drawn, axis=1, dtype=np.int32)[:, ends]
        return Ranked(true, every - true)

    @cached_property
    def by_confidence(self) -> Resamples:
        """The same draws of `Source.by_confidence`."""
        return Resamples(self.source.by_confidence, self.times)

    @cached_property
    def each_against_rest(self) -> tuple[Resamples, ...]:
        """The same draws of the two-class outcomes of each class against all others."""
        return tuple(Resamples(source, self.times) for source in self.source.each_against_rest)

    @cached_property
    def _times(self) -> Values:
        return self.times.astype(np.float64)  # a product of floats is BLAS, one of integers a loop


def draw(outcome: Outcome, draws: int, seed: int) -> Iterator[Resamples]:
    """`draws` draws of the groups with replacement, in chunks that keep memory flat.

    They depend only on the seed and the number of groups: two models on the same samples get the same draws.
    """
    rng = np.random.default_rng(seed)
    source = Source(outcome)
    count, chunk = source.groups, _at_once(outcome)
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        picks = rng.integers(0, count, size=(rows, count), dtype=np.int32)
        cells = picks + count * np.arange(rows, dtype=np.int32)[:, None]
        times = np.bincount(cells.ravel(), minlength=rows * count).astype(np.int32)
        yield Resamples(source, times.reshape(rows, count))


def leave_out(outcome: Outcome, seed: int) -> Iterator[Resamples]:
    """The jackknife over groups, in chunks: everything but one group; from `BLOCKS` groups on, everything but a block of them."""
    source = Source(outcome)
    blocks = min(source.groups, BLOCKS)
    block = np.random.default_rng(seed).permutation(source.groups) % blocks
    chunk = _at_once(outcome)
    for start in range(0, blocks, chunk):
        number = np.arange(start, min(start + chunk, blocks))
        yield Resamples(source, (block != number[:, None]).astype(np.int32))


def dealt(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The same outcomes, whose groups are numbered alike; of a large one the groups dealt out at random among `MOST`."""
    groups = np.unique(np.concatenate([outcome.groups for outcome in outcomes]))
    if sum(map(len, outcomes)) <= LARGE or len(groups) <= MOST:
        return outcomes
    places = np.random.default_rng(0).permutation(len(groups)) % MOST
    return [replace(outcome, groups=places[np.searchsorted(groups, outcome.groups)]) for outcome in outcomes]


def _at_once(outcome: Outcome) -> int:
    """How many draws are in a chunk."""
    return max(1, CELLS // min(len(outcome), CELLS // 16)) if len(outcome) > LARGE else max(1, CELLS // len(outcome))


def share(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Values:
    """part / whole, of one shape; NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _one(outcome: Outcome) -> Values:
    return np.ones(len(outcome))


def _cells(outcome: Outcome) -> Values:
    k = len(outcome.classes)
    return np.eye(k * k)[outcome.labels * k + outcome.decisions]
