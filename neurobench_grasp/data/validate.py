"""Consistency checks of sessions that were read by another process."""

from __future__ import annotations

import numpy as np

from neurobench_grasp.contract import Ints, Session, Signal, TrialTable, Units
from neurobench_grasp.data.nwb import validate as checks
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.findings import Report


def is_consistent(session: Session) -> bool:
    """Return whether all shapes match, and validation finds no error."""
    series = [*session.signals.values(), *([session.true_rates] if session.true_rates else [])]
    fitting = (
        _units_fit(session.units)
        and _trials_fit(session.trials)
        and all(map(_series_fits, series))
        and all(name == signal.name for name, signal in session.signals.items())
    )
    return fitting and not _errors(session)


def _errors(session: Session) -> bool:
    report = Report()
    checks.check_spikes(session.units, "units", report)
    checks.check_counts(session.units, "units", report)
    kept = checks.check_trials(session.trials, "trials", "allow", (), report)
    for name, signal in session.signals.items():
        checks.check_signal(signal, name, report)
    check_clocks(session, report)
    return bool(report.errors) or len(kept) < len(session.trials)  # a reader has left those out


def _units_fit(units: Units) -> bool:
    n_units = len(units.ids)
    times, offsets, counts = units.spike_times, units.spike_offsets, units.counts
    if times is not None and offsets is not None:
        stored = times.ndim == 1 and _divides(offsets, n_units, len(times)) and counts is None
    else:
        binned = counts is not None and units.count_times is not None and units.bin_width is not None
        stored = binned and counts.shape == (*units.count_times.shape, n_units)  # type: ignore[union-attr]
    seen = units.observed
    observed = seen is None or (
        seen.values.shape[1:] == (2,) and _divides(seen.offsets, n_units, len(seen.values))
    )
    return len(units.areas) == n_units and stored and observed


def _divides(offsets: Ints, n_rows: int, n_values: int) -> bool:
    """Return whether offsets divide values into rows without gap or remainder."""
    whole = offsets.shape == (n_rows + 1,) and offsets[0] == 0 and offsets[-1] == n_values
    return bool(whole and not (np.diff(offsets) < 0).any())


def _trials_fit(trials: TrialTable) -> bool:
    shape = (len(trials.ids),)
    return (
        all(times.shape == shape for times in (trials.start, trials.stop, *trials.events.values()))
        and (len(trials.condition),) == shape
        and len(trials.group) in (0, *shape)
    )


def _series_fits(signal: Signal) -> bool:
    return signal.values.shape == (*signal.times.shape, len(signal.columns))
