"""What recorded EMG and simulated activation explain of neurons beyond quadratic kinematics."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from neurobench_grasp.plots.brain_control import left_out
from neurobench_grasp.plots.sources import ends, table_of, title_of
from neurobench_grasp.plots.style import BLACK, GREY, LIGHT, VERMILION, Drawing, Picture, entries, legend
from neurobench_grasp.protocols.emg.maps import GROUPS, METRIC, SIMULATED
from neurobench_grasp.records import names
from neurobench_grasp.records.names import split_name
from neurobench_grasp.records.table import ADDED, HELD_OUT, ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

NOTE = (
    "EV of a map from quadratic kinematics and a group of features, minus that of one from quadratic "
    "kinematics alone, paired unit by unit. White: nulls."
)
_ROW, _NAME = 0.27, 28  # inches per group, characters of a line


def emg_neurons(networks: ScoreTable) -> Drawing:
    """Draw what each group of features adds to quadratic kinematics, by area and split."""
    table = table_of(networks, _rows(networks), "added_ev")
    return Drawing("emg_neurons", table, _draw(table, title_of(networks)))


def _rows(networks: ScoreTable) -> Iterator[dict[str, Any]]:
    for area in dict.fromkeys(row["area"] for row in networks.rows(ADDED)):
        for split in HELD_OUT:
            for group in GROUPS:
                where = {"area": area, "split": split, "group": group}
                for seed in networks.shown:
                    kind = {"kind": "mean" if seed is None else "network", "seed": seed}
                    added = networks.score(ADDED, seed, of=METRIC, **where)
                    about = {**where, "name": names.GROUPS[group], **kind}
                    yield about | ends(added, "added_ev") | {"n_units": added.n_units, "reason": added.reason}


def _draw(table: pd.DataFrame, title: str) -> Picture:
    drawn = table[table.added_ev.notna()]
    areas, splits = (list(dict.fromkeys(column)) for column in (drawn.area, drawn.split))

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(len(areas), len(splits), sharex="col", sharey=True, squeeze=False)
        for area, line in zip(areas, grid, strict=True):
            for split, axes in zip(splits, line, strict=True):
                _panel(axes, drawn[(drawn.area == area) & (drawn.split == split)])
                axes.set_title(f"{area}, {split}: {split_name(split)}")
        for axes in grid[-1]:
            axes.set_xlabel(names.metric_name(ADDED))
        legend(figure)

    height = len(areas) * (0.35 + _ROW * (len(GROUPS) + 0.5)) + 0.5
    return Picture(height, title, paint, "\n".join([NOTE, *left_out(table, "added_ev", "name")]))


def _panel(axes: Axes, part: pd.DataFrame) -> None:
    labels = [textwrap.fill(names.GROUPS[group], _NAME) for group in GROUPS]
    axes.set_yticks(range(len(GROUPS)), labels)
    axes.set_ylim(len(GROUPS) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=BLACK, linewidth=0.6)
    axes.locator_params(axis="x", nbins=5)
    for row in entries(part):
        at = GROUPS.index(row.group)
        if row.kind == "network":
            axes.plot(row.added_ev, at + 0.36, ".", color=GREY, markersize=3, label="one network or fold")
            continue
        null = "white" if "null" in row.name else LIGHT
        face = VERMILION if row.group == SIMULATED else null
        axes.barh(at, row.added_ev, height=0.5, facecolor=face, edgecolor=BLACK, linewidth=0.6)
        interval = [row.added_ev_ci_low, row.added_ev_ci_high]
        axes.plot(interval, [at, at], color=BLACK, linewidth=1.4, label="95 % interval")
