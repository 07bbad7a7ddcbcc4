"""Page of a session: the scores of its single units, model by model."""

from __future__ import annotations

from collections.abc import Iterator

from neurobench_grasp.leaderboard.site import draw
from neurobench_grasp.leaderboard.site.boards import BoardTable
from neurobench_grasp.leaderboard.site.format import number, slug
from neurobench_grasp.leaderboard.site.model_page import Grid, Part

MOST_SESSIONS, MOST_ROWS = 100, 500
"""Sessions of a board that have a page, and units in its table."""


def session_paths(table: BoardTable) -> dict[str, str]:
    """Path of the page of each session of a board, in the order of the sessions."""
    sessions = dict.fromkeys(part.session for parts in table.units.values() for part in parts)
    return {session: f"sessions/{table.id}-{slug(session)}.html" for session in [*sessions][:MOST_SESSIONS]}


def parts_of_session(table: BoardTable, session: str) -> Iterator[Part]:
    """Yield the distribution over units for the best model, and the table of all units and models."""
    scores = {
        model: {unit: float(v) for unit, v in zip(part.units, part.values, strict=True) if v == v}
        for model, parts in table.units.items()
        for part in parts
        if part.session == session
    }
    best, own = next(iter(scores.items()))
    if own:
        median = sorted(own.values())[len(own) // 2]
        yield Part(
            f"Units of {session}",
            f"Single units in new conditions, {best}, mean over networks; the dashed line is the median.",
            draw.histogram(
                f"Distribution of the single-trial EV of {len(own)} units, {best}; median {median:.3f}",
                [*own.values()],
                "single-trial EV of a unit",
            ),
        )
    units = list(dict.fromkeys(unit for found in scores.values() for unit in found))
    units.sort(key=lambda unit: -own.get(unit, -float("inf")))
    rows = [[unit, *(number(found.get(unit)) for found in scores.values())] for unit in units[:MOST_ROWS]]
    left = f", the first {MOST_ROWS} of {len(units)}" if len(units) > MOST_ROWS else ""
    caption = f"Single-trial EV of units in new conditions, mean over networks{left}"
    yield Part("Units and models", grid=Grid(caption, ["unit", *scores], rows))
