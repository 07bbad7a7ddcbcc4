"""The map from a model's component scores to units: one lag per area, one layer and alpha per unit.

Training rows are sorted into cells (object fold × trial fold). The folds of every cross-validation are sums
of cells, so that cross-validation by trial, by object, and by object inside each outer object fold all come
from the same moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurobench_grasp.machine import on_all_cores
from neurobench_grasp.scoring.ridge import (
    Moments,
    Plan,
    RidgePath,
    cv_explained_variance,
    fold_moments,
    solve,
)
from neurobench_grasp.types import Floats, Ints


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

    def moments(self, layer: str, lag: int, *, keep: bool = False) -> Moments:
        """Moments of every cell, stacked; kept on request, since those of a chosen lag are needed again."""
        moments = self._kept.get((layer, lag))
        if moments is None:
            rows, rates, cell = self._by_cell
            moments = fold_moments(self.layers[layer], rows + lag, rates, cell, self.n_cells)
            if keep:
                self._kept[layer, lag] = moments
        return moments

    @cached_property
    def _kept(self) -> dict[tuple[str, int], Moments]:
        return {}

    @cached_property
    def _by_cell(self) -> tuple[Ints, Floats, Ints]:
        """Rows, rates and cells sorted by cell, once for every layer and lag."""
        order = np.argsort(self.cell, kind="stable")
        return self.rows[order], self.rates[order], self.cell[order]


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


def choose(training: Training, plans: Mapping[str, Plan], lag: Ints | None = None) -> dict[str, Choice]:
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
    lag : ndarray of int64, shape (n_units,), optional
        The lags, if they are known already.
    """
    lags = training.lags if lag is None else tuple(np.unique(lag).tolist())
    shape = (len(lags), len(training.layers), len(training.areas))
    best = {p: np.full(shape, np.nan) for p in plans}
    alpha = {p: np.full(shape, np.inf) for p in plans}

    def fill(place: tuple[int, int]) -> None:
        i, j = place
        cells = training.moments(list(training.layers)[j], lags[i], keep=lag is not None)
        paths: dict[frozenset[int], RidgePath] = {}
        for name, plan in plans.items():
            ev, error = cv_explained_variance(cells, plan, training.alphas, paths)
            units = np.arange(ev.shape[1])
            chosen = np.where(np.isnan(ev), -np.inf, ev).argmax(0)
            proven = ev[chosen, units] > training.min_t * error[chosen, units]
            best[name][i, j] = ev[chosen, units]
            alpha[name][i, j] = np.where(proven, training.alphas[chosen], np.inf)

    on_all_cores(fill, [(i, j) for i in range(shape[0]) for j in range(shape[1])])
    grid = np.array(lags, np.int64)
    out = {}
    for name in plans:
        place = _best_lag(training.areas, grid, best[name]) if lag is None else np.searchsorted(grid, lag)
        out[name] = _at_lag(grid, place, best[name], alpha[name])
    return out


def _best_lag(areas: Sequence[str], lags: Ints, ev: Floats) -> Ints:
    """Place of each unit's lag: one per area, by the mean over its units of the best layer.

    Of equally good lags the one nearest to zero, so that nothing is shifted without a reason.
    """
    nearest = np.argsort(np.abs(lags), kind="stable")
    over_layers = np.where(np.isnan(ev), -np.inf, ev).max(1)
    place = np.full(len(areas), nearest[0])
    for area in set(areas):
        of_area = np.array([a == area for a in areas])
        mine = of_area & np.isfinite(over_layers).all(0)
        if mine.any():
            place[of_area] = nearest[over_layers[nearest][:, mine].mean(1).argmax()]
    return place


def _at_lag(lags: Ints, place: Ints, ev: Floats, alpha: Floats) -> Choice:
    """Choose the best layer of each unit at its lag."""
    units = np.arange(len(place))
    return Choice(
        lag=lags[place],
        layer=np.where(np.isnan(ev), -np.inf, ev)[place, :, units].argmax(1),
        alpha=alpha[place, :, units].T,
        cv_ev=ev[place, :, units].T,
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

    def fill(place: tuple[int, int]) -> None:
        lag, j = place
        units = np.flatnonzero((choice.lag == lag) & (every_layer | (choice.layer == j)))
        if len(units):
            name, layer = layers[j]
            moments = training.moments(name, lag).total(cells).of_units(units)
            weights, intercept = solve(moments, choice.alpha[j, units])
            out[j][:, units] = layer[rows + lag] @ weights + intercept

    layers = list(training.layers.items())
    on_all_cores(fill, [(lag, j) for lag in np.unique(choice.lag).tolist() for j in range(len(layers))])
    return out
