"""Ceilings agree with split halves and with planted noise, and a perfect model reaches them."""

from functools import lru_cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from neurobench_grasp.contract import Ragged
from neurobench_grasp.scoring.ceilings import averaged_noise, poisson_noise, repeats_noise, single_trial_noise
from neurobench_grasp.scoring.ev import averaged_sums, condition_average, grouped_ev, to_phase, trial_sums
from neurobench_grasp.scoring.intervals import UnitScores, summarise, summarise_ratio
from neurobench_grasp.scoring.sums import Sums

DT, SMOOTHING = 0.02, 3


def of_noise(noise, y, conditions, labels, *, averaged=False):
    """Score of a model whose errors are the noise: all conditions, then each left out."""
    if averaged:
        means = condition_average(y, conditions, labels)
        sums = averaged_sums(means, means, np.full((1, means.shape[2]), 10.0))
    else:
        sums = trial_sums(y, y, np.full(y.values.shape[1], 10.0), conditions, labels)
    sums[1], sums[2] = 0.0, sums[0] * noise
    return Sums("ev", tuple(labels), np.concatenate([sums, np.full((2, *sums.shape[1:]), 100.0)])).scores()


def averaged_ceiling(y, conditions, labels):
    return of_noise(averaged_noise(y, conditions, labels), y, conditions, labels, averaged=True)


def repeats_ceiling(y, conditions, labels):
    return of_noise(repeats_noise(y, conditions, labels), y, conditions, labels)


def poisson_ceiling(y, conditions, labels, **bins):
    return of_noise(poisson_noise(y, conditions, labels, **bins), y, conditions, labels)


def single_trial_ceiling(y, counts, conditions, labels, **bins):
    return of_noise(single_trial_noise(y, counts, conditions, labels, **bins), y, conditions, labels)


def by_roughness(y, conditions, labels):
    """Of rates with white noise: that of counts which have three times its variance, averaged over three bins."""
    counts = Ragged((10 + (y.values - 10) * SMOOTHING**0.5) * DT, y.offsets)
    return single_trial_ceiling(y, counts, conditions, labels, dt=DT, smoothing_bins=SMOOTHING)


def planted(seed, snr, *, n_conditions=7, n_repeats=10, n_steps=25, n_units=30):
    """Rates that repeat in every trial of a condition, plus white noise; and the rates without noise."""
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((n_conditions, n_steps + 5, n_units))
    drive = sum(raw[:, k : k + n_steps] for k in range(6))
    drive = np.repeat(drive / drive.std((0, 1)), n_repeats, axis=0)
    y = 10 + drive + rng.standard_normal(drive.shape) / snr**0.5
    conditions = [f"o{i // n_repeats}" for i in range(len(drive))]
    return Ragged.of(list(y)), Ragged.of(list(drive)), conditions


def spearman_brown(y, conditions, labels, n_halvings=300):
    """Reliability of the means from many random halves, as a plain loop."""
    rng, at_phase = np.random.default_rng(0), to_phase(y)
    covariance, variance = 0.0, 0.0
    for _ in range(n_halvings):
        halves = []
        split = [rng.permutation(np.flatnonzero(np.array(conditions) == c)) for c in labels]
        for take in (lambda i: i[: len(i) // 2], lambda i: i[len(i) // 2 :]):
            mean = np.stack([at_phase[take(i)].mean(0) for i in split])
            halves.append(mean - mean.mean((0, 1)))
        covariance = covariance + (halves[0] * halves[1]).mean((0, 1))
        variance = variance + sum((h**2).mean((0, 1)) for h in halves) / 2
    r = covariance / variance
    return 2 * r / (1 + r)


def test_the_averaged_ceiling_is_the_split_half_reliability_of_all_halvings():
    y, _, conditions = planted(1, 0.3)
    labels = sorted(set(conditions))
    ceiling = averaged_ceiling(y, conditions, labels)[0]
    np.testing.assert_allclose(ceiling, spearman_brown(y, conditions, labels), atol=0.02)


@pytest.mark.parametrize("snr", [0.1, 0.3, 1.0, 3.0])
def test_the_single_trial_ceilings_are_the_planted_share(snr):
    y, _, conditions = planted(2, snr)
    labels = sorted(set(conditions))
    for ceiling in (repeats_ceiling(y, conditions, labels), by_roughness(y, conditions, labels)):
        assert ceiling[0].mean() == pytest.approx(snr / (1 + snr), abs=0.02)


def test_what_differs_from_repeat_to_repeat_is_noise_only_for_the_ceiling_of_repeats():
    """Smooth rates that never repeat, under white noise."""
    rng = np.random.default_rng(7)
    n_trials, n_steps, n_units = 140, 30, 30
    drive = gaussian_filter1d(rng.standard_normal((n_trials, n_steps + 40, n_units)), 5, axis=1)[:, 20:-20]
    noise = rng.standard_normal(drive.shape)
    y, conditions = Ragged.of(list(10 + drive / drive.std() + noise)), [f"o{i % 7}" for i in range(n_trials)]
    labels = sorted(set(conditions))
    assert by_roughness(y, conditions, labels)[0].mean() == pytest.approx(0.5, abs=0.02)
    assert repeats_ceiling(y, conditions, labels)[0].mean() == pytest.approx(0.0, abs=0.02)


# --- planted spikes, whatever the width of the bins ------------------------------------------------

FINE, MARGIN = 0.01, 20  # s; steps at either end for the smoothing
N_CONDITIONS, N_TRIALS_EACH, N_UNITS = 8, 12, 60


def reaches(rng):
    """Rates of units tuned to the velocity of reaches whose duration, size and direction vary."""
    preferred, lag = rng.uniform(0, 2 * np.pi, N_UNITS), rng.uniform(0, 0.1, N_UNITS)
    base, depth = rng.uniform(5, 20, N_UNITS), rng.uniform(10, 40, N_UNITS)
    rates = []
    for direction in np.repeat(np.arange(N_CONDITIONS) * 2 * np.pi / N_CONDITIONS, N_TRIALS_EACH):
        duration, size = rng.uniform(0.45, 0.75), rng.uniform(0.8, 1.2)
        n_steps = round((duration + 0.5) / 0.1) * 10 + 2 * MARGIN
        time = (np.arange(n_steps)[:, None] - MARGIN) * FINE
        phase = np.clip((time - 0.25 + lag) / duration, 0, 1)
        speed = 16 * size * (phase * (1 - phase)) ** 2 / duration  # of least jerk: Flash and Hogan 1985
        angle = direction + 0.25 * rng.standard_normal()
        rates.append(np.maximum(base + depth * speed * (0.3 + np.cos(angle - preferred)), 0.5))
    return rates


def gaussian(rng, cutoff):
    """Gaussian rates with half power at ``cutoff`` Hz; half of their variance repeats."""
    width = np.log(2) ** 0.5 / (2 * np.pi * cutoff) / FINE

    def smooth(n_trials):
        white = rng.standard_normal((n_trials, 120 + 2 * MARGIN + int(8 * width), N_UNITS))
        drive = gaussian_filter1d(white, width, axis=1)[:, int(4 * width) :][:, : 120 + 2 * MARGIN]
        return drive / drive.std()

    drive = np.repeat(smooth(N_CONDITIONS), N_TRIALS_EACH, axis=0) + smooth(N_CONDITIONS * N_TRIALS_EACH)
    return list(np.maximum(40 + 20 * drive / 2**0.5, 0.5))


RATES = {
    "reaches": reaches,
    "1 Hz": lambda rng: gaussian(rng, 1.0),
    "1.5 Hz": lambda rng: gaussian(rng, 1.5),
}


def gamma_spikes(rng, rate, fano):
    """Counts of a renewal process with a dead time of 3 % of the mean interval, in the time of the rate."""
    passed = np.cumsum(rate * FINE, axis=0)
    shape = (1 - 0.03) ** 2 / fano
    intervals = 0.03 + rng.gamma(shape, (1 - 0.03) / shape, (int(2 * passed[-1].max()) + 80, N_UNITS))
    spikes = np.cumsum(intervals, axis=0) - rng.uniform(20, 40, N_UNITS)
    before = [np.searchsorted(s, p) for s, p in zip(spikes.T, passed.T, strict=True)]
    return np.diff(np.stack(before, axis=1), axis=0, prepend=np.sum(spikes < 0, axis=0)[None])


def in_bins(trials, dt):
    """Sums over bins of the steps of trials, with a further bin at either end."""
    n = round(dt / FINE)
    cut = [x[MARGIN - n : MARGIN + n + (len(x) - 2 * MARGIN) // n * n] for x in trials]
    return [x.reshape(-1, n, N_UNITS).sum(1) for x in cut]


def smoothed(counts, dt):
    return Ragged.of([(x[:-2] + x[1:-1] + x[2:]) / 3 / dt for x in counts])


@lru_cache
def recorded(kind, fano):
    """Expected and recorded counts in steps of 10 ms."""
    rng = np.random.default_rng(11)
    rates = RATES[kind](rng)
    spikes = [rng.poisson(r * FINE) if fano == 1 else gamma_spikes(rng, r, fano) for r in rates]
    return [r * FINE for r in rates], spikes


def ceiling_and_truth(kind, dt, fano=1.0):
    """Ceiling of the single trials of all units, and the share of their variance that the rates explain."""
    expected, counts = (in_bins(trials, dt) for trials in recorded(kind, fano))
    y, rates = smoothed(counts, dt), smoothed(expected, dt)
    conditions = [f"o{i // N_TRIALS_EACH}" for i in range(len(y))]
    raw = Ragged.of([x[:-1] for x in counts])  # from a bin before the window
    ceiling = single_trial_ceiling(
        y, raw, conditions, sorted(set(conditions)), dt=dt, smoothing_bins=SMOOTHING
    )
    truth = 1 - ((y.values - rates.values) ** 2).mean(0) / y.values.var(0)
    return ceiling[0].mean(), truth.mean()


@pytest.mark.parametrize("dt", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("kind", RATES)
def test_the_single_trial_ceiling_is_the_planted_share_at_any_bin_width(kind, dt):
    ceiling, truth = ceiling_and_truth(kind, dt)
    assert ceiling == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize("fano", [0.7, 1.3])
@pytest.mark.parametrize("dt", [0.01, 0.02, 0.05, 0.1])
def test_the_noise_of_units_that_are_not_poisson_is_nearly_theirs(fano, dt):
    ceiling, truth = ceiling_and_truth("reaches", dt, fano)
    assert 1 - ceiling == pytest.approx(1 - truth, rel=0.1 if dt > 0.05 else 0.06)


@pytest.mark.parametrize(("n_steps", "dt"), [(8, 0.01), (8, 0.2), (8, 0.015), (4, 0.1)])
def test_few_distances_suffice(n_steps, dt):
    """Poisson units of a constant rate; all is noise."""
    counts = list(np.random.default_rng(9).poisson(20 * dt, (400, n_steps + 2, 40)))
    y, conditions = smoothed(counts, dt), [f"o{i % 4}" for i in range(400)]
    raw = Ragged.of([x[:-1] for x in counts])
    ceiling = single_trial_ceiling(y, raw, conditions, sorted(set(conditions)), dt=dt, smoothing_bins=3)
    assert ceiling.shape == (5, 40) and ceiling.mean() == pytest.approx(0, abs=0.2)


def test_trials_that_are_too_short_and_units_without_spikes_have_no_single_trial_ceiling():
    rng = np.random.default_rng(10)
    lengths = [8, 30, 8, 8, 30, 8, 30, 8, 8]
    counts = [rng.poisson(1.0, (n + 2, 3)) * [1, 0, 1] for n in lengths]
    conditions, labels = list("aaabbbccc"), ["a", "b", "c"]

    def ceiling(dt):
        raw = Ragged.of([x[:-1] for x in counts])
        return single_trial_ceiling(
            smoothed(counts, dt), raw, conditions, labels, dt=dt, smoothing_bins=SMOOTHING
        )

    assert np.isnan(ceiling(0.005)).all()
    np.testing.assert_array_equal(np.isnan(ceiling(0.02)), [[False, True, False]] * 4)


def test_the_roughness_is_that_of_plain_loops_over_pairs_of_bins():
    """On trials of unequal length; differences in the others of a condition are read at the nearest phase."""
    rng = np.random.default_rng(8)
    trials = [10 + rng.standard_normal((n, 2)) for n in (9, 9, 12, 9, 17, 25)]
    conditions = list("ababab")

    def at(values, phase):
        return values[round((len(values) - 1) * np.linspace(0, 1, 25)[phase])]

    def per_spike(condition):
        roughness, mine = {}, [t for t, c in zip(trials, conditions, strict=True) if c == condition]
        for k in range(1, 9):
            total, n_spikes = 0.0, 0.0
            for i, trial in enumerate(mine):
                others = [t[k:] - t[:-k] for j, t in enumerate(mine) if j != i]
                for s in range(len(trial) - k):
                    phase = round(24 * s / max(len(trial) - k - 1, 1))
                    rest = trial[s + k] - trial[s] - np.mean([at(t, phase) for t in others], 0)
                    total, n_spikes = total + rest**2 / 2, n_spikes + 3 / 2 * (trial[s] + trial[s + k]) / 2
            roughness[k] = total / n_spikes
        far = np.arange(2, 9)  # from 0.04 s to the longest that two trials of each condition have
        smooth = np.polynomial.polynomial.polyfit(far**2.0, np.array([roughness[k] for k in far]), 2)
        covariance = smooth[0], smooth.sum(0) - roughness[1]  # of the noise, at distances of 0 and 1
        return (3 * covariance[0] + 4 * covariance[1]) / 9 * np.concatenate(mine).mean(0) / 0.02

    y = Ragged.of(trials)
    noise = single_trial_noise(y, y, conditions, ["a", "b"], dt=0.02, smoothing_bins=3)
    np.testing.assert_allclose(noise, [per_spike("a"), per_spike("b")], rtol=1e-9)


def test_poisson_units_have_their_poisson_ceiling():
    """Counts of Poisson units, averaged over three bins as rates are."""
    rng = np.random.default_rng(3)
    rate = 20 + 15 * np.sin(np.linspace(0, 3, 27)[:, None] + np.arange(8)[:, None, None])
    counts = rng.poisson(np.repeat(rate * np.ones(20), 40, axis=0) * 0.02)
    y, conditions = smoothed(counts, 0.02), [f"o{i // 40}" for i in range(320)]
    labels = sorted(set(conditions))
    bound = poisson_ceiling(y, conditions, labels, dt=0.02, smoothing_bins=3)[0]
    ceiling = repeats_ceiling(y, conditions, labels)[0]
    np.testing.assert_allclose(bound, ceiling, atol=0.06)
    assert bound.mean() == pytest.approx(ceiling.mean(), abs=0.01)
    raw = Ragged.of([x[1:-1] for x in counts])
    rough = single_trial_ceiling(y, raw, conditions, labels, dt=0.02, smoothing_bins=3)[0]
    assert bound.mean() == pytest.approx(rough.mean(), abs=0.01)


def tables(y, conditions, labels):
    yield averaged_ceiling(y, conditions, labels)
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
        measured, predicted = (condition_average(r, conditions, labels) for r in (y, prediction))
        sums = averaged_sums(measured, predicted, np.full((1, measured.shape[2]), 10.0))
        ev = Sums("ev", tuple(labels), np.concatenate([sums, np.full((2, *sums.shape[1:]), 100.0)])).scores()
        ceiling = averaged_ceiling(y, conditions, labels)
    names = tuple(f"u{i}" for i in range(ev.shape[1]))
    return [
        UnitScores("s", "a", names, table[0], dict(zip(labels, table[1:], strict=True)))
        for table in (ev, ceiling)
    ]


@pytest.mark.parametrize("metric", ["single_trial_ev", "condition_averaged_ev"])
@pytest.mark.parametrize("snr", [0.1, 0.3, 1.0, 3.0])
def test_a_perfect_model_reaches_its_ceiling_at_every_noise_level(snr, metric):
    y, drive, conditions = planted(5, snr)
    score, ceiling = scores_and_ceilings(y, drive, conditions, metric)
    share = summarise_ratio([score], [ceiling])
    spread = 0.014 / snr if metric == "single_trial_ev" else 0.0  # standard deviation over seeds
    assert share.value == pytest.approx(1.0, abs=max(0.03, spread))
    assert share.ci[0] <= 1.0 <= share.ci[1]
    flipped, _ = scores_and_ceilings(y, Ragged(-drive.values, drive.offsets), conditions, metric)
    assert summarise_ratio([flipped], [ceiling]).ci[1] < 0


@pytest.mark.parametrize("metric", ["single_trial_ev", "condition_averaged_ev"])
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
