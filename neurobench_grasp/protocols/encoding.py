"""Encoding: how much of each unit's activity a model's inner activity explains (protocol section 3).

Reads top to bottom: component scores of each session (`_scores`), the map to units (`predictions.py`), the
references through the same map (`_references`), then scores and gains as tidy rows (`rows.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.machine import on_all_cores
from neurobench_grasp.protocols.align import AlignedSession
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.predictions import (
    Predictions,
    no_predictions,
    predict_units,
    unit_groups,
    window_rows,
)
from neurobench_grasp.protocols.rows import Scored, score_rows
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.components import fit_components
from neurobench_grasp.scoring.references import (
    at_phase,
    circular_shift,
    condition_locked_noise,
    generator,
    phase_mean,
)
from neurobench_grasp.types import Floats, Ints, Ragged, ScoreRow, Trials


def run(context: Context) -> list[ScoreRow]:
    """Score one model on one dataset.

    Returns
    -------
    list of dict
        Tidy rows, one number each, as in the published schema of records.

    Raises
    ------
    UnsupportedError
        If no session has units.
    NgbError
        If the model's layers do not have the steps of the trials, or are not finite.
    """
    if not any(session.units for session in context.sessions):
        names = ", ".join(s.id for s in context.sessions)
        raise UnsupportedError(
            f"{names} holds no units, and encoding predicts units; score another recording."
        )
    scored: list[Scored] = []
    for session in context.sessions:
        context.progress(f"encoding {session.id}: activations")
        cut, rows = _within_reach(session)
        scores = _scores(context, session, cut, rows)
        context.progress(f"encoding {session.id}: map to {len(session.units)} units")
        with threadpool_limits(limits=1):  # many small matrices: threads that wait for each other cost more
            predictions = {"": [_candidate(context, cut, scores)], **_references(context, cut, scores)}
        scored.append(Scored(cut, predictions, list(scores.layers), scores.n_winsorised))
    context.progress("encoding: scores and intervals")
    return list(score_rows(context, scored))


# --- component scores -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _LayerScores:
    """Component scores of every layer at every step that a lag reaches."""

    layers: Mapping[str, Ragged]
    n_winsorised: int


def _within_reach(session: AlignedSession) -> tuple[AlignedSession, Ints]:
    """Cut the trials to the steps that a window reaches at some lag, and list these steps.

    A model runs on whole trials; everything after needs no more than this.
    """
    t = session.trials
    reach = round(session.max_lag / t.dt)
    first = np.maximum(t.window[:, 0] - reach, 0)
    stop = np.minimum(t.window[:, 1] + reach, np.diff(t.offsets))
    rows = [o + np.arange(a, z) for o, a, z in zip(t.offsets, first, stop, strict=False)]
    offsets = np.concatenate([[0], np.cumsum(stop - first)]).astype(np.int64)
    cut = replace(t, window=t.window - first[:, None], offsets=offsets, signals={}, joint_angles=None)
    return replace(session, trials=cut), np.concatenate(rows).astype(np.int64)


def _scores(context: Context, session: AlignedSession, cut: AlignedSession, rows: Ints) -> _LayerScores:
    """Run the model on a session, standardise and reduce each layer within reach; kept as a stage."""
    train = window_rows(cut.trials, context.index(cut, context.splits.train))

    def make() -> dict[str, NDArray[Any]]:
        activations = context.activations(session.trials)
        for name, layer in activations.layers.items():
            _check_layer(name, layer, session.trials)
        with threadpool_limits(limits=1):
            reduced = on_all_cores(lambda x: _reduce(x.values[rows], train), activations.layers.values())
        scores = {f"scores_{i}": layer.astype(np.float32) for i, (layer, _) in enumerate(reduced)}
        n_winsorised = np.array(sum(n_cut for _, n_cut in reduced))
        return {"layers": np.array(list(activations.layers)), "n_winsorised": n_winsorised, **scores}

    key = context.key(
        stage="activations", session=session.sha256, train=context.splits.sha256, settings=_settings()
    )
    arrays = context.stage("activations", key, make)
    layers = {
        str(name): Ragged(arrays[f"scores_{i}"].astype(np.float64), cut.trials.offsets)
        for i, name in enumerate(arrays["layers"])
    }
    return _LayerScores(layers, int(arrays["n_winsorised"]))


def _check_layer(name: str, layer: Ragged, trials: Trials) -> None:
    if not np.array_equal(layer.offsets, trials.offsets):
        raise NgbError(
            f"Layer {name!r} of the model has {layer.offsets[-1]} steps in {len(layer)} trials, but the "
            f"trials have {trials.offsets[-1]} in {len(trials)}; return one row for every step of each trial."
        )
    if layer.values.ndim != 2 or not np.isfinite(layer.values).all():
        raise NgbError(f"Layer {name!r} of the model must be finite numbers of shape (steps, features).")


def _reduce(layer: NDArray[Any], train_rows: Ints) -> tuple[Floats, int]:
    values = np.asarray(layer, np.float64)
    components = fit_components(
        values[train_rows], n_components=SETTINGS.n_components, winsorise_sd=SETTINGS.winsorise_sd
    )
    return components.scores(values)


# --- predictions ----------------------------------------------------------------------------------


def _candidate(context: Context, session: AlignedSession, scores: _LayerScores) -> Predictions:
    key = context.key(stage="map", session=session.sha256, splits=context.splits.sha256, settings=_settings())
    return context.stage("map", key, lambda: predict_units(context, session, scores.layers, candidate=True))


def _references(
    context: Context, session: AlignedSession, scores: _LayerScores
) -> dict[str, Sequence[Predictions]]:
    """Predictions of the references that the core computes beside every candidate."""
    inputs = {"session": session.sha256, "splits": context.splits.sha256, "settings": _settings()}
    trials, train = session.trials, window_rows(session.trials, context.index(session, context.splits.train))

    def shifted(draw: int) -> Predictions:
        place = circular_shift(trials.offsets, generator("circular_shift", context.seed, session.id, draw))
        return predict_units(context, session, scores.layers, candidate=False, place=place)

    def noise(draw: int) -> Predictions:
        lengths = np.diff(trials.offsets).tolist()
        layer = condition_locked_noise(trials.condition, lengths, f"{session.id}|{draw}")
        reduced = {"noise": Ragged(_reduce(layer.values, train)[0], trials.offsets)}
        return predict_units(context, session, reduced, candidate=False)

    def predicted(by: Callable[[int], Predictions]) -> Predictions:
        predictions = enumerate(on_all_cores(by, range(SETTINGS.n_draws)))
        return {f"{s} {d}": p[s].astype(np.float32) for d, p in predictions for s in ("test", "ood")}

    def draws(arrays: Predictions) -> Sequence[Predictions]:
        return [{s: arrays[f"{s} {draw}"] for s in ("test", "ood")} for draw in range(SETTINGS.n_draws)]

    noise_key = context.core_key(stage="condition_locked_noise", **inputs)
    shift_key = context.key(stage="circular_shift", **inputs)
    return {
        "phase_mean": [_phase_mean(context, session)],
        "condition_locked_noise": draws(context.stage("noise", noise_key, lambda: predicted(noise))),
        "circular_shift": draws(context.stage("shift", shift_key, lambda: predicted(shifted))),
    }


def _phase_mean(context: Context, session: AlignedSession) -> Predictions:
    train = context.index(session, context.splits.train)
    out: Predictions = {}
    for split in ("test", "ood"):
        trials = context.index(session, getattr(context.splits, split))
        prediction = no_predictions(session, trials)
        for units, seen in unit_groups(session.observed):
            fitted = [i for i in train if seen[i]]
            if fitted and trials:
                rates = session.rates.select(fitted)
                course = phase_mean(
                    Ragged(rates.values[:, units], rates.offsets),
                    [session.trials.condition[i] for i in fitted],
                )
                prediction[:, units] = at_phase(course, session.rates.lengths[trials].tolist()).values
        out[split] = prediction
    return out


def _settings() -> dict[str, Any]:
    return asdict(SETTINGS)
