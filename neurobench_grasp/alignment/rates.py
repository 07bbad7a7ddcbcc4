"""Firing rates on an integer time grid (protocol section 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Bools, Floats, Ints

SMOOTHING_BINS = 3
TICKS_PER_SECOND = 1_000_000
"""Times are compared as whole microseconds, so that no bin edge falls between two floats."""


def to_ticks(seconds: Floats | float) -> Ints:
    """Seconds as whole microseconds, rounded to the nearest."""
    return np.rint(np.asarray(seconds, np.float64) * TICKS_PER_SECOND).astype(np.int64)


def bin_spikes(spike_times: Floats, spike_offsets: Ints, bins: Ints, dt: float) -> NDArray[np.int32]:
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
    ndarray of int32, shape (n_bins, n_units)
    """
    n_units = len(spike_offsets) - 1
    wanted, back = np.unique(bins, return_inverse=True)
    if len(wanted) == 0:
        return np.zeros((0, n_units), np.int32)
    spike_bins = np.floor_divide(to_ticks(spike_times), to_ticks(dt))
    row = np.searchsorted(wanted, spike_bins)
    hit = wanted[np.minimum(row, len(wanted) - 1)] == spike_bins
    unit = np.repeat(np.arange(n_units), np.diff(spike_offsets))
    flat = np.bincount(row[hit] * n_units + unit[hit], minlength=len(wanted) * n_units)
    return flat.reshape(len(wanted), n_units).astype(np.int32)[back]


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
