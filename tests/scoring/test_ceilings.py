"""Ceilings agree with split halves and with planted noise, and a perfect model reaches them."""

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurobench_grasp.contract import Ragged
from neurobench_grasp.scoring.ceilings import (
    averaged_ceiling,
    poisson_ceiling,
    repeats_ceiling,
    single_trial_ceiling,
)
from neurobench_grasp.scoring.ev import averaged_ev, condition_average, grouped_ev, to_phase
from neurobench_grasp.scoring.intervals import UnitScores, summarise, summarise_ratio

by_roughness = partial(single_trial_ceiling, smoothing_bins=3)


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
def test_the_single_trial_ceilings_are_the_planted_share(snr):
    y, _, conditions = planted(2, snr)
    labels = sorted(set(conditions))
    for ceiling in (repeats_ceiling(y, conditions, labels), by_roughness(y, conditions, labels)):
        assert ceiling[0].mean() == pytest.approx(snr / (1 + snr), abs=0.02)


def test_what_differs_from_repeat_to_repeat_is_noise_only_for_the_ceiling_of_repeats():
    """Smooth rates that never repeat, under the noise of counts that were averaged over three bins."""
    rng = np.random.default_rng(7)
    n_trials, n_steps, n_units = 140, 30, 30
    drive = gaussian_filter1d(rng.standard_normal((n_trials, n_steps + 40, n_units)), 5, axis=1)[:, 20:-20]
    drive /= drive.std()
    white = rng.standard_normal((n_trials, n_steps + 2, n_units))
    noise = white[:, :-2] + white[:, 1:-1] + white[:, 2:]
    y, conditions = Ragged.of(list(10 + drive + noise / 3**0.5)), [f"o{i % 7}" for i in range(n_trials)]
    labels = sorted(set(conditions))
    assert by_roughness(y, conditions, labels)[0].mean() == pytest.approx(0.5, abs=0.02)
    assert repeats_ceiling(y, conditions, labels)[0].mean() == pytest.approx(0.0, abs=0.02)


def test_the_roughness_is_that_of_plain_loops_over_pairs_of_steps():
    """On trials of unequal length; the others of a condition are read at the nearest phase."""
    rng = np.random.default_rng(8)
    trials = [rng.standard_normal((n, 2)) for n in (8, 12, 9, 30, 17, 25)]
    conditions = list("ababab")
    distances, roughness = np.arange(3, 7), []

    def at(trial, phase):
        return trial[round(phase / 24 * (len(trial) - 1))]

    for k in distances:
        total, n_pairs = 0.0, 0.0
        for i, trial in enumerate(trials):
            others = [t for j, t in enumerate(trials) if j != i and conditions[j] == conditions[i]]
            phases = [round(24 * s / (len(trial) - 1)) for s in range(len(trial))]
            rest = [y - np.mean([at(t, p) for t in others], 0) for y, p in zip(trial, phases, strict=True)]
            for first, second in zip(rest[:-k], rest[k:], strict=True):
                total, n_pairs = total + (second - first) ** 2 / 2, n_pairs + 3 / 2
        roughness.append(total / n_pairs)
    noise = np.polynomial.polynomial.polyfit(distances**2.0, np.array(roughness), 1)[0]
    ceiling = by_roughness(Ragged.of(trials), conditions, ["a", "b"])[0]
    np.testing.assert_allclose(ceiling, 1 - noise / np.concatenate(trials).var(0), rtol=1e-9)


def test_poisson_units_have_their_poisson_ceiling():
    """Counts of Poisson units, averaged over three bins as rates are."""
    rng = np.random.default_rng(3)
    rate = 20 + 15 * np.sin(np.linspace(0, 3, 27)[:, None] + np.arange(8)[:, None, None])
    counts = rng.poisson(np.repeat(rate * np.ones(20), 40, axis=0) * 0.02)
    smoothed = (counts[:, :-2] + counts[:, 1:-1] + counts[:, 2:]) / 3 / 0.02
    y, conditions = Ragged.of(list(smoothed)), [f"o{i // 40}" for i in range(320)]
    labels = sorted(set(conditions))
    bound = poisson_ceiling(y, conditions, labels, dt=0.02, smoothing_bins=3)[0]
    ceiling = repeats_ceiling(y, conditions, labels)[0]
    np.testing.assert_allclose(bound, ceiling, atol=0.06)
    assert bound.mean() == pytest.approx(ceiling.mean(), abs=0.01)
    rough = by_roughness(y, conditions, labels)[0]
    assert bound.mean() == pytest.approx(rough.mean(), abs=0.01)


def tables(y, conditions, labels):
    yield averaged_ceiling(y, conditions, labels, tuning_only=False)
    yield averaged_ceiling(y, conditions, labels, tuning_only=True)
    yield by_roughness(y, conditions, labels)
    yield repeats_ceiling(y, conditions, labels)
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
        ceiling = by_roughness(y, conditions, labels)
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
