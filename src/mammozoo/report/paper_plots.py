"""Figures that a paper has and the page of a run has not: flow, confusion, decision curve, forest plot."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mammozoo.evaluation.outcome import Outcome, confusion_matrix
from mammozoo.evaluation.resampling import Values
from mammozoo.evaluation.scores import Score
from mammozoo.evaluation.subgroups import Subgroup
from mammozoo.report.plots import GUIDE, INK, STYLES, Drawing, short


@dataclass(frozen=True)
class Flow:
    """Boxes from top to bottom, what was left out beside each (or nothing), and the boxes of the last row."""

    steps: Sequence[tuple[str, str]]
    ends: Sequence[str]


def flow_plot(flow: Flow) -> Drawing:
    """Images and patients from those at hand to those that were scored."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_axis_off()
        rows = len(flow.steps) + bool(flow.ends)
        axes.set(xlim=(0, 1), ylim=(-rows + 0.4, 0.5))
        box = {"boxstyle": "square,pad=0.5", "facecolor": "white", "edgecolor": INK, "linewidth": 0.8}
        arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0}
        middle = 0.36 if any(aside for _, aside in flow.steps) else 0.5
        across = 0.22 * max(len(flow.ends) - 1, 0) ** 0.5
        ends = middle + np.linspace(-across, across, len(flow.ends)) if len(flow.ends) > 1 else [middle]
        for place, (text, aside) in enumerate(flow.steps):
            if aside:
                axes.annotate("", (0.66, -place - 0.5), (middle, -place - 0.5), arrowprops=arrow)
                axes.text(0.67, -place - 0.5, aside, va="center", fontsize=8, bbox=box)
            targets = [middle] if place + 1 < len(flow.steps) else ends if flow.ends else []
            for x in targets:
                axes.annotate("", (float(x), -place - 0.72), (middle, -place - 0.2), arrowprops=arrow)
            axes.text(middle, -place, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3)
        for x, text in zip(ends, flow.ends, strict=False):
            axes.text(float(x), 1 - rows, text, ha="center", va="center", fontsize=8, bbox=box, zorder=3)

    text = "; ".join([*(" − ".join(filter(None, step)) for step in flow.steps), *flow.ends]).replace("\n", ", ")
    return Drawing("flow", 6.6, 1.1 * (len(flow.steps) + bool(flow.ends)) + 0.2, f"Flow of images. {text}.", paint)


def confusion_plot(outcome: Outcome) -> Drawing:
    """Counts of decisions by label, and their share of the label's images as grey."""
    counts = confusion_matrix(outcome)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    names = [short(name) for name in outcome.classes]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
        for row, column in np.ndindex(*counts.shape):
            ink = "white" if shares[row, column] > 0.6 else "black"
            text = f"{counts[row, column]:,}\n{shares[row, column]:.1%}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=10)
        places = range(len(names))
        axes.set_xticks(places, names, rotation=0 if len(names) < 4 else 30)
        axes.set_yticks(places, names)
        axes.set(xlabel="decision", ylabel="reference standard")
        axes.grid(False)

    pairs = itertools.product(outcome.classes, repeat=2)
    text = "; ".join(f"{a} decided as {b}: {n}" for (a, b), n in zip(pairs, counts.flat, strict=True))
    side = 2.2 + 0.7 * len(names)
    return Drawing("confusion", side, side, f"Confusion matrix. {text}. Shares are of the images of a label.", paint)


def net_benefit(outcome: Outcome) -> tuple[Values, Values, Values]:
    """(T,) thresholds, (T,) net benefit of the probabilities, and of calling all positive (Vickers & Elkin 2006).

    True minus false positives, the latter weighted by the odds of the threshold, a sample.
    """
    positive, p = outcome.labels == 1, outcome.probabilities[:, 1]
    cuts = np.linspace(0.01, 0.99, 99)
    called = p >= cuts[:, None]
    odds = cuts / (1 - cuts)
    model = (called & positive).mean(axis=1) - (called & ~positive).mean(axis=1) * odds
    return cuts, model, positive.mean() - (1 - positive.mean()) * odds


def decision_plot(outcome: Outcome) -> Drawing:
    """Net benefit by threshold probability, beside that of calling all or none positive."""
    cuts, model, every = net_benefit(outcome)
    share = float((outcome.labels == 1).mean())

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for values, label, style in ((model, "model", STYLES[0]), (every, "all positive", STYLES[1])):
            axes.plot(cuts, values, color=INK, linestyle=style, label=label)
        axes.axhline(0, color=INK, linestyle=STYLES[3], label="none positive")
        axes.set(
            xlim=(0, 1), ylim=(-0.15 * share - 0.01, 1.08 * share), xlabel="threshold probability", ylabel="net benefit"
        )
        axes.legend()

    return Drawing(
        "decision-curve", 4.3, 3.6, f"Decision curve of {outcome.classes[1]}, of {share:.1%} of the images.", paint
    )


def forest_plot(whole: Score, parts: Sequence[Subgroup], score: str, n: int) -> Drawing:
    """A score with its interval in each part, beside that of all images; parts that are too small have no mark."""
    rows: list[tuple[str, int, Score | None]] = [("all images", n, whole)]
    for part in parts:
        found = part.scores.get(score) if part.scores else None
        rows.append((f"{part.column}: {short(part.value)}", part.n, found))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (_, _, found) in enumerate(rows):
            if found is None or found.value is None:
                text, across = "too few" if found is None else "undefined", axes.get_yaxis_transform()
                axes.text(0.02, -place, text, va="center", fontsize=8, transform=across)
                continue
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [-place, -place], color=INK, linewidth=1.2)
            axes.plot(found.value, -place, "D" if place == 0 else "s", color=INK, markersize=6)
        if whole.value is not None:
            axes.axvline(whole.value, color=INK, **GUIDE)
        axes.set_yticks([-place for place in range(len(rows))], [f"{name} (n = {many:,})" for name, many, _ in rows])
        axes.set(ylim=(-len(rows) + 0.4, 0.6), xlabel=f"{score}, with its 95 % interval")

    text = "; ".join(f"{name}, {many} images: {found or 'not computed'}" for name, many, found in rows)
    return Drawing("forest", 6.2, 1.1 + 0.3 * len(rows), f"{score} by subgroup. {text}.", paint)
