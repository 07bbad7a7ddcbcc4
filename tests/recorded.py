"""An NWB file with a known truth, for tests of the whole flow."""

import numpy as np

from neurobench_grasp.contract import Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data import write_session


def planted_session(n_objects=8, n_repeats=6, n_units=6, seed=0):
    """Spikes that follow a recorded position with a saturating rate."""
    rng = np.random.default_rng(seed)
    n = n_objects * n_repeats
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.02) + 0.01
    raw = rng.standard_normal((len(times) + 9, 2))
    position = sum(raw[k : k + len(times)] for k in range(10)) / 10**0.5
    rates = 40 / (1 + np.exp(-position @ rng.standard_normal((2, n_units))))
    counts = rng.poisson(rates * 0.02)
    spikes = []
    for unit in counts.T:
        at = np.repeat(np.arange(len(times)), unit) * 0.02
        spikes.append(np.sort(at + 0.02 * rng.random(len(at))))
    return Session(
        id="planted",
        subject="monkey-a",
        layout="",
        sha256="",
        synthetic=True,
        units=Units(
            ids=tuple(map(str, range(n_units))),
            areas=("M1",) * n_units,
            spike_times=np.concatenate(spikes),
            spike_offsets=np.cumsum([0, *map(len, spikes)]),
        ),
        trials=TrialTable(
            ids=tuple(map(str, range(n))),
            start=onset - 0.8,
            stop=onset + 1.1,
            condition=tuple(f"object_{i % n_objects}" for i in range(n)),
            events={"move_onset": onset, "contact": onset + rng.uniform(0.4, 0.8, n)},
        ),
        signals={"position": Signal("position", "position", ("x", "y"), "m", times, position)},
        window=Window("move_onset", "contact"),
    )


def write_planted(path, **changes):
    """Write the session of :func:`planted_session`; gives the path."""
    return write_for_test(path, planted_session(**changes))


def write_for_test(path, session):
    """Write any session with a made-up animal and date; gives the path."""
    write_session(
        path,
        session,
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        session_start_time="2020-01-01T00:00:00+00:00",
        description="planted session of a test",
    )
    return path
