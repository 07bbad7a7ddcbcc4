import dataclasses

import numpy as np
import pytest
from lazy import Lazy
from planted import PAD, aligned_session, context_of, population, smooth_latents, with_units

from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.contract import Activations, Ragged
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.encoding import predictions
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores
from neurobench_grasp.protocols.encoding.sums import Activity, unit_sums

decomposition = Lazy("sklearn.decomposition")
linear_model = Lazy("sklearn.linear_model")
metrics = Lazy("sklearn.metrics")
preprocessing = Lazy("sklearn.preprocessing")


def score(rows, metric="single_trial_ev", split="ood", reference=None, area="M1", **labels):
    """The one main row (no session, no layer) with these labels."""
    wanted = {"metric": metric, "split": split, "area": area, **labels}
    if reference:
        wanted["reference"] = reference
    found = [r for r in rows if all(r.get(k) == v for k, v in wanted.items())]
    found = [
        r
        for r in found
        if set(r) & {"session", "subject", "layer", "reference", "of"}
        == set(wanted) & {"session", "subject", "layer", "reference", "of"}
    ]
    assert len(found) == 1, found
    return found[0]


def mapped(context, session):
    """What the map is fitted on: context, session within reach, component scores."""
    lagged = LagWindow.of(context, session)
    return context, lagged, candidate_scores(context, lagged).layers


@pytest.mark.parametrize("snr", [0.1, 0.3, 1.0, 3.0])
def test_planted_populations_score_their_analytic_ev(snr):
    session, _ = population(np.random.default_rng(7), snr=snr, n_units=30)
    rows = encoding.run(context_of(session)).rows
    for split in ("test", "ood", "train_by_object"):
        assert score(rows, split=split)["value"] == pytest.approx(snr / (1 + snr), abs=0.02)


@pytest.mark.parametrize("lag", [-4, 0, 3, 10])
def test_a_planted_latency_is_found(lag):
    session, _ = population(np.random.default_rng(1), snr=0.5, lag=lag)
    rows = encoding.run(context_of(session)).rows
    for split in ("test", "ood"):
        found = [r["value"] for r in rows if r["metric"] == "lag" and r["split"] == split]
        assert found == [pytest.approx(lag * 0.02)]


def test_one_condition_has_its_latency_and_score():
    """Without objects to hold out, the lag is sought by trial."""
    session, _ = population(np.random.default_rng(2), snr=1.0, lag=3, n_objects=1, n_repeats=40)
    rows = encoding.run(context_of(session)).rows
    assert score(rows, split="test")["value"] == pytest.approx(0.5, abs=0.06)
    assert [r["value"] for r in rows if r["metric"] == "lag" and r["split"] == "test"] == [
        pytest.approx(0.06)
    ]
    assert "fewer than three" in score(rows, split="train_by_object")["reason"]


@pytest.mark.parametrize("snr", [0.02, 1.0])
def test_each_area_has_one_lag_of_its_own_in_all_splits(snr):
    """Also where noise hides the planted ones."""
    session, other = (
        population(np.random.default_rng(4), snr=snr, lag=lag, n_objects=8, n_repeats=5, n_units=6)[0]
        for lag in (5, -5)
    )
    values = np.hstack([session.units.rates.values[:, :3], other.units.rates.values[:, 3:]])
    both = with_units(
        session, rates=Ragged(values, session.units.rates.offsets), areas=("M1",) * 3 + ("S1",) * 3
    )
    out = predictions.predict_units(*mapped(context_of(both), both), candidate=True)
    np.testing.assert_array_equal(out["lag_test"], out["lag_ood"])
    for area, planted in ((slice(0, 3), 0.1), (slice(3, 6), -0.1)):
        assert len(set(out["lag_ood"][area])) == 1
        if snr == 1.0:
            np.testing.assert_allclose(out["lag_ood"][area], planted)


def test_the_whole_map_equals_plain_scikit_learn():
    """Lag, layer, alpha, prediction and score of every unit, from loops over scikit-learn objects."""
    session, _ = population(
        np.random.default_rng(3), snr=0.5, n_objects=8, n_repeats=5, n_units=4, n_latents=12
    )
    noise = Ragged(
        np.random.default_rng(4).standard_normal((session.trials.offsets[-1], 9)), session.trials.offsets
    )
    layers = {"noise": noise, "latents": session.trials.signals["latents"]}
    context = context_of(session, activations=lambda trials: Activations(layers))
    train, test = (context.index(session, s) for s in (context.splits.train, context.splits.test))
    out = predictions.predict_units(*mapped(context, session), candidate=True)
    conditions = [session.trials.condition[i] for i in train]
    fold_of = {
        "test": folds_by_trial([session.trials.ids[i] for i in train], conditions, 5),
        "ood": folds_by_condition(conditions, 5),
    }
    reduced = {}
    for name, layer in layers.items():
        rows = np.concatenate([layer[i][slice(*session.trials.window[i])] for i in train])
        scaler = preprocessing.StandardScaler().fit(rows)
        pca = decomposition.PCA(svd_solver="full").fit(scaler.transform(rows))
        reduced[name] = Ragged(pca.transform(scaler.transform(layer.values)), layer.offsets)

    def rows_of(layer, trials, lag):
        return np.concatenate([layer[i][np.arange(*session.trials.window[i]) + lag] for i in trials])

    for mode, trials in (("test", test), ("ood", context.index(session, context.splits.ood))):
        y = np.concatenate([session.units.rates[i] for i in train])
        fold = np.repeat(fold_of[mode], session.units.rates.lengths[train])
        lag = round(out[f"lag_{mode}"][0] / 0.02)
        best_by_lag = {}
        for candidate in (lag - 1, lag, lag + 1) if mode == "ood" else (lag,):  # sought by object
            cv = np.array([[[np.mean([metrics.explained_variance_score(
                y[fold == f, u],
                linear_model.Ridge(a).fit(x[fold != f], y[fold != f, u]).predict(x[fold == f])) for f in range(5)])
                for a in encoding.SETTINGS.alphas] for x in [rows_of(r, train, candidate) for r in reduced.values()]]
                for u in range(4)])  # fmt: skip
            best_by_lag[candidate] = cv.max((1, 2)).mean()
            if candidate == lag:
                np.testing.assert_allclose(out[f"cv_ev_{mode}"].T, cv.max(2), atol=1e-8)
                layer_choice = cv.max(2).argmax(1)
                alpha = encoding.SETTINGS.alphas[cv[np.arange(4), layer_choice].argmax(1)]
        assert max(best_by_lag, key=best_by_lag.get) == lag == round(out["lag_test"][0] / 0.02)
        np.testing.assert_array_equal(out[f"layer_{mode}"], layer_choice)
        for u in range(4):
            x = list(reduced.values())[layer_choice[u]]
            model = linear_model.Ridge(alpha[u]).fit(rows_of(x, train, lag), y[:, u])
            prediction = model.predict(rows_of(x, trials, lag))
            measured = np.concatenate([session.units.rates[i][:, u] for i in trials])
            expected = metrics.explained_variance_score(measured, prediction)
            assert metrics.explained_variance_score(measured, out[mode][:, u]) == pytest.approx(
                expected, abs=1e-8
            )


def test_nothing_of_test_or_ood_reaches_the_map():
    """Other rates and other behaviour outside train leave every choice and weight as it was."""
    session, _ = population(np.random.default_rng(5), n_objects=10, n_repeats=5)
    context = context_of(session)
    train = set(context.index(session, context.splits.train))
    rng = np.random.default_rng(6)
    rates = Ragged.of(
        [y if i in train else rng.standard_normal(y.shape) for i, y in enumerate(session.units.rates)]
    )
    latents = session.trials.signals["latents"]
    wild = Ragged.of([x if i in train else 100 * rng.standard_normal(x.shape) for i, x in enumerate(latents)])
    other = dataclasses.replace(
        with_units(session, rates=rates),
        trials=dataclasses.replace(session.trials, signals={"latents": wild}),
    )
    a, b = (
        predictions.predict_units(*mapped(c, s), candidate=True)
        for c, s in ((context, session), (context_of(other), other))
    )
    for name in (
        "train_by_object",
        "lag_test",
        "lag_ood",
        "layer_ood",
        "alpha_test",
        "alpha_ood",
        "cv_ev_ood",
    ):
        np.testing.assert_array_equal(a[name], b[name])
    assert not np.allclose(a["test"], b["test"])


def test_sign_flipped_predictions_score_below_zero():
    session, _ = population(np.random.default_rng(8), n_objects=10, n_repeats=5, snr=1.0)
    context = context_of(session)
    predicted = predictions.predict_units(*mapped(context, session), candidate=False)
    ood = context.index(session, context.splits.ood)
    mean = session.units.rates.values.mean(0)
    units, rates = np.arange(len(session.units)), session.units.rates.select(ood)
    flipped = Ragged(2 * mean - predicted["ood"], rates.offsets)
    activity = Activity.of(context, session)
    sums = unit_sums(session, ood, units, (rates, flipped), "single_trial_ev", activity)
    assert (sums.scores() < 0).all()


def object_tuned(rng, n_objects=20, n_repeats=10, n_steps=30, n_units=20):
    """Units that follow an object's own course, on top of one course common to all objects."""
    n_trials = n_objects * n_repeats
    own = smooth_latents(n_objects, n_steps, n_units, rng, width=15)
    common = 2 * np.sin(np.linspace(0, 3, n_steps))[:, None] * rng.standard_normal(n_units)
    which = np.repeat(np.arange(n_objects), n_repeats)
    rates = 10 + own[which] + common + rng.standard_normal((n_trials, n_steps, n_units))
    behaviour = smooth_latents(n_trials, n_steps + 2 * PAD, 3, rng)
    return aligned_session(behaviour, rates, [f"object_{w:02d}" for w in which])


def test_noise_that_knows_the_object_scores_on_test_and_not_on_ood():
    rows = encoding.run(context_of(object_tuned(np.random.default_rng(9), n_objects=35))).rows
    on_test = score(rows, split="test", reference="condition_locked_noise")
    on_ood = score(rows, split="ood", reference="condition_locked_noise")
    assert on_test["value"] > 0.1 and on_test["ci"][0] > 0.05
    assert on_ood["ci_over"] == ["condition", "unit"]
    assert on_ood["ci"][0] <= 0 <= on_ood["ci"][1] and abs(on_ood["value"]) < 0.03


def test_circular_shift_is_a_null_even_where_trials_are_of_equal_length():
    """Units with a strong common time course: a null that kept the phase would explain it."""
    rows = encoding.run(context_of(object_tuned(np.random.default_rng(10), n_objects=25))).rows
    for split in ("test", "ood"):
        null = score(rows, split=split, reference="circular_shift")
        assert null["ci"][0] <= 0 <= null["ci"][1]
        assert score(rows, split=split, reference="phase_mean")["value"] > 0.1


def test_phase_mean_explains_no_object_tuning():
    rows = encoding.run(context_of(object_tuned(np.random.default_rng(11)))).rows
    tuning = score(rows, metric="object_tuning_ev", reference="phase_mean")
    assert tuning["value"] == pytest.approx(0, abs=0.02)  # exactly, if it were not shrunk


def test_gains_are_paired_differences():
    rows = encoding.run(context_of(population(np.random.default_rng(12), n_objects=10, n_repeats=5)[0])).rows
    gain = score(rows, metric="gain_over_phase_mean", of="single_trial_ev")
    own, reference = score(rows), score(rows, reference="phase_mean")
    assert gain["value"] == pytest.approx(own["value"] - reference["value"])


def test_units_observed_in_some_trials_are_scored_on_those():
    session, _ = population(np.random.default_rng(13), snr=1.0, n_units=6)
    observed = np.ones((len(session.trials), 6), bool)
    observed[::2, 0] = False
    observed[1::2, 1] = False
    rates = session.units.rates.values.copy()
    for i in range(len(session.trials)):
        rates[session.units.rates.offsets[i] : session.units.rates.offsets[i + 1], ~observed[i]] = (
            1e6  # must not be used
        )
    partial = with_units(session, rates=Ragged(rates, session.units.rates.offsets), observed=observed)
    row = score(encoding.run(context_of(partial)).rows)
    assert row["n_units"] == 6
    assert row["value"] == pytest.approx(0.5, abs=0.03)


def test_a_silent_unit_has_no_score_and_the_others_keep_theirs():
    session, _ = population(np.random.default_rng(14), snr=1.0, n_units=4)
    rates = session.units.rates.values.copy()
    rates[:, 2] = 0.0
    silent = with_units(session, rates=Ragged(rates, session.units.rates.offsets))
    row = score(encoding.run(context_of(silent)).rows)
    assert row["n_units"] == 3 and row["value"] == pytest.approx(0.5, abs=0.03)


def test_few_conditions_get_an_interval_over_trials_that_says_so():
    """Not where other folds add conditions: there is no interval then, until they are scored."""
    session, _ = population(np.random.default_rng(15), n_objects=5, n_repeats=20)
    rows = encoding.run(context_of(session)).rows
    row = score(rows, split="test")
    assert (
        row["n_conditions"] == 4 and row["ci_over"] == ["trial", "unit"] and "4 conditions" in row["reason"]
    )
    averaged = score(rows, split="test", metric="condition_averaged_ev")
    assert averaged["ci"] is None and "fewer than 5" in averaged["reason"]
    row = score(rows)
    assert row["n_conditions"] == 1 and row["ci"] is None and "fewer than 5" in row["reason"]


def test_a_condition_in_which_no_unit_was_observed_does_not_count():
    """Its trials would else be counted towards an interval over conditions that they are no part of."""
    session, _ = population(np.random.default_rng(19), n_objects=6, n_repeats=20)
    context = context_of(session)
    condition = np.array(session.trials.condition)
    lost = condition[context.index(session, context.splits.test)[0]]
    observed = np.repeat((condition != lost)[:, None], len(session.units), 1)
    row = score(encoding.run(context_of(with_units(session, observed=observed))).rows, split="test")
    assert row["n_conditions"] == 4 and row["ci_over"] == ["trial", "unit"]


def test_no_held_out_conditions_is_a_reason_and_not_a_number():
    session, _ = population(np.random.default_rng(16), n_objects=2, n_repeats=20)
    row = score(encoding.run(context_of(session)).rows)
    assert row["value"] is None and "no trials" in row["reason"]


def test_two_animals_count_equally():
    rng = np.random.default_rng(17)
    many, _ = population(rng, snr=3.0, n_units=30, n_objects=10, n_repeats=6)
    few, _ = population(rng, snr=0.3, n_units=5, n_objects=10, n_repeats=6)
    few = dataclasses.replace(
        few, id="other", subject="b", trials=dataclasses.replace(few.trials, sessions=("other",) * 60)
    )
    rows = encoding.run(context_of(many, few)).rows
    parts = [score(rows, session=s)["value"] for s in ("planted", "other")]
    assert score(rows)["value"] == pytest.approx(np.mean(parts))
    assert score(rows)["n_units"] == 35


def test_a_layer_with_wrong_steps_is_named():
    session, _ = population(np.random.default_rng(18), n_objects=5, n_repeats=5)
    windows_only = Ragged.of([x[PAD:-PAD] for x in session.trials.signals["latents"]])
    context = context_of(session, activations=lambda trials: Activations({"layer_a": windows_only}))
    with pytest.raises(NgbError, match=r"'layer_a'.*one row for every step"):
        encoding.run(context)


def test_the_best_layer_is_chosen_per_unit_and_every_layer_is_reported():
    session, _ = population(np.random.default_rng(19), snr=1.0)
    noise = Ragged(
        np.random.default_rng(0).standard_normal((session.trials.offsets[-1], 5)), session.trials.offsets
    )
    layers = {"noise": noise, "latents": session.trials.signals["latents"]}
    rows = encoding.run(context_of(session, activations=lambda trials: Activations(layers))).rows
    assert score(rows, layer="noise")["value"] < 0.02
    assert score(rows, layer="latents")["value"] == pytest.approx(score(rows)["value"], abs=1e-6)


def test_a_session_without_units_is_skipped_beside_one_that_has_some():
    rng = np.random.default_rng(0)
    session, latents = population(rng, n_objects=6, n_repeats=6, n_units=3)
    conditions = session.trials.condition
    bare = aligned_session(latents, np.empty((36, 30, 0)), conditions, name="bare")
    assert encoding.run(context_of(session, bare)).rows == encoding.run(context_of(session)).rows


def test_a_session_without_units_is_refused_with_the_reason():
    session, _ = population(np.random.default_rng(20), n_objects=3, n_repeats=3, n_units=1)
    rates = Ragged(session.units.rates.values[:, :0], session.units.rates.offsets)
    behaviour_alone = with_units(
        session, ids=(), areas=(), rates=rates, observed=session.units.observed[:, :0]
    )
    with pytest.raises(UnsupportedError, match="planted holds no units"):
        encoding.run(context_of(behaviour_alone))
