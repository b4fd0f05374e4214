"""The report's figures as inline SVG: matplotlib draws, the page's style sheet chooses the colours.

matplotlib gets placeholder colours; in the SVG they become `currentColor` and CSS variables, so that one figure
serves the light page, the dark page and print. The hues are those of Okabe & Ito 2008, which colour-blind eyes tell apart.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from mammozoo.evaluation.intervals import LEVEL
from mammozoo.evaluation.outcome import Outcome
from mammozoo.evaluation.reliability import BINS, reliability
from mammozoo.evaluation.resampling import Values, draw
from mammozoo.report.content import Fold
from mammozoo.text import printable

#: Bootstrap draws behind a band: enough for its 2.5 % and 97.5 % bounds to stand still at the width of a line.
DRAWS = 1000
INK = "#010203"
SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
STYLES = ("-", "--", "-.", ":")
GUIDE: dict[str, Any] = {"alpha": 0.45, "linewidth": 0.8, "linestyle": (0, (2, 3))}  #: of a line to compare with
_RULES: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("grid.color", "xtick.color", "ytick.color"), INK),
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class name may hold a dollar sign
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True)
class Drawing:
    """`paint` on a figure of (width, height) inches; `text` tells what it shows to those who cannot see it."""

    name: str
    width: float
    height: float
    text: str
    paint: Callable[[Figure], None]

    def __html__(self) -> str:
        """The figure as an SVG element for a page, whose style sheet chooses colours and size."""
        stream = io.StringIO()
        with self._figure({"svg.hashsalt": self.name}) as figure:
            figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        svg = stream.getvalue()
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
        svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href=", "href=")
        svg = svg.replace(INK, "currentColor")
        for number, color in enumerate(SERIES, 1):
            svg = svg.replace(color, f"var(--series-{number})")
        # Ids that are referenced get the figure's name as a prefix, since a page has several figures; others are removed.
        used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', svg))
        svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{self.name}-{m[1]}"' if m[1] in used else "", svg)
        svg = re.sub(r'((?:url\(|href=")#)', rf"\1{self.name}-", svg)
        label = html.escape(self.text)
        return re.sub(  # escaped by matplotlib and here
            r'<svg [^>]*?(viewBox="[^"]*")[^>]*>',
            lambda m: f'<svg {m[1]} role="img" aria-label="{label}">',
            svg,
            count=1,
        )

    def files(self) -> dict[str, bytes]:
        """`NAME.pdf` and `NAME.png` of 300 dpi, the same bytes each time: black lines told apart by style, grey bands."""
        written = {}
        with self._figure({"pdf.fonttype": 42, "grid.alpha": 0.08}) as figure:
            for kind, own in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
                stream = io.BytesIO()
                figure.savefig(stream, format=kind, dpi=300, metadata=own)
                written[f"{self.name}.{kind}"] = stream.getvalue()
        return written

    @contextlib.contextmanager
    def _figure(self, more: dict[Any, Any]) -> Iterator[Figure]:
        with matplotlib.rc_context({**_RULES, **more}):
            figure = Figure(figsize=(self.width, self.height), layout="constrained")
            self.paint(figure)
            yield figure


def views(outcome: Outcome) -> list[Outcome]:
    """The two-class outcomes to draw: the outcome itself, or each class against the rest; only if both sides have images."""
    each = [outcome] if outcome.binary else [outcome.one_against_rest(k) for k in range(len(outcome.classes))]
    return [view for view in each if len(np.unique(view.labels)) == 2]


def operating_point(outcome: Outcome) -> tuple[float, float, float | None]:
    """(false-positive rate, sensitivity, precision) of the decisions; precision is None without a positive decision."""
    positive, called = outcome.labels == 1, outcome.decisions == 1
    precision = float(positive[called].mean()) if called.any() else None
    return float(called[~positive].mean()), float(called[positive].mean()), precision


def roc_band(outcome: Outcome, seed: int = 0) -> tuple[Values, Values, Values]:
    """(G,) false-positive rates, and the (G,) low and high bounds of the sensitivity: pointwise 95 %, bootstrap over groups."""
    grid = np.linspace(0, 1, 101)
    sensitivities = [
        np.interp(grid, np.append(0, false / false[-1]), np.append(0, true / true[-1]))
        for chunk in draw(outcome, DRAWS, seed)
        for true, false in zip(chunk.ranked.true, chunk.ranked.false, strict=True)
        if true[-1] and false[-1]  # a draw may miss a class
    ]
    low, high = np.quantile(sensitivities, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return grid, low, high


def precision_band(outcome: Outcome, seed: int = 0) -> tuple[Values, Values, Values]:
    """(G,) recalls, and the (G,) low and high bounds of the precision: pointwise 95 %, bootstrap over groups."""
    grid = np.linspace(0.02, 1, 99)
    precisions = []
    for chunk in draw(outcome, DRAWS, seed):
        for true, false in zip(chunk.ranked.true, chunk.ranked.false, strict=True):
            if true[-1]:
                first = np.searchsorted(true / true[-1], grid - 1e-9)  # the highest threshold with this recall
                precisions.append(true[first] / (true[first] + false[first]))
    low, high = np.quantile(precisions, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return grid, low, high


def roc_plot(outcomes: Sequence[Outcome], seed: int) -> Drawing:
    """Sensitivity against 1 − specificity of two-class outcomes, with bands; the dots are the decisions."""
    points = [operating_point(outcome) for outcome in outcomes]
    areas = [roc_auc_score(outcome.labels == 1, outcome.probabilities[:, 1]) for outcome in outcomes]

    def paint(figure: Figure) -> None:
        axes = _square(figure, "1 − specificity", "sensitivity")
        _diagonal(axes)
        for number, (outcome, point, area) in enumerate(zip(outcomes, points, areas, strict=True)):
            color, style = _look(number)
            grid, low, high = roc_band(outcome, seed)
            fpr, tpr, _ = roc_curve(outcome.labels == 1, outcome.probabilities[:, 1])
            axes.fill_between(grid, low, high, color=color, alpha=0.16, linewidth=0)
            axes.plot(fpr, tpr, color=color, linestyle=style, label=f"{short(outcome.classes[1])} {area:.3f}")
            _dot(axes, point[0], point[1], color, size=7)
        axes.legend(loc="lower right", title="area under the curve", title_fontsize=9)

    text = "; ".join(
        f"{outcome.classes[1]}: area {area:.3f}, decisions at sensitivity {tpr:.3f}, specificity {1 - fpr:.3f}"
        for outcome, area, (fpr, tpr, _) in zip(outcomes, areas, points, strict=True)
    )
    return Drawing("roc", 4.3, 4.0, f"ROC curve. {text}.", paint)


def precision_recall_plot(outcomes: Sequence[Outcome], seed: int) -> Drawing:
    """Precision against recall of two-class outcomes, with the precision of guessing; the dots are the decisions."""
    areas = [average_precision_score(outcome.labels == 1, outcome.probabilities[:, 1]) for outcome in outcomes]
    shares = [(outcome.labels == 1).mean() for outcome in outcomes]

    def paint(figure: Figure) -> None:
        axes = _square(figure, "recall (sensitivity)", "precision")
        for number, (outcome, area, share) in enumerate(zip(outcomes, areas, shares, strict=True)):
            color, style = _look(number)
            grid, low, high = precision_band(outcome, seed)
            axes.fill_between(grid, low, high, color=color, alpha=0.16, linewidth=0)
            axes.axhline(share, color=color, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 3)))
            precision, recall, _ = precision_recall_curve(outcome.labels == 1, outcome.probabilities[:, 1])
            label = f"{short(outcome.classes[1])} {area:.3f}"
            axes.plot(recall, precision, color=color, linestyle=style, label=label, drawstyle="steps-post")
            _, sensitivity, ppv = operating_point(outcome)
            if ppv is not None:
                _dot(axes, sensitivity, ppv, color, size=7)
        axes.legend(loc="lower left", title="average precision", title_fontsize=9)

    text = "; ".join(
        f"{outcome.classes[1]}: average precision {area:.3f}, share of images {share:.3f}"
        for outcome, area, share in zip(outcomes, areas, shares, strict=True)
    )
    return Drawing("precision-recall", 4.3, 4.0, f"Precision–recall curve. {text}.", paint)


def reliability_plot(outcome: Outcome) -> Drawing:
    """Observed against predicted frequency, above the number of images in each bin."""
    points = reliability(outcome)
    claimed = outcome.classes[1] if outcome.binary else "the most probable class"

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1.1], "hspace": 0.12})
        _diagonal(upper)
        upper.vlines(points.predicted, points.low, points.high, color=SERIES[0], alpha=0.55, linewidth=1.5)
        upper.plot(points.predicted, points.observed, color=SERIES[0], marker="o", markersize=5)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="observed share")
        lower.bar((np.arange(BINS) + 0.5) / BINS, points.counts, width=0.9 / BINS, color=SERIES[0], alpha=0.6)
        for number, count in enumerate(points.counts):
            lower.annotate(
                str(count), ((number + 0.5) / BINS, count), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
        lower.set(xlabel=f"predicted probability of {short(claimed)}", ylabel="images", yticks=[])
        lower.set_ylim(0, max(1, int(points.counts.max())) * 1.35)
        lower.grid(False)

    text = "; ".join(
        f"{p:.2f} predicted, {o:.2f} observed, {n} images"
        for p, o, n in zip(points.predicted, points.observed, points.counts[points.counts > 0], strict=True)
    )
    return Drawing("reliability", 4.3, 4.3, f"Reliability diagram of {claimed}. {text}.", paint)


def risk_plot(points: Sequence[tuple[float, float]]) -> Drawing:
    """Share of wrong decisions (risk) by coverage: (coverage, risk) points."""
    coverage, risk = np.array(points).T

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        axes.plot(coverage, risk, color=SERIES[0])
        axes.axhline(risk[-1], color=INK, **GUIDE)
        axes.set(xlim=(0, 1.01), ylim=(0, max(0.05, 1.1 * float(risk.max()))))
        axes.set(xlabel="coverage", ylabel="share of wrong decisions")

    return Drawing("risk", 4.3, 3.6, f"Risk and coverage. Of all images {risk[-1]:.3f} are decided wrongly.", paint)


def history_plot(folds: Sequence[Fold], monitor: str) -> Drawing:
    """Loss of every fold by epoch, with the epoch that was kept; beside it what was monitored, unless that is the loss."""
    panels = {"loss": [("train_loss", "train", 1), ("val_loss", "validation", 0)]}
    if monitor != "loss":
        panels[monitor] = [("monitor", "validation", 0)]

    def paint(figure: Figure) -> None:
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, lines) in zip(every, panels.items(), strict=True):
            for fold in folds:
                epochs = [row.epoch for row in fold.history]
                for key, _, color in lines:
                    values = [getattr(row, key) for row in fold.history]
                    axes.plot(epochs, values, color=SERIES[color], linestyle=STYLES[color], linewidth=1.2, alpha=0.85,
                              marker="." if len(epochs) == 1 else None)  # fmt: skip
                _dot(axes, fold.best.epoch, getattr(fold.best, lines[-1][0]), SERIES[0], size=5)
            for _, label, color in lines:
                axes.plot([], [], color=SERIES[color], linestyle=STYLES[color], label=label)
            axes.plot([], [], "o", color=SERIES[0], markeredgecolor=INK, markersize=5, label="epoch kept")
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()

    text = "; ".join(
        f"{fold.name}: {len(fold.history)} epochs, kept epoch {fold.best.epoch} at validation loss {fold.best.val_loss:.3f}"
        for fold in folds
    )
    return Drawing("training", 8.8 if len(panels) > 1 else 5.6, 3.6, f"Training curves. {text}.", paint)


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes: Axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return axes


def _diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=INK, **GUIDE)


def _dot(axes: Axes, x: float, y: float, color: str, *, size: int) -> None:
    axes.plot(x, y, marker="o", markersize=size, color=color, markeredgecolor=INK, linestyle="none")


def _look(number: int) -> tuple[str, str]:
    return SERIES[number % len(SERIES)], STYLES[number % len(STYLES)]


def short(name: str) -> str:
    """A name as a figure has room for it."""
    name = printable(name)
    return name if len(name) <= 24 else name[:23] + "…"
