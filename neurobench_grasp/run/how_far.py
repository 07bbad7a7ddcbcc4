"""How far a grid is, as text."""

from __future__ import annotations

from collections import defaultdict

from neurobench_grasp.run.grid import DONE, FAILED, RUNNING, WAITING, Grid

SAMPLE = 20
"""Finished tasks of a kind whose mean time is used."""


class HowFar(str):
    """A message on how far a grid is.

    Parameters
    ----------
    text : str
    brief : str
        Percentage, and the time left where it is known; a terminal goes on showing it beside later messages.
    """

    brief: str

    def __new__(cls, text: str, brief: str) -> HowFar:
        """Make the message."""
        message = super().__new__(cls, text)
        message.brief = brief
        return message


def summary(grid: Grid, before: str = "") -> HowFar:
    """Return how far a grid is, as one line, which begins with ``before``."""
    counts = grid.counts()
    parts = [f"{counts[DONE]} of {len(grid.tasks)} tasks done"]
    parts += [f"{counts[name]} {name}" for name in (RUNNING, WAITING, FAILED) if counts[name]]
    seconds = time_left(grid)
    left = f"about {duration(seconds)} left" if seconds else ""
    share = f"{counts[DONE] / max(len(grid.tasks), 1):.0%}"
    text = "; ".join(filter(None, (", ".join(parts), left)))
    return HowFar(before + text, ", ".join(filter(None, (share, left))))


def time_left(grid: Grid) -> float | None:
    """Estimate the seconds that are left, from the mean time of finished tasks of each kind.

    ``None`` if none of some kind has finished yet, or nothing is running.
    """
    done: defaultdict[str, list[int]] = defaultdict(list)
    open_: defaultdict[str, int] = defaultdict(int)
    running = 0
    for i, task in enumerate(grid.tasks):
        state = grid.state(i)
        if state.name == DONE:
            done[task.kind].append(i)
        elif not state.ended:
            open_[task.kind] += 1
            running += state.name == RUNNING
    if not running or any(not done[kind] for kind in open_):
        return None
    total = 0.0
    for kind, n in open_.items():
        sample = done[kind][-SAMPLE:]
        total += n * sum(map(grid.seconds, sample)) / len(sample)
    return total / running


def duration(seconds: float) -> str:
    """Format a duration."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
