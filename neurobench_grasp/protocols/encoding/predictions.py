"""From component scores to predictions of every unit on every split (protocol section 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.contract import Bools, Floats, Ints, Ragged
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.reduction import LagWindow, window_rows
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.mapping import Training, choose, choose_lags, predict
from neurobench_grasp.scoring.ridge import Plan

Predictions = dict[str, NDArray[Any]]
"""Predicted rates by split, and what was chosen for each unit."""
SPLITS = ("test", "ood", "train_by_object")


@dataclass(frozen=True)
class PredictedSession:
    """What a model predicts of a session's units, as the protocol ``encoding`` scores it.

    Parameters
    ----------
    session : AlignedSession
    ood : tuple of int
        Positions of the trials of held-out conditions, in the order of the predictions.
    predictions : dict
        See :func:`predict_units`.
    references : mapping of str to dict
        Reference → its predictions.
    """

    session: AlignedSession
    ood: tuple[int, ...]
    predictions: Predictions
    references: Mapping[str, Predictions] = field(default_factory=dict)


def predict_units(
    context: Context,
    lagged: LagWindow,
    layers: Mapping[str, Ragged],
    *,
    candidate: bool = False,
    lags: Ints | None = None,
    place: Ints | None = None,
    fallback: bool = True,
) -> Predictions:
    """Fit the map on train and predict the other splits, unit group by unit group.

    The lag is chosen with folds by object, the map for ``test`` with folds by trial, the map for ``ood`` with
    folds by object.

    Parameters
    ----------
    context : Context
    lagged : LagWindow
    layers : mapping of str to Ragged
        Component scores, (trial, step, n_components).
    candidate : bool
        True: every layer is predicted from, and train itself is predicted too, fold by fold from maps that
        have not seen the object.
    lags : ndarray of int64, shape (n_units,), optional
        Lag of each unit in steps. Default: sought on train, one for each area.
    place : ndarray of int64, shape (n_steps,), optional
        The step at which each step's features lie, where it is another one.
    fallback : bool
        False: no unit is predicted by its mean, however little the features explain of it.

    Returns
    -------
    dict of str to ndarray
        ``test``, ``ood`` … (n_steps, n_units), spikes/s, of each unit's best layer; ``test_layers`` …
        (n_layers, n_steps, n_units); ``lag_test``, ``layer_test``, ``cv_ev_test``, ``alpha_test`` … by unit.
    """
    session = lagged.session
    trials = {s: context.index(session, getattr(context.splits, s)) for s in ("train", "test", "ood")}
    n_layers, n_units = len(layers), len(session.units)
    out: Predictions = {}
    for split in SPLITS if candidate else ("test", "ood"):
        wanted = trials["train" if split == "train_by_object" else split]
        out[split] = no_predictions(session, wanted)
        if candidate and n_layers > 1:
            out[f"{split}_layers"] = np.full((n_layers, *out[split].shape), np.nan, np.float32)
    for mode in ("test", "ood"):
        out[f"lag_{mode}"] = np.zeros(n_units)
        out[f"layer_{mode}"] = np.full(n_units, -1)
        out[f"cv_ev_{mode}"] = np.full((n_layers, n_units), np.nan)
        out[f"alpha_{mode}"] = np.full((n_layers, n_units), np.nan)
    place = np.arange(lagged.trials.offsets[-1]) if place is None else place
    for units, seen in unit_groups(session.units.observed):
        fitted = [i for i in trials["train"] if seen[i]]
        if len(fitted) >= SETTINGS.n_folds:
            _predict_group(lagged, layers, place, units, fitted, trials, lags, fallback, out)
    return out


def _predict_group(
    lagged: LagWindow,
    layers: Mapping[str, Ragged],
    place: Ints,
    units: Ints,
    fitted: Sequence[int],
    trials: Mapping[str, Sequence[int]],
    given: Ints | None,
    fallback: bool,
    out: Predictions,
) -> None:
    """Fill in the predictions of units that were observed in the same trials."""
    session, t, candidate = lagged.session, lagged.trials, "train_by_object" in out
    training, plans, order = training_of(lagged, layers, place, units, fitted)
    training = replace(training, fallback=fallback)
    inner = _nested(plans["ood"]) if candidate else {}
    of_train = np.repeat(np.isin(trials["train"], fitted), session.units.rates.lengths[trials["train"]])
    row_of_train = np.flatnonzero(of_train)[order]
    lags = _lags(training, plans, session, units) if given is None else given[units]
    for lag in np.unique(lags).tolist():
        mine, part = units[lags == lag], training.of_units(lags == lag)
        chosen = choose(part, plans | inner, lag)
        for mode, plan in plans.items():
            choice = chosen[mode]
            out[f"lag_{mode}"][mine] = lag * t.dt
            out[f"layer_{mode}"][mine] = choice.layer
            out[f"cv_ev_{mode}"][:, mine] = choice.cv_ev
            out[f"alpha_{mode}"][:, mine] = choice.alpha
            wanted = place[window_rows(t, trials[mode])]
            prediction = predict(part, choice, _cells(plan), wanted, every_layer=candidate)
            _fill(out, mode, mine, choice.layer, prediction, np.arange(len(wanted)))
        for name, plan in inner.items():
            held_out = ~np.isin(part.cell, _cells(plan))
            prediction = predict(part, chosen[name], _cells(plan), part.rows[held_out])
            _fill(out, "train_by_object", mine, chosen[name].layer, prediction, row_of_train[held_out])


def training_of(
    lagged: LagWindow, layers: Mapping[str, Ragged], place: Ints, units: Ints, fitted: Sequence[int]
) -> tuple[Training, dict[str, Plan], Ints]:
    """Sort training bins into cells, object fold × trial fold: bins, folds of each split, and their order.

    Parameters
    ----------
    lagged : LagWindow
    layers : mapping of str to Ragged
        Component scores, (trial, step, n_components).
    place : ndarray of int64, shape (n_steps,)
        The step at which each step's features lie.
    units : ndarray of int64
        Units that were observed in the same trials.
    fitted : sequence of int
        Training trials.
    """
    session, t, n = lagged.session, lagged.trials, SETTINGS.n_folds
    conditions = [t.condition[i] for i in fitted]
    ids = [t.ids[i] for i in fitted]
    trial_fold = np.array(folds_by_trial(ids, conditions, n, session.groups))
    object_fold = np.array(folds_by_condition(conditions, n, [session.groups.get(i, "") for i in ids]))
    cell = np.repeat(object_fold * n + trial_fold, session.units.rates.lengths[list(fitted)])
    order = np.argsort(cell, kind="stable")
    rates = session.units.rates.select(fitted).values[:, units]
    training = Training(
        layers={name: layer.values for name, layer in layers.items()},
        rows=place[window_rows(t, fitted)][order],
        rates=(rates - rates.mean(0))[order],
        mean=rates.mean(0),
        cell=cell[order],
        n_cells=n * n,
        alphas=SETTINGS.alphas,
    )
    cells = np.arange(n * n).reshape(n, n)
    by_object = [cells[f].tolist() for f in range(n) if (object_fold == f).any()]
    return training, {"test": cells.T.tolist(), "ood": by_object}, order


def _nested(by_object: Plan) -> dict[str, Plan]:
    """Cross-validations that have not seen one fold of objects, for each fold; needs three."""
    if len(by_object) < 3:
        return {}
    return {f"not {f}": [*by_object[:f], *by_object[f + 1 :]] for f in range(len(by_object))}


def _cells(plan: Plan) -> list[int]:
    return [cell for fold in plan for cell in fold]


def _lags(training: Training, plans: Mapping[str, Plan], session: AlignedSession, units: Ints) -> Ints:
    """Choose the lag of each area, with folds by object, or by trial if there is only one."""
    reach = round(session.max_lag / session.trials.dt)
    plan = plans["ood"] if len(plans["ood"]) > 1 else plans["test"]
    return choose_lags(training, plan, range(-reach, reach + 1), [session.units.areas[u] for u in units])


def _fill(out: Predictions, split: str, units: Ints, layer: Ints, prediction: Floats, rows: Ints) -> None:
    """Put (n_layers, n_rows, n_units) predictions in place, and those of each unit's best layer."""
    if f"{split}_layers" in out:
        out[f"{split}_layers"][:, rows[:, None], units] = prediction
    out[split][rows[:, None], units] = prediction[layer, :, np.arange(len(units))].T


def unit_groups(observed: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Group units that were observed in the same trials: (positions of the units, seen trials)."""
    if observed.all():  # the usual case, and asked often
        yield np.arange(observed.shape[1]), np.ones(len(observed), bool)
        return
    patterns, member = np.unique(observed, axis=1, return_inverse=True)
    for g in range(patterns.shape[1]):
        yield np.flatnonzero(member.ravel() == g), patterns[:, g]


def no_predictions(session: AlignedSession, trials: Sequence[int]) -> Floats:
    """Return an array of NaN for the predictions of all units in some windows, (n_steps, n_units)."""
    return np.full((int(session.units.rates.lengths[list(trials)].sum()), len(session.units)), np.nan)
