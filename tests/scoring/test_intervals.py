from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.scoring.intervals import UnitScores, summarise
from neurobench_grasp.scoring.references import ConditionLockedNoise, circular_shift, generator
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


STUDENT = {6: 2.44691, 4: 2.77645, 2: 4.30265}  # two-sided 95 % quantiles by degrees of freedom


def with_draws(data, *draws, session="s", subject="a"):
    """Scores whose mean over groups is that of ``data``, and the draws of some sources, (n_draws, n_units)."""
    return replace(of_means(data, session, subject), draws=tuple(map(np.asarray, draws)))


def test_sources_of_randomness_add_up_and_stay_apart_from_the_data():
    """Squares add up; each error counts with Student's t for the few draws it is known from."""
    rng = np.random.default_rng(6)
    data, networks, nulls = (rng.standard_normal((n, 30)) for n in (7, 5, 3))
    bare, both = (summarise([with_draws(data, *draws)]) for draws in ((), (networks, nulls)))
    errors = [x.mean(1).std(ddof=1) / len(x) ** 0.5 for x in (networks, nulls)]
    assert both.data_se == bare.data_se and both.value == bare.value and bare.draw_se == 0
    assert both.draw_se == pytest.approx(np.hypot(*errors))
    squares = [
        (STUDENT[6] * bare.data_se) ** 2,
        *((STUDENT[n - 1] * e) ** 2 for n, e in zip((5, 3), errors, strict=True)),
    ]
    assert (both.ci[1] - both.ci[0]) / 2 == pytest.approx(sum(squares) ** 0.5, rel=1e-5)


def test_a_network_is_the_same_in_every_session_and_animal():
    """Mean over units, sessions, animals first: what a network gains in one animal it may lose in another."""
    data, rng = np.zeros((6, 4)), np.random.default_rng(7)
    a, b, c = (rng.standard_normal((5, 4)) for _ in range(3))
    parts = [
        with_draws(data, a, session="a1"),
        with_draws(data, b, session="a2"),
        with_draws(data, c, session="b1", subject="b"),
    ]
    networks = ((a.mean(1) + b.mean(1)) / 2 + c.mean(1)) / 2
    assert summarise(parts).draw_se == pytest.approx(networks.std(ddof=1) / 5**0.5)
    opposite = [with_draws(data, a), with_draws(data, -a, session="b1", subject="b")]
    assert summarise(opposite).draw_se == pytest.approx(0, abs=1e-12)


def test_the_mean_of_networks_has_their_mean_and_their_spread():
    """In every score left out too; what was drawn within each network is in its spread already."""
    rng = np.random.default_rng(8)
    data = rng.standard_normal((4, 6, 3))  # networks, groups, units
    mean = UnitScores.mean_of([with_draws(d, rng.standard_normal((2, 3))) for d in data])
    np.testing.assert_allclose(mean.values, data.mean((0, 1)))
    np.testing.assert_allclose(mean.left_out["g0"], data[:, 1:].mean((0, 1)))
    (networks,) = mean.draws
    np.testing.assert_allclose(networks, data.mean(1))
    single = with_draws(data[0], rng.standard_normal((2, 3)))
    assert UnitScores.mean_of([single]) is single


def test_in_a_gain_the_draws_of_both_models_count():
    rng = np.random.default_rng(9)
    data, other = rng.standard_normal((2, 6, 5))
    own, others = rng.standard_normal((4, 5)), rng.standard_normal((3, 5))
    gain = summarise([with_draws(data, own).minus(with_draws(other, others))])
    errors = [x.mean(1).std(ddof=1) / len(x) ** 0.5 for x in (own, others)]
    assert gain.draw_se == pytest.approx(np.hypot(*errors))
    assert gain.data_se == pytest.approx(summarise([of_means(data - other)]).data_se)


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
    noise = ConditionLockedNoise(np.arange(0, 61, 20), ["a", "b", "a"], "s")[np.arange(60)].reshape(3, 20, 60)
    np.testing.assert_array_equal(noise[0], noise[2])
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


@given(st.lists(st.integers(0, 12), min_size=1, max_size=6), st.randoms())
def test_condition_noise_is_cosines_over_the_trial_whichever_rows_are_asked_for(lengths, chance):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    conditions = [chance.choice("abc") for _ in lengths]
    noise = ConditionLockedNoise(offsets, conditions, "s")
    expected = np.empty(noise.shape)
    for i, (condition, length) in enumerate(zip(conditions, lengths, strict=True)):
        weights = generator("condition_locked_noise", "s", condition).standard_normal((4, 60))
        courses = np.cos(np.pi * np.outer(np.linspace(0, 1, length), range(4)))
        expected[offsets[i] : offsets[i + 1]] = courses @ weights
    rows = np.array([row for row in range(len(expected)) if chance.random() < 0.5], np.int64)
    np.testing.assert_allclose(noise[rows], expected[rows], atol=1e-12)


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
