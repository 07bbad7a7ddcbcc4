"""Units that are all tuned, eight directions: nothing is silenced, and nulls are at zero but can fail."""

from dataclasses import replace

import numpy as np
import pytest
from planted import DT, PAD, aligned_session, context_of, row_of, with_units

from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding import references
from neurobench_grasp.records.units import UnitTable
from neurobench_grasp.scoring.networks import average, mean_of_networks

N_DIRECTIONS, N_REPEATS, N_UNITS, N_STEPS = 8, 24, 60, 30


def reaches(seed=0, n_units=N_UNITS):
    """Poisson units tuned to the velocity of reaches of least jerk (Flash and Hogan 1985) in 8 directions."""
    rng = np.random.default_rng(seed)
    n_trials = N_DIRECTIONS * N_REPEATS
    direction = np.repeat(np.arange(N_DIRECTIONS), N_REPEATS) * 2 * np.pi / N_DIRECTIONS
    angle = direction + 0.15 * rng.standard_normal(n_trials)
    size = np.exp(0.15 * rng.standard_normal(n_trials))
    phase = np.clip((np.arange(N_STEPS + 2 * PAD) - PAD) / N_STEPS, 0, 1)
    speed = size[:, None] * 30 * phase**2 * (1 - phase) ** 2 / 1.875
    velocity = speed[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)[:, None]
    velocity = velocity + 0.05 * rng.standard_normal(velocity.shape)
    preferred = rng.standard_normal((2, n_units))
    rate = np.maximum(12 + 8 * velocity[:, PAD : PAD + N_STEPS] @ preferred, 0.5)
    counts = rng.poisson(rate * DT)
    padded = np.concatenate([counts[:, :1], counts, counts[:, -1:]], axis=1)
    rates = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3 / DT
    session = aligned_session(velocity, rates, [f"d{k}" for k in np.repeat(np.arange(8), N_REPEATS)])
    flat = Ragged(counts.reshape(-1, n_units).astype(np.int32), session.units.rates.offsets)
    return with_units(session, counts=flat)


def scored(session, metric="single_trial_ev", reference="", **context):
    """Mean over units of the score that all five folds join to."""
    networks = []
    for fold in range(5):
        units = encoding.run(context_of(session, fold=fold, **context)).units
        networks.append(UnitTable.from_arrays(units).scores["M1", "ood", metric, reference])
    return average(networks), mean_of_networks(networks)


@pytest.fixture(scope="module")
def session():
    return reaches()


def test_every_tuned_unit_keeps_its_map(session, monkeypatch):
    """At least 95 % of the explained variance without any fallback, where a confidence gate left 65 %."""
    total, _ = scored(session)
    ungated = references.fit_units
    monkeypatch.setattr(
        encoding,
        "fit_units",
        lambda *arguments, **options: ungated(*arguments, **{**options, "fallback": False}),
    )
    without, _ = scored(session)
    assert without.value > 0.05
    assert total.value >= 0.95 * without.value
    assert total.n_groups == N_DIRECTIONS and total.ci is not None


def test_the_training_mean_scores_exactly_zero(session):
    """A model that explains nothing predicts each fold's training mean."""

    def nothing(trials):
        return Activations({"flat": Ragged(np.zeros((trials.offsets[-1], 1)), trials.offsets)})

    total, (part,) = scored(session, activations=nothing)
    np.testing.assert_allclose(part.values, 0.0, atol=1e-12)
    assert total.value == pytest.approx(0.0, abs=1e-12)


def test_the_null_is_at_zero_without_a_fallback(session):
    total, _ = scored(session, reference="circular_shift")
    assert abs(total.value) < 0.003
    rows = encoding.run(context_of(session)).rows
    assert row_of(rows, "n_units_by_mean")["value"] < N_UNITS / 10


def leaking(seed):
    """Features that hold nothing but the rates of a few trials of each condition, as a leak would."""
    session = reaches(seed, n_units=20)
    values = np.zeros((session.trials.offsets[-1], 20))
    for i, (first, stop) in enumerate(session.trials.window):
        start = session.trials.offsets[i]
        values[start + first : start + stop] = session.units.rates[i]
    return session, Activations({"leak": Ragged(values, session.trials.offsets)})


def test_a_null_that_sees_the_rates_fails(monkeypatch):
    """A shift that leaves everything in its place is a leak, and the null shows it."""
    session, layers = leaking(1)
    monkeypatch.setattr(references, "circular_shift", lambda offsets, rng: np.arange(offsets[-1]))
    total, _ = scored(session, reference="circular_shift", activations=lambda trials: layers)
    assert total.ci[0] > 0.1


def with_training_trials(context, session, more):
    """The same context with some more trials in train."""
    train = (*context.splits.train[session.id], *more)
    return replace(context, splits=replace(context.splits, train={session.id: train}))


@pytest.mark.parametrize("split", ["test", "ood"])
def test_one_test_trial_among_the_training_trials_is_seen_by_a_null(session, split):
    """Of 48 held-out trials one is known: the null explains about a fiftieth, where it explained nothing."""
    honest = context_of(session)
    leaked = with_training_trials(honest, session, getattr(honest.splits, split)[session.id][:1])
    before, after = (
        row_of(encoding.run(context).rows, split=split, reference="identical_trial")["value"]
        for context in (honest, leaked)
    )
    assert before == pytest.approx(0, abs=1e-12) and after > 0.003


def test_a_trial_that_was_recorded_twice_is_seen_by_a_null(session):
    """It has another name, but its movement is the same to the last bit."""
    honest = context_of(session)
    known, held_out = honest.splits.train[session.id][0], honest.splits.ood[session.id][0]
    source, place = (session.trials.ids.index(trial) for trial in (known, held_out))
    velocity = session.trials.signals["latents"]
    trials = [velocity[source if i == place else i] for i in range(len(session.trials))]
    twice = replace(session, trials=replace(session.trials, signals={"latents": Ragged.of(trials)}))
    row = row_of(encoding.run(context_of(twice)).rows, reference="identical_trial")
    assert row["value"] != 0


def test_half_of_the_held_out_trials_among_the_training_trials_are_seen_by_the_noise(session):
    """Features that know nothing but the condition explain the rest of the trials of a condition that leaked.

    Half of the trials have to: penalties are chosen with whole conditions left out.
    """
    honest = context_of(session)
    leaked = with_training_trials(honest, session, honest.splits.ood[session.id][::2])
    before, after = (
        row_of(encoding.run(context).rows, reference="condition_locked_noise")["value"]
        for context in (honest, leaked)
    )
    assert before < 0.003 and after > 0.01
