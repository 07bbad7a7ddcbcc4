"""The demo's spikes follow their stored rates; each area is as variable and as timed as it should be."""

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from movements import HAND

from neurobench_grasp.demo.movements import STEP, TICK_RATE, make_movements
from neurobench_grasp.demo.neurons import AREAS, draw_spikes, make_population
from neurobench_grasp.demo.random_stream import Stream


@given(
    quanta=st.lists(st.integers(0, 16 * 80), min_size=1, max_size=200),
    regularity=st.floats(0, 0.5),
    name=st.text(max_size=5),
)
@settings(max_examples=examples(60), deadline=None)
def test_spikes_fall_where_the_rate_is_not_zero_and_never_within_a_millisecond(quanta, regularity, name):
    ticks = draw_spikes(Stream(name), np.array(quanta), regularity)
    assert ticks.dtype == np.int64
    assert np.all(np.diff(ticks) >= TICK_RATE // 1000)
    assert np.all(np.array(quanta)[ticks // 600] > 0)


@pytest.mark.parametrize(("regularity", "fano"), [(0.0, 1.0), (0.3, 0.49), (0.5, 0.25)])
def test_a_steady_rate_gives_that_many_spikes_as_regular_as_asked(regularity, fano):
    seconds, rate = 4000, 10
    ticks = draw_spikes(Stream("steady"), np.full(seconds * 50, rate * 16), regularity)
    assert len(ticks) / seconds == pytest.approx(rate, rel=0.03)
    counts = np.bincount(ticks // (4 * TICK_RATE), minlength=seconds // 4)
    assert counts.var() / counts.mean() == pytest.approx(fano, rel=0.15)


@pytest.fixture(scope="module")
def population():
    movements = make_movements("demo_a", "demo_a_1")
    return movements, make_population("demo_a_1", movements)


def in_windows(movements, start, stop):
    """Spikes of each unit in each trial, (n_trials, n_units), from a function of onset and contact (s)."""
    onset, contact = (movements.ticks[event] / TICK_RATE for event in ("move_onset", "contact"))
    edges = TICK_RATE * np.stack([start(onset, contact), stop(onset, contact)])
    return lambda spikes: np.diff(np.searchsorted(spikes, edges), axis=0)[0]


def test_counts_match_the_stored_rates(population):
    _, units = population
    expected = units.rates.sum(axis=0) * STEP
    found = np.array([len(ticks) for ticks in units.spikes])
    assert np.all(np.abs(found - expected) < 5 * np.sqrt(expected) + 0.02 * expected)
    np.testing.assert_array_equal(units.rates * 16, np.rint(units.rates * 16))
    assert units.rates.min() >= 0 and units.rates.max() < 120


def test_rates_and_fano_factors_are_those_of_the_areas(population):
    movements, units = population
    objects = np.array(movements.objects)
    count = in_windows(movements, lambda on, off: (on + off) / 2 - 0.1, lambda on, off: (on + off) / 2 + 0.1)
    fanos: dict[str, list[float]] = {"M1": [], "S1": []}
    for area, ticks in zip(units.areas, units.spikes, strict=True):
        groups = count(ticks)[np.argsort(objects, kind="stable")].reshape(35, 15)
        if groups.mean() >= 0.5:
            fanos[area].append(groups.var(axis=1, ddof=1).sum() / groups.mean(axis=1).sum())
    assert 0.8 < np.median(fanos["M1"]) < 1.05
    assert 1.0 < np.median(fanos["S1"]) < 1.5
    mean_rates = units.rates.mean(axis=0)
    assert np.percentile(mean_rates, 5) > 2 and 4 < np.median(mean_rates) < 15
    assert units.areas.count("M1") == 60 and units.areas.count("S1") == 40


def explained(features, target):
    """In-sample EV of each column of the target by a ridge regression."""
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    y = target - target.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1]), x.T @ y)
    return 1 - (y - x @ weights).var(axis=0) / y.var(axis=0)


@pytest.fixture(scope="module")
def muscle_state(population):
    muscles = HAND.muscle_kinematics(population[0].joint_angles, STEP)
    return np.concatenate([muscles.length, muscles.velocity], axis=1)


def test_planted_leads_are_found_in_the_spikes(population, muscle_state):
    """The lag at which muscles explain the spikes best: M1 ahead of the movement, S1 behind."""
    _, units = population
    counts = np.stack([np.bincount(t // 600, minlength=len(muscle_state)) for t in units.spikes], axis=1)
    steps = np.arange(20, len(muscle_state) - 20, 4)
    lags = np.arange(-8, 9)
    best = STEP * lags[np.argmax([explained(muscle_state[steps + i], counts[steps]) for i in lags], axis=0)]
    for area, definition in AREAS.items():
        members = np.array(units.areas) == area
        low, high = definition.lead
        assert low - 0.03 <= np.median(best[members]) <= high + 0.03
        assert np.all((low <= units.leads[members]) & (units.leads[members] <= high))


def test_m1_carries_more_of_the_goal_and_s1_more_of_the_muscles(population, muscle_state):
    movements, units = population
    steps = np.arange(20, len(muscle_state) - 20, 4)
    m1 = np.array(units.areas) == "M1"
    for features, more, lead in ((movements.goal, m1, 5), (muscle_state, ~m1, -2)):
        values = explained(features[steps + lead], units.rates[steps])
        assert values[more].mean() > values[~more].mean() + 0.05
