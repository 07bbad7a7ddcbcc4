"""The model's clock: behaviour between the bins is what was recorded, and activations return to the bins."""

import dataclasses

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.clock import clock_of, sample_cubic
from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import Activations, Ragged, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.errors import UnsupportedError


def signal(times, values, name="s", role="other", columns=("x",)):
    return Signal(name, role, columns, "m", times, np.reshape(values, (len(times), -1)))


def counted(onset, contact, recorded, *, width=0.05, contiguous="recording"):
    """One unit with counts in bins, and one signal."""
    onset, contact = np.asarray(onset, float), np.asarray(contact, float)
    times = np.round(np.arange(0, 30, width), 10)
    return Session(
        id="s", subject="a", layout="test-1", sha256="0" * 64, synthetic=False,
        units=Units(("u0",), ("M1",), counts=np.ones((len(times), 1), int), count_times=times, bin_width=width),
        trials=TrialTable(tuple(map(str, range(len(onset)))), onset - 0.5, contact + 0.5, ("o",) * len(onset),
                          {"on": onset, "off": contact}),
        signals={recorded.name: recorded},
        window=Window("on", "off", pad_before=0.3, pad_after=0.3, contiguous=contiguous),
    )  # fmt: skip


@given(
    st.lists(st.floats(-3, 3), min_size=4, max_size=4),
    st.sampled_from([0.01, 0.05, 0.1]),
    st.floats(0, 0.3),
    st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=examples(40))
def test_a_cubic_trajectory_is_reproduced_exactly(coefficients, spacing, jitter, seed):
    rng = np.random.default_rng(seed)
    times = np.arange(0, 3, spacing)
    times = times + spacing * jitter * rng.uniform(-1, 1, len(times))
    cubic = np.polynomial.Polynomial(coefficients)
    at = np.sort(rng.uniform(0.5, 2.0, 60))
    found = sample_cubic(signal(times, cubic(times)), at, -1.0, 4.0)[:, 0]
    np.testing.assert_allclose(found, cubic(at), atol=1e-9)


@given(st.integers(0, 2**31), st.floats(0.21, 0.5))
@settings(deadline=None, max_examples=examples(40))
def test_a_gap_is_never_crossed(seed, gap):
    rng = np.random.default_rng(seed)
    times = np.concatenate([np.arange(0, 1, 0.05), 0.95 + gap + np.arange(0, 1, 0.05)])
    values, at = rng.standard_normal(len(times)), np.sort(rng.uniform(0, 1.9 + gap, 100))
    early = at < 0.95 + gap / 2
    found = sample_cubic(signal(times, values), at, -1.0, 9.0)[:, 0]
    for side, change in ((early, times > 0.96), (~early, times < 0.96)):
        other = sample_cubic(signal(times, np.where(change, 50.0, values)), at, -1.0, 9.0)[:, 0]
        np.testing.assert_array_equal(found[side], other[side])
    inside = (at > 0.95) & early
    np.testing.assert_allclose(found[inside], values[19], rtol=1e-12)  # held


def test_missing_samples_are_bridged_like_the_time_between_two_samples():
    times = np.arange(0, 2, 0.05)
    values = times**2
    values[20] = np.nan
    found = sample_cubic(signal(times, values), np.array([0.99, 1.0, 1.01]), 0.0, 2.0)[:, 0]
    np.testing.assert_allclose(found, [0.9801, 1.0, 1.0201], atol=1e-9)


def test_steps_cover_the_bins_of_each_trial_from_the_start_of_its_window():
    times = np.arange(0, 30, 0.01)
    aligned = align(counted([10.01, 15.0], [11.0, 16.32], signal(times, times)))
    fine = clock_of(aligned, 0.02)
    assert (aligned.trials.dt, fine.trials.dt) == (0.05, 0.02)
    for i, start in enumerate((10.0, 15.0)):
        window, clock = fine.trials.window[i], fine.trials.signals["s"][i][:, 0]
        np.testing.assert_allclose(clock, start + (np.arange(len(clock)) - window[0] + 0.5) * 0.02)
        bins = aligned.trials.window[i]
        assert window[0] * 20 >= bins[0] * 50 > (window[0] - 1) * 20
        assert window[1] - window[0] == np.ceil((bins[1] - bins[0]) * 2.5)
    assert fine.trials.events is aligned.trials.events
    assert clock_of(aligned, 0.02) is fine


def test_the_sessions_own_bins_and_no_step_return_the_trials_themselves():
    aligned = align(counted([10.0], [11.0], signal(np.arange(0, 30, 0.01), np.zeros(3000))))
    for step in (None, 0.05, 0.05 + 1e-12):
        clock = clock_of(aligned, step)
        assert clock.trials is aligned.trials and clock.scored is clock.bins is aligned.scored
        layers = Activations({"a": aligned.scored.signals["s"]})
        assert clock.in_bins(layers) is layers


def test_trials_of_their_own_recording_see_nothing_of_the_next():
    times = np.arange(0, 30, 0.01)
    recorded = signal(times, np.where(times < 11.5, 1.0, 100.0))
    aligned = align(counted([10.0, 12.0], [11.0, 13.0], recorded, contiguous="trial"))
    first, second = clock_of(aligned, 0.02).trials.signals["s"]
    np.testing.assert_allclose(first, 1.0)
    np.testing.assert_allclose(second, 100.0)


def test_joint_angles_stay_within_their_limits():
    times = np.arange(0, 30, 0.1)
    body = find_body("myohand")
    joint = body.joints.index("mcp2_flexion")
    low, high = body.joint_limits[joint]
    jumps = signal(times, np.where(times % 2 < 1, low, high), "joints", "joint_angle", ("mcp2_flexion",))
    trials = clock_of(align(counted([10.0], [14.0], jumps, width=0.1)), 0.02).trials
    angles = trials.joint_angles.values[:, joint]
    assert angles.min() == low and angles.max() == high
    overshoot = trials.signals["joints"].values
    assert overshoot.min() < low and overshoot.max() > high


def test_a_session_that_does_not_know_what_was_between_its_bins_says_so():
    aligned = align(counted([10.0], [11.0], signal(np.arange(0, 30, 0.01), np.zeros(3000))))
    with pytest.raises(UnsupportedError, match="bins of 50 ms, the model has steps of 20 ms"):
        clock_of(dataclasses.replace(aligned, recording=None), 0.02)


@given(
    st.sampled_from([0.01, 0.02, 0.03, 0.05]), st.sampled_from([0.02, 0.03, 0.05, 0.1]), st.integers(0, 2**31)
)
@settings(deadline=None, max_examples=examples(30))
def test_activations_are_averaged_over_each_bin_by_the_time_that_they_share(step, width, seed):
    """Against a grid of 1 ms on which each step and each bin is a whole number of points."""
    times = np.arange(0, 30, 0.01)
    aligned = align(counted([10.0, 15.0], [11.0, 16.3], signal(times, times), width=width))
    clock = clock_of(aligned, step)
    offsets, rng = clock.scored.offsets, np.random.default_rng(seed)
    layer = Ragged(rng.standard_normal((offsets[-1], 3)), offsets)
    found = clock.in_bins(Activations({"a": layer})).layers["a"]
    np.testing.assert_array_equal(found.offsets, clock.bins.offsets)
    n_step, n_bin = round(step * 1000), round(width * 1000)
    for i, trial in enumerate(layer):
        points = np.repeat(trial, n_step, axis=0)
        first = (clock.scored.window[i, 0] * n_step) - clock.bins.window[i, 0] * n_bin
        for k, mean in enumerate(found[i]):
            mine = points[max(first + k * n_bin, 0) : first + (k + 1) * n_bin]
            np.testing.assert_allclose(mean, mine.mean(0), atol=1e-9)
