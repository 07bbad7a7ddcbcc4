"""Ceilings agree with split halves and with planted noise, and a perfect model reaches them."""

import numpy as np
import pytest

from neurobench_grasp.scoring.ceilings import averaged_ceiling, poisson_ceiling, single_trial_ceiling
from neurobench_grasp.scoring.ev import averaged_ev, condition_average, grouped_ev, to_phase
from neurobench_grasp.scoring.intervals import UnitScores, summarise, summarise_ratio
from neurobench_grasp.types import Ragged


def planted(seed, snr, *, n_conditions=7, n_repeats=10, n_steps=25, n_units=30):
    """Rates that repeat in every trial of a condition, plus white noise; and the rates without noise."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((n_conditions, n_steps + 5, n_units))
    drive = sum(raw[:, k : k + n_steps] for k in range(6))
    drive = np.repeat(drive / drive.std((0, 1)), n_repeats, axis=0)
    y = 10 + drive + rng.standard_normal(drive.shape) / snr**0.5
    conditions = [f"o{i // n_repeats}" for i in range(len(drive))]
    return Ragged.of(list(y)), Ragged.of(list(drive)), conditions


def spearman_brown(y, conditions, labels, tuning_only, n_halvings=300):
    """Reliability of the means from many random halves, as a plain loop."""
    rng, at_phase = np.random.default_rng(0), to_phase(y)
    covariance, variance = 0.0, 0.0
    for _ in range(n_halvings):
        halves = []
        split = [rng.permutation(np.flatnonzero(np.array(conditions) == c)) for c in labels]
        for take in (lambda i: i[: len(i) // 2], lambda i: i[len(i) // 2 :]):
            mean = np.stack([at_phase[take(i)].mean(0) for i in split])
            halves.append(mean - (mean.mean(0) if tuning_only else mean.mean((0, 1))))
        covariance = covariance + (halves[0] * halves[1]).mean((0, 1))
        variance = variance + sum((h**2).mean((0, 1)) for h in halves) / 2
    r = covariance / variance
    return 2 * r / (1 + r)


@pytest.mark.parametrize("tuning_only", [False, True])
def test_the_averaged_ceiling_is_the_split_half_reliability_of_all_halvings(tuning_only):
    y, _, conditions = planted(1, 0.3)
    labels = sorted(set(conditions))
    ceiling = averaged_ceiling(y, conditions, labels, tuning_only=tuning_only)[0]
    np.testing.assert_allclose(ceiling, spearman_brown(y, conditions, labels, tuning_only), atol=0.02)


@pytest.mark.parametrize("snr", [0.1, 0.3, 1.0, 3.0])
def test_the_single_trial_ceiling_is_the_planted_share(snr):
    y, _, conditions = planted(2, snr)
    ceiling = single_trial_ceiling(y, conditions, sorted(set(conditions)))[0]
    assert ceiling.mean() == pytest.approx(snr / (1 + snr), abs=0.015)


def test_poisson_units_have_their_poisson_ceiling():
    """Counts of Poisson units, averaged over three bins as rates are."""
    rng = np.random.default_rng(3)
    rate = 20 + 15 * np.sin(np.linspace(0, 3, 27)[:, None] + np.arange(8)[:, None, None])
    counts = rng.poisson(np.repeat(rate * np.ones(20), 40, axis=0) * 0.02)
    smoothed = (counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]) / 3 / 0.02
    y, conditions = Ragged.of(list(smoothed)), [f"o{i // 40}" for i in range(320)]
    labels = sorted(set(conditions))
    bound = poisson_ceiling(y, conditions, labels, dt=0.02, smoothing_bins=3)[0]
    ceiling = single_trial_ceiling(y, conditions, labels)[0]
    np.testing.assert_allclose(bound, ceiling, atol=0.06)
    assert bound.mean() == pytest.approx(ceiling.mean(), abs=0.01)


def tables(y, conditions, labels):
    yield averaged_ceiling(y, conditions, labels, tuning_only=False)
    yield averaged_ceiling(y, conditions, labels, tuning_only=True)
    yield single_trial_ceiling(y, conditions, labels)
    yield poisson_ceiling(y, conditions, labels, dt=0.02, smoothing_bins=3)


def test_leaving_a_condition_out_is_computing_without_it():
    y, _, conditions = planted(4, 1.0, n_conditions=5, n_repeats=4, n_units=3)
    labels = sorted(set(conditions))
    rest = [i for i, c in enumerate(conditions) if c != "o2"]
    without = tables(y.select(rest), [conditions[i] for i in rest], [c for c in labels if c != "o2"])
    for table, expected in zip(tables(y, conditions, labels), without, strict=True):
        assert table.shape == (6, 3)
        np.testing.assert_allclose(table[3], expected[0], atol=1e-10)


def scores_and_ceilings(y, prediction, conditions, metric):
    labels = sorted(set(conditions))
    if metric == "single_trial_ev":
        ev = grouped_ev(y, prediction, conditions, offset_counts=False)
        ceiling = single_trial_ceiling(y, conditions, labels)
    else:
        tuning = metric == "object_tuning_ev"
        averages = (condition_average(r, conditions, labels) for r in (y, prediction))
        ev = averaged_ev(*averages, tuning_only=tuning)
        ceiling = averaged_ceiling(y, conditions, labels, tuning_only=tuning)
    names = tuple(f"u{i}" for i in range(ev.shape[1]))
    return [
        UnitScores("s", "a", names, table[0], dict(zip(labels, table[1:], strict=True)))
        for table in (ev, ceiling)
    ]


@pytest.mark.parametrize("metric", ["single_trial_ev", "condition_averaged_ev", "object_tuning_ev"])
@pytest.mark.parametrize("snr", [0.1, 0.3, 1.0, 3.0])
def test_a_perfect_model_reaches_its_ceiling_at_every_noise_level(snr, metric):
    y, drive, conditions = planted(5, snr)
    score, ceiling = scores_and_ceilings(y, drive, conditions, metric)
    share = summarise_ratio([score], [ceiling])
    assert share.value == pytest.approx(1.0, abs=0.03)
    assert share.ci[0] <= 1.0 <= share.ci[1]
    flipped, _ = scores_and_ceilings(y, Ragged(-drive.values, drive.offsets), conditions, metric)
    assert summarise_ratio([flipped], [ceiling]).ci[1] < 0


@pytest.mark.parametrize("metric", ["single_trial_ev", "object_tuning_ev"])
def test_the_interval_of_the_share_covers_the_truth(metric):
    covered = []
    for seed in range(200):
        y, drive, conditions = planted(100 + seed, 0.3, n_units=12, n_repeats=6)
        share = summarise_ratio(*([part] for part in scores_and_ceilings(y, drive, conditions, metric)))
        covered.append(share.ci[0] <= 1.0 <= share.ci[1])
    assert 0.90 <= np.mean(covered) <= 0.99


def test_the_share_is_a_ratio_of_sums_over_the_units_that_have_both():
    def parts(*values):
        return UnitScores("s", "a", ("u0", "u1", "u2"), np.array(values), {})

    share = summarise_ratio([parts(0.1, 0.3, 9.0)], [parts(0.2, 0.6, np.nan)])
    assert share.value == pytest.approx(0.4 / 0.8) and share.n_units == 2
    assert summarise_ratio([parts(0.1, 0.1, 0.1)], [parts(-0.1, -0.1, -0.1)]) is None
    assert summarise([parts(0.1, 0.3, np.nan)]).value == pytest.approx(0.2)
