"""Thresholds in cases small enough to do by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from mammozoo.errors import UsageError
from mammozoo.evaluation.outcome import decide
from mammozoo.evaluation.thresholds import (
    HIGHEST,
    LOWEST,
    RULES,
    abstains,
    check_rule,
    choose_abstention,
    choose_threshold,
    fit_temperature,
    margin,
)
from mammozoo.models.model import probabilities


def choose(rule: str, labels: list[int], positive: list[float]) -> float:
    return choose_threshold(rule, np.array(labels, np.intp), np.array(positive))


#: 5 negatives, 10 positives. ROC (FPR, TPR) at cut: 0.9 (0, .5), 0.7 (.4, .5), 0.5 (.4, .8), 0.2 (1, .8), 0.1 (1, 1).
#: Squared distance to the corner .25 .41 .20 1.04 1; TPR − FPR .5 .1 .4 −.2 0.
LABELS = [1] * 5 + [0] * 2 + [1] * 3 + [0] * 3 + [1] * 2
POSITIVE = [0.9] * 5 + [0.7] * 2 + [0.5] * 3 + [0.2] * 3 + [0.1] * 2


@pytest.mark.parametrize(("rule", "cut"), [("closest-to-corner", 0.35), ("youden", 0.8), ("half", 0.5)])
def test_the_rules_differ(rule: str, cut: float) -> None:
    assert choose(rule, LABELS, POSITIVE) == pytest.approx(cut)
    order = np.random.default_rng(0).permutation(len(LABELS))
    assert choose(rule, [LABELS[i] for i in order], [POSITIVE[i] for i in order]) == pytest.approx(cut)


@pytest.mark.parametrize(
    ("rules", "labels", "positive", "cut"),
    [
        (RULES[:2], [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9], 0.25),  # in the middle between two classes
        # At 0.6 stand a negative and a positive: cut 0.6 gives (1/3, 1), cut 0.8 gives (0, 1/2).
        (RULES[:2], [0, 0, 0, 1, 1], [0.1, 0.2, 0.6, 0.6, 0.8], 0.4),
        (RULES[:3], [0, 1], [0.3, 0.3], 0.5),  # one probability cannot be cut
        (RULES, [1, 1, 1], [0.7, 0.8, 0.9], 0.5),
        (RULES, [0, 0], [0.7, 0.8], 0.5),
    ],
)
def test_separable_classes_ties_and_nothing_to_choose(
    rules: tuple[str, ...], labels: list[int], positive: list[float], cut: float
) -> None:
    for rule in rules:
        assert choose(rule, labels, positive) == pytest.approx(cut)


@pytest.mark.parametrize("rule", RULES)
def test_every_threshold_is_a_probability(rule: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels, positive = rng.integers(0, 2, 12).tolist(), rng.integers(0, 5, 12) / 4
        assert 0 <= choose(rule, labels, positive.tolist()) <= 1


#: Negatives .1 .2 .4 .6, positives .3 .5 .7 .8 .9. Cut .5 finds 4 of 5 and spares 3 of 4; .3 finds all and spares 2 of 4.
OVERLAP = ([0, 0, 1, 0, 1, 0, 1, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


@pytest.mark.parametrize(
    ("rule", "cut"),
    [
        ("sensitivity:0.8", 0.45),  # 4 of 5: the highest cut that still does
        ("sensitivity:0.81", 0.25),
        ("sensitivity:1", 0.25),
        ("sensitivity:0.1", 0.85),
        ("specificity:1", 0.65),  # no negative above
        ("specificity:0.75", 0.45),
        ("specificity:0.5", 0.25),
    ],
)
def test_bounded_rules(rule: str, cut: float) -> None:
    assert choose(rule, *OVERLAP) == pytest.approx(cut)


def test_rules_are_stored_in_one_spelling() -> None:
    assert check_rule("sensitivity:0.90") == "sensitivity:0.9"
    for bad in ("sensitivity", *(f"sensitivity:{x}" for x in ("0", "1.1", "x", "0.9,1", "x=1"))):
        with pytest.raises(UsageError, match="up to 1"):
            check_rule(bad)
    with pytest.raises(UsageError, match="Did you mean 'youden'"):
        choose("yuden", [0, 1], [0.1, 0.9])
    assert choose("specificity:0.9", [1, 1, 0], [0.2, 0.5, 0.7]) == 1.0


def test_decide() -> None:
    p = np.array([[0.6, 0.4], [0.5, 0.5], [0.3, 0.7]])
    assert decide(p, 0.5).tolist() == [0, 1, 1], "at the threshold is above it"
    assert decide(p, 0.71).tolist() == [0, 0, 0]
    three = np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]])
    assert decide(three, 0.99).tolist() == [1, 0], "more than two classes know no threshold"


# ---------------------------------------------------------------- the uncertain band


def _two(*positive: float) -> np.ndarray:
    p = np.array(positive)
    return np.stack([1 - p, p], axis=1)


def test_margins_edge_and_empty_band_by_hand() -> None:
    assert margin(_two(0.75, 0.25, 0.5), 0.5) == pytest.approx([np.log(3), np.log(3), 0])
    assert margin(_two(0.75), 0.25) == pytest.approx([np.log(9)])
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert margin(three, 0.5) == pytest.approx([0.2, 0.7])
    assert np.isfinite(margin(_two(0.0, 1.0), 0.5)).all()
    assert np.isfinite(margin(_two(0.3), 1.0)).all()
    assert choose_abstention(_two(0.5, 0.75, 0.9, 0.1, 0.05), 0.5).margin == pytest.approx(np.log(3) / 2)
    p = _two(0.5, 0.9)
    chosen = choose_abstention(p, 0.5)
    assert chosen.margin == 0
    assert not abstains(p, 0.5, chosen).any()
    with pytest.raises(UsageError, match="between 0 and 1"):
        choose_abstention(_two(0.5), 0.5, 1.0)
    with pytest.raises(UsageError, match="no validation image"):
        choose_abstention(np.empty((0, 2)), 0.5)


@pytest.mark.parametrize(("share", "cut"), [(0.1, 0.2), (0.2, 0.5), (0.5, 0.8)])
def test_the_band_holds_the_share(share: float, cut: float) -> None:
    p = _two(*np.random.default_rng(0).random(90))
    chosen = choose_abstention(p, cut, share)
    inside = abstains(p, cut, chosen)
    assert inside.sum() == round(share * 90)
    assert margin(p, cut)[inside].max() < chosen.margin < margin(p, cut)[~inside].min()
    assert (chosen.share, chosen.chosen_on) == (share, "validation")


# ---------------------------------------------------------------- temperature scaling


def overconfident(n: int, outputs: int, times: float) -> tuple[torch.Tensor, np.ndarray]:
    """Logits that are `times` what the labels were drawn from."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(0, 1.5, (n, outputs)))
    p = probabilities(logits).numpy()
    labels = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(1)
    return logits * times, labels


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("times", [0.7, 3.0])
def test_it_finds_what_was_put_in(outputs: int, times: float) -> None:
    logits, labels = overconfident(4000, outputs, times)
    assert fit_temperature(logits, labels) == pytest.approx(times, rel=0.08)


def test_the_temperature_is_the_best_and_keeps_the_order() -> None:
    logits, labels = overconfident(300, 1, 2.0)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return log_loss(labels, probabilities(logits, temperature).numpy())

    assert loss(found) <= min(loss(t) for t in np.linspace(LOWEST, HIGHEST, 200)) + 1e-6
    logits = torch.tensor([[-3.0], [0.0], [0.5], [9.0]])
    p = probabilities(logits, 4.0)[:, 1]
    assert p[1] == 0.5 and (p.diff() > 0).all()
    logits = torch.tensor([[-1.0], [-2.0], [1.0], [2.0]])
    assert fit_temperature(logits, np.array([0, 0, 1, 1])) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1, 0, 0])) == pytest.approx(HIGHEST, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1, 1, 1])) == 1.0
