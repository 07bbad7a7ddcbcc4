"""The map from a model's component scores to units: one lag per area, one layer and alpha per unit.

Training rows are sorted into cells (object fold × trial fold). The folds of every cross-validation are sums
of cells, so that cross-validation by trial, by object, and by object inside each outer object fold all come
from the same moments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Protocol, overload

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Bools, Floats, Ints
from neurobench_grasp.scoring.ridge import (
    Moments,
    Plan,
    RidgePath,
    best_alphas,
    cv_explained_variance,
    fold_moments,
    solve,
)
from neurobench_grasp.threads import on_all_cores


class RatesOnDemand(Protocol):
    """Rates that are made when some of them are asked for, indexed like an array (n_rows, n_units)."""

    @overload
    def __getitem__(self, some: slice, /) -> Floats: ...
    @overload
    def __getitem__(self, some: tuple[slice, Bools], /) -> RatesOnDemand: ...


@dataclass(frozen=True)
class Training:
    """The training rows of some units of a session.

    Parameters
    ----------
    layers : mapping of str to ndarray, shape (n_total_steps, n_components)
        Component scores at every step, padding included, in single or double precision.
    rows : ndarray of int64, shape (n_rows,)
        Step of each training bin at lag 0.
    rates : ndarray or RatesOnDemand, shape (n_rows, n_units)
        Less their mean.
    mean : ndarray, shape (n_units,)
    cell : ndarray of int64, shape (n_rows,)
        Ascending.
    n_cells : int
    alphas : ndarray, shape (n_alphas,)
    fallback : bool
        False: no unit is predicted by its mean; see :func:`choose`.
    """

    layers: Mapping[str, NDArray[np.floating]]
    rows: Ints
    rates: Floats | RatesOnDemand
    mean: Floats
    cell: Ints
    n_cells: int
    alphas: Floats
    fallback: bool = True

    def of_units(self, units: Bools) -> Training:
        """Take some of the units; moments of all are kept, so all are the same object."""
        if units.all():
            return self
        return replace(self, rates=self.rates[:, units], mean=self.mean[units])

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.mean)

    def of_layer(self, layer: str) -> Training:
        """Take one of the layers."""
        return replace(self, layers={layer: self.layers[layer]})

    def moments(self, layer: str, lag: int) -> Moments:
        """Moments of every cell, stacked; kept, since a prediction needs them again."""
        if (layer, lag) not in self._kept:
            self._kept[layer, lag] = fold_moments(
                self.layers[layer], self.rows + lag, self.rates, self.cell, self.n_cells
            )
        return self._kept[layer, lag]

    @cached_property
    def _kept(self) -> dict[tuple[str, int], Moments]:
        return {}


@dataclass(frozen=True)
class Choice:
    """What cross-validation on train chose.

    Parameters
    ----------
    lag : int
        Steps; positive: the units lead the model's activations.
    layer : ndarray of int64, shape (n_units,)
        Position of the best layer.
    alpha, cv_ev : ndarray, shape (n_layers, n_units)
    """

    lag: int
    layer: Ints
    alpha: Floats
    cv_ev: Floats


def choose_lags(training: Training, plan: Plan, lags: Sequence[int], areas: Sequence[str]) -> Ints:
    """Choose one lag for each area: the one at which its units are explained best on average.

    It is sought with the layer that explains them best on average at lag 0. Of equally good lags the one
    nearest to zero, so that nothing is shifted without a reason.

    Parameters
    ----------
    training : Training
    plan : Plan
    lags : sequence of int
    areas : sequence of str, length n_units

    Returns
    -------
    ndarray of int64, shape (n_units,)
    """
    nearest = sorted(lags, key=lambda lag: (abs(lag), lag))
    units_of = {area: np.array([a == area for a in areas]) for area in sorted(set(areas))}
    at_zero = choose(training, {"": plan}, 0)[""].cv_ev
    best = {area: int(np.argmax(_mean_over_units(at_zero[:, mine]))) for area, mine in units_of.items()}
    chosen = np.zeros(len(areas), np.int64)
    for layer in sorted(set(best.values())):  # areas with the same layer share what does not depend on units
        mine = np.isin(areas, [area for area, its in best.items() if its == layer])
        part = training.of_layer(list(training.layers)[layer]).of_units(mine)
        scores = np.full((len(nearest), len(areas)), np.nan)
        scores[:, mine] = on_all_cores(partial(_cv_ev, part, plan), nearest)
        for area in (area for area, its in best.items() if its == layer):
            at = np.argmax(_mean_over_units(scores[:, units_of[area]]))
            chosen[units_of[area]] = nearest[int(at)]
    return chosen


def _cv_ev(training: Training, plan: Plan, lag: int) -> Floats:
    """Cross-validated EV of a single layer, (n_units,); moments of other lags are not kept."""
    ev: Floats = choose(replace(training), {"": plan}, lag)[""].cv_ev[0]
    return ev


def _mean_over_units(cv_ev: Floats) -> Floats:
    """Mean over the units that have a score in every row, (n_rows,); −∞ if there is none."""
    defined = np.isfinite(cv_ev).all(0)
    mean: Floats = cv_ev[:, defined].mean(1) if defined.any() else np.full(len(cv_ev), -np.inf)
    return mean


def choose(training: Training, plans: Mapping[str, Plan], lag: int) -> dict[str, Choice]:
    """Choose layer and alpha by the mean over folds of held-out explained variance.

    Where the best mean is not above zero, alpha is infinite: the unit is predicted by its mean. A null is
    computed without that (``training.fallback``), so that it can fail: the best of many penalties is slightly
    positive in pure noise too, and then scores slightly below zero on new trials.

    Parameters
    ----------
    training : Training
    plans : mapping of str to Plan
        Cross-validations by name; a cell that a plan does not mention is not used by it.
    lag : int
    """
    shape = (len(training.layers), training.n_units)
    best = {p: np.full(shape, np.nan) for p in plans}
    alpha = {p: np.full(shape, np.inf) for p in plans}

    def fill(j: int) -> None:
        cells = training.moments(list(training.layers)[j], lag)
        paths: dict[frozenset[int], RidgePath] = {}
        for name, plan in plans.items():
            scores = cv_explained_variance(cells, plan, training.alphas, paths)
            chosen = best_alphas(scores, training.alphas, fallback=training.fallback)
            alpha[name][j], best[name][j] = chosen

    on_all_cores(fill, range(shape[0]))
    return {
        p: Choice(lag, np.where(np.isnan(ev), -np.inf, ev).argmax(0), alpha[p], ev) for p, ev in best.items()
    }


@dataclass(frozen=True)
class LinearMap:
    """From the components of a layer to the rates of some units.

    Parameters
    ----------
    layer : int
        Position.
    units : ndarray of int64
    weights : ndarray, shape (n_components, n_units)
    intercept : ndarray, shape (n_units,)
        Spikes/s.
    """

    layer: int
    units: Ints
    weights: Floats
    intercept: Floats


def refit(
    training: Training, choice: Choice, cells: Sequence[int], *, every_layer: bool = True
) -> list[LinearMap]:
    """Fit on the given cells with the chosen settings.

    Parameters
    ----------
    training : Training
    choice : Choice
    cells : sequence of int
        Cells to fit on.
    every_layer : bool
        False: each unit by its best layer only, which costs less.

    Returns
    -------
    list of LinearMap
        One for each layer that predicts a unit.
    """

    def fit(j: int) -> LinearMap:
        units = np.flatnonzero(every_layer | (choice.layer == j))
        moments = training.moments(layers[j], choice.lag).total(cells).of_units(units)
        weights, intercept = solve(moments, choice.alpha[j, units])
        return LinearMap(j, units, weights, intercept + training.mean[units])

    layers = list(training.layers)
    wanted = range(len(layers)) if every_layer else np.unique(choice.layer).tolist()
    return on_all_cores(fit, wanted)
