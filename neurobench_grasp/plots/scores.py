"""Scores: the model, animal by animal, beside every reference, with intervals and ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from neurobench_grasp.leaderboard.standings import METRIC
from neurobench_grasp.plots.sources import cells, table_of, title_of
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
    whisker,
)
from neurobench_grasp.protocols.encoding.references import REFERENCES
from neurobench_grasp.records.names import split_name
from neurobench_grasp.records.table import HELD_OUT, Score, ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

_ROW = 0.19  # inches per name
STYLES: Mapping[str, Mapping[str, Any]] = {
    "model": {"color": VERMILION, "marker": "D"},
    "animal": {"color": VERMILION, "marker": "s", "markerfacecolor": "white"},
    "reference": {"color": BLACK, "marker": "o", "markerfacecolor": "white"},
}
"""What has a separate line, with its interval."""


def scores(networks: ScoreTable) -> Drawing:
    """Draw explained variance of a model and of its references, by area and split."""
    table = table_of(networks, _rows(networks))
    return Drawing("scores", table, _draw(table, title_of(networks)))


def _rows(networks: ScoreTable) -> Iterator[dict[str, Any]]:
    model = networks.first.record.model
    for area in networks.values("area"):
        for split in HELD_OUT:
            where = {"area": area, "split": split}
            for seed in networks.shown:
                kind = "model" if seed is None else "network"
                yield _row(where, kind, model, networks.score(METRIC, seed, **where), seed)
            for kind, label in (("animal", "subject"), ("session", "session")):
                for name, score in networks.along(label, METRIC, **where).items():
                    yield _row(where, kind, name, score)
            for name in REFERENCES:
                yield _row(where, "reference", name, networks.score(METRIC, reference=name, **where))
            yield _row(where, "ceiling", "ceiling", networks.score("ceiling", of=METRIC, **where))


def _row(
    where: dict[str, str], kind: str, name: str, score: Score, seed: int | None = None
) -> dict[str, Any]:
    return {**where, "kind": kind, "name": name, "seed": seed, **cells(score)}


def _draw(table: pd.DataFrame, title: str) -> Picture:
    table = table.astype({"n_units": "Int64"})
    splits = [s for s in HELD_OUT if table.ev[table.split == s].notna().any()]
    drawn = table[table.ev.notna() & table.split.isin(splits) & table.kind.isin(STYLES)]
    names = list(dict.fromkeys(zip(drawn.kind, drawn.name, strict=True)))
    areas = list(dict.fromkeys(table.area))

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(len(areas), len(splits), sharex=True, sharey=True, squeeze=False)
        for area, line in zip(areas, grid, strict=True):
            for split, axes in zip(splits, line, strict=True):
                part = table[(table.area == area) & (table.split == split)]
                _panel(axes, part, names)
                n_units = part.n_units[part.kind == "model"].max()
                axes.set_title(f"{area}, {split}: {split_name(split)}; {n_units} units")
        for axes in grid[-1]:
            axes.set_xlabel("single-trial explained variance (EV)")
        legend(figure)

    height = len(areas) * (0.35 + _ROW * (len(names) + 1)) + 0.5
    return Picture(height, title, paint, _note(table, splits))


def _panel(axes: Axes, part: pd.DataFrame, names: list[tuple[str, str]]) -> None:
    axes.axvline(0, color=BLACK, linewidth=0.6)
    for row in entries(part[part.kind == "ceiling"]):
        if row.ev_ci_low == row.ev_ci_low:
            axes.axvspan(row.ev_ci_low, row.ev_ci_high, color=LIGHT, linewidth=0, zorder=0)
        axes.axvline(
            row.ev, color="0.4", linestyle="--", linewidth=1, zorder=1, label="ceiling (shaded: 95 %)"
        )
    axes.set_yticks(range(len(names)), [name for _, name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    for row in entries(part[part.ev.notna() & (part.kind != "ceiling")]):
        if row.kind == "network":  # the model has the first line
            axes.plot(row.ev, 0.28, ".", color=VERMILION, markersize=3, label="one network")
        elif row.kind == "session":
            axes.plot(row.ev, -0.28, "|", color=GREY, markersize=4, label="one session")
        else:
            ends, at = (row.ev_ci_low, row.ev_ci_high), names.index((row.kind, row.name))
            label = f"{row.kind}, 95 % interval"
            whisker(axes, row.ev, ends, at, markersize=4.5, label=label, **STYLES[row.kind])


def _note(table: pd.DataFrame, splits: list[str]) -> str:
    """List what is left out of the figure, and what intervals do not cover."""
    with_reason = table[(table.reason != "") & ~table.kind.isin(["network", "session"])]
    absent: list[str] = []
    limits: list[str] = []
    for reason, rows in with_reason.groupby("reason", sort=False):
        where = "" if set(rows.split) == set(splits) else f" on {' and '.join(dict.fromkeys(rows.split))}"
        if rows.ev.isna().all():
            absent.append(f"{', '.join(dict.fromkeys(rows.name))}{where} ({reason})")
        else:
            plural = {"reference": "references", "animal": "animals"}
            kinds = " and ".join(plural.get(k, k) for k in dict.fromkeys(rows.kind))
            limits.append(f"{kinds}{where}: {reason}")
    texts = [f"Left out: {'; '.join(absent)}."] if absent else []
    return "\n".join([*texts, *(sentence(text) for text in limits)])
