"""Firing rates on an integer time grid (protocol section 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Bools, Floats, Ints, Ragged

SMOOTHING_BINS = 3
SIXTHS = 6
"""A mean over one, two or three bins is a whole number of sixths of a spike."""
BLOCK = 1 << 24
"""Counts that are made at a time, in 8 bytes each: 128 MiB, so that few passes over the spikes are needed."""
TICKS_PER_SECOND = 1_000_000
"""Times are compared as whole microseconds, so that no bin edge falls between two floats."""


def to_ticks(seconds: Floats | float) -> Ints:
    """Seconds as whole microseconds, rounded to the nearest."""
    return np.rint(np.asarray(seconds, np.float64) * TICKS_PER_SECOND).astype(np.int64)


@dataclass(frozen=True)
class Rates:
    """Smoothed rates of trials of unequal length, kept as whole numbers.

    In eight bytes each, the rates of hours of a thousand units would not fit the memory of most machines; in
    one byte they do, and the rates of some trials, steps or units follow from them to the last bit.

    Parameters
    ----------
    sixths : Ragged
        (trial, step, n_units), sixths of a spike per bin: unsigned integers.
    dt : float
        Bin width, s.
    """

    sixths: Ragged
    dt: float

    @classmethod
    def of(cls, counts: Sequence[NDArray[Any]], valid: Sequence[Bools], dt: float) -> Rates:
        """Smooth the counts of each trial; see :func:`smooth`."""
        totals = [smoothed_sixths(*trial) for trial in zip(counts, valid, strict=True)]
        return cls(Ragged.of(totals), dt)

    def _rates(self, sixths: NDArray[Any]) -> Floats:
        rates: Floats = sixths / SIXTHS
        rates /= self.dt
        return rates

    def __len__(self) -> int:
        return len(self.sixths)

    def __getitem__(self, trial: int) -> Floats:
        return self._rates(self.sixths[trial])

    def __iter__(self) -> Iterator[Floats]:
        return map(self._rates, self.sixths)

    @property
    def values(self) -> Floats:
        """Rates of all trials, one after the other, (n_total_steps, n_units) in spikes/s."""
        return self._rates(self.sixths.values)

    @property
    def offsets(self) -> Ints:
        """Steps of the trials end to end, (n_trials + 1,)."""
        return self.sixths.offsets

    @property
    def lengths(self) -> Ints:
        """Steps of each trial, (n_trials,)."""
        return self.sixths.lengths

    def select(self, trials: Sequence[int] | Ints) -> Rates:
        """Take the given trials, in the given order."""
        return Rates(self.sixths.select(trials), self.dt)

    def part(self, trials: Sequence[int] | Ints, units: Ints) -> Ragged:
        """Return the rates of some units in some trials, spikes/s."""
        part = self.sixths.part(trials, units)
        return Ragged(self._rates(part.values), part.offsets)

    def at(self, steps: Ints, units: Ints) -> Floats:
        """Return the rates of some units at some steps, (n_steps, n_units) in spikes/s."""
        return self._rates(self.sixths.at(steps, units))


def bin_spikes(spike_times: Floats, spike_offsets: Ints, bins: Ints, dt: float) -> NDArray[Any]:
    """Count spikes in bins of the session's grid, bin ``k`` being ``[k · dt, (k + 1) · dt)``.

    Parameters
    ----------
    spike_times : ndarray, shape (n_spikes,)
        Seconds, unit after unit.
    spike_offsets : ndarray, shape (n_units + 1,)
    bins : ndarray of int64, shape (n_bins,)
        Numbers of the wanted bins, in any order; a bin may be asked for twice.
    dt : float
        Bin width in seconds, a whole number of microseconds.

    Returns
    -------
    ndarray, shape (n_bins, n_units)
        Unsigned integers of the smallest type that holds them.
    """
    n_units = len(spike_offsets) - 1
    wanted, back = np.unique(bins, return_inverse=True)
    counts = np.zeros((len(wanted), n_units), np.uint8)
    block = max(BLOCK // max(len(wanted), 1), 1)
    for first in range(0, n_units if len(wanted) else 0, block):
        offsets = spike_offsets[first : first + block + 1]
        some = _count(spike_times[offsets[0] : offsets[-1]], offsets - offsets[0], wanted, dt)
        counts = counts.astype(np.result_type(counts, np.min_scalar_type(some.max(initial=0))), copy=False)
        counts[:, first : first + block] = some
    return counts if np.array_equal(wanted, bins) else counts[back]


def _count(spike_times: Floats, spike_offsets: Ints, wanted: Ints, dt: float) -> Ints:
    """Count the spikes of some units in bins that ascend, (n_bins, n_units)."""
    n_units = len(spike_offsets) - 1
    spike_bins = np.floor_divide(to_ticks(spike_times), to_ticks(dt))
    row = np.searchsorted(wanted, spike_bins)
    hit = wanted[np.minimum(row, len(wanted) - 1)] == spike_bins
    unit = np.repeat(np.arange(n_units), np.diff(spike_offsets))
    flat = np.bincount(row[hit] * n_units + unit[hit], minlength=len(wanted) * n_units)
    return flat.reshape(len(wanted), n_units)


def smoothed_sixths(counts: NDArray[Any], valid: Bools) -> NDArray[Any]:
    """Centred 3-bin boxcar that uses valid bins only, in sixths of a spike.

    Parameters
    ----------
    counts : ndarray of integers, shape (n_bins + 2, n_units)
        One stretch, with one further bin at either end.
    valid : ndarray of bool, same shape
        False where the bin lies outside the contiguous recording of that unit.

    Returns
    -------
    ndarray, shape (n_bins, n_units)
        Six times the mean count per bin over the valid ones of each bin and its two neighbours: unsigned
        integers of the smallest type that holds them.
    """
    kind = np.min_scalar_type(SIXTHS * int(counts.max(initial=0)))
    weighted = np.where(valid, counts, 0).astype(kind)
    total = weighted[:-2] + weighted[1:-1] + weighted[2:]
    weight = valid[:-2].astype(np.uint8) + valid[1:-1] + valid[2:]
    sixths: NDArray[Any] = total * (SIXTHS // np.maximum(weight, 1)).astype(kind)
    return sixths


def smooth(counts: NDArray[Any], valid: Bools) -> Floats:
    """Centred 3-bin boxcar that uses valid bins only.

    Parameters
    ----------
    counts : ndarray, shape (n_bins + 2, n_units)
        One stretch, with one further bin at either end.
    valid : ndarray of bool, same shape
        False where the bin lies outside the contiguous recording of that unit.

    Returns
    -------
    ndarray, shape (n_bins, n_units)
        Mean count per bin over the valid ones of each bin and its two neighbours.
    """
    weighted = np.where(valid, counts, 0).astype(np.float64)
    total = weighted[:-2] + weighted[1:-1] + weighted[2:]
    weight = valid[:-2].astype(np.float64) + valid[1:-1] + valid[2:]
    return total / np.maximum(weight, 1.0)
