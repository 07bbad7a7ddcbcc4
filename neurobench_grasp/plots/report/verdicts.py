"""Verdicts: the statistic of every claim of the reference study in smallest effects of interest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.leaderboard.claims import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from neurobench_grasp.plots.sources import NAN
from neurobench_grasp.plots.style import (
    BLACK,
    BLUE,
    GREY,
    LIGHT,
    VERMILION,
    Drawing,
    Picture,
    entries,
    legend,
    whisker,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import SubFigure

STYLES: Mapping[str, Mapping[str, Any]] = {
    SUPPORTED: {"color": BLUE, "marker": "D"},
    CONTRADICTED: {"color": VERMILION, "marker": "X"},
    INCONCLUSIVE: {"color": BLACK, "marker": "o", "markerfacecolor": "white"},
}
_BEYOND = 12.0
"""The axis reaches this many effects of interest at most."""
_ROW = 0.2  # inches
_COLUMNS = 75
_NOTE = (
    "Across dots: 95 % intervals. Supported, contradicted: the interval lies above, below 0. The unit is the "
    "smallest effect of interest of each claim, so that EV and mm share an axis; shaded: smaller ones. "
    f"Beyond {_BEYOND:g} of them: at the edge."
)


def verdicts(claims: Iterable[Mapping[str, Any]]) -> Drawing:
    """Draw the claims that can be measured.

    Parameters
    ----------
    claims : iterable of mapping
        Rows of :func:`neurobench_grasp.leaderboard.claims.judged`.
    """
    import pandas as pd

    measured = [row for row in claims if row["value"] is not None and row["effect"]]
    if not measured:
        raise UnsupportedError("none of the claims can be measured; the reasons are in their table")
    table = pd.DataFrame([_row(row) for row in measured])
    return Drawing("claims", table, _draw(table))


def _row(claim: Mapping[str, Any]) -> dict[str, Any]:
    low, high = claim["ci"] or (NAN, NAN)
    kept = {name: claim[name] for name in ("name", "claim", "area", "statistic", "unit", "verdict", "power")}
    numbers = {"value": claim["value"], "value_ci_low": low, "value_ci_high": high, "effect": claim["effect"]}
    return kept | numbers | {"reason": claim["reason"], "remark": claim["remark"]}


def _draw(table: pd.DataFrame) -> Picture:
    def paint(figure: SubFigure) -> None:
        axes = figure.subplots()
        axes.axvspan(-1, 1, color=LIGHT, linewidth=0, zorder=0)
        axes.axvline(0, color=BLACK, linewidth=0.6)
        for at, row in enumerate(entries(table)):
            value, low, high = (
                min(max(x / row.effect, -_BEYOND), _BEYOND)
                for x in (row.value, row.value_ci_low, row.value_ci_high)
            )
            whisker(axes, value, (low, high), at, markersize=4.5, label=row.verdict, **STYLES[row.verdict])
        axes.set_yticks(range(len(table)), [_label(row) for row in entries(table)])
        axes.set_ylim(len(table) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("statistic / smallest effect of interest", color=GREY)
        legend(figure)

    return Picture(len(table) * _ROW + 0.7, "", paint, _NOTE)


def _label(row: Any) -> str:
    return ", ".join(filter(None, (textwrap.shorten(row.claim, _COLUMNS, placeholder="…"), row.area)))


def missing(claims: Iterable[Mapping[str, Any]]) -> Sequence[tuple[str, str]]:
    """Return the claims that cannot be measured, and why."""
    return list(dict.fromkeys((row["claim"], row["reason"]) for row in claims if row["value"] is None))
