"""The reference panel: what stands beside every candidate, through the same map (protocol section 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurobench_grasp.alignment.align import AlignedSession
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


Courses = Callable[[Ragged, Sequence[str], Sequence[str]], Floats]
"""From training rates, their conditions and the wanted ones to courses over phase."""


@dataclass(frozen=True)
class Panel:
    """Predictions of the references, draw by draw, and why others do not apply to this model or session."""

    predictions: Mapping[str, Sequence[Predictions]]
    absent: Mapping[str, str]


def reference_panel(context: Context, reach: LagWindow, scores: LayerScores) -> Panel:
    """Compute every reference that applies.

    Parameters
    ----------
    context : Context
    reach : LagWindow
    scores : LayerScores
        Of the candidate, for the null.
    """
    made: dict[str, Sequence[Predictions]] = {}
    absent: dict[str, str] = {}
    makers: Mapping[str, Callable[[], Sequence[Predictions]]] = {
        "linear_kinematic": lambda: [_linear_kinematic(context, reach)],
        "linear_inputs": lambda: [_linear_inputs(context, reach)],
        "untrained": lambda: [_untrained(context, reach)],
        "phase_mean": lambda: [_phase_mean(context, reach.cut)],
        "psth": lambda: [_psth(context, reach.cut)],
        "condition_locked_noise": lambda: _noise(context, reach),
        "circular_shift": lambda: _shifted(context, reach, scores),
        "true_rate": lambda: [_true_rate(context, reach.cut)],
    }
    for name in REFERENCES:
        try:
            made[name] = makers[name]()
        except UnsupportedError as reason:
            absent[name] = str(reason)
    return Panel(made, absent)


# --- through the map ------------------------------------------------------------------------------


def _linear_kinematic(context: Context, reach: LagWindow) -> Predictions:
    """Map features of the recorded movement, with the controller's look-ahead; the same for every model."""
    from neurobench_grasp.bodies import recorded_kinematics

    def make() -> Predictions:
        return _mapped(context, reach, Activations(dict([recorded_kinematics(reach.whole.trials)])))

    key = context.core_key(stage="linear_kinematic", **_inputs(context, reach))
    return context.shared_stage("kinematics", key, make)


def _linear_inputs(context: Context, reach: LagWindow) -> Predictions:
    """Map the very observations that the candidate's network received."""
    if context.observe is None:
        raise UnsupportedError("the model is no controller, so it has no observations")
    observe = context.observe

    def make() -> Predictions:
        return _mapped(context, reach, Activations({"observations": observe(reach.whole.trials)}))

    return context.stage("inputs", context.key(stage="linear_inputs", **_inputs(context, reach)), make)


def _untrained(context: Context, reach: LagWindow) -> Predictions:
    """Map the same architecture with random weights, on what the trained network observed in its own loop."""
    if context.observe is None or context.untrained is None:
        raise UnsupportedError("the model is no controller, so it has no network before training")
    observe, untrained = context.observe, context.untrained

    def make() -> Predictions:
        return _mapped(context, reach, untrained(observe(reach.whole.trials)))

    return context.stage("untrained", context.key(stage="untrained", **_inputs(context, reach)), make)


def _mapped(context: Context, reach: LagWindow, activations: Activations) -> Predictions:
    layers = reach.reduce(activations).layers
    return _kept(predict_units(context, reach.cut, layers))


def _noise(context: Context, reach: LagWindow) -> Sequence[Predictions]:
    """Map random features that know only the object. A lag would only exchange one draw for another."""
    trials, at_zero = reach.cut.trials, _lag_zero(reach)

    def noise(draw: int) -> Predictions:
        lengths = np.diff(trials.offsets).tolist()
        layer = condition_locked_noise(trials.condition, lengths, f"{reach.cut.id}|{draw}")
        reduced = {"noise": Ragged(reach.components(layer.values)[0], trials.offsets)}
        return predict_units(context, reach.cut, reduced, lags=at_zero)

    key = context.core_key(stage="condition_locked_noise", **_inputs(context, reach))
    return _draws(context.shared_stage, "noise", key, noise)


def _shifted(context: Context, reach: LagWindow, scores: LayerScores) -> Sequence[Predictions]:
    """Map the candidate's layers at random places: the null. A lag would only move these places."""
    offsets, at_zero = reach.cut.trials.offsets, _lag_zero(reach)

    def shifted(draw: int) -> Predictions:
        place = circular_shift(offsets, generator("circular_shift", context.seed, reach.cut.id, draw))
        return predict_units(context, reach.cut, scores.layers, lags=at_zero, place=place)

    key = context.key(stage="circular_shift", **_inputs(context, reach))
    return _draws(context.stage, "shift", key, shifted)


def _draws(
    stage: Stage, name: str, key: Mapping[str, Any] | None, predicted: Callable[[int], Predictions]
) -> Sequence[Predictions]:
    def make() -> Predictions:
        draws = enumerate(on_all_cores(predicted, range(SETTINGS.n_draws)))
        return {f"{split} {d}": p for d, whole in draws for split, p in _kept(whole).items()}

    arrays = stage(name, key, make)
    return [{s: arrays[f"{s} {draw}"] for s in ("test", "ood")} for draw in range(SETTINGS.n_draws)]


def _lag_zero(reach: LagWindow) -> Ints:
    return np.zeros(len(reach.cut.units), np.int64)


def _kept(predictions: Predictions) -> Predictions:
    """Keep of a reference the predictions of both splits, to seven digits."""
    return {split: predictions[split].astype(np.float32) for split in ("test", "ood")}


def _inputs(context: Context, reach: LagWindow) -> dict[str, Any]:
    return {"session": reach.whole.sha256, "splits": context.splits.sha256, "settings": asdict(SETTINGS)}


# --- without a map --------------------------------------------------------------------------------


def _phase_mean(context: Context, session: AlignedSession) -> Predictions:
    """Play the mean over training objects at each phase: what the time course alone explains."""

    def course(rates: Ragged, conditions: Sequence[str], wanted: Sequence[str]) -> Floats:
        return np.stack([phase_mean(rates, conditions)] * len(wanted))

    return _played(context, session, course)


def _psth(context: Context, session: AlignedSession) -> Predictions:
    """Play the mean over training trials of the same object at each phase; undefined on new objects."""
    return _played(context, session, condition_mean)


def _played(context: Context, session: AlignedSession, courses: Courses) -> Predictions:
    """Play courses over phase, (n_wanted, 25, n_units), which training trials gave, in other trials."""
    train = context.index(session, context.splits.train)
    out: Predictions = {}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        prediction = no_predictions(session, trials)
        wanted = [session.trials.condition[i] for i in trials]
        for units, seen in unit_groups(session.observed):
            fitted = [i for i in train if seen[i]]
            if fitted and trials:
                rates = session.rates.select(fitted)
                conditions = [session.trials.condition[i] for i in fitted]
                course = courses(Ragged(rates.values[:, units], rates.offsets), conditions, wanted)
                prediction[:, units] = at_phase(course, session.rates.lengths[trials].tolist()).values
        out[split] = prediction
    return out


def _true_rate(context: Context, session: AlignedSession) -> Predictions:
    """Take the rates that generated the spikes, gains of single trials included: no behaviour tells these."""
    if session.true_rates is None:
        raise UnsupportedError("the true rates of recorded units are not known")
    rates = session.true_rates
    return {
        split: rates.select(context.index(session, getattr(context.splits, split))).values
        for split in ("test", "ood")
    }
