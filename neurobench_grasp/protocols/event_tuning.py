"""How strongly units distinguish the conditions around each event of a trial."""

from __future__ import annotations

import numpy as np

from neurobench_grasp.alignment.rates import to_ticks
from neurobench_grasp.contract import Bools, Floats, Ints, ScoreRow, Session
from neurobench_grasp.scoring.reliability import split_half_reliability

WINDOW = 0.2  # s, centred on the event
MIN_CONDITIONS, MIN_REPEATS = 5, 2
SEED = 0


def event_tuning(session: Session) -> list[ScoreRow]:
    """Measure split-half reliability of condition means in the 200 ms around each event.

    Parameters
    ----------
    session : Session

    Returns
    -------
    list of dict
        One row per area and event, in the order of the events' median times: ``area``, ``event``,
        ``reliability`` (pooled over units, Spearman–Brown corrected), ``n_units``, ``n_conditions``.
        Empty where fewer than 5 conditions have 2 trials, or where spikes are stored as counts in bins
        too wide for the window.
    """
    units, table = session.units, session.trials
    if len(units) == 0 or units.spike_times is None or units.spike_offsets is None:
        return []
    median_time = {
        e: float(np.nanmedian(t - table.start)) for e, t in table.events.items() if np.isfinite(t).any()
    }
    rows: list[ScoreRow] = []
    for event in sorted(median_time, key=lambda e: median_time[e]):
        times = table.events[event]
        counts = _counts_around(units.spike_times, units.spike_offsets, times)
        seen = np.isfinite(times)[:, None] & _observed_at(session, times)
        for area in sorted(set(units.areas)):
            mine = np.array([a == area for a in units.areas])
            reliability, n_units, n_conditions = split_half_reliability(
                counts[:, mine], seen[:, mine], table.condition, min_repeats=MIN_REPEATS, seed=SEED
            )
            if n_conditions >= MIN_CONDITIONS and n_units:
                row = {"area": area, "event": event, "reliability": reliability}
                rows.append(row | {"n_units": n_units, "n_conditions": n_conditions})
    return rows


def _counts_around(spike_times: Floats, spike_offsets: Ints, times: Floats) -> Floats:
    """Count spikes in the window around each time, (n_trials, n_units)."""
    counts = np.zeros((len(times), len(spike_offsets) - 1))
    start = to_ticks(np.where(np.isfinite(times), times, 0.0) - WINDOW / 2)
    width = int(to_ticks(WINDOW))
    ticks = to_ticks(spike_times)
    for u in range(counts.shape[1]):
        train = ticks[spike_offsets[u] : spike_offsets[u + 1]]
        counts[:, u] = np.searchsorted(train, start + width) - np.searchsorted(train, start)
    return counts


def _observed_at(session: Session, times: Floats) -> Bools:
    """Return True where a unit was observed throughout the window around each time, (n_trials, n_units)."""
    units = session.units
    seen = np.ones((len(times), len(units)), bool)
    if units.observed is not None:
        low, high = times[:, None] - WINDOW / 2, times[:, None] + WINDOW / 2
        for u, intervals in enumerate(units.observed):
            seen[:, u] = ((low >= intervals[:, 0]) & (high <= intervals[:, 1])).any(1)
    return seen
