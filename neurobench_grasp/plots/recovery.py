"""Figure of model recovery: the matrix as a heat map, and the numbers of the comparisons per teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.plots.style import GREY, LINES, SMALL, Picture

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

UNTRAINED = "untrained"
_ROW = 0.64  # inches of a teacher in the heat map
_BAND = 0.34  # inches of a teacher beside its numbers
_HEADS = 1.2  # inches of labels
_NOTE = (
    "Above, each cell: mean over units and networks of single-trial EV on held-out objects, its 95 % "
    "interval, and by how much the candidate of the teacher's kind (framed) is above it, paired by unit. "
    "Recovered: the interval of that margin lies above 0 for every other kind of input or action; untrained "
    "networks do not enter the verdict. Shades go from the lowest to the highest score of a row.\n"
    "Below: what a comparison of policies reports for units of each teacher, with 95 % intervals if there "
    "are enough networks.\n"
    "Synthetic sessions: a self-test of the benchmark, no evidence about brains."
)
PANELS = (
    ("raw", "raw difference"),
    ("gain", "gain over the untrained twin"),
    ("contrast", "contrast: difference of gains"),
)


def recovery_figure(table: pd.DataFrame) -> Picture:
    """Draw the rows of a recovery."""
    teachers = [group for _, group in table.groupby(["teacher", "teacher_seed"], sort=False)]
    compared = bool((table.quantity == "raw").any())
    heights = [_ROW * len(teachers) + 0.5, _BAND * len(teachers) + _HEADS]

    def paint(figure: SubFigure) -> None:
        if not compared:
            _heat_map(figure.subplots(), teachers)
            return
        above, below = np.asarray(figure.subfigures(2, 1, height_ratios=heights))
        _heat_map(above.subplots(), teachers)
        for axes, (quantity, title) in zip(below.subplots(1, len(PANELS), sharey=True), PANELS, strict=True):
            _panel(axes, teachers, quantity, title)

    height = sum(heights) if compared else heights[0]
    return Picture(height, "Model recovery: teacher × candidate", paint, _NOTE)


def _heat_map(axes: Axes, teachers: Sequence[pd.DataFrame]) -> None:
    columns: list[tuple[str, bool]] = []
    for y, group in enumerate(teachers):
        cells = group[group.quantity == "ev"]
        margins = group[group.quantity == "margin"].set_index(["candidate", "untrained"])
        columns = columns or list(zip(cells.candidate, cells.untrained, strict=True))
        for cell in _records(cells):
            at = (cell.candidate, cell.untrained)
            margin = margins.loc[at] if at in margins.index else None
            low, high = cells.value.min(), cells.value.max()
            share = (cell.value - low) / (high - low) if high > low else 1.0
            _paint_cell(axes, columns.index(at), y, cell, margin, share)
    _label(axes, teachers, columns)


def _paint_cell(axes: Axes, x: int, y: int, cell: Any, margin: Any, share: float) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    framed = cell.own and not cell.untrained
    colour = colormaps["Blues"](0.6 * share)  # light, so that black type is legible on all of it
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=colour, linewidth=0))
    if framed:
        axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, fill=False, color="black", linewidth=2))
    lines = [f"{cell.value:.3f}", _interval(cell.ci_low, cell.ci_high)]
    if margin is not None:
        lines += [f"{margin.value:+.3f}", _interval(margin.ci_low, margin.ci_high)]
    weight = "bold" if framed else "normal"
    axes.text(x, y, "\n".join(lines), ha="center", va="center", fontsize=SMALL, fontweight=weight)


def _interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]" if low == low else "no interval"


def _label(axes: Axes, teachers: Sequence[pd.DataFrame], columns: Sequence[tuple[str, bool]]) -> None:
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(teachers) - 0.5, -0.5)
    short = [name.replace("_", "_\n") for name, _ in columns]
    names = [f"{s},\n{UNTRAINED}" if u else s for s, (_, u) in zip(short, columns, strict=True)]
    axes.set_xticks(range(len(columns)), names)
    axes.set_xlabel("candidate")
    heads = [group.iloc[0] for group in teachers]
    verdicts = ["recovered" if head.recovered else "not recovered" for head in heads]
    axes.set_yticks(
        range(len(heads)),
        [f"{h.teacher}\nseed {h.teacher_seed}\n{v}" for h, v in zip(heads, verdicts, strict=True)],
    )
    axes.set_ylabel("teacher")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _records(table: pd.DataFrame) -> Sequence[Any]:
    return list(table.itertuples())


def _panel(axes: Axes, teachers: Sequence[pd.DataFrame], quantity: str, title: str) -> None:
    """One number of every teacher: a marker with its interval for each pair, or each policy."""
    labels: list[str] = []
    for y, group in enumerate(teachers):
        found = group[group.quantity == quantity]
        for row in _records(found):
            label = row.candidate if quantity == "gain" else f"{row.candidate} − {row.other}"
            if label not in labels:
                labels.append(label)
            k = labels.index(label)
            style = {**LINES[k], "linestyle": "none"}
            height = y + 0.22 * (k - (len(found) - 1) / 2)
            axes.plot(row.value, height, markersize=3.5, label=label if y == 0 else None, **style)
            if row.ci_low == row.ci_low:  # not NaN
                axes.plot([row.ci_low, row.ci_high], [height] * 2, color=style["color"])
    axes.axvline(0, color=GREY, linewidth=0.6)
    axes.set_yticks(range(len(teachers)), [f"{g.iloc[0].teacher} {g.iloc[0].teacher_seed}" for g in teachers])
    axes.set_ylim(len(teachers) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)
    axes.set_title(title)
    axes.set_xlabel("EV")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), handletextpad=0.2)
