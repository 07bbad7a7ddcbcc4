import dataclasses

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import bins_before
from neurobench_grasp.contract import Ragged, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.errors import UnsupportedError


def session(onset, contact, *, spikes=None, trial=None, contiguous="recording", signal=None, **units):
    """One unit, one signal whose value is the time itself."""
    onset, contact = np.asarray(onset, float), np.asarray(contact, float)
    start, stop = trial if trial else (onset - 1, contact + 1)
    times = np.arange(0, 60, 0.01)
    if spikes is not None:
        units |= {
            "spike_times": np.sort(np.asarray(spikes, float)),
            "spike_offsets": np.array([0, len(spikes)]),
        }
    return Session(
        id="s", subject="a", layout="test-1", sha256="0" * 64, synthetic=False,
        units=Units(ids=("u0",), areas=("M1",), **units),
        trials=TrialTable(tuple(map(str, range(len(onset)))), np.asarray(start, float), np.asarray(stop, float),
                          tuple(f"o{i % 3}" for i in range(len(onset))), {"on": onset, "off": contact}),
        signals={"clock": signal or Signal("clock", "other", ("t",), "s", times, times[:, None])},
        window=Window("on", "off", pad_before=0.3, pad_after=0.3, contiguous=contiguous),
    )  # fmt: skip


@given(st.lists(st.floats(2, 30), max_size=200), st.floats(3, 5), st.integers(8, 60))
@settings(deadline=None, max_examples=examples(40))
def test_abutting_windows_hold_every_spike_once(spikes, first_edge, n_steps):
    edges = first_edge + 0.02 * n_steps * np.arange(4) + 0.003
    aligned = align(session(edges[:-1], edges[1:], spikes=[*spikes, 0.5]))
    low, high = (np.floor_divide(np.rint(edges[[0, -1]] * 1e6), 20_000) * 20_000).astype(int)
    ticks = np.rint(np.array(spikes) * 1e6)
    windows = [trial[bins_before(0.02) :] for trial in aligned.units.counts]
    assert np.concatenate(windows).sum() == ((ticks >= low) & (ticks < high)).sum()


def test_behaviour_is_sampled_at_the_centre_of_the_bins_that_count_the_spikes():
    aligned = align(session([10.013], [10.513], spikes=[10.0, 10.021, 10.4999]))
    (a, b), clock = aligned.trials.window[0], aligned.trials.signals["clock"][0][:, 0]
    np.testing.assert_allclose(clock[a:b], np.arange(500, 525) * 0.02 + 0.01, atol=1e-9)
    assert (np.flatnonzero(aligned.units.counts[0][:, 0]) - bins_before(0.02)).tolist() == [0, 1, 24]
    assert (a, len(clock)) == (15, 15 + 25 + 15)
    assert aligned.trials.events["on"][0] == pytest.approx(0.013)


def test_trials_that_merely_abut_do_not_bleed_into_each_other():
    """Two trials end to end; all spikes of the first lie in its last bin."""
    edges = np.array([4.0, 5.0, 6.0])
    burst = 4.98 + np.linspace(0.001, 0.019, 9)
    args = dict(spikes=burst, trial=(edges[:-1], edges[1:]))
    apart = align(session(edges[:-1], edges[1:], contiguous="trial", **args))
    joined = align(session(edges[:-1], edges[1:], contiguous="recording", **args))
    assert apart.units.rates[1].sum() == 0
    assert joined.units.rates[1][0, 0] == pytest.approx(9 / 3 / 0.02)
    assert apart.units.rates[0][-1, 0] == pytest.approx(9 / 2 / 0.02)  # renormalised at the edge
    assert apart.trials.signals["clock"][1].min() >= 5.0  # padding holds the trial's first value
    assert any("last value held" in note for note in apart.notes)


def test_every_dropped_trial_has_its_reason():
    onset = [5, np.nan, 10, 15, 59.8]
    contact = [5.5, 7, np.nan, 15.1, 60.5]
    s = session(onset, contact, spikes=[1.0], trial=([4, 6, 9, 14, 58], [6, 8, 11, 16, 60]))
    s = dataclasses.replace(s, window=dataclasses.replace(s.window, contiguous="trial"))
    assert dict(align(s).dropped) == {
        "1": "lacks the event on",
        "2": "lacks the event off",
        "3": "has a window shorter than 8 bins",
        "4": "has a window that reaches outside the contiguous recording",
    }


def test_a_gap_in_a_signal_drops_the_trial_and_nothing_is_interpolated_across_it():
    times = np.concatenate([np.arange(0, 5.2, 0.01), np.arange(5.5, 60, 0.01)])
    clock = Signal("clock", "other", ("t",), "s", times, times[:, None])
    aligned = align(session([5.0, 10.0], [5.6, 10.5], spikes=[1.0], signal=clock))
    assert aligned.dropped == (("0", "has a gap in the signal clock"),)
    values = np.arange(0, 60, 0.01)[:, None].copy()
    values[1021] = np.nan
    broken = Signal("clock", "other", ("t",), "s", np.arange(0, 60, 0.01), values)
    aligned = align(session([5.0, 10.0], [5.6, 10.5], spikes=[1.0], signal=broken))
    assert aligned.dropped == (("1", "has missing samples in the signal clock"),)


def test_a_unit_counts_only_in_trials_within_its_observed_intervals():
    observed = Ragged.of([np.array([[4.0, 6.0], [10.2, 12.0]])])
    aligned = align(session([5.0, 10.0], [5.5, 10.6], spikes=[5.1, 10.3], observed=observed))
    assert aligned.units.observed.tolist() == [[True], [False]]
    assert aligned.units.recorded.tolist() == [[True], [False]]


def test_counts_begin_before_the_window_and_are_recorded_only_if_all_of_them_are():
    observed = Ragged.of([np.array([[4.6, 6.0], [9.6, 12.0]])])
    aligned = align(session([5.0, 10.0], [5.5, 10.6], spikes=[4.53, 5.1], observed=observed))
    assert aligned.units.observed.all() and aligned.units.recorded.tolist() == [[False], [False]]
    earlier = Ragged.of([np.array([[4.5, 6.0], [9.6, 12.0]])])
    aligned = align(session([5.0, 10.0], [5.5, 10.6], spikes=[4.53, 5.1], observed=earlier))
    assert aligned.units.recorded.tolist() == [[True], [False]]
    first = 250 - bins_before(0.02)
    assert (np.flatnonzero(aligned.units.counts[0][:, 0]) + first).tolist() == [226, 255]


def test_stored_counts_keep_their_bins_and_a_missing_bin_drops_the_trial():
    times = np.round(np.arange(0, 60, 0.05), 10)
    keep = np.ones(len(times), bool)
    keep[210] = False
    counts = np.arange(len(times))[:, None] % 7
    units = dict(counts=counts[keep], count_times=times[keep] + 1e-9, bin_width=0.05)
    aligned = align(session([5.02, 10.0], [6.0, 11.0], **units))
    assert aligned.trials.dt == 0.05
    assert aligned.units.counts[0][:, 0].tolist() == counts[100 - bins_before(0.05) : 120, 0].tolist()
    assert aligned.dropped[0][0] == "1" and "contiguous" in aligned.dropped[0][1]


def test_a_session_without_a_usable_trial_or_event_says_so():
    with pytest.raises(UnsupportedError, match="first one has a window shorter than 8 bins"):
        align(session([5.0], [5.1], spikes=[1.0]))
    s = session([5.0], [6.0], spikes=[1.0])
    with pytest.raises(UnsupportedError, match=r"no event 'contact'.*it has off, on"):
        align(dataclasses.replace(s, window=Window("on", "contact")))
