"""Trials that a split must not separate: those that share time, and those that two files contain."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, Session
from neurobench_grasp.errors import NgbError

MIN_SPIKES = 10
"""Fewer in a trial do not distinguish it from another."""

PHASE = 0.00031618
"""Seconds by which times are shifted before they are cut to whole milliseconds.

Recorders time spikes on a grid of 0.1 ms or 1/30 ms: none then lies where rounding is a matter of luck.
"""


def tied_trials(
    ids: Sequence[str], first: Ints, stop: Ints, usable: Bools, group: Sequence[str]
) -> dict[str, str]:
    """Find trials whose windows share a bin, directly or through others, or that belong to one group.

    Parameters
    ----------
    ids : sequence of str, length n_trials
    first, stop : ndarray of int64, shape (n_trials,)
        Bins of each window, ``stop`` excluded.
    usable : ndarray of bool, shape (n_trials,)
        Trials that have a window.
    group : sequence of str, length n_trials or 0
        See :class:`neurobench_grasp.contract.TrialTable`.

    Returns
    -------
    dict of str to str
        Trial → name of its set; trials on their own are left out.
    """
    sets: list[list[int]] = []
    end = -np.inf
    for i in (int(i) for i in np.argsort(first, kind="stable") if usable[i]):
        grouped = bool(sets and group and group[i]) and group[i] == group[sets[-1][-1]]
        if sets and (first[i] < end or grouped):
            sets[-1].append(i)
        else:
            sets.append([i])
        end = max(end, stop[i])
    return {ids[i]: f"with {ids[members[0]]}" for members in sets if len(members) > 1 for i in members}


def fingerprints(
    session: Session, behaviour: Mapping[str, Ragged], start: Floats, stop: Floats
) -> tuple[str, ...]:
    """Return a digest of what was recorded in the window of each trial; empty where too little was.

    Times count from the window's start, so that the same trial is known on another clock. What is compared
    are number and mean time of each unit's spikes, or the stored counts, or, in sessions without units, the
    behaviour.

    Parameters
    ----------
    session : Session
    behaviour : mapping of str to Ragged
        Signals of the trials, (trial, step, n_columns).
    start, stop : ndarray, shape (n_trials,)
        Seconds.
    """
    units = session.units
    if not len(units):
        behaviours = (np.hstack([signal[i] for signal in behaviour.values()]) for i in range(len(start)))
        return tuple(
            _digest(np.round(b, 6) + 0.0, b.size > 0 and np.ptp(b, axis=0).any()) for b in behaviours
        )
    if units.counts is not None and units.count_times is not None:
        low, high = (np.searchsorted(units.count_times, t - 1e-6) for t in (start, stop))
        counts = [units.counts[a:z].astype("<i4") for a, z in zip(low, high, strict=True)]
        return tuple(_digest(c, c.sum() >= MIN_SPIKES) for c in counts)
    number, total = _spikes_within(session, start, stop)
    return tuple(_digest(np.stack([n, t]), n.sum() >= MIN_SPIKES) for n, t in zip(number, total, strict=True))


def _spikes_within(session: Session, start: Floats, stop: Floats) -> tuple[Ints, Ints]:
    """Count each unit's spikes in each window, and add up their times from its start, in ms."""
    units = session.units
    assert units.spike_times is not None and units.spike_offsets is not None
    number = np.zeros((len(start), len(units)), np.int64)
    total = np.zeros((len(start), len(units)), np.int64)
    for u, (a, z) in enumerate(pairwise(units.spike_offsets)):
        times = units.spike_times[a:z]
        low, high = np.searchsorted(times, start), np.searchsorted(times, stop)
        passed = np.concatenate([[0.0], np.cumsum(times)])
        number[:, u] = high - low
        total[:, u] = np.floor((passed[high] - passed[low] - (high - low) * start + PHASE) * 1000)
    return number, total


def _digest(values: NDArray[Any], enough: bool) -> str:
    """Digest of an array; empty where it holds too little to distinguish one trial from another."""
    if not enough:
        return ""
    return hashlib.sha256(f"{values.shape}".encode() + np.ascontiguousarray(values).tobytes()).hexdigest()


def refuse_repeats(files: Mapping[str, Mapping[str, str]], advice: str) -> None:
    """Raise if a trial is in two files.

    Parameters
    ----------
    files : mapping of str to mapping of str to str
        File → trial → fingerprint.
    advice : str
        What to do about it.

    Raises
    ------
    NgbError
        Naming the files and how many trials they share.
    """
    owner: dict[str, tuple[str, str]] = {}
    shared: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], tuple[str, str]] = {}
    for file, trials in files.items():
        for trial, mark in trials.items():
            first, known = owner.setdefault(mark, (file, trial)) if mark else (file, trial)
            if first != file:
                shared[first, file] += 1
                example.setdefault((first, file), (known, trial))
    if shared:
        (one, other), n = shared.most_common(1)[0]
        trial, same = example[one, other]
        raise NgbError(
            f"{one} and {other} hold the same recording: {n} trial{'s' if n > 1 else ''} of one "
            f"{'are' if n > 1 else 'is'} in the other too (trial {trial} is trial {same}), so that what a "
            f"model learned from would be scored as if it were new; {advice}."
        )
