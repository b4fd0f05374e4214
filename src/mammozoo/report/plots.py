"""The report's figures as inline SVG: matplotlib draws, the page's style sheet chooses the colours.

matplotlib gets stand-ins for colours; in the SVG they become `currentColor` and CSS variables, so that one figure
serves the light page, the dark page and print. The hues are those of Okabe & Ito 2008, told apart by colour-blind eyes.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mammozoo.report.curves import BINS, PrecisionRecall, Reliability, Roc

_INK = "#010203"
_SERIES = ("#010211", "#010212", "#010213", "#010214", "#010215", "#010216")
_STYLES = ("-", "--", "-.", ":")
_RULES: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class name may hold a dollar sign
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "grid.color": _INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def roc_plot(curves: Sequence[Roc], point: str) -> Markup:
    """Sensitivity against 1 − specificity with bands; `point` says what the dots are."""

    def paint(figure: Figure) -> None:
        axes = _square(figure, "1 − specificity", "sensitivity")
        axes.plot([0, 1], [0, 1], color=_INK, alpha=0.45, linewidth=0.8, linestyle=(0, (2, 3)))
        for number, curve in enumerate(curves):
            color, style = _look(number)
            axes.fill_between(curve.grid, curve.low, curve.high, color=color, alpha=0.16, linewidth=0)
            axes.plot(
                curve.fpr, curve.tpr, color=color, linestyle=style, label=f"{_short(curve.name)} {curve.area:.3f}"
            )
            axes.plot(*curve.point, marker="o", markersize=7, color=color, markeredgecolor=_INK, linestyle="none")
        axes.legend(loc="lower right", title="area under the curve", title_fontsize=9)

    told = "; ".join(
        f"{c.name}: area {c.area:.3f}, {point} at sensitivity {c.point[1]:.3f}, specificity {1 - c.point[0]:.3f}"
        for c in curves
    )
    return _svg("roc", 4.3, 4.0, f"ROC curve. {told}.", paint)


def precision_recall_plot(curves: Sequence[PrecisionRecall]) -> Markup:
    """Precision against recall, with the precision of guessing."""

    def paint(figure: Figure) -> None:
        axes = _square(figure, "recall (sensitivity)", "precision")
        for number, curve in enumerate(curves):
            color, style = _look(number)
            axes.axhline(curve.share, color=color, alpha=0.5, linewidth=0.8, linestyle=(0, (2, 3)))
            axes.plot(
                curve.recall, curve.precision, color=color, linestyle=style, label=f"{_short(curve.name)} {curve.area:.3f}",
                drawstyle="steps-post",
            )  # fmt: skip
            if curve.point:
                axes.plot(*curve.point, marker="o", markersize=7, color=color, markeredgecolor=_INK, linestyle="none")
        axes.legend(loc="lower left", title="average precision", title_fontsize=9)

    told = "; ".join(f"{c.name}: average precision {c.area:.3f}, share of images {c.share:.3f}" for c in curves)
    return _svg("precision-recall", 4.3, 4.0, f"Precision–recall curve. {told}.", paint)


def reliability_plot(found: Reliability) -> Markup:
    """Observed against predicted frequency, above the number of images in each bin."""

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [4, 1.1], "hspace": 0.12})
        upper.plot([0, 1], [0, 1], color=_INK, alpha=0.45, linewidth=0.8, linestyle=(0, (2, 3)))
        upper.vlines(found.predicted, found.low, found.high, color=_SERIES[0], alpha=0.55, linewidth=1.5)
        upper.plot(found.predicted, found.observed, color=_SERIES[0], marker="o", markersize=5)
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="observed share")
        lower.bar((np.arange(BINS) + 0.5) / BINS, found.counts, width=0.9 / BINS, color=_SERIES[0], alpha=0.6)
        for number, count in enumerate(found.counts):
            lower.annotate(
                str(count), ((number + 0.5) / BINS, count), (0, 2), textcoords="offset points", ha="center", fontsize=8
            )
        lower.set(xlabel=f"predicted probability of {_short(found.of)}", ylabel="images", yticks=[])
        lower.set_ylim(0, max(1, int(found.counts.max())) * 1.35)
        lower.grid(False)

    full = [int(count) for count in found.counts if count]
    told = "; ".join(
        f"{p:.2f} predicted, {o:.2f} observed, {n} images"
        for p, o, n in zip(found.predicted, found.observed, full, strict=True)
    )
    return _svg("reliability", 4.3, 4.3, f"Reliability diagram of {found.of}. {told}.", paint)


def history_plot(histories: Mapping[str, Sequence[Mapping[str, str]]], monitor: str) -> Markup:
    """Loss of every fold by epoch, with the epoch that was kept; beside it what was monitored, unless that is the loss."""
    columns: list[tuple[str, list[tuple[str, str, int]]]] = [
        ("loss", [("train_loss", "train", 1), ("val_loss", "validation", 0)])
    ]
    if monitor != "loss":
        columns.append((monitor, [("monitor", "validation", 0)]))

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, len(columns), squeeze=False)[0]
        for axes, (title, lines) in zip(panels, columns, strict=True):
            for rows in histories.values():
                epochs = [int(row["epoch"]) for row in rows]
                for key, _, color in lines:
                    values = [float(row[key]) for row in rows]
                    axes.plot(epochs, values, color=_SERIES[color], linestyle=_STYLES[color], linewidth=1.2, alpha=0.85,
                              marker="." if len(rows) == 1 else None)  # fmt: skip
                best = _best(rows)
                axes.plot(int(best["epoch"]), float(best[lines[-1][0]]), "o", color=_SERIES[lines[-1][2]], markersize=5,
                          markeredgecolor=_INK)  # fmt: skip
            for _, label, color in lines:
                axes.plot([], [], color=_SERIES[color], linestyle=_STYLES[color], label=label)
            axes.plot([], [], "o", color=_SERIES[0], markeredgecolor=_INK, markersize=5, label="epoch kept")
            axes.set(xlabel="epoch", ylabel=title)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()

    told = "; ".join(
        f"{name}: {len(rows)} epochs, kept epoch {_best(rows)['epoch']} at validation loss "
        f"{float(_best(rows)['val_loss']):.3f}"
        for name, rows in histories.items()
    )
    return _svg("training", 8.8 if len(columns) > 1 else 5.6, 3.6, f"Training curves. {told}.", paint)


def _best(rows: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """The epoch whose weights were kept: the last one that was the best so far."""
    return ([row for row in rows if row.get("best") == "True"] or rows)[-1]


def _square(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return axes


def _look(number: int) -> tuple[str, str]:
    return _SERIES[number % len(_SERIES)], _STYLES[number % len(_STYLES)]


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _svg(name: str, width: float, height: float, told: str, paint: Callable[[Figure], None]) -> Markup:
    """`paint` on a figure of (width, height) inches as an SVG element that says `told` to those who cannot see it."""
    with matplotlib.rc_context({**_RULES, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href=", "href=")
    text = text.replace(_INK, "currentColor")
    for number, color in enumerate(_SERIES, 1):
        text = text.replace(color, f"var(--series-{number})")
    text = _own_ids(text, name)
    # A figure of a page of its own has a size in points; here the style sheet gives it one.
    text = re.sub(
        r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-label="{_attribute(told)}">', text, count=1
    )
    return Markup(text)  # escaped by matplotlib and by `_attribute`


def _own_ids(text: str, name: str) -> str:
    """Ids that are used get the figure's name before them, for there are several figures in a page; others go."""
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text)
    return re.sub(r'((?:url\(|href=")#)', rf"\1{name}-", text)


def _attribute(text: str) -> str:
    """`text` for an attribute, and safe in a replacement of `re.sub`."""
    return html.escape(text).replace("\\", "\\\\")
