"""The reference panel: what stands beside every candidate, through the same map (protocol section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from neurobench_grasp.alignment.clock import ModelClock, clock_of, recorded_in_bins
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import folds_by_condition
from neurobench_grasp.contract import Activations, Floats, Ints, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context, Stage
from neurobench_grasp.protocols.encoding.predictions import (
    Predictions,
    Predictor,
    fit_units,
    no_predictions,
    unit_groups,
    whole,
)
from neurobench_grasp.protocols.encoding.reduction import LagWindow, LayerScores, check_layer
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.references import (
    ConditionLockedNoise,
    at_phase,
    circular_shift,
    condition_mean,
    generator,
    shrunk_phase_mean,
)
from neurobench_grasp.threads import on_all_cores

KINEMATIC = ("linear_kinematic", "linear_lookahead", "quadratic_kinematic")
"""References that know nothing but the recorded movement."""
BEST_KINEMATIC = "best_kinematic"
"""The one of them that explains the units of an area best on train, by cross-validation."""
REFERENCES = (
    *KINEMATIC,
    "linear_emg",
    "linear_inputs",
    "untrained",
    "phase_mean",
    "psth",
    "condition_locked_noise",
    "circular_shift",
    "identical_trial",
    "true_rate",
)


PhaseAverage = Callable[[Ragged, Sequence[str], Sequence[str]], Floats]
"""From training rates, their conditions and the wanted ones to averages over phase."""
Keep = Callable[[Predictor], Predictions]
"""From what predicts units to what is kept of it, see :class:`.blocks.Reduction`."""
EMG = Stage("emg", asdict(SETTINGS), model=False)
NOISE = Stage("noise", asdict(SETTINGS), model=False)
INPUTS, UNTRAINED, SHIFTED = (Stage(name, asdict(SETTINGS)) for name in ("inputs", "untrained", "shift"))


@dataclass(frozen=True)
class ReferencePredictions:
    """Predictions of the references, draw by draw, and why others do not apply to this model or session."""

    predictions: Mapping[str, Sequence[Predictions]]
    absent: Mapping[str, str]


def reference_predictions(
    context: Context,
    lagged: LagWindow,
    scores: LayerScores,
    names: Iterable[str] | None = None,
    keep: Keep | None = None,
) -> ReferencePredictions:
    """Compute every reference that applies.

    Parameters
    ----------
    context : Context
    lagged : LagWindow
    scores : LayerScores
        Of the candidate, for the null.
    names : iterable of str, optional
        Those that are wanted. Default: all.
    keep : callable, optional
        From what predicts units to what is kept of it. Default: the predictions of all units.
    """
    keep = keep or partial(whole, lagged.session)
    made: dict[str, Sequence[Predictions]] = {}
    absent: dict[str, str] = {}
    makers: Mapping[str, Callable[[], Sequence[Predictions]]] = {
        **{name: partial(_kinematic, context, lagged, name, keep) for name in KINEMATIC},
        "linear_emg": lambda: [_linear_emg(context, lagged, keep)],
        "linear_inputs": lambda: [_linear_inputs(context, lagged, keep)],
        "untrained": lambda: [_untrained(context, lagged, keep)],
        "phase_mean": lambda: [keep(_phase_mean(context, lagged.session))],
        "psth": lambda: [keep(_psth(context, lagged.session))],
        "condition_locked_noise": lambda: _noise(context, lagged, keep),
        "circular_shift": lambda: _shifted(context, lagged, scores, keep),
        "identical_trial": lambda: [keep(_identical_trial(context, lagged.session))],
        "true_rate": lambda: [keep(_true_rate(context, lagged.session))],
    }
    for name in REFERENCES if names is None else names:
        try:
            made[name] = makers[name]()
        except UnsupportedError as reason:
            absent[name] = str(reason)
    return ReferencePredictions(made, absent)


# --- through the map ------------------------------------------------------------------------------


def _kinematic(context: Context, lagged: LagWindow, name: str, keep: Keep) -> Sequence[Predictions]:
    """Map features of the recorded movement; the same for every model."""
    from neurobench_grasp.bodies import linear_kinematics, lookahead_rows, quadratic_rows

    def make() -> Predictor:
        bins, session = clock_of(lagged.session, None).scored, lagged.session
        if name == "linear_kinematic":
            return _mapped(
                context, lagged, Activations({name: linear_kinematics(bins)}), clock_of(session, None)
            )
        train = context.index(session, context.splits.train)
        features = lookahead_rows(bins) if name == "linear_lookahead" else quadratic_rows(bins, train)
        check_layer(name, features.source, bins)
        scores, _ = lagged.components(features, lagged.rows)
        return _mapped_scores(context, lagged, {name: Ragged(scores, lagged.trials.offsets)})

    stage = Stage(name, asdict(SETTINGS), model=False, core=True)
    return [context.stages(stage, lagged.session, lambda: keep(make()))]


def _linear_emg(context: Context, lagged: LagWindow, keep: Keep) -> Predictions:
    """Map recorded EMG, which no model sees, over the lags of the layout."""
    from neurobench_grasp.bodies import at_lags

    def make() -> Predictor:
        bins = clock_of(lagged.session, None)
        first, last = (round(lag / bins.scored.dt) for lag in bins.scored.signal_lags)
        emg = at_lags(recorded_in_bins(lagged.session, "emg"), range(first, last + 1))
        return _mapped(context, lagged, Activations({"emg": emg}), bins)

    return context.stages(EMG, lagged.session, lambda: keep(make()))


def _linear_inputs(context: Context, lagged: LagWindow, keep: Keep) -> Predictions:
    """Map the observations that the candidate's network received."""
    _require_controller(context, "observations")

    def make() -> Predictor:
        clock = context.clock(lagged.session)
        observed = context.model.controller.observe(clock.scored)
        return _mapped(context, lagged, Activations({"observations": observed}), clock)

    return context.stages(INPUTS, lagged.session, lambda: keep(make()))


def _untrained(context: Context, lagged: LagWindow, keep: Keep) -> Predictions:
    """Map the same architecture with random weights, on what the trained network observed in its own loop."""
    _require_controller(context, "network before training")

    def make() -> Predictor:
        clock = context.clock(lagged.session)
        observed = context.model.controller.observe(clock.scored)
        return _mapped(context, lagged, context.model.untrained.activations_of(observed), clock)

    return context.stages(UNTRAINED, lagged.session, lambda: keep(make()))


def _require_controller(context: Context, what: str) -> None:
    if not context.model.moves_body:
        raise UnsupportedError(f"the model is no controller, so it has no {what}")


def _mapped(context: Context, lagged: LagWindow, activations: Activations, clock: ModelClock) -> Predictor:
    return _mapped_scores(context, lagged, lagged.reduce(activations, clock).layers)


def _mapped_scores(context: Context, lagged: LagWindow, layers: Mapping[str, Ragged]) -> Predictor:
    fitted = fit_units(context, lagged, layers)
    explained = fitted.chosen["cv_ev_ood"]
    best = np.where(np.isnan(explained), -np.inf, explained).max(0)
    return _single_precision(fitted, {"cv_ev_ood": np.maximum(best, 0.0)})  # the mean explains 0


def _noise(context: Context, lagged: LagWindow, keep: Keep) -> Sequence[Predictions]:
    """Map random features that know only the object. A lag would only exchange one draw for another.

    A null has no fallback to the mean, so that it can fail.
    """
    trials, at_zero = lagged.trials, _lag_zero(lagged)

    def noise(draw: int) -> Predictions:
        features = ConditionLockedNoise(trials.offsets, trials.condition, f"{lagged.session.id}|{draw}")
        reduced = {"noise": Ragged(lagged.components(features)[0], trials.offsets)}
        fitted = fit_units(context, lagged, reduced, lags=at_zero, fallback=False)
        return keep(_single_precision(fitted, {}))

    return _draws(context, NOISE, lagged, noise)


def _shifted(context: Context, lagged: LagWindow, scores: LayerScores, keep: Keep) -> Sequence[Predictions]:
    """Map the candidate's layers at random places: a null. A lag would only move these places."""
    offsets, at_zero = lagged.trials.offsets, _lag_zero(lagged)

    def shifted(draw: int) -> Predictions:
        place = circular_shift(offsets, generator("circular_shift", context.seed, lagged.session.id, draw))
        fitted = fit_units(context, lagged, scores.layers, lags=at_zero, place=place, fallback=False)
        return keep(_single_precision(fitted, {}))

    return _draws(context, SHIFTED, lagged, shifted)


def _draws(
    context: Context, stage: Stage, lagged: LagWindow, predicted: Callable[[int], Predictions]
) -> Sequence[Predictions]:
    def make() -> Predictions:
        draws = enumerate(on_all_cores(predicted, range(SETTINGS.n_draws)))
        return {f"{draw} {name}": values for draw, one in draws for name, values in one.items()}

    found: list[Predictions] = [{} for _ in range(SETTINGS.n_draws)]
    for key, values in context.stages(stage, lagged.session, make).items():
        draw, name = key.split(" ", 1)
        found[int(draw)][name] = values
    return found


def _lag_zero(lagged: LagWindow) -> Ints:
    return np.zeros(len(lagged.session.units), np.int64)


def _single_precision(fitted: Predictor, chosen: Predictions) -> Predictor:
    """Keep of a reference the predictions of both splits, to seven digits."""
    return Predictor(
        lambda units: {split: p.astype(np.float32) for split, p in fitted.predict(units).items()}, chosen
    )


# --- without a map --------------------------------------------------------------------------------


def _phase_mean(context: Context, session: AlignedSession) -> Predictor:
    """Play the mean over training objects at each phase: what the time course alone explains."""

    def average(rates: Ragged, conditions: Sequence[str], wanted: Sequence[str]) -> Floats:
        folds = folds_by_condition(conditions, SETTINGS.n_folds)
        return np.stack([shrunk_phase_mean(rates, conditions, folds)] * len(wanted))

    return _played(context, session, average)


def _psth(context: Context, session: AlignedSession) -> Predictor:
    """Play the mean over training trials of the same object at each phase; undefined on new objects."""
    return _played(context, session, condition_mean)


def _identical_trial(context: Context, session: AlignedSession) -> Predictor:
    """Play the training trial whose behaviour is the same to the last bit, else the unit's mean: a null.

    No two movements are the same, so it explains something only where a trial is in two splits or was
    recorded twice, and then at once: nothing is fitted.
    """

    def average(rates: Ragged, movements: Sequence[str], wanted: Sequence[str]) -> Floats:
        courses = condition_mean(rates, movements, wanted)
        return np.where(np.isnan(courses), rates.values.mean(0), courses)

    return _played(context, session, average, _movements(session))


def _movements(session: AlignedSession) -> tuple[str, ...]:
    """Label the behaviour within each trial's window; one in which nothing moves is like no other."""
    trials, labels = session.trials, []
    for i, (first, stop) in enumerate(trials.window):
        behaviour = [signal[i][first:stop] for signal in trials.signals.values()]
        moves = any(np.ptp(values, axis=0).any() for values in behaviour)
        digest = hashlib.sha256(b"".join(values.tobytes() for values in behaviour)).hexdigest()
        labels.append(digest if moves else str(i))
    return tuple(labels)


def _played(
    context: Context,
    session: AlignedSession,
    trajectories: PhaseAverage,
    labels: Sequence[str] | None = None,
) -> Predictor:
    """Predict trials by averages over phase, (n_wanted, 25, n_units), of training trials.

    Trials are labelled by their conditions, unless ``labels`` are given.
    """
    labels = session.trials.condition if labels is None else labels
    train, test, ood = (
        context.index(session, split)
        for split in (context.splits.train, context.splits.test, context.splits.ood)
    )
    trials, lengths = [*test, *ood], session.units.rates.lengths

    def predict(wanted: Ints) -> Predictions:
        prediction = no_predictions(session, trials, len(wanted))
        for units, seen in unit_groups(session.units.observed[:, wanted]):
            fitted = [i for i in train if seen[i]]
            if fitted and trials:
                average = trajectories(
                    session.units.rates.part(fitted, wanted[units]),
                    [labels[i] for i in fitted],
                    [labels[i] for i in trials],
                )
                prediction[:, units] = at_phase(average, lengths[trials].tolist()).values
        of_test = int(lengths[test].sum())
        return {"test": prediction[:of_test], "ood": prediction[of_test:]}

    return Predictor(predict, {})


def _true_rate(context: Context, session: AlignedSession) -> Predictor:
    """Take the rates that generated the spikes, with gains of single trials that no behaviour predicts."""
    if session.units.true_rates is None:
        raise UnsupportedError("the true rates of recorded units are not known")
    rates = session.units.true_rates
    trials = {s: context.index(session, getattr(context.splits, s)) for s in ("test", "ood")}
    return Predictor(lambda units: {s: rates.part(of, units).values for s, of in trials.items()}, {})
