"""What is shown while tasks are performed elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from neurobench_grasp.contract import Progress
from neurobench_grasp.run.grid import Grid
from neurobench_grasp.run.how_far import summary

EVERY_S = 2.0
"""Seconds between reports, at least."""


class Left(KeyboardInterrupt):
    """Interrupted, while tasks go on elsewhere; the message says which, and how to find them again."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"Stopped watching: {what}. `ngb status` shows what is done, and the same command continues; "
            "with --cancel, an interrupt ends what is running."
        )


@dataclass
class Watch:
    """Reports how far a grid is, when that has changed.

    Parameters
    ----------
    grid : Grid
    progress : callable
    """

    grid: Grid
    progress: Progress
    _next: float = 0.0
    _counts: Mapping[str, int] = field(default_factory=dict)

    def report(self) -> bool:
        """Look, and return True, unless that was done a moment ago."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY_S
        counts = self.grid.counts()
        if counts != self._counts:
            self._counts = counts
            self.progress(summary(self.grid))
        return True
