"""The reference panel: what stands beside every candidate, through the same map (protocol section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from neurobench_grasp.alignment.clock import ModelClock, clock_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Activations, Floats, Ints, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context, Stage
from neurobench_grasp.protocols.encoding.predictions import (
    Predictions,
    no_predictions,
    predict_units,
    unit_groups,
)
from neurobench_grasp.protocols.encoding.reduction import LagWindow, LayerScores
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.references import (
    at_phase,
    circular_shift,
    condition_locked_noise,
    condition_mean,
    generator,
    phase_mean,
)
from neurobench_grasp.threads import on_all_cores

REFERENCES = (
    "linear_kinematic",
    "linear_inputs",
    "untrained",
    "phase_mean",
    "psth",
    "condition_locked_noise",
    "circular_shift",
    "true_rate",
)


PhaseAverage = Callable[[Ragged, Sequence[str], Sequence[str]], Floats]
"""From training rates, their conditions and the wanted ones to averages over phase."""
KINEMATICS = Stage("kinematics", asdict(SETTINGS), model=False)
NOISE = Stage("noise", asdict(SETTINGS), model=False)
INPUTS, UNTRAINED, SHIFTED = (Stage(name, asdict(SETTINGS)) for name in ("inputs", "untrained", "shift"))


@dataclass(frozen=True)
class ReferencePredictions:
    """Predictions of the references, draw by draw, and why others do not apply to this model or session."""

    predictions: Mapping[str, Sequence[Predictions]]
    absent: Mapping[str, str]


def reference_predictions(context: Context, lagged: LagWindow, scores: LayerScores) -> ReferencePredictions:
    """Compute every reference that applies.

    Parameters
    ----------
    context : Context
    lagged : LagWindow
    scores : LayerScores
        Of the candidate, for the null.
    """
    made: dict[str, Sequence[Predictions]] = {}
    absent: dict[str, str] = {}
    makers: Mapping[str, Callable[[], Sequence[Predictions]]] = {
        "linear_kinematic": lambda: [_linear_kinematic(context, lagged)],
        "linear_inputs": lambda: [_linear_inputs(context, lagged)],
        "untrained": lambda: [_untrained(context, lagged)],
        "phase_mean": lambda: [_phase_mean(context, lagged.session)],
        "psth": lambda: [_psth(context, lagged.session)],
        "condition_locked_noise": lambda: _noise(context, lagged),
        "circular_shift": lambda: _shifted(context, lagged, scores),
        "true_rate": lambda: [_true_rate(context, lagged.session)],
    }
    for name in REFERENCES:
        try:
            made[name] = makers[name]()
        except UnsupportedError as reason:
            absent[name] = str(reason)
    return ReferencePredictions(made, absent)


# --- through the map ------------------------------------------------------------------------------


def _linear_kinematic(context: Context, lagged: LagWindow) -> Predictions:
    """Map features of the recorded movement, with the controller's look-ahead; the same for every model."""
    from neurobench_grasp.bodies import recorded_kinematics

    def make() -> Predictions:
        bins = clock_of(lagged.session, None)
        return _mapped(context, lagged, Activations(dict([recorded_kinematics(bins.scored)])), bins)

    return context.stages(KINEMATICS, lagged.session, make)


def _linear_inputs(context: Context, lagged: LagWindow) -> Predictions:
    """Map the observations that the candidate's network received."""
    _require_controller(context, "observations")

    def make() -> Predictions:
        clock = context.clock(lagged.session)
        observed = context.model.controller.observe(clock.scored)
        return _mapped(context, lagged, Activations({"observations": observed}), clock)

    return context.stages(INPUTS, lagged.session, make)


def _untrained(context: Context, lagged: LagWindow) -> Predictions:
    """Map the same architecture with random weights, on what the trained network observed in its own loop."""
    _require_controller(context, "network before training")

    def make() -> Predictions:
        clock = context.clock(lagged.session)
        observed = context.model.controller.observe(clock.scored)
        return _mapped(context, lagged, context.model.untrained.activations_of(observed), clock)

    return context.stages(UNTRAINED, lagged.session, make)


def _require_controller(context: Context, what: str) -> None:
    if not context.model.moves_body:
        raise UnsupportedError(f"the model is no controller, so it has no {what}")


def _mapped(context: Context, lagged: LagWindow, activations: Activations, clock: ModelClock) -> Predictions:
    return _single_precision(predict_units(context, lagged, lagged.reduce(activations, clock).layers))


def _noise(context: Context, lagged: LagWindow) -> Sequence[Predictions]:
    """Map random features that know only the object. A lag would only exchange one draw for another."""
    trials, at_zero = lagged.trials, _lag_zero(lagged)

    def noise(draw: int) -> Predictions:
        lengths = np.diff(trials.offsets).tolist()
        layer = condition_locked_noise(trials.condition, lengths, f"{lagged.session.id}|{draw}")
        reduced = {"noise": Ragged(lagged.components(layer.values)[0], trials.offsets)}
        return predict_units(context, lagged, reduced, lags=at_zero)

    return _draws(context, NOISE, lagged, noise)


def _shifted(context: Context, lagged: LagWindow, scores: LayerScores) -> Sequence[Predictions]:
    """Map the candidate's layers at random places: the null. A lag would only move these places."""
    offsets, at_zero = lagged.trials.offsets, _lag_zero(lagged)

    def shifted(draw: int) -> Predictions:
        place = circular_shift(offsets, generator("circular_shift", context.seed, lagged.session.id, draw))
        return predict_units(context, lagged, scores.layers, lags=at_zero, place=place)

    return _draws(context, SHIFTED, lagged, shifted)


def _draws(
    context: Context, stage: Stage, lagged: LagWindow, predicted: Callable[[int], Predictions]
) -> Sequence[Predictions]:
    def make() -> Predictions:
        draws = enumerate(on_all_cores(predicted, range(SETTINGS.n_draws)))
        return {f"{split} {d}": p for d, one in draws for split, p in _single_precision(one).items()}

    arrays = context.stages(stage, lagged.session, make)
    return [{s: arrays[f"{s} {draw}"] for s in ("test", "ood")} for draw in range(SETTINGS.n_draws)]


def _lag_zero(lagged: LagWindow) -> Ints:
    return np.zeros(len(lagged.session.units), np.int64)


def _single_precision(predictions: Predictions) -> Predictions:
    """Keep of a reference the predictions of both splits, to seven digits."""
    return {split: predictions[split].astype(np.float32) for split in ("test", "ood")}


# --- without a map --------------------------------------------------------------------------------


def _phase_mean(context: Context, session: AlignedSession) -> Predictions:
    """Play the mean over training objects at each phase: what the time course alone explains."""

    def average(rates: Ragged, conditions: Sequence[str], wanted: Sequence[str]) -> Floats:
        return np.stack([phase_mean(rates, conditions)] * len(wanted))

    return _played(context, session, average)


def _psth(context: Context, session: AlignedSession) -> Predictions:
    """Play the mean over training trials of the same object at each phase; undefined on new objects."""
    return _played(context, session, condition_mean)


def _played(context: Context, session: AlignedSession, trajectories: PhaseAverage) -> Predictions:
    """Predict trials by averages over phase, (n_wanted, 25, n_units), of training trials."""
    train = context.index(session, context.splits.train)
    out: Predictions = {}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        prediction = no_predictions(session, trials)
        wanted = [session.trials.condition[i] for i in trials]
        for units, seen in unit_groups(session.units.observed):
            fitted = [i for i in train if seen[i]]
            if fitted and trials:
                rates = session.units.rates.select(fitted)
                conditions = [session.trials.condition[i] for i in fitted]
                average = trajectories(Ragged(rates.values[:, units], rates.offsets), conditions, wanted)
                prediction[:, units] = at_phase(average, session.units.rates.lengths[trials].tolist()).values
        out[split] = prediction
    return out


def _true_rate(context: Context, session: AlignedSession) -> Predictions:
    """Take the rates that generated the spikes, with gains of single trials that no behaviour predicts."""
    if session.units.true_rates is None:
        raise UnsupportedError("the true rates of recorded units are not known")
    rates = session.units.true_rates
    return {
        split: rates.select(context.index(session, getattr(context.splits, split))).values
        for split in ("test", "ood")
    }
