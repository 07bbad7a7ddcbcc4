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

from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, Signal, TrialTable, Units
from neurobench_grasp.data.labels import near_twins, text_label, twins_of_areas
from neurobench_grasp.data.nwb import clocks
from neurobench_grasp.data.nwb.findings import Report, named_trials, named_units, some

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
    if len(index) and index.max() > n_values:
        report.error(place, f"ends at {index.max()}, but there are {n_values} values")
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
        starts = n_rows > 1 and offsets[1] == 0
        hint = "; it may state where rows begin, but must state where they end" if starts else ""
        report.error(place, f"ends at {offsets[-1]}, but there are {n_values} values{hint}")
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
        report.info(f"{place}/spike_times", f"{named_units(units, silent)} without any spike")
    if units.observed is not None:
        _check_observed(units, units.observed, f"{place}/obs_intervals", report)
    return units


def _check_spike_values(units: Units, times: Floats, offsets: Ints, place: str, report: Report) -> Units:
    """Find in one pass where spike times do not rise; only these places are examined."""
    stalled = _stalled(times, offsets)
    suspects = times[np.concatenate([stalled, stalled + 1, *clocks.ends(offsets)])]
    if not np.isfinite(suspects).all():
        bad = np.flatnonzero(~np.isfinite(times))
        whose = named_units(units, _unit_of(bad, offsets))
        report.error(place, f"{len(bad)} spike times of {whose} are NaN or infinite")
        return units
    falls = stalled[times[stalled + 1] < times[stalled]]
    if np.abs(suspects).max(initial=0.0) > clocks.LATEST:
        report.error(place, f"some spike times are beyond {clocks.LATEST:g} s; write them in seconds")
        return units
    if not clocks.check_whole(times, "spike times", place, report):
        return units
    if len(falls):
        wrong = _unit_of(falls, offsets)
        if not clocks.check_order(units, wrong, place, report):
            return units
        report.changed(
            place, f"the spike times of {named_units(units, wrong)} were out of order and have been sorted"
        )
        times = times.copy()
        for unit in wrong:
            times[offsets[unit] : offsets[unit + 1]].sort()
        units = replace(units, spike_times=times)
        stalled = _stalled(times, offsets)
    if len(stalled):
        whose = named_units(units, _unit_of(stalled, offsets))
        report.warning(place, f"{len(stalled)} spikes of {whose} repeat the time of the one before")
    _check_early(units, times, offsets, place, report)
    return units


def _stalled(times: Floats, offsets: Ints) -> Ints:
    """Return spikes that are not exceeded by the next one of the same unit (NaN exceeds nothing)."""
    bounds = [*range(0, len(times) - 1, BLOCK), len(times) - 1]
    found = [np.flatnonzero(~(times[a + 1 : b + 1] > times[a:b])) + a for a, b in pairwise(bounds)]
    _, last = clocks.ends(offsets)
    return np.setdiff1d(np.concatenate([np.empty(0, np.int64), *found]), last[:-1])


def _check_early(units: Units, times: Floats, offsets: Ints, place: str, report: Report) -> None:
    """Report sorted spikes before time 0."""
    filled = np.flatnonzero(offsets[:-1] < offsets[1:])
    early = filled[times[offsets[filled]] < 0]
    if len(early):
        count = sum(int(np.searchsorted(units.train(int(u)), 0.0)) for u in early)
        report.warning(place, f"{count} spikes of {named_units(units, early)} lie before time 0")


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
        spikes = units.train(unit)
        within = np.searchsorted(spikes, spans[:, 1], "right") - np.searchsorted(spikes, spans[:, 0], "left")
        if len(spikes) > within.sum():
            outside[unit] = int(len(spikes) - within.sum())
    if disordered:
        report.error(place, f"the intervals of {named_units(units, disordered)} overlap or are out of order")
    if outside:
        report.warning(
            place, f"{sum(outside.values())} spikes of {named_units(units, list(outside))} lie outside them"
        )


def check_counts(units: Units, place: str, report: Report) -> Units:
    """Check binned counts and the regularity of their bins; rounded bin times are snapped to the grid."""
    counts, times, width = units.counts, units.count_times, units.bin_width
    if counts is None or times is None or width is None:
        return units
    silent = np.flatnonzero(~counts.any(axis=0))
    if len(silent):
        report.info(f"{place}/data", f"{named_units(units, silent)} without any spike")
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
    """Check trial bounds and events; bad trials are left out, event times outside their trial are missing."""
    if len(set(trials.ids)) != len(trials):
        report.error(f"{place}/id", "some trials have the same id")
    trials = _with_bounds(trials, place, report)
    trials = _without_overlap(trials, place, overlap, report)
    events = {}
    for name, times in trials.events.items():
        absent = np.isnan(times)
        outside = (times < trials.start) | (times > trials.stop) | np.isinf(times)
        if outside.any():
            report.changed(
                place,
                f"the event {name} lies outside the trial, and so counts as missing, in "
                f"{named_trials(trials, outside)}{_if_relative(trials, times, outside)}",
            )
            times = np.where(outside, np.nan, times)
        if absent.any():
            report.info(place, f"the event {name} is missing in {named_trials(trials, absent)}")
        events[name] = times
    present = [e for e in order if e in events]
    for before, after in pairwise(present):
        swapped = events[after] < events[before]
        if swapped.any():
            report.warning(
                place, f"the event {after} comes before {before} in {named_trials(trials, swapped)}"
            )
    return replace(trials, events=events)


def _with_bounds(trials: TrialTable, place: str, report: Report) -> TrialTable:
    """Leave out trials without a start or an end, or that end before they start; refuse if none is left."""
    good = np.ones(len(trials), bool)
    for name, bound in (("start", trials.start), ("stop", trials.stop)):
        known = np.abs(bound) <= clocks.LATEST
        if not known.all():
            what = f"{(~known).sum()} of {len(bound)} trial {name} times are NaN or infinite"
            _left_out(known, place, what, report)
        good &= known
    backwards = good & (trials.stop <= trials.start)
    if backwards.any():
        _left_out(~backwards, place, f"{named_trials(trials, backwards)} end before they start", report)
    good &= ~backwards
    return trials if good.all() or not good.any() else trials.select(np.flatnonzero(good))


def _left_out(good: Bools, place: str, what: str, report: Report) -> None:
    """Report bad trials, which are left out if others remain."""
    if good.any():
        report.changed(place, f"{what}, and were left out")
    else:
        report.error(place, what)


def _without_overlap(trials: TrialTable, place: str, policy: str, report: Report) -> TrialTable:
    """Leave out the fewest trials such that none overlap, unless the layout allows it; refuse if many do."""
    slack = max(TICK, _rounding(trials.start, trials.stop))
    overlapping = np.zeros(len(trials), bool)
    latest = -np.inf
    for i in np.argsort(trials.stop, kind="stable"):
        overlapping[i] = trials.start[i] < latest - slack
        latest = latest if overlapping[i] else trials.stop[i]
    what = f"{named_trials(trials, overlapping)} overlap others"
    if policy != "error" or not overlapping.any():
        if overlapping.any():
            report.info(place, what)
        return trials
    if overlapping.sum() > max(1, clocks.FEW * len(trials)):
        report.error(place, f"{what}; if that is by design, read them by a layout with `overlap: allow`")
        return trials
    report.changed(place, f"{what}, and were left out")
    return trials.select(np.flatnonzero(~overlapping))


def _rounding(*times: Floats) -> float:
    """Return by how much times were rounded if they were stored in single precision, s."""
    joined = np.concatenate(times)
    with np.errstate(over="ignore"):
        single = joined.astype(np.float32)
    exact = len(joined) > 0 and np.array_equal(single, joined)
    return float(np.spacing(np.abs(single).max())) if exact else 0.0


def _if_relative(trials: TrialTable, times: Floats, outside: Bools) -> str:
    """State that events count from the start of their trial, if so."""
    within = (times >= 0) & (times <= trials.stop - trials.start)
    if outside.sum() > np.isfinite(times).sum() / 2 and within[outside].all():
        return "; they lie between 0 and its length, so they probably count from the start of their trial"
    return ""


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
        _check_samples(times, f"{place}/timestamps", report)
    low, high = float(np.min(values, initial=np.inf)), float(np.max(values, initial=-np.inf))
    if np.isnan(low) or np.isinf(low) or np.isinf(high):
        missing = np.isnan(values)
        if np.isinf(values).any():
            report.error(f"{place}/data", f"{np.isinf(values).sum()} values are infinite")
        if missing.any():
            columns = [signal.columns[i] for i in np.flatnonzero(missing.any(axis=0))]
            report.warning(f"{place}/data", f"{missing.sum()} values are missing (NaN), in {some(columns)}")
    elif signal.role == "joint_angle" and max(-low, high) > 2 * np.pi:
        report.warning(f"{place}/data", f"joint angles reach {max(-low, high):.1f} rad; are they degrees?")


def _check_samples(times: Floats, place: str, report: Report) -> None:
    if len(times) < 2:
        return
    steps = np.diff(times)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        why = ", where the clock restarts" if steps.min() < -clocks.SOON else ""
        report.error(
            place, f"sample times do not rise at {len(back)} places, first after {times[back[0]]} s{why}"
        )
        return
    if np.abs(times).max() > clocks.LATEST:
        report.error(place, f"some sample times are beyond {clocks.LATEST:g} s; write them in seconds")
    if np.median(steps) < clocks.SOON or clocks.check_whole(times, "sample times", place, report):
        _check_gaps(steps, place, report)


def _check_gaps(steps: Floats, place: str, report: Report) -> None:
    gaps = steps > GAP * np.median(steps)
    if gaps.any():
        report.info(place, f"{gaps.sum()} gaps between samples, the longest of {steps.max():.3f} s")


def check_areas(areas: Sequence[str], report: Report) -> None:
    """Report areas that may be one under several names."""
    for twins in twins_of_areas(areas):
        report.warning(
            "units",
            f"the areas {_listed(twins)} are scored apart, but may be one; if so, name them alike (in a "
            "layout by units.area.names)",
        )


def check_conditions(labels: Sequence[str], place: str, report: Report, *, angles: bool = False) -> None:
    """Report conditions that may be one under several labels; ``angles`` are in degrees."""
    for twins in near_twins(labels, angles=angles):
        report.warning(
            place,
            f"the conditions {_listed(twins)} count as different, but may be one; if so, label them alike "
            "(in a layout by trials.condition.labels)",
        )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} and {names[-1]!r}"


def check_names(units: Units, trials: TrialTable, report: Report) -> None:
    """Check the names of units, areas, trials and conditions."""
    check_labels(units.ids, "units", "units", report)
    check_labels(trials.ids, "trials", "trials", report)
    for labels, place, what in ((units.areas, "units", "areas"), (trials.condition, "trials", "conditions")):
        check_labels(sorted(set(labels)), place, what, report)
        for label in sorted(x for x in set(labels) if x != text_label(x)):
            report.error(
                place, f"{label!r} of the {what} has blanks around it, or is not composed Unicode (NFC)"
            )


def check_labels(labels: Sequence[str], place: str, what: str, report: Report) -> None:
    """Report names that are empty, duplicated, or cannot be written to a file."""
    if len(set(labels)) != len(labels):
        report.error(place, f"two {what} have the same name")
    for label in labels:
        if not label or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", label):
            report.error(place, f"{label!r} cannot be the name of one of the {what}")
            return


def _unit_of(spikes: Ints, offsets: Ints) -> Ints:
    return np.unique(np.searchsorted(offsets, spikes, side="right") - 1)
