"""Parts of a session share one clock in seconds: another one is refused or reported with its likely reason."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.contract import Ragged, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data.nwb.clocks import check_clocks
from neurobench_grasp.data.nwb.findings import Report
from neurobench_grasp.data.nwb.validate import check_counts, check_signal, check_spikes, check_trials

PERIOD, LENGTH = 4.0, 3.5


def session(n_trials=40, n_units=6, rate=15.0, seed=0, areas=None):
    """Poisson spikes of constant rates, a signal at 100 Hz, and trials of 3.5 s every 4 s."""
    rng = np.random.default_rng(seed)
    duration = n_trials * PERIOD + 2
    trains = [np.sort(rng.uniform(0, duration, rng.poisson(rate * duration))) for _ in range(n_units)]
    start = 1 + PERIOD * np.arange(n_trials)
    times = np.arange(0, duration, 0.01)
    return Session(
        id="s", subject="Ada", layout="l@1", sha256="", synthetic=False,
        units=units_of(trains, areas or ("M1",) * n_units),
        trials=TrialTable(
            tuple(map(str, range(n_trials))), start, start + LENGTH, ("cup",) * n_trials, {"go": start + 0.5}
        ),
        signals={"angles": Signal("angles", "other", ("x",), "rad", times, np.sin(times)[:, None])},
        window=Window("go", "go"),
    )  # fmt: skip


def units_of(trains, areas):
    ends = np.cumsum([0, *map(len, trains)], dtype=np.int64)
    names = tuple(f"u{i}" for i in range(len(trains)))
    return Units(names, tuple(areas), spike_times=np.concatenate(trains), spike_offsets=ends)


def with_spikes(made, change):
    trains = [np.asarray(change(made.units.train(u))) for u in range(len(made.units))]
    return replace(made, units=units_of(trains, made.units.areas))


def with_counts(made, width=0.05):
    """The same spikes as counts in bins of all the session."""
    edges = np.arange(0, made.trials.stop[-1] + 1, width)
    counts = np.stack([np.histogram(made.units.train(u), edges)[0] for u in range(len(made.units))], axis=1)
    binned = replace(made.units, spike_times=None, spike_offsets=None, counts=counts.astype(np.int32))
    return replace(made, units=replace(binned, count_times=edges[:-1], bin_width=width))


def checked(made):
    """What a reader checks, part by part, and what it reports."""
    report = Report()
    units = check_counts(check_spikes(made.units, "units", report), "units", report)
    trials = check_trials(made.trials, "trials", "error", (), report)
    for name, signal in made.signals.items():
        check_signal(signal, name, report)
    made = replace(made, units=units, trials=trials)
    return (made if report.errors else check_clocks(made, report)), report


def errors(made):
    return [str(f) for f in checked(made)[1].errors]


sessions = st.builds(
    session,
    n_trials=st.integers(12, 80),
    n_units=st.integers(3, 12),
    rate=st.floats(3, 60),
    seed=st.integers(0, 2**32 - 1),
)


@given(sessions)
def test_one_clock_passes_without_a_word(made):
    for one in (made, with_counts(made)):
        read, report = checked(one)
        assert not report.errors and not report.changes
        assert read.units.observed is None


@given(sessions, st.sampled_from([("ms", 1e3), ("samples", 30_000.0), ("µs", 1e6)]))
def test_spikes_in_another_unit_of_time_are_refused_and_the_unit_is_named(made, other):
    name, factor = other
    (error,) = errors(with_spikes(made, lambda t: t * factor))
    assert (
        error.startswith("units: it spans ") and f"its times are probably in {name}; write seconds" in error
    )


@given(sessions, st.sampled_from([("ms", 1e3), ("samples", 30_000.0), ("µs", 1e6)]))
def test_trials_in_another_unit_of_time_are_refused_and_the_unit_is_named(made, other):
    name, factor = other
    t = made.trials
    moved = replace(t, start=t.start * factor, stop=t.stop * factor, events={})
    (error,) = errors(replace(made, trials=moved))
    assert f"those of the trials are probably in {name}; write seconds" in error
    assert any(
        f.place == "angles" and name in f.message for f in checked(replace(made, trials=moved))[1].findings
    )


@given(sessions, st.sampled_from([1e3, 3e4]))
def test_whole_numbers_are_samples_or_ms(made, factor):
    (error,) = errors(with_spikes(made, lambda t: np.unique(np.rint(t * factor))))
    assert "spike times are whole numbers, so they count samples or ms; write them in seconds" in error


@given(sessions, st.booleans())
def test_spikes_relative_to_their_trial_are_refused_even_if_sorted(made, in_order):
    def relative(train):
        pieces = [train[(train >= a) & (train < a + LENGTH)] - a for a in made.trials.start]
        return np.sort(np.concatenate(pieces)) if in_order else np.concatenate(pieces)

    (error,) = errors(with_spikes(made, relative))
    wanted = (
        ("faster than any neuron", "spikes lie in only")
        if in_order
        else ("they are relative to their trial",)
    )
    assert any(words in error for words in wanted)


@given(sessions, st.floats(0.2, 0.8))
def test_a_clock_that_restarts_is_refused(made, where):
    cut = where * made.trials.stop[-1]
    (error,) = errors(with_spikes(made, lambda t: np.concatenate([t[t < cut], t[t >= cut] - cut])))
    assert "or of several recordings whose clocks restart" in error


@given(sessions, st.floats(1.1, 50))
def test_another_zero_is_refused(made, spans):
    (error,) = errors(with_spikes(made, lambda t: t + spans * (made.trials.stop[-1] + 2)))
    assert "spikes lie in only 0 of" in error and "are both in seconds, on one clock?" in error


@given(sessions, st.integers(0, 2**32 - 1))
def test_swaps_of_neighbours_are_sorted(made, seed):
    rng = np.random.default_rng(seed)

    def swapped(train):
        near = np.flatnonzero(np.diff(train) < 0.3)[::3]
        near = near[rng.random(len(near)) < 0.3]
        train = train.copy()
        train[near], train[near + 1] = train[near + 1], train[near].copy()
        return train

    read, report = checked(with_spikes(made, swapped))
    assert not report.errors
    np.testing.assert_array_equal(read.units.spike_times, made.units.spike_times)


@given(sessions, st.floats(0.3, 0.9), st.booleans())
def test_spikes_that_end_are_no_silence(made, share, binned):
    """Trials beyond the last spike are not observed, the others are, and a second look changes nothing."""
    end = made.trials.stop[int(share * len(made.trials))] + 0.1  # a trial that was cut may count as either
    made = with_spikes(made, lambda t: t[t < end])
    made = with_counts(made) if binned else made
    after = made.trials.start > end
    read, report = checked(made)
    silent = np.zeros(len(after), bool)
    rate = 0.5 * len(made.units) * 3 * LENGTH  # a bound on what is expected in a trial
    if rate < 20 or not after.any():
        return
    (change,) = report.changes
    assert (
        change.message.endswith("this is not silence")
        and f"{after.sum()} of {len(after)} trials" in change.message
    )
    if binned:
        silent = read.units.count_times[-1] + read.units.bin_width < made.trials.start
    else:
        silent = np.array([not (read.units.observed[0][:, 1] > a).any() for a in made.trials.start])
    np.testing.assert_array_equal(silent, after)
    assert not checked(read)[1].changes


def test_an_area_that_falls_silent_for_a_while_is_not_observed_then():
    made = session(areas=("M1",) * 3 + ("S1",) * 3)
    trains = [made.units.train(u) for u in range(6)]
    trains[3:] = [t[(t < 50) | (t > 90)] for t in trains[3:]]
    read, report = checked(replace(made, units=units_of(trains, made.units.areas)))
    assert "no unit of S1 fires in" in report.changes[0].message and "from 4" in report.changes[0].message
    np.testing.assert_allclose(read.units.observed[0], [[0.0, 163.0]], atol=1)
    np.testing.assert_allclose(read.units.observed[5], [[0.0, 50.0], [90.0, 163.0]], atol=1)


def test_stated_observation_is_believed():
    made = session()
    stated = Ragged.of([np.array([[0.0, 200.0]])] * 6)
    made = with_spikes(made, lambda t: t[t < 80])
    read, report = checked(replace(made, units=replace(made.units, observed=stated)))
    assert read.units.observed is stated and not report.findings


def test_a_unit_that_is_lost_is_reported():
    made = session()
    trains = [made.units.train(u) for u in range(6)]
    trains[2] = trains[2][trains[2] < 80]
    _, report = checked(replace(made, units=units_of(trains, made.units.areas)))
    (finding,) = report.findings
    assert str(finding) == (
        "units: 1 of 6 units (u2) fire in no trial after some time, as if they were lost; if so, state when they "
        "were observed (obs_intervals)"
    )


@pytest.mark.parametrize("factor", [1e3, 3e4])
def test_a_signal_on_another_clock_is_reported(factor):
    made = session()
    angles = made.signals["angles"]
    _, report = checked(replace(made, signals={"angles": replace(angles, times=angles.times * factor)}))
    assert any("its times are probably in" in f.message for f in report.findings if f.place == "angles")


@pytest.mark.parametrize("value", [1e12, -1e12, np.inf, np.nan])
def test_times_beyond_any_clock(value):
    made = session()
    times = made.units.spike_times.copy()
    times[made.units.spike_offsets[1] - 1] = value
    (error,) = errors(replace(made, units=replace(made.units, spike_times=times)))
    assert "beyond" in error or "NaN or infinite" in error or "fall back" in error
    stop = made.trials.stop.copy()
    stop[-1] = value
    read, report = checked(replace(made, trials=replace(made.trials, stop=stop)))
    assert not report.errors and len(read.trials) == 39
    assert report.changes[0].message == "1 of 40 trial stop times are NaN or infinite, and were left out"


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.floats(1, 3000))
def test_trial_times_in_single_precision_do_not_overlap(seed, n, offset):
    """Trials that abut overlap by rounding alone."""
    edges = offset * 10 + np.cumsum(np.random.default_rng(seed).uniform(0.5, 4, n + 1))
    start, stop = (x.astype(np.float32).astype(float) for x in (edges[:-1], edges[1:]))
    stop += np.spacing(stop.astype(np.float32)) * (np.arange(n) % 2)
    table = TrialTable(tuple(map(str, range(n))), start, stop, ("a",) * n, {})
    report = Report()
    assert len(check_trials(table, "trials", "error", (), report)) == n
    assert not report.findings


@given(st.integers(11, 60), st.data())
def test_one_bad_trial_is_one_dropped_trial(n, data):
    made = session(n_trials=n).trials
    which = data.draw(st.integers(0, n - 2))
    bad = data.draw(st.sampled_from(["no end", "no start", "no length", "backwards", "overlaps", "long"]))
    start, stop = made.start.copy(), made.stop.copy()
    if bad == "no start":
        start[which] = np.nan
    else:
        stop[which] = {
            "no end": np.nan, "no length": start[which], "backwards": start[which] - 1,
            "overlaps": start[which + 1] + 0.001, "long": 1e6,
        }[bad]  # fmt: skip
    report = Report()
    kept = check_trials(replace(made, start=start, stop=stop), "trials", "error", (), report)
    assert not report.errors and len(kept) == n - 1
    (change,) = report.changes
    assert f"1 of {n} trial" in change.message and change.message.endswith("and were left out")
    assert (kept.stop > kept.start).all() and (kept.start[1:] >= kept.stop[:-1]).all()


def test_events_that_count_from_their_trial_are_said_to():
    made = session().trials
    report = Report()
    check_trials(replace(made, events={"go": np.full(40, 0.5)}), "trials", "error", (), report)
    assert report.changes[0].message == (
        "the event go lies outside the trial, and so counts as missing, in 40 of 40 trials (0, 1, 2, 3, 4, …); "
        "they lie between 0 and its length, so they probably count from the start of their trial"
    )
