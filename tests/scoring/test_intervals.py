import numpy as np
import pytest

from neurobench_grasp.scoring.intervals import UnitScores, summarise
from neurobench_grasp.scoring.references import circular_shift, condition_locked_noise, generator
from neurobench_grasp.scoring.reliability import split_half_reliability


def of_means(data, session="s", subject="a"):
    """Scores that are means over groups: data (n_groups, n_units)."""
    n = len(data)
    left_out = {f"g{i}": (data.sum(0) - data[i]) / (n - 1) for i in range(n)}
    return UnitScores(session, subject, tuple(f"u{i}" for i in range(data.shape[1])), data.mean(0), left_out)


def test_for_a_mean_over_groups_the_interval_is_students_plus_the_units_variance():
    data = np.random.default_rng(0).standard_normal((8, 1))
    summary = summarise([of_means(data)])
    half = 2.3646 * data.std(ddof=1) / 8**0.5
    assert summary.ci == pytest.approx((data.mean() - half, data.mean() + half), abs=1e-4)


def test_intervals_cover_the_truth_with_seven_groups():
    """Groups and units both vary; 95 % intervals must cover the mean over both in 90 to 99 %."""
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        groups, units = rng.standard_normal((7, 1)), rng.standard_normal((1, 30))
        ci = summarise([of_means(groups + units + rng.standard_normal((7, 30)))]).ci
        hits += ci[0] <= 0 <= ci[1]
    assert 360 <= hits <= 396


def test_noise_of_single_units_in_single_groups_counts_once():
    """It shows between groups and between units; counted twice, intervals would be 1.4 times too wide."""
    rng, halves = np.random.default_rng(5), []
    for _ in range(100):
        ci = summarise([of_means(rng.standard_normal((12, 40)))]).ci
        halves.append(((ci[1] - ci[0]) / 2) ** 2)
    expected = 2.201**2 / (12 * 40)  # Student's t with 11 degrees of freedom
    assert expected * 0.9 < np.mean(halves) < expected * 1.35


def test_fewer_than_five_groups_have_no_interval_and_no_scores_no_summary():
    data = np.random.default_rng(2).standard_normal((4, 3))
    assert summarise([of_means(data)]).ci is None
    assert summarise([of_means(np.full((6, 2), np.nan))]) is None


def test_units_without_a_score_are_left_out_and_counted():
    data = np.random.default_rng(3).standard_normal((6, 3))
    data[:, 1] = np.nan
    summary = summarise([of_means(data)])
    assert summary.n_units == 2 and summary.value == pytest.approx(np.nanmean(data))


def test_a_difference_of_a_model_with_itself_is_zero_with_a_zero_interval():
    scores = of_means(np.random.default_rng(4).standard_normal((6, 5)))
    summary = summarise([scores.minus(scores)])
    assert summary.value == 0 and summary.ci == (0, 0)


def test_scores_of_different_units_are_never_paired():
    a, b = (of_means(np.zeros((6, n))) for n in (3, 4))
    with pytest.raises(ValueError, match="not of the same units"):
        a.minus(b)


def test_the_null_keeps_neither_trial_nor_phase():
    """After the shift, a feature that is the phase itself is uncorrelated with phase."""
    offsets = np.arange(0, 6001, 20)
    phase = np.tile(np.linspace(0, 1, 20), 300)
    place = circular_shift(offsets, generator("test", 0))
    assert abs(np.corrcoef(phase, phase[place])[0, 1]) < 0.08
    assert abs(np.corrcoef(offsets[:-1], place.reshape(300, 20).mean(1))[0, 1]) < 0.2
    steps = (np.diff(place) % 6000).reshape(-1)
    assert (np.delete(steps, offsets[1:-1] - 1) == 1).all()  # within a trial time runs on
    np.testing.assert_array_equal(circular_shift(offsets, generator("test", 0)), place)


def test_condition_noise_is_equal_for_trials_of_one_object_and_unrelated_for_others():
    noise = condition_locked_noise(["a", "b", "a"], [20, 20, 20], "s")
    np.testing.assert_array_equal(noise[0], noise[2])
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_split_half_reliability_recovers_the_planted_one():
    rng = np.random.default_rng(5)
    conditions = [f"o{i % 30}" for i in range(30 * 10)]
    tuned = np.tile(rng.standard_normal((30, 40)), (10, 1))
    seen = np.ones((300, 40), bool)
    for noise, expected in ((1.0, 10 / 11), (3.0, 1 / (1 + 9 / 10))):
        r, n_units, n_conditions = split_half_reliability(
            tuned + noise * rng.standard_normal(tuned.shape), seen, conditions, min_repeats=2, seed=0
        )
        assert (n_units, n_conditions) == (40, 30)
        assert r == pytest.approx(expected, abs=0.06)
    nothing, *_ = split_half_reliability(
        rng.standard_normal(tuned.shape), seen, conditions, min_repeats=2, seed=0
    )
    assert abs(nothing) < 0.05
