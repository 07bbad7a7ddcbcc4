"""Brain control: the error of a body driven by decoded spikes, beside its references.

After Figure 4 of Marin Vargas et al.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from neurobench_grasp.plots.sources import ends, table_of, title_of
from neurobench_grasp.plots.style import (
    BLACK,
    BLUE,
    GREY,
    VERMILION,
    Drawing,
    Picture,
    entries,
    legend,
    sentence,
    whisker,
)
from neurobench_grasp.protocols.brain_control.protocol import ERROR, metric_of
from neurobench_grasp.records.names import DECODED, REFERENCES, split_name
from neurobench_grasp.records.table import HELD_OUT, Score, ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

STYLES: Mapping[str, Mapping[str, Any]] = {
    "embedding": {"color": VERMILION, "marker": "D"},
    "joint_angles": {"color": BLUE, "marker": "s", "markerfacecolor": "white"},
}
BASELINES: Mapping[str, Mapping[str, Any]] = {
    "average_trajectory": {"color": BLACK, "linestyle": "-.", "linewidth": 0.9},
    "average_posture": {"color": BLACK, "linestyle": "--", "linewidth": 0.9},
}
"""References without spikes, and the style of their lines."""


class Hand(NamedTuple):
    """One hand that is shown: its name, and the labels of its row."""

    name: str
    decoded: str = "embedding"
    reference: str = ""


HANDS = (
    Hand(REFERENCES["intact"], reference="intact"),
    *(Hand(f"decoded {name}", kind) for kind, name in DECODED.items()),
    *(Hand(REFERENCES[name], reference=name) for name in ("decoded_posture", "shifted_spikes", *BASELINES)),
)
_ROW = 0.19  # inches per hand


def brain_control(networks: ScoreTable) -> Drawing:
    """Draw tracking errors of a body that is driven by decoded spikes, by area and split."""
    table = table_of(networks, _rows(networks), "error_mm")
    return Drawing("brain_control", table, _draw(table, title_of(networks), decoder_of(networks)))


def decoder_of(networks: ScoreTable) -> str:
    """Name of the decoder of a record."""
    return str(networks.first.record.protocol["settings"]["decoder"])


def error_of(networks: ScoreTable, hand: Hand, area: str, split: str, seed: int | None = None) -> Score:
    """Tracking error of a hand, of one network or over all."""
    return networks.score(metric_of(ERROR, hand.decoded), seed, **_labels(hand, area, split))


def _labels(hand: Hand, area: str, split: str) -> dict[str, str]:
    reference = {"reference": hand.reference} if hand.reference else {}
    return {"area": area, "split": split, "decoded": hand.decoded, **reference}


def error_cells(score: Score) -> dict[str, Any]:
    """Columns of a table of tracking errors."""
    return {**ends(score, "error_mm"), "reason": score.reason}


def _rows(networks: ScoreTable) -> Iterator[dict[str, Any]]:
    for area in networks.values("area"):
        for split in HELD_OUT:
            for hand in HANDS:
                where = {"decoder": decoder_of(networks), "area": area, "split": split, **hand._asdict()}
                for seed in networks.shown:
                    kind = "network" if seed is not None else "reference" if hand.reference else "model"
                    error = error_of(networks, hand, area, split, seed)
                    yield {**where, "kind": kind, "seed": seed, **error_cells(error)}
                labels = _labels(hand, area, split)
                sessions = networks.along("session", metric_of(ERROR, hand.decoded), **labels)
                for name, error in sessions.items():
                    yield {**where, "kind": "session", "session": name, **error_cells(error)}


def _draw(table: pd.DataFrame, title: str, decoder: str) -> Picture:
    drawn = table[table.error_mm.notna()]
    areas, splits = (list(dict.fromkeys(column)) for column in (drawn.area, drawn.split))

    most = drawn[["error_mm", "error_mm_ci_high"]].max().max()

    def paint(figure: SubFigure) -> None:
        from matplotlib.ticker import MaxNLocator

        grid = figure.subplots(len(areas), len(splits), sharex=True, sharey=True, squeeze=False)
        for area, line in zip(areas, grid, strict=True):
            for split, axes in zip(splits, line, strict=True):
                _panel(axes, drawn[(drawn.area == area) & (drawn.split == split)])
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
                axes.set_title(f"{area}, {split}: {split_name(split)}")
        for axes in grid[-1]:
            axes.set_xlabel("tracking error (mm)")
            axes.set_xlim(0, 1.03 * most)
        legend(figure)

    height = len(areas) * (0.35 + _ROW * (len(HANDS) + 1)) + 0.5
    notes = [f"Decoder: {decoder}. Across dots: 95 % intervals.", *left_out(table, "error_mm", "name")]
    return Picture(height, title, paint, "\n".join(notes))


def _panel(axes: Axes, part: pd.DataFrame) -> None:
    names = [hand.name for hand in HANDS]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for row in entries(part):
        at = names.index(row.name)
        if row.kind == "network":
            axes.plot(row.error_mm, at + 0.3, ".", color=GREY, markersize=3, label="one network")
            continue
        if row.kind == "session":
            axes.plot(row.error_mm, at - 0.3, "x", color=GREY, markersize=3.5, label="one session")
            continue
        if row.reference in BASELINES:
            axes.axvline(row.error_mm, label=row.name, zorder=0, **BASELINES[row.reference])
        reference = {"color": BLACK, "marker": "o", "markerfacecolor": "white"}
        style = STYLES[row.decoded] if row.kind == "model" else reference
        ends = (row.error_mm_ci_low, row.error_mm_ci_high)
        whisker(axes, row.error_mm, ends, at, markersize=4.5, **style)


def left_out(table: pd.DataFrame, column: str, name: str) -> list[str]:
    """List, reason by reason, what has no number, and what intervals do not cover.

    Parameters
    ----------
    table : DataFrame
        With ``area``, ``split``, ``kind``, ``reason``.
    column, name : str
        Columns of the numbers, and of what they are of.
    """
    lines = []
    with_reason = table[(table.reason != "") & ~table.kind.isin(["network", "session"])]
    for reason, rows in with_reason.groupby("reason", sort=False):
        missing = rows[rows[column].isna()]
        places: dict[str, list[str]] = {}
        for (area, split), mine in missing.groupby(["area", "split"], sort=False):
            whole = table[(table.area == area) & (table.split == split)][column].isna().all()
            what = "" if whole else f"{', '.join(dict.fromkeys(mine[name]))} of "
            places.setdefault(what + str(area), []).append(str(split))
        if places:
            missing_at = "; ".join(f"{what} on {' and '.join(splits)}" for what, splits in places.items())
            lines.append(f"Left out: {missing_at} ({reason}).")
        else:
            lines.append(sentence(str(reason)))
    return lines
