"""From a recorded session to equal steps: trials for models, rates for scoring (protocol section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from neurobench_grasp.alignment.muscle_map import muscle_notes
from neurobench_grasp.alignment.overlap import fingerprints, tied_trials
from neurobench_grasp.alignment.posture import joint_angles_of
from neurobench_grasp.alignment.rates import (
    TICKS_PER_SECOND,
    Rates,
    bin_spikes,
    smooth,
    to_ticks,
)
from neurobench_grasp.alignment.session import AlignedSession, AlignedUnits, Recording, bins_before
from neurobench_grasp.alignment.settings import ALIGNMENT
from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, Session, Signal, Trials, TrialTable, Units
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.scoring.ev import between_rows

STEP, MIN_STEPS, MAX_SIGNAL_GAP = ALIGNMENT.step_s, ALIGNMENT.min_steps, ALIGNMENT.max_signal_gap_s


def align(session: Session) -> AlignedSession:
    """Cut a session into trials on the step grid.

    Bin ``k`` is ``[k · dt, (k + 1) · dt)`` on the session's clock (for stored counts from their first
    bin). Both edges of a window are rounded down to the grid, so that windows that abut neither share
    a bin nor leave a gap.

    Raises
    ------
    UnsupportedError
        If no trial is left, with the reasons.
    """
    if len(session.trials) == 0:
        raise UnsupportedError(
            f"Session {session.id} has no trials that the layout {session.layout} uses; `ngb data validate` "
            "states why they were left out."
        )
    grid = _Grid(session)
    first, stop, reasons = _windows(session, grid)
    kept = np.array([i for i, r in enumerate(reasons) if not r], dtype=np.int64)
    dropped = [(session.trials.ids[i], r) for i, r in enumerate(reasons) if r]
    if len(kept) == 0:
        raise _nothing_left(session, reasons[0])
    steps = _Steps(session, grid, first[kept], stop[kept], kept)
    missing = _unusable(session, steps.signals, steps.at)
    dropped += [(session.trials.ids[kept[i]], why) for i, why in missing.items()]
    kept = np.array([k for i, k in enumerate(kept) if i not in missing], dtype=np.int64)
    if len(kept) == 0:
        raise _nothing_left(session, missing[0])
    if missing:
        steps = _Steps(session, grid, first[kept], stop[kept], kept)
    behaviour, notes = _behaviour(session, grid, steps, first[kept], stop[kept], kept)
    units = _units(session, grid, first[kept], stop[kept], kept)
    begin, end = _bounds(session)
    table = session.trials
    groups = tied_trials(table.ids, first, stop, np.isfinite(begin) & np.isfinite(end), table.group)
    marks = fingerprints(session, _in_windows(behaviour), begin[kept], end[kept])
    return AlignedSession(
        id=session.id,
        subject=session.subject,
        sha256=session.sha256,
        trials=behaviour,
        start=grid.starts(first[kept]),
        units=units,
        conditions=dict(zip(session.trials.ids, session.trials.condition, strict=True)),
        max_lag=session.window.max_lag,
        dropped=tuple(dropped),
        notes=(*session.notes, *notes, *muscle_notes(session), *_overlap_notes(groups, table)),
        groups=groups,
        fingerprints=dict(zip(behaviour.ids, marks, strict=True)),
        recording=Recording(
            replace(session, units=Units((), ()), true_rates=None),
            np.stack([grid.starts(edge[kept]) for edge in _stretches(session, grid)], axis=1),
        ),
    )


def _nothing_left(session: Session, reason: str) -> UnsupportedError:
    """Return the error for a session without a usable trial, with the notes of the reader that explain it."""
    about = reason.split()[-1]
    notes = [note for note in session.notes if about in note]
    explained = f"; the reader noted: {'; '.join(notes)}" if notes else ""
    return UnsupportedError(
        f"Session {session.id} has no trial that can be scored: the first one {reason}{explained}."
    )


def _in_windows(trials: Trials) -> dict[str, Ragged]:
    return {name: signal.cut(*trials.window.T) for name, signal in trials.signals.items()}


def _overlap_notes(groups: Mapping[str, str], table: TrialTable) -> list[str]:
    """Count the trials that a split keeps together, and those that overlap without sharing scored time."""
    notes = []
    order = np.argsort(table.start, kind="stable")
    n_overlapping = int(np.sum(table.start[order][1:] < np.maximum.accumulate(table.stop[order])[:-1] - 1e-6))
    if groups:
        notes.append(
            f"{len(groups)} of {len(table)} trials share scored time or a block of recording with others; "
            f"they are kept together when trials are split, in {len(set(groups.values()))} sets"
        )
    elif n_overlapping:
        notes.append(
            f"{n_overlapping} of {len(table)} trials begin before an earlier one ends, but share nothing "
            "that is scored"
        )
    return notes


class _Grid:
    """The session's bins: integer numbers, from ``origin`` ticks, ``width`` ticks wide."""

    def __init__(self, session: Session) -> None:
        units = session.units
        self.dt = STEP if units.counts is None else float(units.bin_width or 0)
        self.width = int(to_ticks(self.dt))
        self.stored: Ints | None = None
        self.origin = 0
        if units.counts is not None and units.count_times is not None:
            ticks = to_ticks(units.count_times)
            self.origin = int(ticks[0])
            self.stored = np.rint((ticks - self.origin) / self.width).astype(np.int64)
            if np.any(np.diff(self.stored) <= 0):
                raise UnsupportedError(
                    f"Session {session.id} stores two counts for one bin; check its timestamps."
                )

    def floor(self, seconds: Floats) -> Ints:
        """Return the index of the bin that contains each time."""
        return np.floor_divide(to_ticks(seconds) - self.origin, self.width)

    def starts(self, bins: Ints) -> Floats:
        """Return the start of each bin, s."""
        return (self.origin + bins * self.width) / TICKS_PER_SECOND

    def centres(self, bins: Ints) -> Floats:
        """Return the centre of each bin, s."""
        return (self.origin + bins * self.width + self.width / 2) / TICKS_PER_SECOND


def _windows(session: Session, grid: _Grid) -> tuple[Ints, Ints, list[str]]:
    """Return first and past-the-last bin of each window, and why a trial cannot be used ('' if it can)."""
    window, table = session.window, session.trials
    missing = [e for e in (window.start_event, window.stop_event) if e not in table.events]
    if missing:
        raise UnsupportedError(
            f"Session {session.id} has no event {missing[0]!r}, which the window needs; "
            f"it has {', '.join(sorted(table.events)) or 'none'}."
        )
    begin, end = _bounds(session)
    usable = np.isfinite(begin) & np.isfinite(end)
    first = grid.floor(np.where(usable, begin, 0.0))
    stop = grid.floor(np.where(usable, end, 0.0))
    low, high = _stretches(session, grid)
    reasons = []
    for i in range(len(table)):
        if not np.isfinite(begin[i]):
            reasons.append(f"lacks the event {window.start_event}")
        elif not np.isfinite(end[i]):
            reasons.append(f"lacks the event {window.stop_event}")
        elif stop[i] - first[i] < MIN_STEPS:
            reasons.append(f"has a window shorter than {MIN_STEPS} bins")
        elif first[i] < low[i] or stop[i] > high[i] or not _stored_throughout(grid, first[i], stop[i]):
            reasons.append("has a window that reaches outside the contiguous recording")
        else:
            reasons.append("")
    return first, stop, reasons


def _bounds(session: Session) -> tuple[Floats, Floats]:
    """Return start and end of each window, s."""
    window, events = session.window, session.trials.events
    return (
        events[window.start_event] + window.start_offset,
        events[window.stop_event] + window.stop_offset,
    )


def _stretches(session: Session, grid: _Grid) -> tuple[Ints, Ints]:
    """Return the bins [low, high) of the contiguous stretch around each trial."""
    table = session.trials
    if session.window.contiguous == "trial":
        return grid.floor(table.start), grid.floor(table.stop)
    if grid.stored is not None:
        low, high = int(grid.stored[0]), int(grid.stored[-1]) + 1
    else:
        spikes = session.units.spike_times
        ends = [table.stop.max(), *(s.times[-1] for s in session.signals.values() if len(s.times))]
        starts = [0.0, table.start.min(), *(s.times[0] for s in session.signals.values() if len(s.times))]
        if spikes is not None and len(spikes):
            starts.append(float(spikes.min()))
            ends.append(float(spikes.max()))
        low, high = int(grid.floor(np.array(min(starts)))), int(grid.floor(np.array(max(ends)))) + 1
    return np.full(len(table), low), np.full(len(table), high)


def _stored_throughout(grid: _Grid, first: int, stop: int) -> bool:
    if grid.stored is None:
        return True
    a, b = np.searchsorted(grid.stored, [first, stop])
    return bool(b - a == stop - first)


def _units(session: Session, grid: _Grid, first: Ints, stop: Ints, kept: Ints) -> AlignedUnits:
    """Bin spikes before and in the windows, smooth in the windows, and find the units observed throughout."""
    units, before = session.units, bins_before(grid.dt)
    bins = [np.arange(a - before, b + 1) for a, b in zip(first, stop, strict=True)]
    flat = np.concatenate(bins)
    if units.counts is not None and grid.stored is not None:
        row = np.minimum(np.searchsorted(grid.stored, flat), len(grid.stored) - 1)
        present = grid.stored[row] == flat
        raw = units.counts[row].astype(np.min_scalar_type(int(units.counts.max(initial=0))), copy=False)
        raw[~present] = 0
    else:
        assert units.spike_times is not None and units.spike_offsets is not None
        present = np.ones(len(flat), bool)
        raw = bin_spikes(units.spike_times, units.spike_offsets, flat, grid.dt)
    low, high = _stretches(session, grid)
    inside = [(b >= low[i]) & (b < high[i]) for b, i in zip(bins, kept, strict=True)]
    valid = np.broadcast_to((present & np.concatenate(inside))[:, None], raw.shape)  # of all units in one
    if units.observed is not None:
        valid = valid & _observed_bins(units.observed, grid, flat)
    edges = np.concatenate([[0], np.cumsum([len(b) for b in bins])])
    expected = _expected_counts(session, grid, flat)
    counts, recorded, observed, true_rates = [], [], [], []
    around = [slice(start + before - 1, b) for start, b in pairwise(edges)]  # and a bin before the window
    for start, window in zip(edges, around, strict=False):
        inner = valid[start : window.stop - 1]
        counts.append(raw[start : window.stop - 1])
        recorded.append(inner.all(0))
        observed.append(inner[before:].all(0))
        if expected is not None:
            true_rates.append(smooth(expected[window], valid[window]) / grid.dt)
    return AlignedUnits(
        ids=units.ids,
        areas=units.areas,
        rates=Rates.of([raw[w] for w in around], [valid[w] for w in around], grid.dt),
        counts=Ragged.of(counts),
        recorded=np.array(recorded),
        observed=np.array(observed),
        true_rates=Ragged.of(true_rates) if true_rates else None,
    )


def _expected_counts(session: Session, grid: _Grid, bins: Ints) -> Floats | None:
    """Integrals of the generator's rates over bins, (n_bins, n_units); a rate holds half-way to the next."""
    if session.true_rates is None or len(session.true_rates.times) < 2:
        return None
    times, rates = session.true_rates.times, session.true_rates.values
    half = np.diff(times) / 2
    edges = np.concatenate([times[:1] - half[:1], times[:-1] + half, times[-1:] + half[-1:]])
    passed = np.zeros((len(edges), rates.shape[1]))  # expected spikes since the first edge
    np.cumsum(rates * np.diff(edges)[:, None], axis=0, out=passed[1:])
    start, stop = (_between(passed, edges, grid.starts(edge)) for edge in (bins, bins + 1))
    expected: Floats = stop - start
    return expected


def _between(values: Floats, times: Floats, at: Floats) -> Floats:
    """Interpolate all columns linearly, held at either end."""
    low = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    fraction = np.clip((at - times[low]) / (times[low + 1] - times[low]), 0.0, 1.0)
    return between_rows(values, low, low + 1, fraction)


def _observed_bins(observed: Ragged, grid: _Grid, bins: Ints) -> Bools:
    """Return True where the whole bin lies inside an observed interval of the unit, (n_bins, n_units)."""
    seen = np.zeros((len(bins), len(observed)), bool)
    for u, intervals in enumerate(observed):
        if len(intervals) == 0:
            continue
        order = np.argsort(intervals[:, 0], kind="stable")
        begin, end = -grid.floor(-intervals[order, 0]), grid.floor(intervals[order, 1])
        k = np.searchsorted(begin, bins, side="right") - 1
        seen[:, u] = (k >= 0) & (bins < end[np.maximum(k, 0)])
    return seen


class _Steps:
    """The steps of some trials, window and padding, and the signals at the centres of the bins."""

    def __init__(self, session: Session, grid: _Grid, first: Ints, stop: Ints, kept: Ints) -> None:
        window = session.window
        pads = (max(p, window.max_lag) for p in (window.pad_before, window.pad_after))
        self.before, after = (round(np.ceil(p / grid.dt)) for p in pads)
        bins = [np.arange(a - self.before, b + after) for a, b in zip(first, stop, strict=True)]
        low, high = _stretches(session, grid)
        held = [np.clip(b, low[i], high[i] - 1) for b, i in zip(bins, kept, strict=True)]
        self.n_held = sum(int(np.count_nonzero(h != b)) for h, b in zip(held, bins, strict=True))
        self.at = grid.centres(np.concatenate(held))
        self.offsets = np.concatenate([[0], np.cumsum([len(b) for b in bins])]).astype(np.int64)
        self.signals = {name: Ragged(_sample(s, self.at), self.offsets) for name, s in session.inputs.items()}


def _behaviour(
    session: Session, grid: _Grid, steps: _Steps, first: Ints, stop: Ints, kept: Ints
) -> tuple[Trials, list[str]]:
    """Return the behaviour of some trials, held at the edge of the contiguous stretch, and notes on it."""
    window, table, signals, before = session.window, session.trials, steps.signals, steps.before
    notes = []
    if steps.n_held:
        notes.append(
            f"{steps.n_held} padding steps of {len(steps.at)} lie outside the contiguous recording: "
            "last value held"
        )
    posture = joint_angles_of(session, signals, grid.dt)
    start = grid.starts(first)
    trials = Trials(
        sessions=(session.id,) * len(kept),
        ids=tuple(table.ids[i] for i in kept),
        condition=tuple(table.condition[i] for i in kept),
        dt=grid.dt,
        window=np.stack([np.full(len(kept), before), before + stop - first], axis=1),
        offsets=steps.offsets,
        signals=signals,
        joint_angles=posture.joint_angles,
        events={k: v[kept] - start for k, v in table.events.items()},
        signal_lags=window.signal_lags,
        body=session.body,
        roles={name: s.role for name, s in session.inputs.items()},
        inferred_from=posture.inferred_from,
    )
    return trials, [*notes, *posture.notes]


def _sample(signal: Signal, at: Floats) -> Floats:
    """Linear interpolation of every column at the given times."""
    return np.stack([np.interp(at, signal.times, column) for column in signal.values.T], axis=1)


def _unusable(session: Session, signals: Mapping[str, Ragged], at: Floats) -> dict[int, str]:
    """Trials in which a signal has no number, or no sample within 100 ms of a step, with the reason."""
    unusable: dict[int, str] = {}
    for name, ragged in signals.items():
        times = session.inputs[name].times
        after = np.clip(np.searchsorted(times, at), 1, max(len(times) - 1, 1))
        nearest = np.minimum(
            np.abs(at - times[after - 1]), np.abs(times[np.minimum(after, len(times) - 1)] - at)
        )
        for bad, why in (
            (~np.isfinite(ragged.values).all(1), f"has missing samples in the signal {name}"),
            (nearest > MAX_SIGNAL_GAP, f"has a gap in the signal {name}"),
        ):
            for i in np.unique(np.searchsorted(ragged.offsets, np.flatnonzero(bad), side="right") - 1):
                unusable.setdefault(int(i), why)
    return unusable
