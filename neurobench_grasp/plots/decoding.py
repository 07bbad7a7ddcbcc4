"""Decoding: explained variance of decoded commands, feature by feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.plots.brain_control import decoder_of, left_out
from neurobench_grasp.plots.gains import spread
from neurobench_grasp.plots.layers import MEANS
from neurobench_grasp.plots.sources import ends, network, table_of, title_of
from neurobench_grasp.plots.style import (
    BLACK,
    GREY,
    LIGHT,
    VERMILION,
    Drawing,
    Picture,
    legend,
)
from neurobench_grasp.protocols.brain_control.protocol import EV, metric_of
from neurobench_grasp.records.names import DECODED, split_name
from neurobench_grasp.records.table import HELD_OUT, ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

ALL = "all"
"""In place of the name of a dimension: the mean over all."""
LOWEST, HIGHEST = -1.0, 1.5
"""The axis reaches no further, so that the others stay legible."""
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "test": {"color": BLACK, "marker": "o"},
    "ood": {"color": VERMILION, "marker": "s", "markerfacecolor": "white"},
}
_BESIDE = {"test": -0.25, "ood": 0.2}
_CLOUD = 1.2  # height of a distribution, in rows
_ROW = 0.215  # inches
_COLUMNS = 4  # areas beside each other
_Places = Mapping[tuple[str, str], float]


def decoding(networks: ScoreTable) -> Drawing:
    """Draw explained variance of decoded commands: means, every joint, all dimensions of the embedding."""
    table = table_of(networks, _rows(networks))
    return Drawing("decoding", table, _draw(table, title_of(networks)))


def _rows(networks: ScoreTable) -> Iterator[dict[str, Any]]:
    for area in networks.values("area"):
        for kind in DECODED:
            for split in HELD_OUT:
                where = {"area": area, "split": split, "decoded": kind}
                rows = networks.rows(metric_of(EV, kind), **where)
                for dimension in (ALL, *(row["dimension"] for row in rows if "dimension" in row)):
                    # networks have different embeddings, so that single dimensions have no mean over networks
                    alone = kind == "embedding" and dimension != ALL
                    for seed in networks.seeds if alone else networks.shown:
                        yield _row(networks, where, dimension, seed)


def _row(networks: ScoreTable, where: dict[str, str], dimension: str, seed: int | None) -> dict[str, Any]:
    metric = metric_of(EV, where["decoded"])
    labels = where if dimension == ALL else where | {"dimension": dimension}
    score = networks.score(metric, seed, **labels)
    about = {"decoder": decoder_of(networks), **where, "dimension": dimension, **network(seed)}
    return {**about, **ends(score, "ev"), "reason": score.reason}


def _draw(table: pd.DataFrame, title: str) -> Picture:
    drawn = table[table.ev.notna()]
    areas = list(dict.fromkeys(drawn.area))
    places = _places(drawn)
    whiskers = drawn[drawn.kind == "mean"]
    low = max(min(drawn.ev.min(), whiskers.ev_ci_low.min(), 0), LOWEST)
    high = min(np.fmax(whiskers.ev_ci_high.max(), 1), HIGHEST)
    n_columns = min(len(areas), _COLUMNS)
    n_lines = -(-len(areas) // n_columns)

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(n_lines, n_columns, sharex=True, sharey=True, squeeze=False).ravel()
        for unused in grid[len(areas) :]:
            unused.remove()
        for area, axes in zip(areas, grid, strict=False):
            axes.set_title(area)
            _panel(axes, drawn[drawn.area == area], places, low)
            axes.set_xlim(low - 0.02, high + 0.02)
            axes.locator_params(axis="x", nbins=5 if n_columns < _COLUMNS else 3)
            axes.set_xlabel("decoding EV")
        legend(figure)

    height = n_lines * (0.55 + _ROW * (max(places.values()) + 1.4)) + 0.3
    return Picture(height, title, paint, _note(table, low, high))


def _places(drawn: pd.DataFrame) -> _Places:
    """Return the height of each row: of a mean, of a joint, or of a distribution on one split."""
    places, at = {}, 0.0
    for kind in (k for k in DECODED if (drawn.decoded == k).any()):
        mine = drawn[drawn.decoded == kind]
        places[kind, ALL] = at
        single = mine[mine.dimension != ALL]
        clouds = kind == "embedding"
        for of in dict.fromkeys(single.split if clouds else single.dimension):
            at += _CLOUD if clouds else 1
            places[kind, of] = at
        at += 1.5
    return places


def _panel(axes: Axes, part: pd.DataFrame, places: _Places, low: float) -> None:
    axes.axvline(0, color=BLACK, linewidth=0.6)
    axes.set_yticks(list(places.values()), [_name(*of) for of in places])
    axes.set_ylim(max(places.values()) + 0.7, -0.7)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=True)
    for (kind, _), at in places.items():
        if kind == "joint_angles":
            axes.axhline(at, color=LIGHT, linewidth=0.5, zorder=0)
    single = (part.decoded == "embedding") & (part.dimension != ALL)
    for split, rows in part[single].groupby("split"):
        _cloud(axes, rows.ev.to_numpy(), places["embedding", str(split)], low)
    for split, rows in part[~single].groupby("split", sort=False):
        _dots(axes, rows, str(split), places, low)


def _name(kind: str, of: str) -> str:
    if of == ALL:
        return f"{DECODED[kind]}, mean"
    return f"its dimensions, {of}" if kind == "embedding" else of


def _dots(axes: Axes, rows: pd.DataFrame, split: str, places: _Places, low: float) -> None:
    """Draw means over all dimensions and single joints on one split, all networks and each."""
    heights = [places[of] for of in zip(rows.decoded, rows.dimension, strict=True)]
    rows = rows.assign(at=np.array(heights) + _BESIDE[split])
    below, rows = rows[rows.ev < low], rows[rows.ev >= low]
    network, mean = rows[rows.kind == "network"], rows[rows.kind == "mean"]
    style = _STYLES[split]
    label = f"{split}: {split_name(split)}, 95 % interval"
    axes.hlines(mean["at"], mean.ev_ci_low, mean.ev_ci_high, color=style["color"], linewidth=1.2)
    axes.plot(mean.ev, mean["at"], linestyle="none", markersize=3.5, label=label, **style)
    axes.plot(np.full(len(below), low), below["at"], "<", color=style["color"], markersize=4)
    if len(network):
        axes.plot(network.ev, network["at"] + 0.2, ".", color=GREY, markersize=2.5, label="one network")


def _cloud(axes: Axes, ev: Any, at: float, low: float) -> None:
    """Draw all dimensions of the embedding as dots over their distribution."""
    inside = ev >= low
    if np.ptp(ev[inside]) > 0:
        parts: Any = axes.violinplot(
            ev[inside], [at], orientation="horizontal", widths=0.95 * _CLOUD, showextrema=False
        )
        parts["bodies"][0].set(facecolor=LIGHT, edgecolor="0.5", linewidth=0.6, alpha=1)
    place = at + 0.6 * (spread(len(ev)) - 0.5)
    axes.plot(ev[inside], place[inside], ".", color=GREY, markersize=2.5)
    axes.plot(np.full((~inside).sum(), low), place[~inside], "<", color=GREY, markersize=3)


def _note(table: pd.DataFrame, low: float, high: float) -> str:
    """List decoder and decoded signals, what is left out, and what lies beyond the axis."""
    single = table[(table.decoded == "embedding") & (table.dimension != ALL)]
    several = (table.kind[table.dimension == ALL] == "network").any()
    lines = [
        f"Decoder: {table.decoder.iloc[0]}. "
        f"The embedding has {single.dimension.nunique()} dimensions, one dot each."
    ]
    if several:
        lines.append(f"Those of all networks are shown together, although their embeddings differ. {MEANS}")
    if beyond := int((table.ev < low).sum()):
        lines.append(f"Below the axis (triangles): {beyond} numbers.")
    whiskers = table[table.kind == "mean"]
    if (whiskers.ev_ci_low < low).any() or (whiskers.ev_ci_high > high).any():
        lines.append("Intervals that reach an end of the axis go on beyond it.")
    return "\n".join([*lines, *left_out(table, "ev", "dimension")])
