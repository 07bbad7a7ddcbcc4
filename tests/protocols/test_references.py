"""The reference panel: equal inputs through the same map, plain loops, and a reason for what does not apply."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from lazy import Lazy
from planted import context_of, repeating_population, row_of, with_units
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies import linear_kinematics
from neurobench_grasp.contract import Activations, Ragged, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.protocols.encoding.reduction import LagWindow, LayerScores
from neurobench_grasp.protocols.encoding.references import REFERENCES, reference_predictions
from neurobench_grasp.protocols.encoding.table import GAINS
from neurobench_grasp.records.table import EXPLAINED_VARIANCE
from neurobench_grasp.records.units import UnitTable

metrics = Lazy("sklearn.metrics")

MIX = np.random.default_rng(0).standard_normal((5, 12))


@pytest.fixture(scope="module")
def session():
    """Six trials of each of 25 objects, so that five are held out; units lead by three steps."""
    rng, size = np.random.default_rng(1), {"n_objects": 25, "n_repeats": 6, "n_steps": 20, "n_units": 4}
    return repeating_population(rng, **size, lag=3, trial_gain=0.1)


def observe(trials):
    """Observations that follow the behaviour, and a column that is constant."""
    latents = trials.signals["latents"]
    return Ragged(np.hstack([latents.values @ MIX, np.ones((len(latents.values), 1))]), latents.offsets)


def network(seen):
    """Two layers that squash the observations."""
    layers = {"first": np.tanh(seen.values), "second": np.tanh(seen.values[:, ::2]) ** 2}
    return Activations({name: Ragged(x, seen.offsets) for name, x in layers.items()})


def controller(session, untrained, **options):
    return context_of(
        session,
        activations=lambda trials: network(observe(trials)),
        **{"observe": observe, "untrained": untrained} | options,
    )


# --- the same map ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo(session):
    """Scores of a controller whose twin gives back what it received."""
    return encoding.run(controller(session, lambda seen: Activations({"echo": seen})))


def test_a_twin_that_returns_its_observations_scores_exactly_as_they_do(echo):
    for split, metric in product(("test", "ood"), EXPLAINED_VARIANCE):
        twin, inputs = (row_of(echo.rows, metric, split, reference=r) for r in ("untrained", "linear_inputs"))
        assert twin | {"reference": ""} == inputs | {"reference": ""}
        gains = [
            row_of(echo.rows, f"gain_over_{r}", split, of=metric) for r in ("untrained", "linear_inputs")
        ]
        assert gains[0] | {"metric": ""} == gains[1] | {"metric": ""}
    assert row_of(echo.rows, reference="untrained")["value"] > 0.2
    assert row_of(echo.rows, "lag", session="planted")["value"] == pytest.approx(0.06)
    units = UnitTable.from_arrays(echo.units).scores
    for labels, (inputs,) in units.items():
        if labels.reference == "linear_inputs":
            (twin,) = units[labels._replace(reference="untrained")]
            np.testing.assert_array_equal(twin.values, inputs.values)


def test_gains_are_the_differences_of_the_units_kept_beside_the_record(echo):
    units = UnitTable.from_arrays(echo.units).scores
    for reference, metric in product(set(GAINS) - {"linear_emg"}, EXPLAINED_VARIANCE):
        (own,), (other,) = (units["M1", "ood", metric, r] for r in ("", reference))
        gain = row_of(echo.rows, f"gain_over_{reference}", of=metric)
        assert gain["value"] == pytest.approx(np.mean(own.values - other.values), abs=1e-7)


def test_a_twin_that_equals_the_candidate_has_no_gain_and_no_doubt(session):
    """To the seven digits that predictions of references are kept with."""
    rows = encoding.run(controller(session, network)).rows
    for split, metric in product(("test", "ood"), EXPLAINED_VARIANCE):
        gain = row_of(rows, "gain_over_untrained", split, of=metric)
        if split == "test" and metric != "single_trial_ev":
            assert gain["value"] is None and "3 trials" in gain["reason"]
        else:
            assert [gain["value"], *gain["ci"]] == pytest.approx([0, 0, 0], abs=1e-6)


def test_a_model_of_recorded_kinematics_scores_as_the_reference_does(session):
    model = context_of(session, activations=lambda trials: Activations({"now": linear_kinematics(trials)}))
    rows = encoding.run(model).rows
    for metric in EXPLAINED_VARIANCE:
        own, reference = row_of(rows, metric), row_of(rows, metric, reference="linear_kinematic")
        assert reference["value"] == pytest.approx(own["value"], abs=1e-6)
        assert reference["ci"] == pytest.approx(own["ci"], abs=1e-6)
    assert row_of(rows)["value"] > 0.2


def panel(context, session):
    lagged = LagWindow.of(context, session)
    candidate = LayerScores(
        lagged.reduce(context.model.activations(session.scored), context.clock(session)).layers, 0
    )
    with threadpool_limits(limits=1):
        return reference_predictions(context, lagged, candidate)


def test_the_twin_receives_the_very_observations_of_the_trained_network(session):
    asked, received = [], []

    def spy_observe(trials):
        asked.append((trials, observe(trials)))
        return asked[-1][1]

    def spy_untrained(seen):
        received.append(seen)
        return network(seen)

    panel(controller(session, spy_untrained, observe=spy_observe), session)
    assert all(trials is session.scored for trials, _ in asked)
    (seen,) = received
    assert any(seen is observed for _, observed in asked)


# --- without a map --------------------------------------------------------------------------------


def ragged_session():
    """Trials of unequal length; one unit was not observed in some of them."""
    rng = np.random.default_rng(2)
    session = repeating_population(rng, n_objects=10, n_repeats=10, n_steps=30, n_units=3)
    lengths = rng.integers(12, 31, len(session.trials))
    rates, true = (
        Ragged.of([y[:n] for y, n in zip(values, lengths, strict=True)])
        for values in (session.units.rates, session.units.true_rates)
    )
    window = session.trials.window.copy()
    window[:, 1] = window[:, 0] + lengths
    observed = np.ones((len(lengths), 3), bool)
    observed[::4, 1] = False
    trials = replace(session.trials, window=window)
    return replace(with_units(session, rates=rates, true_rates=true, observed=observed), trials=trials)


def played_mean(rates, lengths):
    """Mean of some trials of one unit over phase, as a function of a trial's number of steps."""
    phases = np.linspace(0, 1, 25)
    mean = np.mean([np.interp(phases, np.linspace(0, 1, len(y)), y) for y in rates], axis=0)
    return [np.interp(np.linspace(0, 1, n), phases, mean) for n in lengths]


def test_the_psth_is_a_plain_loop_over_training_trials_of_the_same_object():
    session = ragged_session()
    context = context_of(session)
    rows = encoding.run(context).rows
    (prediction,) = panel(context, session).predictions["psth"]
    train, test = (context.index(session, s) for s in (context.splits.train, context.splits.test))
    condition, expected_ev = session.trials.condition, []
    for u in range(3):
        played = []
        for i in test:
            mine = [k for k in train if condition[k] == condition[i] and session.units.observed[k, u]]
            played += played_mean(
                [session.units.rates[k][:, u] for k in mine], [session.units.rates.lengths[i]]
            )
        np.testing.assert_allclose(prediction["test"][:, u], np.concatenate(played), atol=1e-10)
        seen = np.repeat(session.units.observed[test, u], session.units.rates.lengths[test])
        measured = session.units.rates.select(test).values[seen, u]
        expected_ev.append(metrics.explained_variance_score(measured, np.concatenate(played)[seen]))
    assert row_of(rows, split="test", reference="psth")["value"] == pytest.approx(np.mean(expected_ev))


def test_the_psth_of_new_objects_is_undefined_and_says_why(echo):
    for metric in EXPLAINED_VARIANCE:
        row = row_of(echo.rows, metric, "ood", reference="psth")
        assert row["value"] is None and row["reason"] == "new objects have no condition mean in train"
    assert row_of(echo.rows, split="test", reference="psth")["value"] > 0.2


def recorded_session():
    """Rates that change at irregular times, trials that abut, and a unit observed in part."""
    rng = np.random.default_rng(3)
    times = np.sort(rng.uniform(0, 12, 500))
    times[0], times[-1] = 0.0, 12.0
    edges = np.array([1.013, 2.0, 3.007, 4.2])
    return Session(
        id="s", subject="a", layout="", sha256="0" * 64, synthetic=True,
        units=Units(("u0", "u1"), ("M1", "M1"), spike_times=np.array([2.5, 3.5]), spike_offsets=np.array([0, 1, 2]),
                    observed=Ragged.of([np.array([[0.0, 12.0]]), np.array([[0.0, 3.0]])])),
        trials=TrialTable(("0", "1", "2"), edges[:-1], edges[1:], ("a", "b", "c"), {"on": edges[:-1], "off": edges[1:]}),
        signals={"x": Signal("x", "other", ("x",), "m", np.arange(0, 12, 0.01), np.zeros((1200, 1)))},
        window=Window("on", "off", contiguous="trial"),
        true_rates=Signal("rates", "other", ("u0", "u1"), "spikes/s", times, rng.uniform(0, 80, (500, 2))),
    )  # fmt: skip


def expected_count(signal, unit, start, stop):
    """Integral of a rate that holds half-way to its neighbours, as a loop over samples."""
    total, times = 0.0, signal.times
    for k in range(len(times)):
        begins = (times[k - 1] + times[k]) / 2 if k else times[0]
        ends = (times[k] + times[k + 1]) / 2 if k + 1 < len(times) else times[k]
        total += max(min(stop, ends) - max(start, begins), 0.0) * signal.values[k, unit]
    return total


def test_true_rates_are_integrals_over_bins_smoothed_as_measured_rates_are():
    """Bins of 20 ms; the mean of a bin and its neighbours, as far as these lie in the trial and were observed."""
    session = recorded_session()
    aligned = align(session)
    for trial in range(3):
        low, high = (
            round(1e6 * t) // 20_000 for t in (session.trials.start[trial], session.trials.stop[trial])
        )
        for unit, seen_until in ((0, high), (1, min(high, 150))):
            usable = range(low, max(seen_until, low))
            count = {k: expected_count(session.true_rates, unit, 0.02 * k, 0.02 * k + 0.02) for k in usable}
            for step, k in enumerate(range(low, high)):
                near = [count[j] for j in (k - 1, k, k + 1) if j in count]
                expected = np.mean(near) / 0.02 if near else 0.0
                assert aligned.units.true_rates[trial][step, unit] == pytest.approx(expected, abs=1e-6)
    assert aligned.units.observed.tolist() == [[True, True], [True, True], [True, False]]
    np.testing.assert_array_equal(aligned.units.true_rates.offsets, aligned.units.rates.offsets)


def test_true_rates_explain_what_no_behaviour_tells(session):
    """Gains of single trials are in the true rates; the candidate knows the drives to the last digit."""
    rows = encoding.run(context_of(session)).rows
    for split in ("test", "ood"):
        true, own = row_of(rows, split=split, reference="true_rate"), row_of(rows, split=split)
        assert true["value"] > own["value"] + 0.1
        trials = context_of(session).index(session, getattr(context_of(session).splits, split))
        measured, known = (r.select(trials).values for r in (session.units.rates, session.units.true_rates))
        by_unit = metrics.explained_variance_score(measured, known, multioutput="raw_values")
        assert true["value"] == pytest.approx(by_unit.mean())


# --- what does not apply --------------------------------------------------------------------------


def test_what_does_not_apply_carries_its_reason(session):
    """A model that is no controller, on a recording whose true rates are unknown."""
    rows = encoding.run(context_of(with_units(session, true_rates=None))).rows
    reasons = {
        "linear_inputs": "the model is no controller, so it has no observations",
        "untrained": "the model is no controller, so it has no network before training",
        "true_rate": "the true rates of recorded units are not known",
    }
    for split, metric, reference in product(("test", "ood"), EXPLAINED_VARIANCE, REFERENCES):
        row = row_of(rows, metric, split, reference=reference)
        if reference in reasons:
            assert (row["value"], row["reason"]) == (None, reasons[reference])
        else:
            assert row["value"] is not None or "reason" in row
    for split, metric, reference in product(("test", "ood"), EXPLAINED_VARIANCE, set(GAINS) & set(reasons)):
        row = row_of(rows, f"gain_over_{reference}", split, of=metric)
        assert (row["value"], row["reason"]) == (None, reasons[reference])


def test_a_controller_without_a_twin_keeps_its_inputs_and_says_so(session):
    def none(seen):
        raise UnsupportedError("the model does not offer its network before training")

    found = panel(controller(session, none), session)
    assert found.absent == {
        "linear_emg": f"{session.id} has no EMG",
        "untrained": "the model does not offer its network before training",
    }
    assert set(found.predictions) == set(REFERENCES) - set(found.absent)


def test_without_a_recorded_movement_there_is_no_linear_kinematic(session):
    layers = network(observe(session.trials))
    still = replace(session, trials=replace(session.trials, signals={}))
    found = panel(context_of(still, activations=lambda trials: layers), still)
    assert "neither joint angles nor other behavioural signals" in found.absent["linear_kinematic"]


def test_a_reference_that_one_session_lacks_is_absent_from_the_aggregate(session):
    other = replace(
        with_units(session, true_rates=None),
        id="other",
        trials=replace(session.trials, sessions=("other",) * len(session.trials)),
    )
    rows = encoding.run(context_of(session, other)).rows
    row = row_of(rows, reference="true_rate")
    assert (row["value"], row["reason"]) == (None, "the true rates of recorded units are not known")
    assert row_of(rows, reference="phase_mean")["value"] is not None
