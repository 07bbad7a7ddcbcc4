"""From component scores to predictions of every unit on every split (protocol section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.alignment.rates import Rates
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import folds_by_condition, folds_by_trial
from neurobench_grasp.contract import Bools, Floats, Ints, Ragged
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.reduction import LagWindow, window_rows
from neurobench_grasp.protocols.settings import ENCODING as SETTINGS
from neurobench_grasp.scoring.mapping import Choice, LinearMap, Training, choose, choose_lags, refit
from neurobench_grasp.scoring.ridge import Plan
from neurobench_grasp.threads import on_all_cores

Predictions = dict[str, NDArray[Any]]
"""Predicted rates by split, and what was chosen for each unit."""
SPLITS = ("test", "ood", "train_by_object")
BLOCK = 1 << 24
"""Rates of a session that are converted, predicted and scored at a time: 128 MiB in double precision, some
ten of which are needed together. No session of the size that is usual today has more, so it is one block."""


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


@dataclass(frozen=True)
class Predictor:
    """What predicts the units of a session, some of them at a time.

    Parameters
    ----------
    predict : callable
        From units, an ascending ndarray of int64, to their rates by split, see :func:`predict_units`.
    chosen : dict of str to ndarray
        What was chosen for each unit of the session.
    """

    predict: Callable[[Ints], Predictions]
    chosen: Predictions


def predict_units(
    context: Context, lagged: LagWindow, layers: Mapping[str, Ragged], **options: Any
) -> Predictions:
    """Fit the map on train and predict the other splits, as :func:`fit_units`, for all units.

    Returns
    -------
    dict of str to ndarray
        ``test``, ``ood`` … (n_steps, n_units), spikes/s, of each unit's best layer; ``test_layers`` …
        (n_layers, n_steps, n_units); ``lag_test``, ``layer_test``, ``cv_ev_test``, ``alpha_test`` … by unit.
    """
    return whole(lagged.session, fit_units(context, lagged, layers, **options))


def whole(session: AlignedSession, fitted: Predictor) -> Predictions:
    """Predict all units of a session."""
    return fitted.predict(np.arange(len(session.units))) | fitted.chosen


def fit_units(
    context: Context,
    lagged: LagWindow,
    layers: Mapping[str, Ragged],
    *,
    candidate: bool = False,
    lags: Ints | None = None,
    place: Ints | None = None,
    fallback: bool = True,
) -> Predictor:
    """Fit the map on train, unit group by unit group.

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
    """
    session = lagged.session
    trials = {s: context.index(session, getattr(context.splits, s)) for s in ("train", "test", "ood")}
    n_layers, n_units = len(layers), len(session.units)
    chosen: Predictions = {}
    for mode in ("test", "ood"):
        chosen[f"lag_{mode}"] = np.zeros(n_units)
        chosen[f"layer_{mode}"] = np.full(n_units, -1)
        chosen[f"cv_ev_{mode}"] = np.full((n_layers, n_units), np.nan)
        chosen[f"alpha_{mode}"] = np.full((n_layers, n_units), np.nan)
    place = np.arange(lagged.trials.offsets[-1]) if place is None else place
    pieces: list[_Piece] = []
    for units, seen in unit_groups(session.units.observed):
        fitted = [i for i in trials["train"] if seen[i]]
        if len(fitted) >= SETTINGS.n_folds:
            pieces += _fit_group(
                lagged, layers, place, units, fitted, trials, lags, fallback, candidate, chosen
            )
    splits = {s: trials["train" if s == "train_by_object" else s] for s in SPLITS if candidate or s in trials}
    return Predictor(partial(_predict, session, layers, splits, pieces, candidate and n_layers > 1), chosen)


@dataclass(frozen=True)
class _Piece:
    """A map, and the rows of a split that it predicts.

    Parameters
    ----------
    split : str
    rows, steps : ndarray of int64, shape (n_rows,)
        Rows of the prediction, and the steps of the layer from which they are predicted.
    map : LinearMap
    best : ndarray of bool, shape (n_units,)
        Units of the map that no other layer explains better.
    """

    split: str
    rows: Ints
    steps: Ints
    map: LinearMap
    best: Bools

    @classmethod
    def of(cls, split: str, rows: Ints, steps: Ints, choice: Choice, found: LinearMap, units: Ints) -> _Piece:
        """Name the units of a map by their place in the session, and shift its steps by the lag."""
        best = choice.layer[found.units] == found.layer
        return cls(split, rows, steps + choice.lag, replace(found, units=units[found.units]), best)


def _predict(
    session: AlignedSession,
    layers: Mapping[str, Ragged],
    splits: Mapping[str, Sequence[int]],
    pieces: Sequence[_Piece],
    every_layer: bool,
    units: Ints,
) -> Predictions:
    """Predict some units."""
    out: Predictions = {}
    for split, wanted in splits.items():
        out[split] = no_predictions(session, wanted, len(units))
        if every_layer:
            out[f"{split}_layers"] = np.full((len(layers), *out[split].shape), np.nan, np.float32)
    values = [layer.values for layer in layers.values()]

    def fill(piece: _Piece) -> None:
        to, at, mine = np.intersect1d(units, piece.map.units, assume_unique=True, return_indices=True)
        if not len(to):
            return
        weights = np.take(piece.map.weights, mine, axis=1)
        prediction = values[piece.map.layer][piece.steps] @ weights + piece.map.intercept[mine]
        if every_layer:
            _put(out[f"{piece.split}_layers"][piece.map.layer], piece.rows, at, prediction)
        best = piece.best[mine]
        if best.any():
            _put(out[piece.split], piece.rows, at[best], prediction if best.all() else prediction[:, best])

    on_all_cores(fill, pieces)
    return out


def _put(out: NDArray[Any], rows: Ints, columns: Ints, values: Floats) -> None:
    """Put values in place; whole rows several times faster than the same columns of each."""
    if len(columns) == out.shape[1]:
        out[rows] = values
    else:
        out[rows[:, None], columns] = values


def _fit_group(
    lagged: LagWindow,
    layers: Mapping[str, Ragged],
    place: Ints,
    units: Ints,
    fitted: Sequence[int],
    trials: Mapping[str, Sequence[int]],
    given: Ints | None,
    fallback: bool,
    candidate: bool,
    chosen: Predictions,
) -> Iterator[_Piece]:
    """Yield the maps to units that were observed in the same trials; note what was chosen for each."""
    session, t = lagged.session, lagged.trials
    training, plans, order = training_of(lagged, layers, place, units, fitted)
    training = replace(training, fallback=fallback)
    inner = _nested(plans["ood"]) if candidate else {}
    of_train = np.repeat(np.isin(trials["train"], fitted), session.units.rates.lengths[trials["train"]])
    row_of_train = np.flatnonzero(of_train)[order]
    lags = _lags(training, plans, session, units) if given is None else given[units]
    for lag in np.unique(lags).tolist():
        mine, part = units[lags == lag], training.of_units(lags == lag)
        choices = choose(part, plans | inner, lag)
        for mode, plan in plans.items():
            choice = choices[mode]
            chosen[f"lag_{mode}"][mine] = lag * t.dt
            chosen[f"layer_{mode}"][mine] = choice.layer
            chosen[f"cv_ev_{mode}"][:, mine] = choice.cv_ev
            chosen[f"alpha_{mode}"][:, mine] = choice.alpha
            wanted = place[window_rows(t, trials[mode])]
            for found in refit(part, choice, _cells(plan), every_layer=candidate):
                yield _Piece.of(mode, np.arange(len(wanted)), wanted, choice, found, mine)
        for name, plan in inner.items():
            held_out = ~np.isin(part.cell, _cells(plan))
            rows, wanted = row_of_train[held_out], part.rows[held_out]
            for found in refit(part, choices[name], _cells(plan)):
                yield _Piece.of("train_by_object", rows, wanted, choices[name], found, mine)


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
    rates = TrainingRates.of(session.units.rates, fitted, units)
    training = Training(
        layers={name: layer.values for name, layer in layers.items()},
        rows=place[window_rows(t, fitted)][order],
        rates=rates.sorted(order),
        mean=rates.mean,
        cell=cell[order],
        n_cells=n * n,
        alphas=SETTINGS.alphas,
    )
    cells = np.arange(n * n).reshape(n, n)
    by_object = [cells[f].tolist() for f in range(n) if (object_fold == f).any()]
    return training, {"test": cells.T.tolist(), "ood": by_object}, order


@dataclass(frozen=True)
class TrainingRates:
    """Rates of training bins less their mean, converted to double precision when some are asked for.

    Parameters
    ----------
    rates : Rates or Ragged
        Of the session.
    steps : ndarray of int64, shape (n_rows,)
        Steps of the session that are the training bins.
    units : ndarray of int64
    mean : ndarray, shape (n_units,)
        Spikes/s.
    """

    rates: Rates | Ragged
    steps: Ints
    units: Ints
    mean: Floats

    @classmethod
    def of(cls, rates: Rates | Ragged, trials: Sequence[int], units: Ints) -> TrainingRates:
        """Find the bins of some trials, and the mean rates in them."""
        steps = np.concatenate([np.arange(*rates.offsets[i : i + 2]) for i in trials])
        blocks = unit_blocks(units, len(steps))
        mean = np.concatenate([rates.part(trials, block).values.mean(0) for block in blocks])
        return cls(rates, steps, units, mean)

    def sorted(self, order: Ints) -> TrainingRates | Floats:
        """Sort the bins; convert all at once if they are not more than a block, for they are needed often."""
        rates = replace(self, steps=self.steps[order])
        return rates[:] if len(unit_blocks(self.units, len(order))) == 1 else rates

    def __getitem__(self, some: slice | tuple[slice, Bools]) -> Any:
        if isinstance(some, tuple):
            rows, which = some
            return TrainingRates(self.rates, self.steps[rows], self.units[which], self.mean[which])
        return np.subtract(self.rates.at(self.steps[some], self.units), self.mean)


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


def unit_blocks(units: Ints, n_steps: int) -> list[Ints]:
    """Divide units into blocks whose rates at so many steps are at most :data:`BLOCK`."""
    size = max(BLOCK // max(n_steps, 1), 1)
    return [units[first : first + size] for first in range(0, len(units), size)] or [units]


def unit_groups(observed: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Group units that were observed in the same trials: (positions of the units, seen trials)."""
    if observed.all():  # the usual case, and asked often
        yield np.arange(observed.shape[1]), np.ones(len(observed), bool)
        return
    patterns, member = np.unique(observed, axis=1, return_inverse=True)
    for g in range(patterns.shape[1]):
        yield np.flatnonzero(member.ravel() == g), patterns[:, g]


def no_predictions(session: AlignedSession, trials: Sequence[int], n_units: int | None = None) -> Floats:
    """Return an array of NaN for the predictions of units (default: all) in some windows."""
    n_units = len(session.units) if n_units is None else n_units
    return np.full((int(session.units.rates.lengths[list(trials)].sum()), n_units), np.nan)
