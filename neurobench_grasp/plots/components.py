"""Components: explained variance of each layer against the number of its components."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.layers import MEANS, group_of
from neurobench_grasp.plots.sources import cells, network, table_of, title_of
from neurobench_grasp.plots.style import BLACK, LINES, Drawing, Picture, legend, sentence
from neurobench_grasp.records.table import ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_HEIGHT = 2.4  # inches per area


def components(networks: ScoreTable) -> Drawing:
    """Draw scores of the protocol ``layers``: each layer on held-out conditions with ever more components."""
    table = table_of(networks, _rows(networks))
    return Drawing("components", table, _draw(table, title_of(networks)))


def _rows(networks: ScoreTable) -> Iterator[dict[str, Any]]:
    for row in networks.rows(METRIC, split=SPLIT):
        where = {key: row[key] for key in ("area", "split", "layer", "n_components")}
        for seed in networks.shown:
            yield {**where, **network(seed), **cells(networks.score(METRIC, seed, **where))}


def _draw(table: pd.DataFrame, title: str) -> Picture:
    areas, names = (list(dict.fromkeys(column)) for column in (table.area, table.layer))
    groups = list(dict.fromkeys(map(group_of, names)))
    mean = table[(table.kind == "mean") & table.ev.notna()]
    stems = list(dict.fromkeys(map(_stem, names)))

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(len(areas), len(groups), sharex=True, sharey=True, squeeze=False)
        for area, line in zip(areas, grid, strict=True):
            for group, axes in zip(groups, line, strict=True):
                axes.set_title(f"{area}, {group}" if group else area)
                part = mean[(mean.area == area) & (mean.layer.map(group_of) == group)]
                _panel(axes, part, stems)
        for axes in grid[-1]:
            axes.set_xlabel("most components used")
        for axes in grid[:, 0]:
            axes.set_ylabel("single-trial EV on held-out conditions")
        legend(figure)

    notes = ["A layer that has fewer components is used whole. Lines: 95 % intervals."]
    notes += [sentence(reason) for reason in dict.fromkeys(filter(None, mean.reason))]
    notes += [MEANS] if (table.kind == "network").any() else []
    return Picture(len(areas) * _HEIGHT + 0.9, title, paint, "\n".join(notes))


def _panel(axes: Axes, part: pd.DataFrame, stems: list[str]) -> None:
    axes.axhline(0, color=BLACK, linewidth=0.6)
    axes.set_xscale("log")
    ticks = sorted(set(part.n_components))
    axes.set_xticks(ticks, map(str, ticks))
    axes.set_xticks([], minor=True)
    for name, rows in part.groupby("layer", sort=False):
        place = stems.index(_stem(str(name)))
        shift = 1.03 ** (
            place - len(stems) / 2
        )  # beside each other, so that intervals do not hide one another
        x = rows.n_components * shift
        style = LINES[place % len(LINES)]
        axes.plot(x, rows.ev, label=_stem(str(name)), markersize=3.5, **style)
        axes.vlines(x, rows.ev_ci_low, rows.ev_ci_high, color=style["color"], linewidth=0.7)


def _stem(layer: str) -> str:
    """Name of a layer within its part of the network: ``decoder`` of ``actor/decoder``."""
    return layer.rpartition("/")[2]
