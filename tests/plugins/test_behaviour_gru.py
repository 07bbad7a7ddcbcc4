"""The upper reference: it finds what kinematics cannot explain, and sees nothing but training trials."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from ngb_behaviour_gru import network, protocol, reference
from ngb_behaviour_gru.network import Movement, predict
from ngb_behaviour_gru.settings import GRU, NAME
from planted import PAD, aligned_session, context_of, repeating_population, row_of, smooth_latents, with_units
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.contract import Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.records.consistency import contradictions
from neurobench_grasp.records.record import read_units, record_path
from neurobench_grasp.records.table import RowKey
from neurobench_grasp.records.units import UnitTable
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.scoring.ev import explained_variance
from neurobench_grasp.scoring.intervals import summarise


@pytest.fixture
def small(monkeypatch):
    """Networks that are trained in a moment."""
    brief = replace(
        GRU, losses=("poisson",), n_hidden=8, learning_rate=0.05, averaging=0.5, max_steps=12, input_noise=0.1
    )
    monkeypatch.setattr(reference, "GRU", brief)


def with_memory(n_objects=16, n_repeats=10, n_steps=16, n_units=4, noise=0.5):
    """Units that follow products of behaviour at two different times; their rates without noise are true.

    No function of the moment, at whatever lag, has both factors.
    """
    rng, n = np.random.default_rng(0), n_objects * n_repeats
    latents = smooth_latents(n, n_steps + 2 * PAD, 2, rng, width=5)

    def at(latent, ago):
        return np.tanh(2 * latents[:, PAD - ago : PAD - ago + n_steps, latent])

    factors = np.stack([at(0, 5) * at(1, 0), at(0, 0) * at(1, 6)], axis=-1)
    drive = factors @ rng.standard_normal((2, n_units))
    true = 20 + 4 * drive / drive.std((0, 1))
    rates = true + 4 * noise * rng.standard_normal(true.shape)
    session = aligned_session(latents, rates, [f"object_{i // n_repeats:02d}" for i in range(n)])
    return with_units(session, true_rates=Ragged(true.reshape(-1, n_units), session.units.rates.offsets))


def few(**changes):
    """A small session of units that are linear in behaviour."""
    session = repeating_population(np.random.default_rng(0), n_objects=6, n_repeats=5, n_steps=12, n_units=5)
    return with_units(session, **changes)


def predictions(session, **options):
    return reference.gru_predictions(context_of(session, **options), session)


def outside_train(session):
    context = context_of(session)
    return {i for s in ("test", "ood") for i in context.index(session, getattr(context.splits, s))}


def changed(ragged, trials, change):
    return Ragged.of([change(x) if i in trials else x for i, x in enumerate(ragged)])


def same(a, b):
    return all(np.array_equal(a[key], b[key], equal_nan=True) for key in a.keys() | b.keys())


# --- what it explains -----------------------------------------------------------------------------


@pytest.mark.slow
def test_it_explains_what_kinematics_of_the_moment_cannot(monkeypatch):
    """From 100 trials of 16 bins most of the truth, of which a quadratic function explains a tenth."""
    quick = replace(GRU, losses=("squared_error",), n_hidden=32, dropout=0.1, input_noise=0.1, averaging=0.9)
    monkeypatch.setattr(reference, "GRU", replace(quick, learning_rate=0.01))
    rows = protocol.run(context_of(with_memory())).rows
    for split in ("test", "ood"):
        made, truth, quadratic = (
            row_of(rows, split=split, reference=name)["value"]
            for name in (NAME, "true_rate", "quadratic_kinematic")
        )
        assert made > 0.6 * truth > 0.4
        assert quadratic < 0.2 * truth
        gain = row_of(rows, f"gain_over_{NAME}", split, of="single_trial_ev")
        assert gain["value"] < -0.3, "the candidate, which is behaviour of the moment, is below"


def test_units_that_follow_nothing_are_left_at_their_mean(small, monkeypatch):
    """Spikes of training trials in another order: no better than the mean, and hardly worse.

    Training that is never stopped, so that the networks learn noise, is held back by the share alone.
    """
    session, rng = few(), np.random.default_rng(1)
    context = context_of(session)
    train, ood = (context.index(session, split) for split in (context.splits.train, context.splits.ood))
    order = np.arange(len(session.trials.ids))
    order[train] = rng.permutation(train)
    shuffled = with_units(session, rates=session.units.rates.select(order))
    y = session.units.rates.select(ood).values
    tuned = predictions(session)
    assert explained_variance(y, tuned["ood"]).mean() > 0.1 and tuned["share"].min() > 0.5
    errors = itertools.count(0, -1)
    monkeypatch.setattr(network, "_error_of", lambda *_: next(errors))
    untuned = predictions(shuffled)
    ev, deviation = explained_variance(y, untuned["ood"]), untuned["ood"] - untuned["ood"].mean(0)
    assert -0.03 < ev.mean() < 0.01 and untuned["share"].max() < 0.5
    learned = deviation / np.where(untuned["share"] > 0, untuned["share"], np.nan)
    assert np.nanmean(explained_variance(y, learned)) < 3 * ev.mean() - 0.01, "they did learn noise"


def test_the_share_is_the_least_squares_factor_and_never_negative():
    rng = np.random.default_rng(0)
    made = [1 + rng.standard_normal((50, 3)) for _ in range(4)]
    factor = np.array([0.3, -0.5, 2.0])
    trials = [
        reference.Trial(None, torch.from_numpy(1 + factor * (m - 1)), torch.tensor([1.0, 1.0, 1.0]))
        for m in made
    ]
    np.testing.assert_allclose(reference._share(trials, made), [0.3, 0.0, 1.0])


# --- what it sees ---------------------------------------------------------------------------------


def test_spikes_of_new_trials_and_conditions_are_never_seen(small):
    session, rng = few(), np.random.default_rng(0)
    outside = outside_train(session)
    garbage = changed(session.units.rates, outside, lambda y: 1e3 * rng.random(y.shape))
    assert same(predictions(session), predictions(with_units(session, rates=garbage, counts=garbage)))
    inside = changed(session.units.rates, set(range(30)) - outside, lambda y: 1e3 * rng.random(y.shape))
    assert not same(predictions(session), predictions(with_units(session, rates=inside))), "the test can fail"


def test_behaviour_of_a_new_trial_changes_the_predictions_of_this_trial_alone(small):
    session, context = few(), context_of(few())
    test = context.index(session, context.splits.test)
    latents = changed(session.trials.signals["latents"], {test[0]}, lambda x: x + 1.0)
    other = predictions(replace(session, trials=replace(session.trials, signals={"latents": latents})))
    made, n = predictions(session), 12
    np.testing.assert_array_equal(other["ood"], made["ood"])
    np.testing.assert_array_equal(other["test"][n:], made["test"][n:])
    assert not np.allclose(other["test"][:n], made["test"][:n])


def test_a_batch_is_each_of_its_trials(small):
    """Training and inner validation run trials of unequal length side by side."""
    torch.manual_seed(0)
    made = reference.BehaviourGru(3, 4, GRU).eval()
    torch.nn.init.normal_(made.readout.weight)
    trials = [torch.randn(n, 3) for n in (20, 9, 14)]
    with torch.no_grad():
        together = made(trials)
    for row, trial in zip(together, trials, strict=True):
        alone = predict(made, Movement(trial, slice(0, len(trial))))
        np.testing.assert_allclose(row[: len(trial)], alone, atol=1e-6)
        assert not np.allclose(
            row[: len(trial)], predict(made, Movement(trial.flip(0), slice(0, len(trial))))
        )


def test_trials_in_which_a_unit_was_not_observed_do_not_train_it(small):
    session, rng = few(), np.random.default_rng(0)
    observed = session.units.observed.copy()
    observed[::3, 0], observed[:, 1] = False, False
    masked = with_units(session, observed=observed)
    garbage = session.units.rates.values.copy()
    unseen = np.repeat(~observed, session.units.rates.lengths, axis=0)
    garbage[unseen] = 1e3 * rng.random(int(unseen.sum()))
    made = predictions(masked)
    assert same(made, predictions(with_units(masked, rates=Ragged(garbage, session.units.rates.offsets))))
    assert np.isnan(made["test"][:, 1]).all(), "a unit that no training trial has"
    assert np.isfinite(np.delete(made["test"], 1, axis=1)).all()


def test_it_is_the_same_again_for_every_model_and_leaves_torch_alone(small):
    session = few()
    torch.manual_seed(7)
    expected, n_threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(7)
    made = predictions(session, seed=0)
    np.testing.assert_array_equal(torch.rand(3), expected)
    assert torch.get_num_threads() == n_threads
    assert same(made, predictions(session, seed=5))


# --- sessions that it cannot serve ----------------------------------------------------------------


def test_a_silent_unit_is_predicted_by_its_mean(small):
    session = few()
    rates = session.units.rates.values.copy()
    rates[:, 2] = 0.0
    made = predictions(with_units(session, rates=Ragged(rates, session.units.rates.offsets)))
    assert (made["test"][:, 2] == 0).all() and made["share"][2] == 0


def test_one_condition_has_folds_by_trial(small):
    session = few()
    conditions = ("same",) * len(session.trials.ids)
    alike = replace(session, trials=replace(session.trials, condition=conditions),
                    conditions=dict(zip(session.trials.ids, conditions, strict=True)))  # fmt: skip
    assert len(set(reference._inner_folds(alike, range(20)))) == 5
    assert np.isfinite(predictions(alike)["test"]).all()


def test_a_session_without_recorded_movement_is_refused():
    session = few()
    still = replace(session, trials=replace(session.trials, signals={}))
    with pytest.raises(UnsupportedError, match="planted has no recorded movement, from which behaviour_gru"):
        protocol.run(context_of(still))


def test_missing_samples_are_refused():
    session = few()
    gap = changed(
        session.trials.signals["latents"], {3}, lambda x: np.where(np.arange(len(x))[:, None] == 4, np.nan, x)
    )
    with pytest.raises(UnsupportedError, match="The movement of planted has missing samples"):
        predictions(replace(session, trials=replace(session.trials, signals={"latents": gap})))


def test_too_few_training_trials_are_refused():
    session = few().select(range(4))  # one of which is kept for testing
    with pytest.raises(UnsupportedError, match="planted has 3 training trials, and behaviour_gru needs 5"):
        predictions(replace(session, conditions=dict.fromkeys(session.trials.ids, "same")))


def test_a_session_without_units_is_refused():
    session = few()
    empty = with_units(session, ids=(), areas=(), rates=Ragged(session.units.rates.values[:, :0],
                                                              session.units.rates.offsets))  # fmt: skip
    with pytest.raises(UnsupportedError, match="planted holds no units, and the protocol behaviour_gru"):
        protocol.run(context_of(empty))


# --- its rows -------------------------------------------------------------------------------------


def test_rows_stand_beside_the_candidate_and_say_that_the_network_saw_units(small):
    scores = protocol.run(context_of(few(), seeded=True))
    table = UnitTable.from_arrays(scores.units)
    for split in ("test", "ood"):
        mine, network = row_of(scores.rows, split=split), row_of(scores.rows, split=split, reference=NAME)
        gain = row_of(scores.rows, f"gain_over_{NAME}", split, of="single_trial_ev")
        assert gain["value"] == pytest.approx(mine["value"] - network["value"], abs=1e-9)
        assert row_of(scores.rows, "ceiling", split, of="single_trial_ev")
    assert {r["reference"] for r in scores.rows if r.get("saw_units")} == {NAME}
    assert all(r.get("saw_units") for r in scores.rows if r.get("reference") == NAME)
    checked = 0
    for row in scores.rows:
        parts = RowKey.of_row(row).unit_scores(table)
        if parts is not None and row["value"] is not None:
            assert row["value"] == pytest.approx(summarise(parts).value, abs=1e-6)
            checked += row.get("reference") == NAME or NAME in row["metric"]
    assert checked >= 6


def test_its_record_is_verified_shown_and_made_from_what_encoding_made(small, tmp_path, monkeypatch):
    """One run folder: the candidate runs and is mapped once; the networks are trained once for all run folders."""
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    file, out = (
        write_planted(tmp_path / "planted.nwb", n_objects=5, n_repeats=5, n_units=4),
        tmp_path / "runs",
    )
    trained = []
    spied = reference.train_network
    monkeypatch.setattr(reference, "train_network", lambda *a: trained.append(1) or spied(*a))
    for protocols in (["encoding"], [NAME]):
        records = run.evaluate("linear_kinematic", file, protocols=protocols, seeds=(0,), out=out)
    stages = sorted(place.name.rsplit("-", 1)[0] for place in (out / "stages").iterdir())
    assert stages.count("map") == stages.count("activations") == 1 and len(trained) == 4
    (record,) = records
    assert not list(contradictions(record, read_units(record_path(out / "records", record), record)))
    lowered = [
        row | {"value": row["value"] - 0.01}
        if row["value"] and NAME in (row.get("reference"), *row["metric"].split("over_"))
        else row
        for row in record.scores
    ]
    forged = replace(record, scores=lowered)
    units = read_units(record_path(out / "records", record), record)
    assert len(list(contradictions(forged, units))) >= 4
    shown = CliRunner().invoke(
        app,
        [
            "score",
            "--model=linear_kinematic",
            f"--dataset={file}",
            f"--protocol={NAME}",
            "--seed=0",
            f"--out={tmp_path / 'other'}",
        ],
    )
    assert shown.exit_code == 0 and len(trained) == 4, "another run folder reads them from the cache"
    assert (
        f"{NAME}: was trained on spikes of these units: an upper reference, never a candidate" in shown.stdout
    )


def test_it_is_offered():
    spec = load_registry().protocol(NAME).spec
    assert spec.version == 1 and spec.settings["n_hidden"] == GRU.n_hidden
    assert reference.STAGE.settings["averaging"] == GRU.averaging and not reference.STAGE.model
