"""Measures of populations on planted sessions: what is the same scores the ceiling, what is random the null."""

from dataclasses import replace

import numpy as np
import pytest
from planted import PAD, aligned_session, context_of, repeating_population, row_of, smooth_latents, with_units

from neurobench_grasp.alignment.align import align
from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.population.protocol import run
from neurobench_grasp.records.table import DSA, HELD_OUT, SIMILARITIES, RowKey
from neurobench_grasp.records.units import UnitTable
from neurobench_grasp.scoring.intervals import summarise

N_LATENTS, N_STEPS, N_REPEATS = 4, 25, 8


def rotations(n_objects, speeds, rng):
    """Latents that turn in planes, radians per step, from another place for each object."""
    steps = np.arange(N_STEPS + 2 * PAD)
    planes = []
    for speed in speeds:
        phase = rng.uniform(0, 2 * np.pi, (n_objects, 1)) + speed * steps
        size = rng.uniform(0.3, 1.7, (n_objects, 1))
        planes += [size * np.cos(phase), size * np.sin(phase)]
    return np.stack(planes, axis=2)


def planted(seed=0, n_objects=30, speeds=(0.15, 0.3), noise=0.7, n_units=16, **labels):
    """Units turn rotations into rates, isometrically; behaviour is these rates and unrelated, slower rotations."""
    rng = np.random.default_rng(seed)
    drive = rotations(n_objects, speeds, rng) @ np.linalg.qr(rng.standard_normal((n_units, N_LATENTS)))[0].T
    other = rotations(n_objects, (0.03, 0.6), np.random.default_rng(seed + 100))
    other = other @ np.linalg.qr(rng.standard_normal((n_units, N_LATENTS)))[0].T
    behaviour = np.repeat(np.concatenate([drive, other], axis=2), N_REPEATS, axis=0)
    rates = 10 + behaviour[:, PAD:-PAD, :n_units]
    noisy = rates + noise * rng.standard_normal(rates.shape)
    conditions = [f"object_{i // N_REPEATS:02d}" for i in range(len(rates))]
    session = aligned_session(behaviour, noisy, conditions, **labels)
    return with_units(session, true_rates=Ragged(rates.reshape(-1, n_units), session.units.rates.offsets))


def mixture(share):
    """A model of which so much of the variance is the true rates, and the rest unrelated."""

    def activations(trials):
        true, other = np.split(trials.signals["latents"].values, 2, axis=1)
        return Activations({"layer": Ragged(share**0.5 * true + (1 - share) ** 0.5 * other, trials.offsets)})

    return activations


def ood(rows, metric, **labels):
    return row_of(rows, metric, "ood", **labels)


@pytest.fixture(scope="module")
def scored():
    session = planted()
    return {share: run(context_of(session, activations=mixture(share))) for share in (1, 0.6, 0.3, 0)}


@pytest.mark.parametrize("metric", SIMILARITIES)
def test_a_perfect_model_reaches_the_ceiling(scored, metric):
    share = ood(scored[1].rows, "share_of_ceiling", of=metric)
    low, high = share["ci"]
    assert low - 0.005 <= 1 <= high + 0.005, share
    true = ood(scored[1].rows, metric, reference="true_rate")
    assert true["value"] == pytest.approx(ood(scored[1].rows, metric)["value"], abs=0.03)


@pytest.mark.parametrize("metric", SIMILARITIES)
def test_mixtures_with_unrelated_features_are_ordered(scored, metric):
    values = [ood(out.rows, metric)["value"] for out in scored.values()]
    assert values == sorted(values, reverse=True), values
    assert values[0] - values[-1] > 0.1


@pytest.mark.parametrize("metric", SIMILARITIES)
def test_the_null_scores_what_an_unrelated_model_does(scored, metric):
    null, unrelated = ood(scored[0].rows, metric, reference="matched_covariance"), ood(scored[0].rows, metric)
    if metric != DSA:  # random features have no dynamics of a kind
        assert null["ci"][0] < 0 < null["ci"][1]
        assert unrelated["ci"][0] < null["value"] < unrelated["ci"][1]
    assert ood(scored[1].rows, "gain_over_matched_covariance", of=metric)["ci"][0] > 0


def test_the_null_fails_where_all_conditions_share_a_course():
    """On populations that follow nothing but the time course, random courses explain much of it, too."""
    session = planted()
    course = 10 + 3 * np.linspace(-1, 1, N_STEPS)[:, None] * np.ones(16)
    rng = np.random.default_rng(0)
    rates = np.repeat(course[None], len(session.trials), 0) + rng.standard_normal((240, N_STEPS, 16))
    ramp = np.linspace(-1, 1, N_STEPS + 2 * PAD)[None, :, None] * np.ones((240, 1, 3))
    ramp += 0.1 * smooth_latents(240, N_STEPS + 2 * PAD, 3, rng)
    flat = aligned_session(ramp, rates, session.trials.condition)
    assert ood(run(context_of(flat)).rows, "cca", reference="matched_covariance")["value"] > 0.5


def test_every_row_follows_from_the_scores_that_are_kept(scored):
    units = UnitTable.from_arrays(scored[0.6].units)
    checked = 0
    for row in scored[0.6].rows:
        key = RowKey.of_row(row)
        found = key.unit_scores(units)
        held_out = row.get("split") in HELD_OUT and key.metric != "share_of_ceiling"
        if held_out and row["value"] is not None:
            assert found is not None, row
            assert summarise(found).value == pytest.approx(row["value"], abs=1e-4)
            checked += 1
    assert checked >= 2 * 4 * 5 - 1


def two_layers(trials):
    both = [mixture(share)(trials).layers["layer"] for share in (0, 1)]
    return Activations(dict(zip(("unrelated", "true"), both, strict=True)))


def test_the_layer_is_chosen_on_train_and_all_are_listed():
    rows = run(context_of(planted(), activations=two_layers)).rows
    for metric in SIMILARITIES:
        assert ood(rows, metric)["chosen"] == "true"
        of = {name: ood(rows, metric, layer=name)["value"] for name in ("true", "unrelated")}
        assert of["true"] == ood(rows, metric)["value"] > of["unrelated"]


def test_the_choice_sees_no_held_out_data():
    session = planted()
    context = context_of(session, activations=two_layers)
    held_out = context.index(session, context.splits.ood) + context.index(session, context.splits.test)
    values = session.units.rates.values.copy()
    rows = np.repeat(np.isin(np.arange(len(session.trials)), held_out), session.units.rates.lengths)
    values[rows] = np.random.default_rng(1).standard_normal((int(rows.sum()), values.shape[1]))
    changed = with_units(session, rates=Ragged(values, session.units.rates.offsets))
    found = [run(context_of(s, activations=two_layers)).rows for s in (session, changed)]
    chosen = [[row["chosen"] for row in rows if "chosen" in row] for rows in found]
    sizes = [[row for row in rows if "split" not in row] for rows in found]
    assert chosen[0] == chosen[1] == ["true"] * 8
    assert sizes[0] == sizes[1] and len(sizes[0]) == 3


def test_without_a_model_ceilings_sessions_and_areas_remain():
    def no_behaviour(trials):
        raise UnsupportedError("the recorded movement is unknown")

    areas = ["M1"] * 8 + ["S1"] * 8
    sessions = [planted(areas=areas, name=name) for name in ("one", "two")]
    rows = run(context_of(*sessions, activations=no_behaviour)).rows
    for metric in SIMILARITIES:
        main = ood(rows, metric)
        assert main["value"] is None
        assert main["reason"] == "the recorded movement is unknown"
        assert ood(rows, "ceiling", of=metric)["value"] > 0.5
        assert ood(rows, metric, reference="S1")["value"] > 0.2
        assert ood(rows, metric, reference="two", session="one")["value"] > 0.5


def test_units_that_were_not_always_observed_are_left_out():
    session = planted(n_objects=15)
    observed = np.ones((len(session.trials), 16), bool)
    observed[3, :5] = False
    rows = run(context_of(with_units(session, observed=observed), activations=mixture(1))).rows
    (found,) = (row["value"] for row in rows if row["metric"] == "n_units_population")
    assert found == 11


def test_a_session_without_units_that_can_be_averaged_is_refused():
    session = planted(n_objects=15)
    never = with_units(session, observed=np.zeros((len(session.trials), 16), bool))
    with pytest.raises(UnsupportedError, match="no units whose responses repeat"):
        run(context_of(never, activations=mixture(1)))


def test_without_conditions_to_hold_out_only_test_is_scored():
    rows = run(context_of(planted(n_objects=2), activations=mixture(1))).rows
    assert row_of(rows, "cca", "test")["value"] > 0.5
    for metric in SIMILARITIES:
        assert ood(rows, metric)["value"] is None
        assert ood(rows, metric)["reason"]


def test_single_trials_of_every_condition_are_no_population():
    session = planted(n_objects=15)
    labels = tuple(f"object_{i}" for i in range(len(session.trials)))
    alone = replace(
        session,
        trials=replace(session.trials, condition=labels),
        conditions=dict(zip(session.trials.ids, labels, strict=True)),
    )
    with pytest.raises(UnsupportedError, match="no units whose responses repeat"):
        run(context_of(alone, activations=mixture(1)))


def test_a_real_session_without_behaviour_has_ceilings(real_file):
    session = align(load_session(real_file("real/s1_grasp35_0.nwb")))

    def none(trials):
        raise UnsupportedError("the recorded movement is unknown")

    rows = run(context_of(session, activations=none)).rows
    for metric in ("cca", "procrustes"):
        assert row_of(rows, "ceiling", "ood", area="S1", of=metric)["ci"][0] > 0
        assert row_of(rows, metric, "ood", area="S1")["reason"] == "the recorded movement is unknown"


@pytest.mark.slow
def test_intervals_cover_a_perfect_model():
    """The share of the ceiling of true rates is 1 in most sessions."""
    inside = dict.fromkeys(("cca", "procrustes", "condition_rsa"), 0)
    for seed in range(20):
        session = repeating_population(np.random.default_rng(seed), n_units=30)
        rates = session.units.true_rates

        def true(trials, rates=rates):
            padded = [np.pad(x, ((PAD, PAD), (0, 0)), mode="edge") for x in rates]
            return Activations({"rates": Ragged.of(padded)})

        rows = run(context_of(session, activations=true)).rows
        for metric in inside:
            low, high = ood(rows, "share_of_ceiling", of=metric)["ci"]
            inside[metric] += low - 0.01 <= 1 <= high + 0.01
    assert min(inside.values()) >= 16, inside
