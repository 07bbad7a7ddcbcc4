"""The map from a model's component scores to units: one lag per area, one layer and alpha per unit.

Training rows are sorted into cells (object fold × trial fold). The moments of a cell are computed once
per lag and layer; the folds of every cross-validation are sums of cells, so that cross-validation by
trial, by object, and by object inside each outer object fold all come from one pass over the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from neurobench_grasp.machine import usable_cores
from neurobench_grasp.scoring.ridge import Moments, RidgePath, over_folds, solve
from neurobench_grasp.types import Floats, Ints

Plan = Sequence[Sequence[int]]
"""The folds of a cross-validation, each the cells it consists of."""


@dataclass(frozen=True)
class Training:
    """The training rows of some units of a session.

    Parameters
    ----------
    layers : mapping of str to ndarray, shape (n_total_steps, n_components)
        Component scores at every step, padding included.
    rows : ndarray of int64, shape (n_rows,)
        Step of each training bin at lag 0.
    rates : ndarray, shape (n_rows, n_units)
    cell : ndarray of int64, shape (n_rows,)
    n_cells : int
    areas : tuple of str, length n_units
    lags : tuple of int
        Candidate lags in steps; positive: the units lead the model's activations.
    alphas : ndarray, shape (n_alphas,)
    min_t : float
        Standard errors by which a cross-validated score must exceed zero; see :func:`choose`.
    """

    layers: Mapping[str, Floats]
    rows: Ints
    rates: Floats
    cell: Ints
    n_cells: int
    areas: tuple[str, ...]
    lags: tuple[int, ...]
    alphas: Floats
    min_t: float

    def moments(self, layer: str, lag: int) -> Moments:
        """Moments of every cell, one after the other along a first axis."""
        rows, rates, cells = self._by_cell
        x = self.layers[layer][rows + lag]
        return Moments.stack([Moments.of(x[cell], rates[cell]) for cell in cells])

    @cached_property
    def _by_cell(self) -> tuple[Ints, Floats, list[slice]]:
        """Rows and rates sorted by cell, and where each cell lies: the same for every layer and lag."""
        order = np.argsort(self.cell, kind="stable")
        bounds = np.searchsorted(self.cell[order], np.arange(self.n_cells + 1))
        return self.rows[order], self.rates[order], [slice(a, z) for a, z in pairwise(bounds.tolist())]


@dataclass(frozen=True)
class Choice:
    """What cross-validation on train chose.

    Parameters
    ----------
    lag : ndarray of int64, shape (n_units,)
        Steps; equal for the units of an area.
    layer : ndarray of int64, shape (n_units,)
        Position of the best layer.
    alpha, cv_ev : ndarray, shape (n_layers, n_units)
        At the chosen lag.
    """

    lag: Ints
    layer: Ints
    alpha: Floats
    cv_ev: Floats


def choose(training: Training, plans: Mapping[str, Plan]) -> dict[str, Choice]:
    """Choose lag, layer and alpha by the mean over folds of held-out explained variance.

    Where the best mean is not above zero by ``min_t`` standard errors, alpha is infinite: the unit is
    predicted by its mean. The best of many penalties, layers and lags is slightly positive in pure noise
    too, and then costs explained variance on new trials: without this, nulls scored below zero. (It is
    the standard-error rule of Breiman et al., 1984, against the model without features.)

    Parameters
    ----------
    training : Training
    plans : mapping of str to Plan
        Cross-validations by name; a cell that a plan does not mention is not used by it.
    """
    shape = (len(training.lags), len(training.layers), len(training.areas))
    best = {p: np.full(shape, np.nan) for p in plans}
    alpha = {p: np.full(shape, np.inf) for p in plans}

    def fill(place: tuple[int, int]) -> None:
        i, j = place
        cells = training.moments(list(training.layers)[j], training.lags[i])
        paths: dict[frozenset[int], RidgePath] = {}
        for name, plan in plans.items():
            best[name][i, j], alpha[name][i, j] = _best_alpha(training, cells, plan, paths)

    places = [(i, j) for i in range(shape[0]) for j in range(shape[1])]
    with ThreadPoolExecutor(usable_cores()) as pool:  # linear algebra releases the interpreter's lock
        list(pool.map(fill, places))
    return {p: _decide(training, best[p], alpha[p]) for p in plans}


def _best_alpha(
    training: Training, cells: Moments, plan: Plan, paths: dict[frozenset[int], RidgePath]
) -> tuple[Floats, Floats]:
    """Best cross-validated score of each unit and its alpha.

    Plans that hold out one fold within another share their training sets, which ``paths`` keeps.
    """
    everything = frozenset(c for fold in plan for c in fold)
    total = cells.total(sorted(everything))
    scores = []
    for fold in plan:
        held_out, rest = cells.total(fold), everything - frozenset(fold)
        if rest not in paths:
            paths[rest] = RidgePath.fit(total - held_out, training.alphas)
        scores.append(paths[rest].explained_variance(held_out, total.yy))
    ev, error = over_folds(scores)
    units = np.arange(ev.shape[1])
    chosen = np.where(np.isnan(ev), -np.inf, ev).argmax(0)
    proven = ev[chosen, units] > training.min_t * error[chosen, units]
    return ev[chosen, units], np.where(proven, training.alphas[chosen], np.inf)


def _decide(training: Training, ev: Floats, alpha: Floats) -> Choice:
    """One lag per area (best mean over its units of the best layer), then the best layer per unit."""
    ranked = np.where(np.isnan(ev), -np.inf, ev)
    over_layers = ranked.max(1)
    lag_index = np.zeros(len(training.areas), np.int64)
    for area in set(training.areas):
        mine = np.array([a == area for a in training.areas]) & np.isfinite(over_layers).all(0)
        if mine.any():
            lag_index[[a == area for a in training.areas]] = over_layers[:, mine].mean(1).argmax()
    units = np.arange(len(training.areas))
    return Choice(
        lag=np.array(training.lags, np.int64)[lag_index],
        layer=ranked[lag_index, :, units].argmax(1),
        alpha=alpha[lag_index, :, units].T,
        cv_ev=ev[lag_index, :, units].T,
    )


def predict(
    training: Training, choice: Choice, cells: Sequence[int], rows: Ints, *, every_layer: bool = True
) -> Floats:
    """Refit on the given cells with the chosen settings and predict other bins.

    Parameters
    ----------
    training : Training
    choice : Choice
    cells : sequence of int
        Cells to fit on.
    rows : ndarray of int64, shape (n_wanted,)
        Steps at lag 0 to predict.
    every_layer : bool
        False: each unit by its best layer only, which costs less.

    Returns
    -------
    ndarray, shape (n_layers, n_wanted, n_units)
        NaN where a layer was not asked for.
    """
    out = np.full((len(training.layers), len(rows), len(training.areas)), np.nan)
    fitted = np.isin(training.cell, list(cells))
    seen, rates = training.rows[fitted], training.rates[fitted]
    for lag in np.unique(choice.lag):
        for j, layer in enumerate(training.layers.values()):
            units = np.flatnonzero((choice.lag == lag) & (every_layer | (choice.layer == j)))
            if len(units):
                moments = Moments.of(layer[seen + lag], rates[:, units])
                weights, intercept = solve(moments, choice.alpha[j, units])
                out[j][:, units] = layer[rows + lag] @ weights + intercept
    return out
