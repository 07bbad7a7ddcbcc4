"""What is shown while tasks are performed elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass

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
    """Reports how far a grid is.

    Parameters
    ----------
    grid : Grid
    progress : callable
    """

    grid: Grid
    progress: Progress
    _next: float = 0.0

    def report(self) -> bool:
        """Report, and return True, unless that was done a moment ago."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY_S
        self.progress(summary(self.grid))
        return True
