"""A controller with steps of 20 ms is scored on a recording that stores counts in bins of 50 ms."""

from dataclasses import replace

import numpy as np
import pytest
from planted import context_of

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.rates import bin_spikes
from neurobench_grasp.checks.replay_controller import ReplayController
from neurobench_grasp.contract import Activations, Ragged, Units
from neurobench_grasp.demo.sessions import make_session
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.encoding import references
from neurobench_grasp.protocols.encoding.predictions import predict_units
from neurobench_grasp.protocols.encoding.reduction import LagWindow, candidate_scores

FINE, WIDE = 0.02, 0.05


class StandIn(ReplayController):
    """A controller in steps of 20 ms: its layers are posture and velocity."""

    def activations_of(self, observations):
        change = np.concatenate([np.gradient(trial, FINE, axis=0) for trial in observations])
        return Activations({"body": Ragged(np.hstack([observations.values, change]), observations.offsets)})

    def observe(self, trials):
        assert trials.dt == FINE
        return self.embed(trials)


def rebinned(session, width, n_units=8):
    """The session with counts of some units instead of their spikes."""
    u = session.units
    spikes, offsets = u.spike_times[: u.spike_offsets[n_units]], u.spike_offsets[: n_units + 1]
    n = int(spikes.max() / width)
    counts = bin_spikes(spikes, offsets, np.arange(n), width)
    units = Units(
        u.ids[:n_units], u.areas[:n_units], counts=counts, count_times=np.arange(n) * width, bin_width=width
    )
    return replace(session, units=units, true_rates=None)


def context(session):
    """A context of the stand-in, with its steps."""
    made = context_of(session)
    return replace(made, model=replace(made.model, fit=StandIn, moves_body=True, step_s=FINE))


@pytest.fixture(scope="module")
def sessions():
    """One recording of the demo with counts in bins of 20 and of 50 ms."""
    session = make_session("demo_a_1")
    return {width: align(rebinned(session, width)) for width in (FINE, WIDE)}


def predicted(session):
    """Predictions of the held-out objects, with the start of each bin on the session's clock."""
    made = context(session)
    lagged = LagWindow.of(made, session)
    ood = made.index(session, made.splits.ood)
    prediction = predict_units(made, lagged, candidate_scores(made, lagged).layers)["ood"]
    lengths = session.units.rates.lengths[ood]
    steps = np.concatenate([np.arange(n) for n in lengths])
    times = np.repeat(session.start[ood], lengths) + steps * session.trials.dt
    return times, prediction, session.units.rates.select(ood).values


def test_rebinned_rates_are_explained_as_by_the_averaged_predictions(sessions):
    fine_times, fine, _ = predicted(sessions[FINE])
    times, wide, rates = predicted(sessions[WIDE])
    averaged = np.full(rates.shape, np.nan)
    edges = np.rint(np.append(fine_times, np.inf) * 1000)
    for k, start in enumerate(np.rint(times * 1000)):
        overlap = np.minimum(edges[:-1] + 20, start + 50) - np.maximum(edges[:-1], start)
        share = np.maximum(overlap, 0)
        if share.sum() == 50:
            averaged[k] = share @ fine / 50
    whole = np.isfinite(averaged).all(1)
    assert whole.mean() > 0.8
    ev = [
        1 - np.var(rates[whole] - p[whole], axis=0) / np.var(rates[whole], axis=0) for p in (averaged, wide)
    ]
    assert np.mean(ev[0]) > 0.1
    assert np.mean(ev[1]) == pytest.approx(np.mean(ev[0]), abs=0.01)


def test_references_that_observe_run_on_the_models_steps(sessions, monkeypatch):
    monkeypatch.setattr(references, "REFERENCES", ("linear_inputs", "untrained"))
    made = context(sessions[WIDE])
    lagged = LagWindow.of(made, sessions[WIDE])
    found = references.reference_predictions(made, lagged, candidate_scores(made, lagged))
    for name in ("linear_inputs", "untrained"):
        (draw,) = found.predictions[name]
        assert np.isfinite(draw["ood"]).all() and len(draw["ood"]) == len(predicted(sessions[WIDE])[0])


def test_tracking_is_scored_on_the_models_steps(sessions):
    errors = {
        w: tracking.per_trial(context(s), s)["tracking_error average_posture"] for w, s in sessions.items()
    }
    replayed = tracking.per_trial(context(sessions[WIDE]), sessions[WIDE])["tracking_error"]
    np.testing.assert_allclose(replayed, 0, atol=1e-9)
    assert errors[WIDE].mean() == pytest.approx(errors[FINE].mean(), rel=0.05)


def test_layers_that_lack_steps_are_refused(sessions):
    made = context_of(
        sessions[WIDE], activations=lambda trials: Activations({"bins": sessions[WIDE].scored.joint_angles})
    )
    made = replace(made, model=replace(made.model, step_s=FINE))
    with pytest.raises(NgbError, match="return one row for every step of each trial"):
        candidate_scores(made, LagWindow.of(made, sessions[WIDE]))
