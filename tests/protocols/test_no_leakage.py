"""No test or ood trial reaches anything that is fitted or chosen; see also the spies on what is fitted."""

from dataclasses import replace

import numpy as np
import pytest
from planted import PAD, context_of, repeating_population, row_of, with_units
from recorded import write_planted

from neurobench_grasp.contract import Activations, ModelSpec, Ragged
from neurobench_grasp.plugins import CORE, Provided, load_registry
from neurobench_grasp.protocols.encoding import predictions, reduction
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding.predictions import window_rows
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset

MIX = np.random.default_rng(0).standard_normal((5, 20))


# --- other trials are garbage, and nothing changes ------------------------------------------------


def observe(trials):
    latents = trials.signals["latents"]
    return Ragged(latents.values @ MIX, latents.offsets)


def network(seen):
    layers = {"linear": seen.values[:, :9], "squashed": np.tanh(seen.values[:, 9:])}
    return Activations({name: Ragged(x, seen.offsets) for name, x in layers.items()})


def planted(n_units=9):
    """Units with a lag; the last third have no tuning, and fire differently in every trial."""
    rng = np.random.default_rng(1)
    session = repeating_population(rng, n_objects=15, n_repeats=8, n_steps=20, n_units=n_units, lag=2)
    rates = session.units.rates.values.copy()
    untuned = n_units - n_units // 3
    rates[:, untuned:] = 10 + 3 * rng.standard_normal((len(rates), n_units // 3))
    return with_units(session, rates=Ragged(rates, session.units.rates.offsets))


def spoilt(session, context):
    """Huge rates outside train, the same in all trials of an object; huge behaviour in every second such trial.

    The other trials outside train keep their behaviour: what is predicted for them must not change.
    """
    rng = np.random.default_rng(2)
    outside = sorted(context.index(session, context.splits.test) + context.index(session, context.splits.ood))
    spoil = set(outside[::2])
    shape = session.units.rates[0].shape
    by_object = {c: 1e6 * rng.standard_normal(shape) for c in sorted(set(session.trials.condition))}
    rates = Ragged.of(
        [
            by_object[session.trials.condition[i]] if i in outside else y
            for i, y in enumerate(session.units.rates)
        ]
    )
    latents = Ragged.of(
        [
            1e6 * rng.standard_normal(x.shape) if i in spoil else x
            for i, x in enumerate(session.trials.signals["latents"])
        ]
    )
    trials = replace(session.trials, signals={"latents": latents})
    return replace(with_units(session, rates=rates, counts=rates), trials=trials), spoil


class World:
    """All that a run fitted, chose and predicted."""

    def __init__(self, session, monkeypatch):
        self.session, self.stages, self.components, self.scored = session, {}, [], None
        fit, table = reduction.fit_components, encoding.score_table

        def spy_fit(*args, **options):
            self.components.append(fit(*args, **options))
            return self.components[-1]

        def spy_table(context, scored):
            (self.scored,) = scored
            return table(context, scored)

        def stages(stage, session, make, **inputs):
            self.stages[stage.name] = make()
            return self.stages[stage.name]

        monkeypatch.setattr(reduction, "fit_components", spy_fit)
        monkeypatch.setattr(encoding, "score_table", spy_table)
        monkeypatch.setattr(reduction, "on_all_cores", lambda task, items: [task(x) for x in items])
        self.context = context_of(
            session,
            activations=lambda trials: network(observe(trials)),
            observe=observe,
            untrained=lambda seen: Activations({"twin": Ragged(np.tanh(seen.values / 9), seen.offsets)}),
            stages=stages,
        )
        self.rows = encoding.run(self.context).rows


@pytest.fixture(scope="module")
def worlds():
    """The same session twice, and the trials outside train whose behaviour differs."""
    session = planted()
    other, spoil = spoilt(session, context_of(session))
    found = []
    for world in (session, other):
        with pytest.MonkeyPatch.context() as patch:
            found.append(World(world, patch))
    return (*found, spoil)


def test_standardiser_and_components_are_those_of_train(worlds):
    """Of the model's layers (2), recorded movement (3), observations, twin and draws of noise (5)."""
    a, b, _ = worlds
    assert len(a.components) == len(b.components) == 12
    for mine, other in zip(sorted_by_width(a), sorted_by_width(b), strict=True):
        for field in ("mean", "scale", "axes", "limit"):
            np.testing.assert_array_equal(getattr(mine, field), getattr(other, field))


def sorted_by_width(world):
    """Draws are made in parallel, in any order."""
    return sorted(world.components, key=lambda c: (len(c.mean), c.mean[0]))


def test_lag_layer_alpha_and_cross_validated_scores_are_those_of_train(worlds):
    a, b, _ = worlds
    names = [n for n in a.stages["map"] if n.startswith(("lag_", "layer_", "alpha_", "cv_ev_"))]
    assert len(names) == 8
    for name in [*names, "train_by_object", "train_by_object_layers"]:
        np.testing.assert_array_equal(a.stages["map"][name], b.stages["map"][name])
    assert (a.stages["map"]["lag_ood"] == 0.04).all() and len(set(a.stages["map"]["layer_ood"])) > 1
    for metric in ("lag", "n_units_best"):
        mine, other = ([r for r in w.rows if r["metric"] == metric] for w in (a, b))
        assert mine == other and mine


def test_trials_of_equal_behaviour_are_predicted_alike_by_everything_that_is_fitted(worlds):
    """So the weights are those of train: of the map, of every reference through it, and of played means."""
    a, b, spoil = worlds
    fitted = {
        "",
        "linear_kinematic",
        "linear_inputs",
        "untrained",
        "phase_mean",
        "psth",
        "condition_locked_noise",
    }
    for name in fitted:
        for mine, other in zip(a.scored.predictions[name], b.scored.predictions[name], strict=True):
            for split in ("test", "ood"):
                trials = a.context.index(a.session, getattr(a.context.splits, split))
                same = np.repeat([i not in spoil for i in trials], a.session.units.rates.lengths[trials])
                assert 0 < same.sum() < len(same)
                np.testing.assert_array_equal(mine[split][same], other[split][same])
                if name in ("", "linear_kinematic", "linear_inputs", "untrained"):
                    assert not np.allclose(mine[split][~same], other[split][~same])
                elif name != "psth" or split == "test":  # behaviour has no part in these
                    np.testing.assert_array_equal(mine[split], other[split])


def test_units_are_reliable_by_train_alone(worlds):
    for split in ("test", "ood"):
        found = [row_of(world.rows, "n_units_unreliable", split)["units"] for world in worlds[:2]]
        assert found[0] == found[1]
        assert len(found[0]) >= 2 and set(found[0]) <= {"planted/u6", "planted/u7", "planted/u8"}
    assert row_of(worlds[1].rows, "ceiling", of="condition_averaged_ev")["value"] == pytest.approx(
        1.0, abs=1e-3
    )


# --- what reaches what is fitted ------------------------------------------------------------------


def test_what_is_fitted_receives_the_rows_of_training_trials(monkeypatch):
    """Spies on the standardiser with PCA, and on the rows and rates of ridge and of its cross-validation."""
    session = planted()
    context = context_of(session, activations=lambda trials: network(observe(trials)))
    train = context.index(session, context.splits.train)
    fit, training, fitted_on, trained_on = reduction.fit_components, predictions.Training, [], []

    def spy_fit(rows, **options):
        fitted_on.append(rows)
        return fit(rows, **options)

    def spy_training(**fields):
        trained_on.append(fields)
        return training(**fields)

    monkeypatch.setattr(reduction, "fit_components", spy_fit)
    monkeypatch.setattr(predictions, "Training", spy_training)
    lagged = reduction.LagWindow.of(context, session)
    scores = reduction.candidate_scores(context, lagged)
    predictions.predict_units(context, lagged, scores.layers, candidate=True)
    layers = network(observe(session.trials)).layers
    windows = [
        np.concatenate([layer[i][slice(*session.trials.window[i])] for i in train])
        for layer in layers.values()
    ]
    assert len(fitted_on) == 2
    for rows in fitted_on:
        assert any(np.array_equal(rows, expected) for expected in windows)
    (fields,) = trained_on
    assert sorted(fields["rows"]) == sorted(window_rows(lagged.trials, train).tolist())
    measured = session.units.rates.select(train).values
    np.testing.assert_allclose(fields["mean"], measured.mean(0))
    np.testing.assert_allclose(
        np.sort(fields["rates"] + fields["mean"], axis=0), np.sort(measured, axis=0), atol=1e-9
    )


def test_lags_stay_within_the_padding_of_the_training_trial():
    session = planted()
    assert round(session.max_lag / session.trials.dt) <= PAD
    context = context_of(session)
    lagged = reduction.LagWindow.of(context, session)
    cut, longest = lagged.trials, round(session.max_lag / session.trials.dt)
    for i in context.index(session, context.splits.train):
        first, stop = cut.offsets[i] + cut.window[i]
        assert cut.offsets[i] <= first - longest and stop + longest <= cut.offsets[i + 1]


class Spy:
    """A controller that remembers what it was given; it has learned the number of its training trials."""

    def __init__(self, log, seed):
        self.log, self.seed, self.n = log, seed, 0

    def fit(self, train, *, seed):
        self.log.append(("fit", seed, train))
        self.n = len(train)

    def state(self):
        return {"n": np.array(self.n)}

    def restore(self, state):
        self.n = int(state["n"])

    def activations(self, trials):
        return self.activations_of(self.observe(trials))

    def observe(self, trials):
        self.log.append(("observe", self.seed, trials))
        position = trials.signals["position"]
        return Ragged(np.hstack([position.values, position.values**2 + self.n]), position.offsets)

    def activations_of(self, observations):
        return Activations({"layer": observations})

    def untrained(self, *, seed):
        self.log.append(("untrained", seed, self.n))
        return Twin(self.log, seed)

    def track(self, trials, *, goal=None):
        raise AssertionError("encoding moves no body")

    def embed(self, trials):
        raise AssertionError("encoding embeds nothing")


class Twin(Spy):
    """The same before training; it may only be shown observations."""

    def activations_of(self, observations):
        self.log.append(("twin", self.seed, observations))
        return Activations({"layer": observations})

    def observe(self, trials):
        raise AssertionError("the twin's own loop would be another input")


def test_the_controller_and_its_twin_are_given_the_training_trials_alone(tmp_path, monkeypatch):
    log, registry = [], load_registry()
    spec = ModelSpec("spy", build=lambda seed: Spy(log, seed), summary="", controller=True)
    known = type(registry).model
    monkeypatch.setattr(
        type(registry),
        "model",
        lambda self, name: Provided(spec, CORE, "0") if name == "spy" else known(self, name),
    )
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    path = write_planted(tmp_path / "planted.nwb")
    records = run.evaluate("spy", path, protocols=["encoding"], seeds=(3, 4), out=tmp_path / "run")
    data = load_dataset(registry, path)
    (session,) = data.sessions
    given = [(seed, trials) for kind, seed, trials in log if kind == "fit"]
    assert [seed for seed, _ in given] == [3, 4]
    n_train = {}
    for seed, trials in given:  # each network without its fold
        own = data.for_network(seed)
        train = own.splits.train["planted"]
        outside = {*own.splits.test["planted"], *own.splits.ood["planted"]}
        assert train and outside and not set(train) & outside
        assert trials.ids == train
        assert trials.sha256 == own.behaviour("train").sha256
        n_train[seed] = len(train)
    assert (
        n_train.keys() == {3, 4}
        and data.for_network(3).splits.held_out != data.for_network(4).splits.held_out
    )
    assert [(s, n) for kind, s, n in log if kind == "untrained"] == list(n_train.items())
    observed = [trials for kind, seed, trials in log if kind == "observe"]
    assert all(set(trials.ids) == set(session.trials.ids) for trials in observed)
    received = [seen for kind, _, seen in log if kind == "twin"]
    assert len(received) == 2
    for seen, n in zip(received, n_train.values(), strict=True):
        x = observed[0].signals["position"].values  # the second half shows that the fitted model observed
        np.testing.assert_array_equal(seen.values, np.hstack([x, x**2 + n]))
    for record in records:
        row = next(r for r in record.scores if r.get("reference") == "untrained" and r["split"] == "ood")
        assert row["value"] is not None
