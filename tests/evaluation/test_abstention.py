"""The uncertain band: margins by hand, the share it holds, its edges."""

from __future__ import annotations

import numpy as np
import pytest

from mammozoo.errors import UsageError
from mammozoo.evaluation.thresholds import abstains, choose_abstention, margin


def _two(*positive: float) -> np.ndarray:
    p = np.array(positive)
    return np.stack([1 - p, p], axis=1)


def test_margins_by_hand() -> None:
    """Odds 3 against odds 1 are ln 3 apart, and so are odds 1/3."""
    assert margin(_two(0.75, 0.25, 0.5), 0.5) == pytest.approx([np.log(3), np.log(3), 0])
    assert margin(_two(0.75), 0.25) == pytest.approx([np.log(9)])
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert margin(three, 0.5) == pytest.approx([0.2, 0.7])


def test_certain_answers_are_far_but_finite() -> None:
    assert np.isfinite(margin(_two(0.0, 1.0), 0.5)).all()
    assert np.isfinite(margin(_two(0.3), 1.0)).all()


@pytest.mark.parametrize(("share", "cut"), [(0.1, 0.2), (0.2, 0.5), (0.5, 0.8)])
def test_the_band_holds_the_share(share: float, cut: float) -> None:
    p = _two(*np.random.default_rng(0).random(90))
    chosen = choose_abstention(p, cut, share)
    inside = abstains(p, cut, chosen)
    assert inside.sum() == round(share * 90)
    assert margin(p, cut)[inside].max() < chosen.margin < margin(p, cut)[~inside].min()
    assert (chosen.share, chosen.chosen_on) == (share, "validation")


def test_the_edge_lies_between_two_images() -> None:
    """A fifth of five is one: the edge is halfway between the nearest, ln 1, and the next, ln 3."""
    assert choose_abstention(_two(0.5, 0.75, 0.9, 0.1, 0.05), 0.5).margin == pytest.approx(np.log(3) / 2)


def test_too_few_images_make_an_empty_band() -> None:
    p = _two(0.5, 0.9)
    chosen = choose_abstention(p, 0.5)
    assert chosen.margin == 0
    assert not abstains(p, 0.5, chosen).any()


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        choose_abstention(_two(0.5), 0.5, 1.0)
    with pytest.raises(UsageError, match="no validation image"):
        choose_abstention(np.empty((0, 2)), 0.5)
