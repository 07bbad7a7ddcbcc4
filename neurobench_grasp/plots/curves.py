"""Curves: the error of a body driven by decoded spikes, by number of units and by added noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats
from neurobench_grasp.plots.brain_control import (
    BASELINES,
    STYLES,
    Hand,
    decoder_of,
    error_cells,
    error_of,
    left_out,
)
from neurobench_grasp.plots.layers import MEANS
from neurobench_grasp.plots.sources import NAN, network, table_of, title_of
from neurobench_grasp.plots.style import GREY, LIGHT, SMALL, Drawing, Picture, entries, legend
from neurobench_grasp.protocols.brain_control.protocol import ERROR, metric_of
from neurobench_grasp.protocols.brain_control.trials import areas_of, recorded_throughout
from neurobench_grasp.protocols.settings import BRAIN_CONTROL
from neurobench_grasp.records.names import DECODED, REFERENCES, split_name
from neurobench_grasp.records.table import HELD_OUT, ScoreTable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

ALL = "all"
LINES: Mapping[str, Mapping[str, Any]] = {
    "intact": {"color": GREY, "linestyle": "-", "linewidth": 0.9},
    **BASELINES,
}
_DASHES = {"embedding": "-", "joint_angles": "--"}
_HEIGHT = 2.3  # inches per area
_BESIDE = {"embedding": -0.006, "joint_angles": 0.006}
"""Shift by a share of the axis, so that intervals do not hide one another."""


def curves(
    networks: ScoreTable, references: ScoreTable | None, n_units: Mapping[str, Sequence[int]]
) -> Drawing:
    """Draw the error by number of units and by noise, by area.

    Parameters
    ----------
    networks : ScoreTable
        By the protocol ``brain-control-curves``.
    references : ScoreTable, optional
        The same by the protocol ``brain-control``: what the curves lie between.
    n_units : mapping of str to sequence of int
        All units of each area, session by session.
    """
    import pandas as pd

    table = table_of(networks, _rows(networks, n_units), "error_mm")
    if references is not None:
        places = table[["area", "split"]].drop_duplicates().itertuples(index=False)
        table = pd.concat([table, pd.DataFrame(_references(references, places))])
    return Drawing("curves", table, _draw(table, title_of(networks), n_units))


def count_units(sessions: Sequence[AlignedSession]) -> dict[str, list[int]]:
    """Count the units of each area that are decoded from, session by session."""
    counts: dict[str, list[int]] = {area: [] for area in areas_of(sessions)}
    for session in (s for s in sessions if s.trials.joint_angles is not None):
        areas = [session.units.areas[u] for u in recorded_throughout(session)[0]]
        for area in sorted(set(areas)):
            if areas.count(area) >= BRAIN_CONTROL.min_units:
                counts[area].append(areas.count(area))
    return counts


def _rows(networks: ScoreTable, n_units: Mapping[str, Sequence[int]]) -> Iterator[dict[str, Any]]:
    for area, split, kind in product(networks.values("area"), HELD_OUT, DECODED):
        metric = metric_of(ERROR, kind)
        for row in networks.rows(metric, area=area, split=split, decoded=kind):
            point = {key: row[key] for key in ("n_decoded_units", "noise") if key in row}
            where = {"area": area, "split": split, "decoded": kind, **point}
            about = {"decoder": decoder_of(networks), **where, "name": _name(kind, point)}
            about["mean_n_units"] = _place(point.get("n_decoded_units"), n_units[area])
            for seed in networks.shown:
                yield about | network(seed) | error_cells(networks.score(metric, seed, **where))


def _references(networks: ScoreTable, places: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for area, split in places:
        for name in LINES:
            hand = Hand(REFERENCES[name], reference=name)
            about = {"area": area, "split": split, "reference": name, "name": hand.name}
            error = error_of(networks, hand, area, split)
            yield {**about, "kind": "reference", "seed": None, **error_cells(error)}


def _place(n_decoded: str | None, counts: Sequence[int]) -> float:
    """Return the number of units of a point; of all units, their mean over sessions."""
    if n_decoded is None or (n_decoded == ALL and not counts):
        return NAN
    return statistics.fmean(counts) if n_decoded == ALL else float(n_decoded)


def _name(kind: str, point: Mapping[str, Any]) -> str:
    if not point:
        return DECODED[kind]
    noise = f" with noise {point['noise']:g}" if point["noise"] else ""
    n_units = point["n_decoded_units"]
    return f"{DECODED[kind]} by {n_units} unit{'' if n_units == '1' else 's'}{noise}"


def _draw(table: pd.DataFrame, title: str, n_units: Mapping[str, Sequence[int]]) -> Picture:
    drawn = table[table.error_mm.notna()]
    curve = drawn[drawn.kind != "reference"]
    places = list(dict.fromkeys(zip(curve.area, curve.split, strict=True)))
    numbers = sorted({int(n) for n in curve.n_decoded_units if n != ALL})
    most = drawn[["error_mm", "error_mm_ci_high"]].max().max()

    def paint(figure: SubFigure) -> None:
        grid = figure.subplots(len(places), 2, sharex="col", sharey=True, squeeze=False)
        for (area, split), (left, right) in zip(places, grid, strict=True):
            here = drawn[(drawn.area == area) & (drawn.split == split)]
            mine = here[here.kind != "reference"]
            _lines((left, right), here[here.kind == "reference"])
            _by_units(left, mine[mine.noise == 0], n_units[area])
            left.set_xticks(numbers, map(str, numbers))
            _by_noise(right, mine[mine.n_decoded_units == ALL])
            left.set_title(f"{area}, {split}: fewer units")
            right.set_title(f"{area}, {split}: noise on what is decoded")
            left.set_ylabel("tracking error (mm)")
        grid[-1, 0].set_xlabel("units that are decoded")
        grid[-1, 1].set_xlabel("noise / standard deviation of the signal")
        grid[0, 0].set_ylim(0, 1.03 * most)
        legend(figure)

    return Picture(len(places) * _HEIGHT + 0.6, title, paint, _note(table, n_units))


def _lines(panels: Sequence[Axes], references: pd.DataFrame) -> None:
    for row in entries(references):
        for axes in panels:
            axes.axhline(row.error_mm, label=row.name, zorder=0, **LINES[row.reference])


def _by_units(axes: Axes, part: pd.DataFrame, counts: Sequence[int]) -> None:
    axes.set_xscale("log")
    axes.set_xticks([], minor=True)
    whole = _place(ALL, counts)
    axes.axvline(whole, color=LIGHT, linewidth=0.8, zorder=0)
    axes.text(whole, 0.02, _all(counts), transform=axes.get_xaxis_transform(), ha="right", fontsize=SMALL)
    _curves(axes, part, "mean_n_units")


def _by_noise(axes: Axes, part: pd.DataFrame) -> None:
    levels = sorted(set(part.noise))
    if len(levels) > 1:  # equal factors at equal distances, and 0 one of them away
        axes.set_xscale("symlog", base=2, linthresh=levels[1], linscale=0.5)
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    axes.set_xticks([], minor=True)
    _curves(axes, part, "noise")


def _curves(axes: Axes, part: pd.DataFrame, along: str) -> None:
    for kind in (k for k in DECODED if (part.decoded == k).any()):
        style, label = STYLES[kind], f"decoded {DECODED[kind]}, 95 % interval"
        mine = part[part.decoded == kind].sort_values(along)
        mean, single = mine[mine.kind == "mean"], mine[mine.kind == "network"]
        at = _beside(axes, mean[along], _BESIDE[kind])
        axes.vlines(at, mean.error_mm_ci_low, mean.error_mm_ci_high, color=style["color"], linewidth=0.7)
        axes.plot(at, mean.error_mm, _DASHES[kind], markersize=3.5, label=label, **style)
        if len(single):
            at = _beside(axes, single[along], 3 * _BESIDE[kind])
            axes.plot(at, single.error_mm, ".", color=GREY, markersize=2.5, label="one network")


def _beside(axes: Axes, places: pd.Series[float], share: float) -> Floats:
    """Shift places by a share of the axis, whatever its scale."""
    scale = axes.xaxis.get_transform()
    at = np.asarray(scale.transform(places.to_numpy()))
    return np.asarray(scale.inverted().transform(at + share * np.ptp(at)))


def _all(counts: Sequence[int]) -> str:
    """Label the place of all units."""
    low, high = min(counts), max(counts)
    return f"all ({low}) " if low == high else f"all ({low} to {high}) "


def _note(table: pd.DataFrame, n_units: Mapping[str, Sequence[int]]) -> str:
    splits = (f"On {split}: {split_name(split)}." for split in dict.fromkeys(table.split))
    lines = [" ".join([f"Decoder: {table.decoder.iloc[0]}.", *splits])]
    if any(len(counts) > 1 for counts in n_units.values()):
        lines.append(
            "A number of units: mean over the sessions that have more. All: at the mean over sessions."
        )
    lines += [MEANS] if (table.kind == "network").any() else []
    if not (table.kind == "reference").any():
        names = ", ".join(REFERENCES[name] for name in LINES)
        lines.append(f"No lines of {names}: these networks lack a record by the protocol brain-control.")
    return "\n".join([*lines, *left_out(table, "error_mm", "name")])
