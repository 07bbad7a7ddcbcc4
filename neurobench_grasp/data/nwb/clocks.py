"""Check that spikes, signals and trials of a session share one clock, in seconds.

What cannot be true of one clock refuses the session; what is merely likely is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from neurobench_grasp.contract import Bools, Floats, Ints, Ragged, Session, Signal, TrialTable, Units
from neurobench_grasp.data.nwb.findings import Report, Severity, named_trials, named_units

LATEST = 1e10
"""Seconds (300 years), more than any clock shows, Unix time included; microseconds then still fit 64 bits."""
FASTEST = 1000.0
"""Spikes/s: a neuron is refractory for about 1 ms, so that no train has more over a whole session."""
SLOWEST = 0.1
"""Spikes/s: on a clock :data:`SCALE` times too long the median unit has fewer."""
SCALE = 100.0
"""Ratio of spans from which two clocks may count in different units; ms and s differ by 1000."""
NEARBY, SOON = 10, 1.0
"""Places and seconds by which a spike may be out of order: recorders merge short buffers, not minutes."""
DECIMALS = 20
"""Spikes or samples; as many whole numbers in a row do not happen by chance in times with decimals."""
CERTAIN = 20.0
"""Expected spikes; a Poisson process then is silent with a probability of 2e-9."""
UNITS_OF_TIME = {"ms": (300.0, 3e3), "samples": (3e3, 2e5), "µs": (2e5, 3e6)}
"""Unit → how many times longer than in seconds the same span is, about; samples of 3 to 200 kHz."""
CHANCE = 1e-6
"""Probability below which a pattern is not left to chance."""
FEW = 0.1
"""Share of the trials; spikes or samples that lie in fewer are on another clock."""


def check_order(units: Units, wrong: Ints, place: str, report: Report) -> bool:
    """Return whether the unordered spike times of some units may be sorted; otherwise they are refused.

    Parameters
    ----------
    units : Units
    wrong : ndarray of int64, shape (n_wrong,)
        Units whose spike times fall.
    place : str
    report : Report
    """
    whose, trains = named_units(units, wrong), [units.train(int(u)) for u in wrong]
    back = max(float((np.maximum.accumulate(train) - train).max()) for train in trains)
    moved = max(int(np.abs(np.argsort(t, kind="stable") - np.arange(len(t))).max()) for t in trains)
    if moved <= NEARBY and back <= SOON:
        return True
    n_falls = int(np.median([np.count_nonzero(np.diff(train) < 0) for train in trains]))
    report.error(
        place,
        f"the spike times of {whose} fall back by up to {back:.3g} s, {n_falls} times in the median unit, so "
        "they are relative to their trial, or of several recordings whose clocks restart, or in no order; "
        "write them in seconds on one clock, in ascending order",
    )
    return False


def check_whole(times: Floats, what: str, place: str, report: Report) -> bool:
    """Refuse times that are all whole numbers; return whether they are not."""
    if len(times) < DECIMALS or not all((part == np.rint(part)).all() for part in (times[:DECIMALS], times)):
        return True
    report.error(
        place,
        f"all {len(times)} {what} are whole numbers, so they count samples or ms; write them in seconds",
    )
    return False


def check_clocks(session: Session, report: Report) -> Session:
    """Compare the clocks of all parts; trials in which no spikes were recorded are marked so.

    Returns
    -------
    Session
        The same, or with the time during which nothing was recorded taken out of what units were observed.
    """
    trials = session.trials
    if len(trials) == 0:
        report.warning("trials", "there are no trials")
        return session
    if not (np.isfinite(trials.start).all() and np.isfinite(trials.stop).all()):
        return session
    for name, signal in session.signals.items():
        _check_signal(name, signal, trials, report)
    before = len(report.errors)
    _check_rates(session.units, trials, report)
    if len(report.errors) > before:
        return session
    if session.units.observed is not None:
        return session
    marked = _without_silence(session, report)
    if marked is session:
        _check_lost(session.units, trials, report)
    return marked


def _check_signal(name: str, signal: Signal, trials: TrialTable, report: Report) -> None:
    """Compare the clock of a signal with that of the trials."""
    if len(signal.times) == 0 or not np.isfinite(signal.times).all():
        return
    span = float(signal.times[0]), float(signal.times[-1])
    outside = (trials.start > span[1]) | (trials.stop < span[0])
    slow = len(signal.times) < span[1] - span[0]
    if 1 - outside.mean() < FEW or (slow and _ratio(span, _span(trials)) > SCALE):
        report.warning(name, _two_clocks(span, trials))
    elif outside.any():
        report.info(name, f"{named_trials(trials, outside)} lie entirely outside the recorded signal")


def _check_rates(units: Units, trials: TrialTable, report: Report) -> None:
    """Refuse spikes with rates that neurons do not have, or on another clock than the trials."""
    span = _span_of_spikes(units)
    if span is None:
        return
    seconds = max(span[1] - span[0], 1e-3)
    rates = _spike_counts(units) / seconds
    rate = float(np.median(rates[rates > 0])) if (rates > 0).any() else 0.0
    if rate > FASTEST and rates.sum() * seconds > CERTAIN and units.counts is None:
        report.error(
            "units",
            f"the median unit fires at {rate:.0f} spikes/s over {seconds:.3g} s, faster than any neuron, so "
            "its clock restarts (is it relative to each trial?) or does not count in seconds",
        )
    elif _ratio(span, _span(trials)) > SCALE and rate < SLOWEST:
        report.error("units", _two_clocks(span, trials))
    elif (n := rates.sum() * seconds) > CERTAIN:
        met = sum(_in_trials(units, trials, np.ones(len(units), bool)) > 0)
        expected = n * min(1.0, np.sum(trials.stop - trials.start) / seconds) / len(trials)
        if met < FEW * len(trials) and expected > CERTAIN:
            few = f"spikes lie in only {met} of {len(trials)} trials"
            severity: Severity = "error" if units.counts is None else "warning"  # bins state what is missing
            report.add(severity, "units", f"{few}; {_two_clocks(span, trials)}")


def _check_lost(units: Units, trials: TrialTable, report: Report) -> None:
    """Warn of units that fire in no trial after some time, which trials in random order hardly do."""
    order = np.argsort(trials.start, kind="stable")
    lost = []
    for unit in range(len(units)):
        fired = np.flatnonzero(_in_trials(units, trials, np.arange(len(units)) == unit)[order])
        after = len(trials) - 1 - (fired[-1] if len(fired) else -1)
        places = np.arange(len(fired))
        # Of all orders of the trials, the share in which those with spikes come first.
        chance = np.sum(np.log1p(-after / np.maximum(len(trials) - places, after + 1e-9)))
        if after and chance < np.log(CHANCE / len(units)):
            lost.append(unit)
    if lost:
        report.warning(
            "units",
            f"{named_units(units, lost)} fire in no trial after some time, as if they were lost; if so, "
            "state when they were observed (obs_intervals)",
        )


def _two_clocks(span: tuple[float, float], trials: TrialTable) -> str:
    """State that a part's clock is not that of the trials, with the likely reason."""
    first, last = _span(trials)
    ratio = _ratio(span, (first, last))
    longer = max(ratio, 1 / max(ratio, 1e-9))
    unit = next((unit for unit, (low, high) in UNITS_OF_TIME.items() if low < longer < high), None)
    which = "its times are" if ratio > 1 else "those of the trials are"
    likely = f"{which} probably in {unit}; write seconds" if unit else "are both in seconds, on one clock?"
    return f"it spans {span[0]:.3g} to {span[1]:.3g} s, but the trials {first:.3g} to {last:.3g} s; {likely}"


def _without_silence(session: Session, report: Report) -> Session:
    """Take the time in which a whole area is silent throughout trials out of what was recorded."""
    units, trials = session.units, session.trials
    # Bins are those of all units; of spike times, each area may come from a separate array.
    groups = np.array(units.areas if units.counts is None else ["all areas"] * len(units))
    cut: dict[str, list[tuple[float, float]]] = {}
    for group in sorted(set(groups.tolist())):
        silent, least = _silent(units, trials, groups == group)
        if silent.any():
            cut[group] = list(_gaps(units, trials, groups == group, silent))
            report.changed(
                "units",
                f"no unit of {group} fires in {named_trials(trials, silent)}, where at least {least:.0f} "
                f"spikes were expected, so none were recorded {_when(cut[group])}; this is not silence",
            )
    if not cut:
        return session
    if units.counts is not None:
        return replace(session, units=_without_bins(units, cut["all areas"]))
    low, high = _whole_span(session)
    stretches = [_complement(low, high, cut.get(area, [])) for area in units.areas]
    return replace(session, units=replace(units, observed=Ragged.of(stretches)))


def _when(gaps: list[tuple[float, float]]) -> str:
    """State the longest of some gaps."""
    start, stop = max(gaps, key=lambda gap: gap[1] - gap[0])
    others = f" (and in {len(gaps) - 1} more stretches)" if len(gaps) > 1 else ""
    if np.isinf(start):
        return f"before {stop:.6g} s{others}"
    return (f"after {start:.6g} s" if np.isinf(stop) else f"from {start:.6g} to {stop:.6g} s") + others


def _silent(units: Units, trials: TrialTable, mine: Bools) -> tuple[Bools, float]:
    """Return trials without a spike of some units where many were expected, and the least number expected.

    What is expected follows from the trials with spikes: 19 of 20 of them have a higher rate.
    """
    n, seconds = _in_trials(units, trials, mine), np.maximum(trials.stop - trials.start, 1e-6)
    fired = n > 0
    if not fired.any() or fired.all():
        return np.zeros(len(trials), bool), 0.0
    expected = np.quantile(n[fired] / seconds[fired], 0.05) * seconds
    silent: Bools = ~fired & (expected >= CERTAIN)
    if units.count_times is not None:  # bins that are missing are no silence
        stored = [np.searchsorted(units.count_times, t) for t in (trials.start, trials.stop)]
        silent &= stored[1] > stored[0]
    return silent, float(expected[silent].min(initial=np.inf))


def _gaps(units: Units, trials: TrialTable, mine: Bools, silent: Bools) -> Iterator[tuple[float, float]]:
    """Yield the stretches without a spike around silent trials, in order, infinite at the ends."""
    times = _times_of(units, mine)
    inside = np.searchsorted(times, trials.start[silent])
    edges = np.concatenate([[-np.inf], times, [np.inf]])
    for k in np.unique(inside):
        yield float(edges[k]), float(edges[k + 1])


def _complement(low: float, high: float, gaps: list[tuple[float, float]]) -> Floats:
    """Return the intervals between gaps, (n_intervals, 2)."""
    bounds = [low, *(min(max(t, low), high) for gap in gaps for t in gap), high]
    pairs = np.array(bounds).reshape(-1, 2)
    return pairs[pairs[:, 0] < pairs[:, 1]]


def _without_bins(units: Units, gaps: list[tuple[float, float]]) -> Units:
    """Leave out the bins within gaps."""
    assert units.counts is not None and units.count_times is not None
    keep = np.ones(len(units.count_times), bool)
    for start, stop in gaps:
        keep &= (units.count_times <= start) | (units.count_times >= stop)
    return replace(units, counts=units.counts[keep], count_times=units.count_times[keep])


def _in_trials(units: Units, trials: TrialTable, mine: Bools) -> Ints:
    """Count the spikes of some units in each trial, (n_trials,)."""
    if units.counts is not None and units.count_times is not None:
        passed = np.concatenate([[0], np.cumsum(units.counts[:, mine].sum(axis=1, dtype=np.int64))])
        a, z = (np.searchsorted(units.count_times, t) for t in (trials.start, trials.stop))
        return np.asarray(passed[z] - passed[a])
    total = np.zeros(len(trials), np.int64)
    for unit in np.flatnonzero(mine):
        train = units.train(int(unit))
        total += np.searchsorted(train, trials.stop) - np.searchsorted(train, trials.start)
    return total


def _times_of(units: Units, mine: Bools) -> Floats:
    """Return the ascending times of all spikes, or of the bins with spikes, of some units."""
    if units.counts is not None and units.count_times is not None:
        return units.count_times[units.counts[:, mine].any(axis=1)]
    return np.sort(np.concatenate([units.train(int(u)) for u in np.flatnonzero(mine)]))


def _spike_counts(units: Units) -> Ints:
    """Count the spikes of each unit, (n_units,)."""
    if units.counts is not None:
        return np.asarray(units.counts.sum(axis=0, dtype=np.int64))
    assert units.spike_offsets is not None
    return np.diff(units.spike_offsets)


def _span_of_spikes(units: Units) -> tuple[float, float] | None:
    """Return the first and last time of the units, s; ``None`` without any."""
    if units.count_times is not None:
        return float(units.count_times[0]), float(units.count_times[-1])
    if units.spike_times is None or units.spike_offsets is None or not len(units.spike_times):
        return None
    first, last = ends(units.spike_offsets)
    return float(units.spike_times[first].min()), float(units.spike_times[last].max())


def ends(offsets: Ints) -> tuple[Ints, Ints]:
    """Return the first and last spike of each unit that has any."""
    filled = offsets[:-1] < offsets[1:]
    return offsets[:-1][filled], offsets[1:][filled] - 1


def _whole_span(session: Session) -> tuple[float, float]:
    """Return the first and last time of all parts of a session, s."""
    spans = [(0.0, 0.0), _span(session.trials), _span_of_spikes(session.units) or (0.0, 0.0)]
    spans += [(float(s.times[0]), float(s.times[-1])) for s in session.signals.values() if len(s.times)]
    return min(a for a, _ in spans), max(z for _, z in spans) + 1.0


def _span(trials: TrialTable) -> tuple[float, float]:
    return float(np.min(trials.start)), float(np.max(trials.stop))


def _ratio(span: tuple[float, float], other: tuple[float, float]) -> float:
    """Return how many times longer one span is than another."""
    return (span[1] - span[0]) / max(other[1] - other[0], 1e-9)
