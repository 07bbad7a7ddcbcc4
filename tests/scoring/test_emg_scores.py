"""Laws of the scores of EMG, and sums of correlations that join over folds and survive a file."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway, spearmanr

from neurobench_grasp.records.record import pack_units
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.emg import (
    condition_averages,
    correlations,
    halves,
    muscle_rsa,
    spearman_brown,
    tuning_reliability,
)
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.sums import Sums, joined

seeds = st.integers(0, 2**32 - 1)
channels = st.integers(3, 8)
factors = st.floats(1e-3, 1e3)


def related(seed, n_channels, n_samples=60):
    """Two arrays whose columns are correlated, each to another degree."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n_samples, n_channels)) @ rng.standard_normal((n_channels, n_channels))
    return a, a + 3 * rng.random(n_channels) * rng.standard_normal(a.shape)


def trials_of(seed, n_conditions=5, n_repeats=6, n_phases=25, n_channels=4, noise=1.0):
    """Phases of tuned trials, in random order, and their conditions."""
    rng = np.random.default_rng(seed)
    tuned = rng.standard_normal((n_conditions, n_phases, n_channels))
    labels = rng.permutation(np.repeat(np.arange(n_conditions), n_repeats))
    phases = tuned[labels] + noise * rng.standard_normal((len(labels), n_phases, n_channels))
    return phases, [f"c{k}" for k in labels]


# --- correlations -----------------------------------------------------------------------------------


@given(seeds, channels)
def test_correlations_are_those_of_numpy_column_by_column(seed, n_channels):
    a, b = related(seed, n_channels)
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(correlations(a, b), expected, atol=1e-12)


@given(seeds, factors, factors, st.floats(-100, 100))
def test_unit_and_offset_do_not_matter_and_a_negative_gain_turns_the_sign(seed, gain, other_gain, offset):
    a, b = related(seed, 4)
    same = correlations(gain * a + offset * gain, other_gain * b - offset * other_gain)
    np.testing.assert_allclose(same, correlations(a, b), atol=1e-9)
    np.testing.assert_allclose(correlations(-a, b), -correlations(a, b), atol=1e-12)


def test_a_constant_channel_has_no_correlation():
    a, b = related(0, 3)
    a[:, 1], b[:, 2] = 2.0, 0.0
    assert np.isnan(correlations(a, b)).tolist() == [False, True, True]


@given(seeds, st.floats(0.3, 3.0))
def test_spearman_brown_is_the_reliability_of_twice_as_many_repeats(seed, noise):
    """Of parallel measurements: the correlation of halves, corrected, is that of wholes."""
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal(40_000)
    parts = signal + noise * rng.standard_normal((4, len(signal)))
    of_halves, of_wholes = np.corrcoef(parts)[0, 1], np.corrcoef(parts[:2].mean(0), parts[2:].mean(0))[0, 1]
    np.testing.assert_allclose(spearman_brown(of_halves), of_wholes, atol=0.03)


def test_spearman_brown_leaves_what_is_negative_undefined_0_or_1():
    given_ = np.array([-0.3, 0.0, 1.0, np.nan])
    np.testing.assert_array_equal(spearman_brown(given_), given_)


# --- averages and halves ----------------------------------------------------------------------------


@given(seeds)
def test_averages_are_in_the_order_of_labels_and_of_all_their_trials(seed):
    phases, labels = trials_of(seed)
    found = condition_averages(phases, labels)
    for k, label in enumerate(sorted(set(labels))):
        mine = [trial for trial, other in zip(phases, labels, strict=True) if other == label]
        np.testing.assert_allclose(found[k], sum(mine) / len(mine), atol=1e-12)


@given(seeds, st.integers(1, 3))
def test_halves_are_disjoint_equally_large_and_together_the_average(seed, n_pairs):
    phases, labels = trials_of(seed, n_repeats=2 * n_pairs)
    first, second = halves(phases, labels)
    np.testing.assert_allclose((first + second) / 2, condition_averages(phases, labels), atol=1e-12)
    changed = phases.copy()
    k = labels.index("c0")
    changed[k] += 1.0
    moved = [
        np.abs(new - old).max((1, 2))
        for new, old in zip(halves(changed, labels), (first, second), strict=True)
    ]
    np.testing.assert_allclose(sorted(m.max() for m in moved), [0.0, 1 / n_pairs], atol=1e-12)
    assert all(m[1:].max() == 0 for m in moved)


def test_an_odd_trial_and_conditions_with_one_trial_are_in_no_half():
    phases, labels = np.arange(4.0)[:, None, None] * np.ones((1, 2, 1)), ["a", "a", "a", "b"]
    first, second = halves(phases, labels)
    assert (first.ravel().tolist(), second.ravel().tolist()) == ([0.0, 0.0], [1.0, 1.0])


def test_without_trials_there_are_no_averages_and_no_halves():
    empty = np.zeros((0, 25, 3))
    assert condition_averages(empty, []).shape == (0, 25, 3)
    assert [half.shape for half in halves(np.ones((2, 25, 3)), ["a", "b"])] == [(0, 25, 3)] * 2


# --- reliability of tuning --------------------------------------------------------------------------


@given(seeds)
def test_tuning_without_noise_is_reliable_and_noise_or_a_common_course_is_not(seed):
    tuned, labels = trials_of(seed, n_conditions=8, n_repeats=8, n_channels=1, noise=0.0)
    noise = np.random.default_rng(seed).standard_normal(tuned.shape)
    course = 10 * np.sin(np.linspace(0, 3, 25))[None, :, None] + noise
    found = tuning_reliability(np.concatenate([tuned, noise, course], axis=2), labels)
    assert found[0] > 1 - 1e-9 and (np.abs(found[1:]) < 0.5).all()


@given(seeds, st.integers(2, 6))
def test_reliability_is_one_minus_one_over_f_of_an_analysis_of_variance(seed, n_conditions):
    phases, labels = trials_of(seed, n_conditions=n_conditions, n_phases=1)
    samples = [[x for x, other in zip(phases[:, 0], labels, strict=True) if other == k] for k in set(labels)]
    np.testing.assert_allclose(tuning_reliability(phases, labels), 1 - 1 / f_oneway(*samples).statistic)


@given(seeds)
def test_reliability_is_the_correlation_with_averages_of_new_trials(seed):
    """Of 40 conditions, so that chance is small."""
    phases, labels = trials_of(seed, n_conditions=40, n_repeats=12, noise=2.0)
    half = [[k for k in range(len(labels)) if labels[:k].count(labels[k]) % 2 == part] for part in (0, 1)]
    means = [condition_averages(phases[k], [labels[i] for i in k]) for k in half]
    first, second = ((m - m.mean(0)).reshape(-1, 4) for m in means)
    found = tuning_reliability(phases[half[0]], [labels[i] for i in half[0]])
    np.testing.assert_allclose(found, correlations(first, second), atol=0.1)


@pytest.mark.parametrize("order", ["shuffled", "shuffled in blocks", "in turn"])
def test_a_drift_is_no_tuning_in_whatever_order_conditions_follow_each_other(order):
    """Over 60 sequences; odd and even trials would share the drift."""
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        k = {
            "shuffled": rng.permutation(64),
            "shuffled in blocks": np.concatenate([rng.permutation(8) for _ in range(8)]),
            "in turn": np.arange(64),
        }[order]
        drift = np.linspace(0, 1, 64)[:, None, None] + 0.05 * rng.standard_normal((64, 25, 1))
        found.append(tuning_reliability(drift, [f"c{i % 8}" for i in k])[0])
    assert np.median(found) < 0.2 and np.mean(np.array(found) > 0.5) < 0.15


def test_what_is_constant_or_not_repeated_or_of_one_condition_is_not_reliable():
    tuned, labels = trials_of(0, noise=0.0)
    assert tuning_reliability(np.full_like(tuned, 0.1), labels).tolist() == [0.0] * 4
    assert tuning_reliability(tuned, ["one"] * len(tuned)).tolist() == [0.0] * 4
    assert tuning_reliability(tuned, [f"c{k}" for k in range(len(tuned))]).tolist() == [0.0] * 4
    assert tuning_reliability(tuned[:0], []).tolist() == [0.0] * 4


@given(seeds, st.floats(0.2, 3.0))
def test_reliability_does_not_depend_on_what_all_conditions_share(seed, size):
    phases, labels = trials_of(seed)
    course = size * np.random.default_rng(seed).standard_normal((1, 25, 4))
    found = tuning_reliability(phases, labels)
    np.testing.assert_allclose(tuning_reliability(phases + course, labels), found, atol=1e-9)
    np.testing.assert_allclose(tuning_reliability(size * phases, labels), found, atol=1e-9)


# --- muscle RSA -------------------------------------------------------------------------------------


@given(seeds, channels)
def test_rsa_is_spearmans_correlation_of_the_lower_triangles(seed, n_channels):
    a, b = related(seed, n_channels)
    below = [(i, j) for i in range(n_channels) for j in range(i)]
    one, other = ([np.corrcoef(x[:, i], x[:, j])[0, 1] for i, j in below] for x in (a, b))
    np.testing.assert_allclose(muscle_rsa(a, b), spearmanr(one, other).statistic, atol=1e-9)
    np.testing.assert_allclose(muscle_rsa(a, a), 1.0)


@given(seeds, channels)
def test_rsa_does_not_depend_on_the_gain_of_a_channel_and_the_order_of_samples(seed, n_channels):
    rng = np.random.default_rng(seed)
    a, b = related(seed, n_channels)
    gains = rng.uniform(0.1, 10, n_channels)
    np.testing.assert_allclose(
        muscle_rsa(gains * a + 1, b[rng.permutation(len(b))]), muscle_rsa(a, b), atol=1e-9
    )
    order = rng.permutation(n_channels)
    np.testing.assert_allclose(muscle_rsa(a[:, order], b[:, order]), muscle_rsa(a, b), atol=1e-9)


def test_rsa_needs_three_channels_that_vary():
    a, b = related(1, 4)
    assert np.isnan(muscle_rsa(a[:, :2], b[:, :2]))
    b[:, 3] = 1.0
    assert np.isnan(muscle_rsa(a, b)) and np.isfinite(muscle_rsa(a[:, :3], b[:, :3]))


# --- sums -------------------------------------------------------------------------------------------


def sums_of(a, b, labels, kind="correlation"):
    """Sums of averages of conditions, (n_conditions, n_phases, n_channels)."""
    return Sums(kind, tuple(labels), np.stack([np.ones_like(a), a, a**2, b, b**2, a * b]).sum(2))


def conditions(seed, n_channels=3, n_conditions=6, offset=0.0):
    a, b = related(seed, n_channels, 25 * n_conditions)
    shape = (n_conditions, 25, n_channels)
    return (a + offset).reshape(shape), b.reshape(shape), [f"c{k}" for k in range(n_conditions)]


@given(seeds, st.integers(1, 5))
def test_sums_of_parts_join_to_the_correlation_of_all(seed, cut):
    a, b, labels = conditions(seed)
    whole = sums_of(a, b, labels).scores()[0]
    parts = [sums_of(a[:cut], b[:cut], labels[:cut]), sums_of(a[cut:], b[cut:], labels[cut:])]
    np.testing.assert_allclose(joined(parts).scores()[0], whole, atol=1e-9)
    np.testing.assert_allclose(whole, correlations(a.reshape(-1, 3), b.reshape(-1, 3)), atol=1e-9)


@given(seeds, st.sampled_from(["correlation", "reliability"]))
def test_leaving_a_condition_out_is_the_score_of_the_others(seed, kind):
    a, b, labels = conditions(seed)
    rows = sums_of(a, b, labels, kind).scores()
    for k in range(len(labels)):
        others = [values[np.arange(len(labels)) != k].reshape(-1, 3) for values in (a, b)]
        expected = correlations(*others)
        expected = spearman_brown(expected) if kind == "reliability" else expected
        np.testing.assert_allclose(rows[k + 1], expected, atol=1e-9)


def test_a_channel_that_does_not_vary_or_has_no_data_has_no_score():
    a, b, labels = conditions(0)
    a[:, :, 1] = 0.1  # no binary number, so that sums differ by rounding
    found = sums_of(a, b, labels)
    assert np.isnan(found.scores()[0]).tolist() == [False, True, False]
    left = found.where(np.array([False, True, True]))
    assert np.isnan(left.scores()[0]).tolist() == [True, True, False]
    empty = sums_of(a[:0], b[:0], [])
    assert np.isnan(empty.scores()).all() and empty.scores().shape == (1, 3)


@pytest.mark.parametrize("kind", ["correlation", "reliability"])
@given(seed=seeds, offset=st.sampled_from([0.0, 30.0, 1e4]))
def test_scores_survive_a_file_even_of_channels_with_an_offset(kind, seed, offset):
    """Single precision holds sums of squares of a large offset too roughly; a verifier allows 1e-6."""
    a, b, labels = conditions(seed, offset=offset)
    part = UnitScores.of_terms("s", "m", ("x", "y", "z"), ((1, sums_of(a, b, labels, kind)),))
    name = Labels("", "ood", "emg_correlation", "ceiling" if kind == "reliability" else "")
    with np.load(io.BytesIO(pack_units(UnitTable.of([(name, part)]).arrays()))) as arrays:
        ((read,),) = UnitTable.from_arrays(dict(arrays)).scores.values()
    assert (read.session, read.units, read.terms[0][1].kind) == ("s", ("x", "y", "z"), kind)
    np.testing.assert_allclose(read.values, part.values, atol=1e-6)
    for label in labels:
        np.testing.assert_allclose(read.left_out[label], part.left_out[label], atol=1e-6)
