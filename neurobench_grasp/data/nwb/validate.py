"""Semantic validation, beyond pynwb's validator.

Each function takes one part of a session, reports faults, and returns the part, corrected where the
correction is unambiguous. Large arrays are traversed few times and never in a Python loop over spikes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, Session, Signal, TrialTable, Units
from neurobench_grasp.data.nwb.findings import Report

GAP = 5.0
"""A step this many times the median step counts as a gap."""

JITTER = 0.01
"""Bin times within this fraction of a bin of the regular grid are snapped to it."""

BLOCK = 1 << 18
"""Spikes compared per block, so that temporaries stay in the processor's cache."""

TICK = 1e-6
"""Bin widths are whole microseconds."""


def ragged_offsets(
    index: NDArray[Any], n_rows: int, n_values: int, place: str, report: Report
) -> Ints | None:
    """Return offsets from an NWB index column, shape (n_rows + 1,); ``None`` if invalid."""
    if index.dtype.kind not in "iu" or index.ndim != 1:
        report.error(place, f"is not a column of integers but {index.dtype} of shape {index.shape}")
        return None
    if len(index) != n_rows:
        report.error(place, f"has {len(index)} entries for {n_rows} rows")
        return None
    offsets = np.concatenate([[0], index.astype(np.int64)])
    falls = np.flatnonzero(np.diff(offsets) < 0)
    if len(falls):
        row = int(falls[0])
        narrow = index.dtype.itemsize <= 2
        hint = f"; its type {index.dtype} ends at {np.iinfo(index.dtype).max} and may have overflowed"
        report.error(
            place,
            f"falls from {offsets[row]} to {offsets[row + 1]} at row {row}, so values would go to wrong rows"
            + (hint if narrow else ""),
        )
        return None
    if offsets[-1] != n_values:
        report.error(place, f"ends at {offsets[-1]}, but there are {n_values} values")
        return None
    return offsets


def check_spikes(units: Units, place: str, report: Report) -> Units:
    """Check spike times and when units were observed; unsorted spikes are sorted."""
    times, offsets = units.spike_times, units.spike_offsets
    if times is None or offsets is None:
        return units
    if len(times):
        units = _check_spike_values(units, times, offsets, f"{place}/spike_times", report)
    silent = np.flatnonzero(np.diff(offsets) == 0)
    if len(silent):
        report.info(f"{place}/spike_times", f"{_units(units, silent)} without any spike")
    if units.observed is not None:
        _check_observed(units, units.observed, f"{place}/obs_intervals", report)
    return units


def _check_spike_values(units: Units, times: Floats, offsets: Ints, place: str, report: Report) -> Units:
    """Find in one pass where spike times do not rise; only these places are examined."""
    stalled = _stalled(times, offsets)
    suspects = times[np.concatenate([stalled, stalled + 1, *_ends(offsets)])]
    if not np.isfinite(suspects).all():
        bad = np.flatnonzero(~np.isfinite(times))
        whose = _units(units, _unit_of(bad, offsets))
        report.error(place, f"{len(bad)} spike times of {whose} are NaN or infinite")
        return units
    falls = stalled[times[stalled + 1] < times[stalled]]
    if len(falls):
        wrong = _unit_of(falls, offsets)
        report.changed(
            place, f"the spike times of {_units(units, wrong)} were out of order and have been sorted"
        )
        times = times.copy()
        for unit in wrong:
            times[offsets[unit] : offsets[unit + 1]].sort()
        units = replace(units, spike_times=times)
        stalled = _stalled(times, offsets)
    if len(stalled):
        whose = _units(units, _unit_of(stalled, offsets))
        report.warning(place, f"{len(stalled)} spikes of {whose} repeat the time of the one before")
    _check_early(units, times, offsets, place, report)
    return units


def _stalled(times: Floats, offsets: Ints) -> Ints:
    """Return spikes that are not exceeded by the next one of the same unit (NaN exceeds nothing)."""
    bounds = [*range(0, len(times) - 1, BLOCK), len(times) - 1]
    found = [np.flatnonzero(~(times[a + 1 : b + 1] > times[a:b])) + a for a, b in pairwise(bounds)]
    _, last = _ends(offsets)
    return np.setdiff1d(np.concatenate([np.empty(0, np.int64), *found]), last[:-1])


def _ends(offsets: Ints) -> tuple[Ints, Ints]:
    """Return the first and last spike of each unit that has any."""
    filled = offsets[:-1] < offsets[1:]
    return offsets[:-1][filled], offsets[1:][filled] - 1


def _check_early(units: Units, times: Floats, offsets: Ints, place: str, report: Report) -> None:
    """Report sorted spikes before time 0."""
    filled = np.flatnonzero(offsets[:-1] < offsets[1:])
    early = filled[times[offsets[filled]] < 0]
    if len(early):
        count = sum(int(np.searchsorted(_spikes_of(units, int(u)), 0.0)) for u in early)
        report.warning(place, f"{count} spikes of {_units(units, early)} lie before time 0")


def _check_observed(units: Units, observed: Ragged, place: str, report: Report) -> None:
    bounds = observed.values
    if not np.isfinite(bounds).all():
        report.error(place, "some bounds are NaN or infinite")
        return
    if (bounds[:, 1] <= bounds[:, 0]).any():
        report.error(place, f"{(bounds[:, 1] <= bounds[:, 0]).sum()} intervals end before they start")
        return
    outside = {}
    disordered = []
    for unit in range(len(units)):
        spans = observed[unit]
        if (spans[1:, 0] < spans[:-1, 1]).any():
            disordered.append(unit)
            continue
        spikes = _spikes_of(units, unit)
        within = np.searchsorted(spikes, spans[:, 1], "right") - np.searchsorted(spikes, spans[:, 0], "left")
        if len(spikes) > within.sum():
            outside[unit] = int(len(spikes) - within.sum())
    if disordered:
        report.error(place, f"the intervals of {_units(units, disordered)} overlap or are out of order")
    if outside:
        report.warning(
            place, f"{sum(outside.values())} spikes of {_units(units, list(outside))} lie outside them"
        )


def check_counts(units: Units, place: str, report: Report) -> Units:
    """Check binned counts and the regularity of their bins; rounded bin times are snapped to the grid."""
    counts, times, width = units.counts, units.count_times, units.bin_width
    if counts is None or times is None or width is None:
        return units
    silent = np.flatnonzero(~counts.any(axis=0))
    if len(silent):
        report.info(f"{place}/data", f"{_units(units, silent)} without any spike")
    if width < TICK:
        report.error(place, f"its bins are {width} s wide")
        return units
    steps = np.diff(times)
    irregular = np.flatnonzero(np.abs(steps - width) > JITTER * width)
    if len(irregular):
        gaps = steps[irregular] > width
        if not gaps.all():
            report.error(
                place, f"the bin times are not regular: bin {irregular[~gaps][0]} is shorter than {width} s"
            )
        else:
            report.warning(place, f"{len(irregular)} gaps between bins, the longest of {steps.max():.3f} s")
        return units
    grid = times[0] + np.arange(len(times)) * width
    off = float(np.abs(times - grid).max())
    if off > JITTER * width:
        report.error(place, f"the bin times drift from a regular grid of {width} s by up to {off:.4f} s")
    elif off > TICK:
        report.changed(
            place,
            f"bin times, rounded by up to {off * 1e3:.3f} ms, were snapped to the {width} s grid",
            "info",
        )
        units = replace(units, count_times=grid)
    return units


def bin_width(times: Floats) -> float:
    """Return the width of regular bins in whole microseconds, from their times.

    The mean step if all steps are about equal (it averages out rounding), else the median step.
    """
    steps = np.diff(times)
    median = float(np.median(steps))
    even = bool(np.all(np.abs(steps - median) <= JITTER * abs(median)))
    width = float(times[-1] - times[0]) / len(steps) if even else median
    return round(width / TICK) / round(1 / TICK)


def check_trials(
    trials: TrialTable, place: str, overlap: str, order: Sequence[str], report: Report
) -> TrialTable:
    """Check trial bounds and events; event times outside their trial count as missing."""
    for name, bound in (("start", trials.start), ("stop", trials.stop)):
        if not np.isfinite(bound).all():
            report.error(
                place, f"{(~np.isfinite(bound)).sum()} of {len(bound)} trial {name} times are NaN or infinite"
            )
    if len(set(trials.ids)) != len(trials):
        report.error(f"{place}/id", "some trials have the same id")
    inverted = trials.stop <= trials.start
    if inverted.any():
        report.error(place, f"{_trials(trials, inverted)} end before they start")
    _check_overlap(trials, place, overlap, report)
    events = {}
    for name, times in trials.events.items():
        absent = np.isnan(times)
        outside = (times < trials.start) | (times > trials.stop) | np.isinf(times)
        if outside.any():
            report.changed(
                place,
                f"the event {name} lies outside the trial, and so counts as missing, in "
                f"{_trials(trials, outside)}",
            )
            times = np.where(outside, np.nan, times)
        if absent.any():
            report.info(place, f"the event {name} is missing in {_trials(trials, absent)}")
        events[name] = times
    present = [e for e in order if e in events]
    for before, after in pairwise(present):
        swapped = events[after] < events[before]
        if swapped.any():
            report.warning(place, f"the event {after} comes before {before} in {_trials(trials, swapped)}")
    return replace(trials, events=events)


def _check_overlap(trials: TrialTable, place: str, policy: str, report: Report) -> None:
    order = np.argsort(trials.start, kind="stable")
    start, stop = trials.start[order], trials.stop[order]
    if len(start) < 2 or not (np.isfinite(start).all() and np.isfinite(stop).all()):
        return
    covered = np.maximum.accumulate(stop)[:-1]
    overlapping = np.zeros(len(start), bool)
    overlapping[order[1:]] = start[1:] < covered - TICK
    if overlapping.any():
        message = f"{_trials(trials, overlapping)} begin before an earlier one has ended"
        report.add("error" if policy == "error" else "info", place, message)


def check_signal(signal: Signal, place: str, report: Report) -> None:
    """Check one signal's clock and numbers."""
    times, values = signal.times, signal.values
    if len(set(signal.columns)) != len(signal.columns):
        report.error(place, "two of its columns have the same name")
    if len(times) == 0:
        report.warning(place, "it contains no samples")
        return
    if not np.isfinite(times).all():
        report.error(f"{place}/timestamps", f"{(~np.isfinite(times)).sum()} sample times are NaN or infinite")
    else:
        _check_clock(times, f"{place}/timestamps", report)
    low, high = float(np.min(values, initial=np.inf)), float(np.max(values, initial=-np.inf))
    if np.isnan(low) or np.isinf(low) or np.isinf(high):
        missing = np.isnan(values)
        if np.isinf(values).any():
            report.error(f"{place}/data", f"{np.isinf(values).sum()} values are infinite")
        if missing.any():
            columns = [signal.columns[i] for i in np.flatnonzero(missing.any(axis=0))]
            report.warning(f"{place}/data", f"{missing.sum()} values are missing (NaN), in {_some(columns)}")
    elif signal.role == "joint_angle" and max(-low, high) > 2 * np.pi:
        report.warning(f"{place}/data", f"joint angles reach {max(-low, high):.1f} rad; are they degrees?")


def _check_clock(times: Floats, place: str, report: Report) -> None:
    if len(times) < 2:
        return
    steps = np.diff(times)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        report.error(
            place,
            f"sample times do not rise at {len(back)} places, first after {times[back[0]]} s",
        )
        return
    gaps = steps > GAP * np.median(steps)
    if gaps.any():
        report.info(place, f"{gaps.sum()} gaps between samples, the longest of {steps.max():.3f} s")


def check_session(session: Session, report: Report) -> None:
    """Check that all parts share one clock."""
    trials = session.trials
    if len(trials) == 0:
        report.warning("trials", "there are no trials")
        return
    first, last = float(np.min(trials.start)), float(np.max(trials.stop))
    for name, (begin, end) in _spans(session).items():
        if end < first or begin > last:
            report.warning(
                name,
                f"it spans {begin:.3g} to {end:.3g} s, but the trials {first:.3g} to {last:.3g} s; "
                "are both in seconds, on one clock?",
            )
    for name, signal in session.signals.items():
        if len(signal.times):
            late = (trials.start > signal.times[-1]) | (trials.stop < signal.times[0])
            if late.any() and not late.all():
                report.info(name, f"{_trials(trials, late)} lie entirely outside the recorded signal")


def _spans(session: Session) -> dict[str, tuple[float, float]]:
    """Return the first and last time of all timed parts."""
    spans = {k: (float(s.times[0]), float(s.times[-1])) for k, s in session.signals.items() if len(s.times)}
    units = session.units
    if units.count_times is not None:
        spans["units"] = float(units.count_times[0]), float(units.count_times[-1])
    elif units.spike_times is not None and units.spike_offsets is not None and len(units.spike_times):
        first, last = _ends(units.spike_offsets)
        spans["units"] = float(units.spike_times[first].min()), float(units.spike_times[last].max())
    return spans


def check_names(units: Units, trials: TrialTable, report: Report) -> None:
    """Check the names of units, areas, trials and conditions."""
    check_labels(units.ids, "units", "units", report)
    check_labels(sorted(set(units.areas)), "units", "areas", report)
    check_labels(trials.ids, "trials", "trials", report)
    check_labels(sorted(set(trials.condition)), "trials", "conditions", report)


def check_labels(labels: Sequence[str], place: str, what: str, report: Report) -> None:
    """Report names that are empty, duplicated, or cannot be written to a file."""
    if len(set(labels)) != len(labels):
        report.error(place, f"two {what} have the same name")
    for label in labels:
        if not label or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", label):
            report.error(place, f"{label!r} cannot be the name of one of the {what}")
            return


def _spikes_of(units: Units, unit: int) -> Floats:
    if units.spike_times is None or units.spike_offsets is None:
        return np.empty(0)
    return units.spike_times[units.spike_offsets[unit] : units.spike_offsets[unit + 1]]


def _unit_of(spikes: Ints, offsets: Ints) -> Ints:
    return np.unique(np.searchsorted(offsets, spikes, side="right") - 1)


def _units(units: Units, which: Sequence[int] | Ints) -> str:
    names = [units.ids[int(i)] for i in which]
    return f"{len(names)} of {len(units)} units ({_some(names)})"


def _trials(trials: TrialTable, which: Bools) -> str:
    names = [trials.ids[int(i)] for i in np.flatnonzero(which)]
    return f"{len(names)} of {len(trials)} trials ({_some(names)})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
