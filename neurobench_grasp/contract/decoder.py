"""Decoders: from the spikes of a population to the command of a controller, bin by bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from neurobench_grasp.contract.data import Floats, Ragged


@dataclass(frozen=True)
class DecodedTrials:
    """Training data of a decoder: the spikes of the training trials and their commands.

    Parameters
    ----------
    counts : Ragged
        (trial, lead + bin, n_units): spikes in each bin; ``lead`` bins come before the first command.
    commands : Ragged
        (trial, bin, n_features): the signal to be decoded from the bins up to this one, which is complete
        when the command is given. With bins that are wider than the controller's steps it contains what is
        needed at each step until the next bin is complete.
    condition : tuple of str, length n_trials
    dt : float
        Seconds per bin.
    group : tuple of str, length n_trials or 0
        Trials of one group overlap in time and belong in one fold; an empty name is no group.
    """

    counts: Ragged
    commands: Ragged
    condition: tuple[str, ...]
    dt: float
    group: tuple[str, ...] = ()

    @property
    def lead(self) -> int:
        """Bins of each trial before its first command."""
        return int((self.counts.lengths - self.commands.lengths).max(initial=0))


@runtime_checkable
class Decoder(Protocol):
    """Maps spikes to a command, bin by bin; trials run in parallel and independently."""

    def fit(self, train: DecodedTrials) -> None:
        """Learn from training trials."""

    def reset(self, n_trials: int) -> None:
        """Start that many new trials; forget all earlier ones."""

    def observe(self, spikes: NDArray[Any]) -> Floats:
        """Return each trial's command, (n_trials, n_features), for its newest bin, (n_trials, n_units).

        A trial that has ended continues with empty bins; its commands are not used.
        """
