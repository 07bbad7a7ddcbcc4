"""The clock of commands: which steps of a controller the command of a bin of spikes drives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.alignment.rates import to_ticks
from neurobench_grasp.contract import Floats, Ints


@dataclass(frozen=True)
class CommandClock:
    """Bins of spikes beside the steps of a controller, both counted from the start of the window.

    A bin drives the steps that end when it is complete or later, until the next bin is complete. What is
    decoded from it is therefore a command for each step that ends in this time: the first for the step that
    ends first, and so on. So no step waits for a bin that is complete, none uses a later one, and where bins
    are as wide as steps, the command of each bin drives the step of the same number.

    Parameters
    ----------
    bin_width, step : int
        Microseconds.
    """

    bin_width: int
    step: int

    @classmethod
    def of(cls, bin_s: float, step_s: float) -> CommandClock:
        """Return the clock of bins and steps of these many seconds."""
        return cls(int(to_ticks(bin_s)), int(to_ticks(step_s)))

    @property
    def n_commands(self) -> int:
        """Most steps that end between two bins: commands that are decoded from each bin."""
        return -(-self.bin_width // self.step)

    def first_step(self, bins: Ints) -> Ints:
        """Return the first step that ends when each bin is complete, or later."""
        steps: Ints = -(-(bins + 1) * self.bin_width // self.step) - 1
        return steps

    def newest_bin(self, steps: Ints) -> Ints:
        """Return the newest bin that is complete at the end of each step."""
        bins: Ints = (steps + 1) * self.step // self.bin_width - 1
        return bins

    def first_bin(self, first_step: Ints) -> Ints:
        """Return the first bin that drives no step before the given ones."""
        bins: Ints = first_step * self.step // self.bin_width
        return bins

    def steps_of(self, bins: Ints) -> Ints:
        """Return the step of each command of each bin, (n_bins, n_commands)."""
        steps: Ints = self.first_step(bins)[:, None] + np.arange(self.n_commands)
        return steps

    def on_steps(self, commands: Floats, bins: Ints, steps: Ints) -> Floats:
        """Return the command of each step.

        Parameters
        ----------
        commands : ndarray, shape (n_bins, n_commands · n_features)
        bins : ndarray of int64, shape (n_bins,)
            Consecutive. After the last, its own command remains.
        steps : ndarray of int64, shape (n_steps,)

        Returns
        -------
        ndarray, shape (n_steps, n_features)
        """
        newest = np.minimum(self.newest_bin(steps), bins[-1])
        by_command = commands.reshape(len(bins), self.n_commands, -1)
        driving: Floats = by_command[newest - bins[0], steps - self.first_step(newest)]
        return driving
