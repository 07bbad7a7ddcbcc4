"""Gains: how much better the model explains each unit than references do, network by network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.leaderboard import ranking
from neurobench_grasp.leaderboard.standings import METRIC, SPLIT
from neurobench_grasp.plots.sources import NAN, table_of, title_of
from neurobench_grasp.plots.style import (
    BLACK,
    GREY,
    LIGHT,
    VERMILION,
    Drawing,
    Picture,
    entries,
    legend,
    sentence,
)
from neurobench_grasp.records.names import metric_name
from neurobench_grasp.records.table import GAIN, RowKey, Score, ScoreTable
from neurobench_grasp.scoring.networks import mean_of_networks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

OVER = ("linear_kinematic", "untrained", "phase_mean")
_HEIGHT = 2.9  # inches
_BEYOND = 3
"""The axis reaches no further beyond the quartiles of the units than this many times their distance."""


def gains(networks: ScoreTable, metric: str = METRIC) -> Drawing:
    """Draw the gains of a model over references, on held-out conditions, paired unit by unit.

    Parameters
    ----------
    networks : ScoreTable
    metric : str
        Of :data:`~neurobench_grasp.records.table.EXPLAINED_VARIANCE`.
    """
    areas = networks.values("area")
    rows = (row for over in OVER for area in areas for row in _rows(networks, metric, over, area))
    table = table_of(networks, rows, "gain_ev")
    return Drawing("gains", table, _draw(table, metric, title_of(networks)))


def _rows(networks: ScoreTable, metric: str, over: str, area: str) -> Iterator[dict[str, Any]]:
    where = {"area": area, "split": SPLIT}
    model, reference = (networks.unit_scores(RowKey(metric, reference=name, **where)) for name in ("", over))
    if not model or not reference:
        reason = networks.score(metric, reference=over, **where).reason
        reason = networks.first.problem.rstrip(".") or reason or "the record has no scores of single units"
        yield _row(over, area, "overall", reason=reason)
        return
    of_networks = ranking.gains(model, reference)
    total = networks.score(f"{GAIN}{over}", of=metric, **where)
    if total.value is None:
        yield _row(over, area, "overall", reason=networks.score(metric, **where).reason)
        return
    if all(np.all(np.abs(part.values) < ranking.RESOLUTION) for parts in of_networks for part in parts):
        yield _row(over, area, "overall", reason="the model does not differ from it")
        return
    for part in mean_of_networks(of_networks):
        for unit, value in zip(part.units, part.values.tolist(), strict=True):
            yield _row(over, area, "unit", session=part.session, unit=unit, gain_ev=value)
    for seed in networks.seeds:
        one = networks.score(f"{GAIN}{over}", seed, of=metric, **where)
        yield _row(over, area, "network", seed=seed, reason=total.reason, **_summary(one))
    yield _row(over, area, "overall", reason=total.reason, **_summary(total))


def _row(over: str, area: str, kind: str, **cells: Any) -> dict[str, Any]:
    columns = {"session": None, "unit": None, "seed": None, "gain_ev": NAN, "gain_ev_ci_low": NAN,
               "gain_ev_ci_high": NAN, "reason": ""}  # fmt: skip
    return {"over": over, "area": area, "kind": kind, **columns, **cells}


def _summary(total: Score) -> dict[str, Any]:
    low, high = total.ci or (NAN, NAN)
    return {"gain_ev": total.value, "gain_ev_ci_low": low, "gain_ev_ci_high": high}


def _draw(table: pd.DataFrame, metric: str, title: str) -> Picture:
    shown = [over for over in OVER if table.gain_ev[table.over == over].notna().any()]
    areas = list(dict.fromkeys(table.area))
    ends = {over: _limits(table[table.over == over]) for over in shown}

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(1, len(OVER))
        for unused in grid[len(shown) :]:
            unused.remove()
        for over, axes in zip(shown, grid, strict=False):
            axes.set_title(f"over {over}")
            axes.axhline(0, color=BLACK, linewidth=0.6)
            axes.set_xticks(range(len(areas)), areas)
            axes.set_xlim(-0.5, len(areas) - 0.4)
            for at, area in enumerate(areas):
                _violin(axes, table[(table.over == over) & (table.area == area)], at, ends[over])
            margin = 0.06 * (ends[over][1] - ends[over][0])
            axes.set_ylim(ends[over][0] - margin, ends[over][1] + margin)
        grid[0].set_ylabel(f"gain in {metric_name(metric)}\non held-out conditions")
        legend(figure)

    return Picture(_HEIGHT, title, paint, _note(table, ends))


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """Return the limits of the axis, which single units must not make illegible."""
    units = table.gain_ev[table.kind == "unit"]
    low, high = units.quantile([0.25, 0.75])
    beyond = _BEYOND * (high - low)
    others = table.loc[table.kind != "unit", ["gain_ev", "gain_ev_ci_low", "gain_ev_ci_high"]]
    return (
        float(np.nanmin([max(low - beyond, units.min()), others.min().min()])),
        float(np.nanmax([min(high + beyond, units.max()), others.max().max()])),
    )


def _violin(axes: Axes, part: pd.DataFrame, at: float, ends: tuple[float, float]) -> None:
    units = part.gain_ev[part.kind == "unit"].dropna().to_numpy()
    if not len(units):
        return
    inside = (units >= ends[0]) & (units <= ends[1])
    if np.ptp(units[inside]) > 0:
        parts: Any = axes.violinplot(units[inside], [at], widths=0.62, showextrema=False)
        parts["bodies"][0].set(facecolor=LIGHT, edgecolor="0.5", linewidth=0.6, alpha=1)
    place = at + 0.24 * (spread(len(units)) - 0.5)
    axes.plot(place[inside], units[inside], ".", color=GREY, markersize=2.5, label="one unit")
    for edge, marker, beyond in ((ends[0], "v", units < ends[0]), (ends[1], "^", units > ends[1])):
        axes.plot(place[beyond], np.full(beyond.sum(), edge), marker, color=GREY, markersize=3)
    networks = part.gain_ev[part.kind == "network"].to_numpy()
    if len(networks) > 1:
        axes.plot(
            np.full(len(networks), at + 0.5),
            networks,
            "o",
            color=BLACK,
            markersize=2.5,
            label="mean of one network",
        )
    for row in entries(part[part.kind == "overall"]):
        axes.plot([at + 0.38] * 2, [row.gain_ev_ci_low, row.gain_ev_ci_high], color=VERMILION, linewidth=1.4)
        axes.plot(at + 0.38, row.gain_ev, "D", color=VERMILION, markersize=4.5, label="mean, 95 % interval")


def spread(n: int) -> Floats:
    """Return reproducible jitter: fractional parts of multiples of the golden ratio."""
    return np.arange(1.0, n + 1) * ((5**0.5 - 1) / 2) % 1


def _note(table: pd.DataFrame, ends: Mapping[str, tuple[float, float]]) -> str:
    """List what is left out, what intervals do not cover, and how many units lie beyond the axis."""
    with_reason = table[table.reason != ""]
    drawn = with_reason.gain_ev.notna()
    lines = [
        f"Left out: {' and '.join(dict.fromkeys(rows.over))} ({reason})."
        for reason, rows in with_reason[~drawn].groupby("reason", sort=False)
    ]
    lines += [sentence(reason) for reason in dict.fromkeys(with_reason.reason[drawn])]
    beyond = []
    for over, (low, high) in ends.items():
        units = table.gain_ev[(table.kind == "unit") & (table.over == over)]
        if n := int(((units < low) | (units > high)).sum()):
            beyond.append(f"{n} of {len(units)} over {over}")
    if beyond:
        lines.append(f"Units beyond the axis (triangles): {', '.join(beyond)}.")
    return "\n".join(lines)
