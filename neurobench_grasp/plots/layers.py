"""Layers: explained variance of every layer alone, and number of units that each explains best."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.sources import cells, network, table_of, title_of
from neurobench_grasp.plots.style import (
    BLACK,
    BLUE,
    LIGHT,
    SMALL,
    VERMILION,
    Drawing,
    Picture,
    entries,
    legend,
    sentence,
    whisker,
)
from neurobench_grasp.records.table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

STYLES = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILION, "marker": "s", "markerfacecolor": "white"},
    {"color": BLACK, "marker": "^"},
)
"""One for each part of a network: actor and critic."""
MEANS = "Values and ends of intervals are means over networks; their variance is not in the intervals."
_ROW = 0.19  # inches per layer


def layers(networks: ScoreTable) -> Drawing:
    """Draw the scores of a model's layers on held-out conditions, by area."""
    names = list(dict.fromkeys(row["layer"] for row in networks.rows(METRIC, split=SPLIT) if "layer" in row))
    if not names:
        raise UnsupportedError("the model has one layer only")
    table = table_of(networks, _rows(networks, names))
    return Drawing("layers", table, _draw(table, names, title_of(networks)))


def _rows(networks: ScoreTable, names: list[str]) -> Iterator[dict[str, Any]]:
    for area in networks.values("area"):
        for name in names:
            where = {"area": area, "split": SPLIT, "layer": name}
            for seed in networks.shown:
                score = networks.score(METRIC, seed, **where)
                best = networks.score("n_units_best", seed, **where).value
                yield {**where, **network(seed), **cells(score), "n_units_best": best}


def _draw(table: pd.DataFrame, names: list[str], title: str) -> Picture:
    areas = list(dict.fromkeys(table.area))

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(len(areas), 2, sharex="col", sharey=True, squeeze=False, width_ratios=(3, 1))
        for area, (left, right) in zip(areas, grid, strict=True):
            part = table[table.area == area]
            left.set_title(f"{area}: each layer alone")
            right.set_title(f"{area}: best layer of")
            _panels(left, right, part, names)
        grid[-1, 0].set_xlabel("single-trial EV on held-out conditions")
        grid[-1, 1].set_xlabel("units (chosen on train)")
        legend(figure)

    return Picture(len(areas) * (0.35 + _ROW * (len(names) + 1)) + 0.6, title, paint, _note(table))


def _panels(left: Axes, right: Axes, part: pd.DataFrame, names: list[str]) -> None:
    groups = list(dict.fromkeys(map(group_of, names)))
    left.axvline(0, color=BLACK, linewidth=0.6)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        for at in range(1, len(names)):
            if group_of(names[at]) != group_of(names[at - 1]):
                axes.axhline(at - 0.5, color=LIGHT, linewidth=0.8)
    for row in entries(part.sort_values("kind", kind="stable")):
        at, style = names.index(row.layer), STYLES[groups.index(group_of(row.layer)) % len(STYLES)]
        if row.kind == "network":
            left.plot(row.ev, at + 0.28, ".", color=style["color"], markersize=3, label="one network")
            continue
        ends = (row.ev_ci_low, row.ev_ci_high)
        whisker(left, row.ev, ends, at, markersize=4.5, label=_label(row.layer), **style)
        right.barh(at, row.n_units_best, height=0.6, facecolor=LIGHT, edgecolor=BLACK, linewidth=0.6)
        right.text(row.n_units_best, at, f" {row.n_units_best:g}", va="center", fontsize=SMALL)
    right.margins(x=0.2)


def group_of(layer: str) -> str:
    """Part of the network that a layer belongs to: ``actor`` of ``actor/decoder``."""
    return layer.rpartition("/")[0]


def _label(layer: str) -> str:
    group = group_of(layer)
    return f"{group}, 95 % interval" if group else "95 % interval"


def _note(table: pd.DataFrame) -> str:
    reasons = table.reason[(table.reason != "") & (table.kind == "mean")]
    means = [MEANS] if (table.kind == "network").any() else []
    return "\n".join([*means, *(sentence(reason) for reason in dict.fromkeys(reasons))])
