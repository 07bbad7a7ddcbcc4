"""Scores and their intervals on sessions whose truth is known: ceilings, coverage, width, time course."""

import numpy as np
import pytest
from planted import PAD, aligned_session, context_of, repeating_population, row_of, smooth_latents, with_units

from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.protocols.encoding import predictions
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding.reduction import LagWindow
from neurobench_grasp.protocols.encoding.sums import NOISE, Activity, unit_sums
from neurobench_grasp.scoring.intervals import UnitScores, summarise, summarise_ratio

METRICS = ("single_trial_ev", "condition_averaged_ev", "object_tuning_ev")


# --- a perfect model ------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[0.1, 0.3, 1.0, 3.0])
def snr(request):
    return request.param


@pytest.fixture(scope="module")
def scored(snr):
    """Rows of a model that knows the drives; what is called the true rates has its sign flipped."""
    session = repeating_population(np.random.default_rng(0), snr=snr)
    flipped = Ragged(20 - session.units.true_rates.values, session.units.true_rates.offsets)
    return encoding.run(context_of(with_units(session, true_rates=flipped))).rows


@pytest.mark.parametrize("metric", METRICS)
def test_the_share_of_the_ceiling_of_a_perfect_model_is_one(scored, metric, snr):
    share = row_of(scored, "share_of_ceiling", of=metric)
    low, high = share["ci"]
    assert low <= 1.0 <= high and high - low < max(0.25, 0.13 / snr)
    spread = 0.014 / snr if metric == "single_trial_ev" else 0.0  # standard deviation over seeds
    assert share["value"] == pytest.approx(1.0, abs=max(0.03, spread))


@pytest.mark.parametrize("metric", METRICS)
def test_true_rates_with_their_sign_flipped_score_below_zero(scored, metric):
    for split in ("test", "ood") if metric == "single_trial_ev" else ("ood",):
        flipped = row_of(scored, metric, split=split, reference="true_rate")
        assert flipped["ci"][1] < 0


# --- coverage -------------------------------------------------------------------------------------

N_FACTORS, N_STEPS, N_REPEATS = 4, 25, 4  # as many steps as phase points: nothing is resampled
SPREAD = 0.3  # standard deviation of the logarithm of an object's size


def draw_units(rng, n_units):
    """Weights of the factors, size of what no factor explains, and noise of each unit."""
    size, noise = (np.exp(0.4 * rng.standard_normal(n_units)) for _ in range(2))
    return rng.standard_normal((N_FACTORS, n_units)), 0.5 * size, 2.0 * noise


def draw_session(rng, n_objects=7, n_units=30):
    """Objects of a session, the predictions of a model that misses part of the drives, and its factors.

    A poorer model misses the last factor too. Objects differ in the size of their courses, and in the size of
    what the models miss.
    """
    weights, missed, noise = draw_units(rng, n_units)
    sizes = np.exp(SPREAD * rng.standard_normal((2, n_objects, 1, 1)))
    factors = sizes[0] * smooth_latents(n_objects, N_STEPS, N_FACTORS, rng)
    model, poorer = factors @ weights, factors[..., :-1] @ weights[:-1]
    drive = model + sizes[1] * missed * smooth_latents(n_objects, N_STEPS, n_units, rng)
    rates = np.repeat(drive, N_REPEATS, axis=0)
    rates = 20 + rates + noise * rng.standard_normal(rates.shape)
    conditions = [f"o{i // N_REPEATS}" for i in range(len(rates))]
    session = aligned_session(np.zeros((len(rates), N_STEPS + 2 * PAD, 1)), rates, conditions)
    predicted = (np.repeat(p, N_REPEATS, axis=0).reshape(-1, n_units) for p in (model, poorer))
    return session, [Ragged(p, session.units.rates.offsets) for p in predicted], factors


def expected(metric):
    """Score, gain over the poorer model and share of the ceiling, over all objects and units there could be."""
    weights, missed, noise = draw_units(np.random.default_rng(12345), 400_000)
    size = np.exp(2 * SPREAD**2)  # mean square of the sizes of objects
    noise = noise**2 / (1 if metric == "single_trial_ev" else N_REPEATS)
    variance = size * ((weights**2).sum(0) + missed**2) + noise
    score = 1 - (size * missed**2 + noise) / variance
    gain = size * weights[-1] ** 2 / variance
    return {"score": score.mean(), "gain": gain.mean(), "share": score.mean() / (1 - noise / variance).mean()}


def unit_scores(session, prediction, metric, trials):
    units, rates = np.arange(len(session.units)), session.units.rates.select(trials)
    activity = Activity.of(context_of(session), session)
    sums = unit_sums(session, trials, units, (rates, prediction), metric, activity)
    return UnitScores.of_terms(session.id, session.subject, session.units.ids, ((1, sums),))


def ceilings(session, metric):
    every, units, rates = range(len(session.trials)), np.arange(len(session.units)), session.units.rates
    activity = Activity.of(context_of(session), session)
    sums = unit_sums(session, every, units, (rates, rates), metric, activity, noise=NOISE[metric])
    return UnitScores.of_terms(session.id, session.subject, session.units.ids, ((1, sums),))


@pytest.mark.parametrize("metric", METRICS)
def test_intervals_cover_the_truth_with_seven_held_out_objects(metric):
    """Score, gain and share of the ceiling in 200 sessions; the truth is that of all objects and units."""
    truth, hits = expected(metric), {"score": 0, "gain": 0, "share": 0}
    for seed in range(200):
        session, predicted, _ = draw_session(np.random.default_rng(seed))
        every = range(len(session.trials))
        model, poorer = (unit_scores(session, p, metric, every) for p in predicted)
        found = {
            "score": summarise([model]),
            "gain": summarise([model.minus(poorer)]),
            "share": summarise_ratio([model], [ceilings(session, metric)]),
        }
        for name, summary in found.items():
            hits[name] += summary.ci[0] <= truth[name] <= summary.ci[1]
    assert all(0.90 * 200 <= n <= 0.98 * 200 for n in hits.values()), hits


def test_intervals_cover_the_truth_of_the_whole_map():
    """200 sessions of 35 objects; the map is fitted on 28 of them, so its truth is its mean over sessions."""
    summaries = []
    for seed in range(200):
        session, _, factors = draw_session(np.random.default_rng(seed), n_objects=35, n_units=20)
        layer = np.pad(np.repeat(factors, N_REPEATS, axis=0), ((0, 0), (PAD, PAD), (0, 0)))
        layers = {"factors": Ragged(layer.reshape(-1, N_FACTORS), session.trials.offsets)}
        context = context_of(session)
        ood = context.index(session, context.splits.ood)
        at_zero, lagged = np.zeros(20, np.int64), LagWindow.of(context, session)
        out = predictions.predict_units(context, lagged, layers, lags=at_zero)["ood"]
        predicted = Ragged(out, session.units.rates.select(ood).offsets)
        summaries.append(summarise([unit_scores(session, predicted, "single_trial_ev", ood)]))
    truth = np.mean([s.value for s in summaries])
    covered = np.mean([s.ci[0] <= truth <= s.ci[1] for s in summaries])
    assert 0.90 <= covered <= 0.98, covered


# --- width and time course ------------------------------------------------------------------------


def test_a_thousand_noise_features_more_change_the_score_by_less_than_its_interval():
    """In a layer whose own features vary together, as those of a network do."""
    rng = np.random.default_rng(1)
    session = repeating_population(rng, n_repeats=5, n_units=10)
    latents = session.trials.signals["latents"]
    layer = latents.values @ rng.standard_normal((latents.values.shape[1], 100))
    noise = rng.standard_normal((len(layer), 1000))

    def rows(values):
        layers = Activations({"layer": Ragged(values, latents.offsets)})
        return encoding.run(context_of(session, activations=lambda trials: layers)).rows

    narrow, wide = rows(layer), rows(np.hstack([layer, noise]))
    for metric in METRICS:
        before, after = row_of(narrow, metric), row_of(wide, metric)
        assert before["value"] > 0.4
        half = (before["ci"][1] - before["ci"][0]) / 2
        assert abs(after["value"] - before["value"]) < half
        assert before["ci"][0] < after["value"] < before["ci"][1]


def test_a_model_that_knows_only_the_time_course_has_no_object_tuning():
    """Units follow a common course and tuning to the object; trials of an object last as long as others."""
    session = repeating_population(np.random.default_rng(2), n_units=10)
    n_trials, n_steps = len(session.trials), session.trials.offsets[1]
    course = np.sin(np.linspace(0, 3, 25))[:, None] * np.random.default_rng(3).standard_normal(10)
    rates = Ragged(
        session.units.rates.values + 3 * np.tile(course, (n_trials, 1)), session.units.rates.offsets
    )
    clock = np.exp(-((np.arange(n_steps)[:, None] - np.arange(0, n_steps, 4)) ** 2) / 18)
    time = Activations({"time": Ragged(np.tile(clock, (n_trials, 1)), session.trials.offsets)})
    rows = encoding.run(context_of(with_units(session, rates=rates), activations=lambda trials: time)).rows
    assert row_of(rows, "condition_averaged_ev")["ci"][0] > 0.05
    tuning = row_of(rows, "object_tuning_ev")
    assert tuning["value"] == pytest.approx(0, abs=0.03) and tuning["ci"][0] <= 0.01
    assert row_of(rows, "ceiling", of="object_tuning_ev")["value"] > 0.5
