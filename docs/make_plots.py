"""Writes `docs/plots/*.svg`: tables of the pages as pictures. The numbers are read from the pages, so that both say the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).parent
#: Of Okabe and Ito: told apart by most people who see few colours.
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#767676"
mpl.rcParams |= {
    "svg.fonttype": "none", "svg.hashsalt": "mammozoo", "font.family": "sans-serif", "font.size": 10,
    "axes.spines.top": False, "axes.spines.right": False,
}  # fmt: skip


def table(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table of a page whose heading begins so, without the heading."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading}"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("*`") for cell in line.strip("|").split(" | ")])
    return rows


def numbers(cell: str) -> list[float]:
    """`0.907 (0.872–0.931)` as three numbers."""
    return [float(found) for found in re.findall(r"[+-]?\d+(?:\.\d+)?", cell.replace("–", " "))]


def intervals(axes: Axes, names: Sequence[str], series: dict[str, tuple[str, Sequence[str]]]) -> None:
    """A forest plot: a row for each name, the first on top, a point with its interval for each of the series."""
    for place, (label, (colour, cells)) in enumerate(series.items()):
        for row, cell in enumerate(cells):
            found, height = numbers(cell), row + 0.22 * (place - (len(series) - 1) / 2)
            if len(found) == 3:
                axes.plot(found[1:], [height, height], color=colour, linewidth=2)
            marker = "o" if len(found) == 3 else "D"
            axes.plot(found[0], height, marker, color=colour, label=label if row == 0 else None)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)


def bars(axes: Axes, names: Sequence[str], series: dict[str, tuple[str, Sequence[float]]]) -> None:
    """Bars side by side, a row for each name."""
    height = 0.8 / len(series)
    for place, (label, (colour, values)) in enumerate(series.items()):
        where = [row + height * (place - (len(series) - 1) / 2) for row in range(len(names))]
        axes.barh(where, values, height * 0.9, color=colour, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def how_many(axes: Axes) -> None:
    """The width of an interval by the number of test images."""
    for auc, share, *widths in table("researcher.md", "AUC | positive"):
        if auc == "0.85":
            axes.plot([50, 100, 200, 400, 800], [float(width) for width in widths], "o-", label=f"{share} positive")
    axes.set_xscale("log")
    axes.set_xticks([50, 100, 200, 400, 800], ["50", "100", "200", "400", "800"], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="test images", ylabel="width of the 95 % interval, AUC 0.85", ylim=(0, None))
    axes.grid(alpha=0.3)


def coverage(axes: Axes) -> None:
    """How often intervals contain the true value, by group and by image."""
    rows = table("coverage.md", "score | truth | 40 groups")
    for column, (label, colour) in {
        2: ("40 groups", BLUE),
        6: ("300 groups", GREEN),
        8: ("300, by image", ORANGE),
    }.items():
        axes.plot([float(row[column]) for row in rows], range(len(rows)), "o", color=colour, label=label)
    axes.axvline(95, color=GREY, linestyle="--")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("intervals that contain the true value, % (95 is wanted)")


def copies(axes: Axes) -> None:
    """Which changed copies are found."""
    rows = table("near-duplicates.md", "copy |")
    found = {"keypoints, as mammozoo does": (BLUE, 1), "a perceptual hash alone": (ORANGE, 2)}
    bars(axes, [row[0] for row in rows], {k: (c, [numbers(row[i])[0] for row in rows]) for k, (c, i) in found.items()})
    axes.set_xlabel("share of copies found among images of BUSI")


def leakage(axes: Axes) -> None:
    """The same networks on a random and a grouped split."""
    rows = [row for row in table("splits.md", "strategy | score") if row[1] == "AUC"]
    names = [row[0].replace("`", "") for row in rows]
    intervals(
        axes, names, {"random split": (ORANGE, [r[2] for r in rows]), "grouped split": (BLUE, [r[3] for r in rows])}
    )
    axes.set_xlabel("AUC on BUSI, 95 % interval")


def devices(axes: Axes) -> None:
    """The built-in model by device."""
    rows = [row for row in table("models.md", "part | n") if not row[0].startswith("BI-RADS")]
    intervals(axes, [f"{name}, n = {n}" for name, n, *_ in rows], {"AUC": (BLUE, [row[2] for row in rows])})
    axes.set_xlabel("AUC on BUS-BRA, 95 % interval by patient")


def byra(axes: Axes) -> None:
    """The rows of Byra 2021 as reported and as obtained by two protocols."""
    rows = table("papers/byra-2021-measured.md", "row | reported")
    series = {"reported": (GREY, 1), "published protocol": (ORANGE, 2), "sound protocol": (BLUE, 3)}
    intervals(axes, [row[0] for row in rows], {k: (c, [row[i] for row in rows]) for k, (c, i) in series.items()})
    axes.set_xlabel("AUC, 95 % interval")


def guard(axes: Axes) -> None:
    """Which images models of two modalities accept."""
    rows = [
        row
        for row in table("guard.md", "images held out of the fit")
        if "the same" not in row[0] and "parts" not in row[0]
    ]
    series = {"by a model of mammography": (BLUE, 3), "by a model of ultrasound": (ORANGE, 2)}
    bars(axes, [row[0] for row in rows], {k: (c, [numbers(row[i])[0] for row in rows]) for k, (c, i) in series.items()})
    axes.set_xlabel("images accepted, %")


def chosen(axes: Axes) -> None:
    """The best of many on a small validation part, there and on test."""
    rows = table("splits.md", "mean of 300")
    lines = {
        "best fit, on validation": (ORANGE, 0),
        "best fit, on test": (BLUE, 1),
        "inner models together, on test": (GREEN, 6),
    }
    for label, (colour, row) in lines.items():
        axes.plot([30, 100, 300], [float(cell) for cell in rows[row][1:]], "o-", color=colour, label=label)
    axes.set(xlabel="validation images", ylabel="AUC")
    axes.grid(alpha=0.3)


def abstained(axes: Axes) -> None:
    """Mistakes among images that are decided and left open."""
    rows = table("predict.md", "test images | n")
    shares = [100 * numbers(row[2])[0] / float(row[1]) for row in rows]
    axes.barh([f"{row[0]} ({row[1]} images)" for row in rows], shares, color=[BLUE, ORANGE])
    axes.invert_yaxis()
    axes.set_xlabel("wrong, %")


def recalibrated(axes: Axes) -> None:
    """Sensitivity and specificity at another hospital by the number of images that choose the threshold."""
    text = (DOCS / "recalibrate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^  (\d+) +(\S+ \(\S+\)) +(\S+ \(\S+\)) .* (\S+), (\S+), \S+$", text, re.MULTILINE)
    for column, (label, colour, move) in {1: ("sensitivity", BLUE, 0.96), 2: ("specificity", ORANGE, 1.04)}.items():
        cells = [numbers(row[column]) for row in rows]
        where = [move * float(row[0]) for row in rows]
        axes.vlines(where, [low for _, low, _ in cells], [high for _, _, high in cells], color=colour, linewidth=2)
        axes.plot(where, [mean for mean, _, _ in cells], "o-", color=colour, label=label)
        axes.axhline(float(rows[-1][column + 2]), color=colour, linestyle=":", label=f"{label}, threshold kept")
    axes.set_xscale("log")
    axes.set_xticks([float(row[0]) for row in rows], [row[0] for row in rows], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="images that choose the threshold", ylabel="on the others, 95 % of splits", ylim=(0, 1))


def risk(axes: Axes) -> None:
    """Mistakes among the decided images by the share that is decided."""
    rows = table("evaluate.md", "decided from a confidence of")
    axes.plot([numbers(row[1])[0] for row in rows], [numbers(row[2])[0] for row in rows], "o-", color=BLUE)
    for row in rows:
        axes.annotate(
            row[0], (numbers(row[1])[0], numbers(row[2])[0]), (4, -12), textcoords="offset points", fontsize=9
        )
    axes.set(xlabel="decided, % (at each point the least confidence)", ylabel="wrong among them, %", ylim=(0, None))
    axes.grid(alpha=0.3)


def flow(axes: Axes) -> None:
    """From a data set to a report, and who looks at which part."""
    boxes = {
        "data set": (0, 1), "samples": (1, 1), "groups": (2, 1), "train": (3, 2), "validation": (3, 1), "test": (3, 0),
        "network": (4.1, 2), "epoch, threshold,\ntemperature": (4.1, 1), "predictions.csv": (5.2, 0.5),
        "scores, report": (6.3, 0.5),
    }  # fmt: skip
    arrows = [
        ("data set", "samples"), ("samples", "groups"), ("groups", "train"), ("groups", "validation"), ("groups", "test"),
        ("train", "network"), ("validation", "epoch, threshold,\ntemperature"), ("network", "epoch, threshold,\ntemperature"),
        ("epoch, threshold,\ntemperature", "predictions.csv"), ("test", "predictions.csv"), ("predictions.csv", "scores, report"),
    ]  # fmt: skip
    colours = {"train": GREEN, "validation": ORANGE, "test": BLUE}
    drawn = {
        name: axes.text(
            *where, name, ha="center", va="center", fontsize=8.5,
            bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colours.get(name, GREY), "linewidth": 1.5},
        )
        for name, where in boxes.items()
    }  # fmt: skip
    for start, end in arrows:
        axes.annotate(
            "", boxes[end], boxes[start], zorder=0,
            arrowprops={"arrowstyle": "->", "color": GREY, "patchA": drawn[start].get_bbox_patch(),
                        "patchB": drawn[end].get_bbox_patch(), "shrinkA": 2, "shrinkB": 2},
        )  # fmt: skip
    axes.set(xlim=(-0.5, 6.9), ylim=(-0.4, 2.4))
    axes.set_axis_off()


#: Name → the plot and its size in inches.
PLOTS: dict[str, tuple[Callable[[Axes], None], tuple[float, float]]] = {
    "how-many": (how_many, (6, 3.4)), "coverage": (coverage, (6.5, 4.6)), "copies": (copies, (6.5, 6)),
    "leakage": (leakage, (6.5, 2.0)),
    "devices": (devices, (6, 2.4)), "byra": (byra, (6.5, 3.8)), "guard": (guard, (6.5, 4)), "chosen": (chosen, (6, 3.2)),
    "abstained": (abstained, (6, 1.6)), "recalibrated": (recalibrated, (6, 3.6)), "risk": (risk, (6, 3)),
    "flow": (flow, (9, 2.2)),
}  # fmt: skip


def main() -> None:
    """All of them; each on white, so that it is read on a dark page too."""
    (DOCS / "plots").mkdir(exist_ok=True)
    for name, (draw, size) in PLOTS.items():
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        if len(axes.get_legend_handles_labels()[0]) > 1:
            figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
        figure.savefig(DOCS / "plots" / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
