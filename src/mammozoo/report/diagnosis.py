"""The figure of a diagnosis: activation, change and distance from the start, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mammozoo.evaluation.diagnosis import BlockActivity, Shift

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe & Ito 2008


def draw_diagnosis(
    path: Path, blocks: Sequence[BlockActivity], shifts: Sequence[Shift], names: tuple[str, str | None]
) -> Path:
    """Write the figure to `path`, in the format of its suffix (.svg, .png, .pdf)."""
    moved = [shift for shift in shifts if shift.mean is not None and shift.block]
    panels = 1 + (names[1] is not None) + 2 * bool(moved)
    with matplotlib.rc_context(
        {"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "svg.hashsalt": "0"}
    ):
        figure = Figure(figsize=(4.2 * panels, 3.2), layout="constrained")
        axes = iter(figure.subplots(1, panels, squeeze=False)[0])
        numbers = [block.number for block in blocks]
        first = next(axes)
        first.plot(numbers, [block.active for block in blocks], ".-", color=_COLORS[0], label=names[0])
        first.set(ylabel="activation rate A", ylim=(0, 1))
        if names[1] is not None:
            first.plot(numbers, [block.active_other for block in blocks], ".--", color=_COLORS[1], label=names[1])
            first.legend(frameon=False)
            change = next(axes)
            change.plot(numbers, [block.changed for block in blocks], ".-", color=_COLORS[0])
            change.set(ylabel="activation change rate ΔA", ylim=(0, None))
        if moved:
            for title in ("mean", "largest"):
                panel = next(axes)
                for number, tensor in enumerate(dict.fromkeys(shift.tensor for shift in moved)):
                    of_tensor = [shift for shift in moved if shift.tensor == tensor]
                    panel.plot(
                        [shift.block for shift in of_tensor], [getattr(shift, title) for shift in of_tensor], ".-",
                        color=_COLORS[number % len(_COLORS)], label=tensor,
                    )  # fmt: skip
                panel.set(ylabel=f"{title} distance from the start", ylim=(0, None))
                panel.legend(frameon=False)
        for panel in figure.axes:
            panel.set_xlabel("block")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path
