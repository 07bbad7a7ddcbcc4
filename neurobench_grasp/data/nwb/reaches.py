"""Several reaches in one row of a trials table, and conditions from the direction of a movement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from neurobench_grasp.contract import Floats, Signal, TrialTable
from neurobench_grasp.data.nwb.layout import DirectionLayout

FARTHEST = 0.1
"""Seconds between an event and the nearest sample beyond which the position is not known."""


def cut_trials(
    table: TrialTable, cues: Sequence[Floats], bounds: Mapping[str, str]
) -> tuple[TrialTable, list[str]]:
    """Begin a trial at each cue; it ends at the next cue or, the last, where the row ends.

    Parameters
    ----------
    table : TrialTable
    cues : sequence of ndarray, shape (n_cues,)
        Seconds, for each row of the table; NaN stands for no cue.
    bounds : mapping of str to str
        Event → ``start`` or ``stop``: those events that are the bounds of the trial.

    Returns
    -------
    TrialTable
        Trial ``7.2`` begins at the second cue of trial ``7``. Events outside their trial are missing.
    list of str
        Trials without a cue, or whose cues do not rise or lie outside of them; they are left out.
    """
    rows, names, edges, unusable = [], [], [], []
    for i, times in enumerate(cues):
        number = np.flatnonzero(np.isfinite(times))
        at = np.append(times[number], table.stop[i])
        if len(number) == 0 or at[0] < table.start[i] or np.any(np.diff(at) <= 0):
            unusable.append(table.ids[i])
            continue
        rows += [i] * len(number)
        names += [f"{table.ids[i]}.{k + 1}" for k in number]
        edges += list(pairwise(at))
    start, stop = np.array(edges, dtype=np.float64).reshape(-1, 2).T
    cut = replace(table.select(rows), ids=tuple(names), start=start, stop=stop)
    events = {e: np.where((t >= start) & (t <= stop), t, np.nan) for e, t in cut.events.items()}
    events |= {event: {"start": start, "stop": stop}[bound] for event, bound in bounds.items()}
    return replace(cut, events=events), unusable


def label_directions(signal: Signal, trials: TrialTable, how: DirectionLayout) -> tuple[list[str], Floats]:
    """Label trials by the sector of the direction in which a signal is displaced.

    Parameters
    ----------
    signal : Signal
    trials : TrialTable
    how : DirectionLayout

    Returns
    -------
    list of str, length n_trials
        Middle of the sector in degrees; empty for trials without a direction.
    ndarray, shape (n_trials,)
        Displacement in the signal's unit; NaN where the position is not known.
    """
    columns = [signal.columns.index(axis) for axis in how.axes]
    start = trials.start if how.start is None else trials.events[how.start]
    stop = trials.stop if how.stop is None else trials.events[how.stop]
    moved = _position_at(signal, columns, stop) - _position_at(signal, columns, start)
    distance: Floats = np.hypot(*moved.T)
    known = distance[np.isfinite(distance)]
    enough = distance > 0
    if len(known):
        enough &= distance >= how.least * np.median(known)
    width = 2 * np.pi / how.sectors
    angle = np.arctan2(moved[:, 1], moved[:, 0])
    sector = np.rint(np.where(enough, angle, 0.0) / width).astype(np.int64) % how.sectors
    labels = [f"{360 / how.sectors * k:g}" if far else "" for k, far in zip(sector, enough, strict=True)]
    return labels, distance


def _position_at(signal: Signal, columns: Sequence[int], when: Floats) -> Floats:
    """Return the position at some times, (n_times, n_columns); NaN where no sample is near."""
    values = signal.values[:, columns]
    known = np.isfinite(values).all(axis=1)
    times, values = signal.times[known], values[known]
    if len(times) == 0:
        return np.full((len(when), len(columns)), np.nan)
    after = np.clip(np.searchsorted(times, when), 1, max(len(times) - 1, 1)) % len(times)
    away = np.minimum(np.abs(times[after] - when), np.abs(times[after - 1] - when))
    near = np.isfinite(when) & (away <= FARTHEST)
    position = np.stack([np.interp(when, times, column) for column in values.T], axis=1)
    return np.where(near[:, None], position, np.nan)
