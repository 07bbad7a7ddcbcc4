"""Ridge regression with one alpha per unit, chosen by cross-validated explained variance.

Everything is computed from sufficient statistics of the folds (sums and Gram matrices): a candidate
alpha costs one small matrix product however many bins there are, and the explained variance of a
held-out fold is exact without ever forming a prediction. Pure functions; sklearn gives the same numbers.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract import Floats, Ints

Plan = Sequence[Sequence[int]]
"""The folds of a cross-validation, each the cells (stacked moments) it consists of."""
PIECE = 1 << 22
"""Rates that are summed at a time: 32 MiB in double precision, little beside a session, much for BLAS."""


class Rows(Protocol):
    """Rows of numbers that may be made when they are asked for: an array, or what is indexed like one."""

    def __getitem__(self, rows: slice, /) -> Floats:
        """Return some rows, (n_rows, n_columns)."""


@dataclass(frozen=True)
class Moments:
    """Sums over the rows of a set of bins; moments of disjoint sets add up.

    Parameters
    ----------
    n : float
        Rows.
    x, y : ndarray, shapes (n_features,), (n_units,)
        Sums.
    xx, xy : ndarray, shapes (n_features, n_features), (n_features, n_units)
        Sums of products.
    yy : ndarray, shape (n_units,)
        Sums of squares.
    """

    n: float
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats

    @classmethod
    def of(cls, x: Floats, y: Floats) -> Moments:
        """Moments of rows ``x`` (n_rows, n_features) and ``y`` (n_rows, n_units)."""
        ones = np.ones(len(x))  # sums as products are several times faster
        return cls(len(x), ones @ x, ones @ y, x.T @ x, x.T @ y, np.einsum("tu,tu->u", y, y))

    @classmethod
    def stack(cls, parts: Sequence[Moments]) -> Moments:
        """Several moments as one, along a first axis of every field."""
        columns = {
            field.name: np.array([getattr(part, field.name) for part in parts]) for field in fields(cls)
        }
        return cls(**columns)  # type: ignore[arg-type]

    def total(self, which: Sequence[int]) -> Moments:
        """Sum of some of the moments that were stacked."""
        return Moments(*(getattr(self, field.name)[list(which)].sum(0) for field in fields(self)))

    def of_units(self, units: Ints) -> Moments:
        """Moments of some units, also where several are stacked."""
        return Moments(self.n, self.x, self.y[..., units], self.xx, self.xy[..., units], self.yy[..., units])

    def of_features(self, features: Ints) -> Moments:
        """Moments of some features, also where several are stacked."""
        xx = self.xx[..., features[:, None], features]
        return Moments(self.n, self.x[..., features], self.y, xx, self.xy[..., features, :], self.yy)

    def scaled(self, scale: Floats) -> Moments:
        """Moments of features times a factor each, also where several are stacked."""
        xx, xy = self.xx * scale[:, None] * scale, self.xy * scale[:, None]
        return Moments(self.n, self.x * scale, self.y, xx, xy, self.yy)

    def __add__(self, other: Moments) -> Moments:
        return Moments(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
            self.yy - other.yy,
        )

    def centred(self) -> tuple[Floats, Floats, Floats]:
        """Products about the mean: (xx, xy, yy)."""
        n = max(self.n, 1.0)
        return (
            self.xx - np.outer(self.x, self.x) / n,
            self.xy - np.outer(self.x, self.y) / n,
            np.maximum(self.yy - self.y**2 / n, 0.0),
        )


def fold_moments(x: NDArray[np.floating], rows: Ints, y: Rows, fold: Ints, n_folds: int) -> Moments:
    """Moments of each fold, stacked.

    Parameters
    ----------
    x : ndarray, shape (n_total_rows, n_features)
    rows : ndarray of int64, shape (n_rows,)
        Rows of ``x`` that belong to those of ``y``.
    y : ndarray or Rows, shape (n_rows, n_units)
    fold : ndarray of int64, shape (n_rows,)
        Ascending.
    n_folds : int
    """

    def of(first: int, stop: int) -> Moments:
        some = y[first:stop]
        return Moments.of(np.asarray(x[rows[first:stop]], np.float64), some)

    def summed(first: int, stop: int, step: int) -> Moments:
        pieces = [of(a, min(a + step, stop)) for a in range(first, stop, step)] or [of(first, stop)]
        return functools.reduce(operator.add, pieces)

    step = max(PIECE // max(y[:0].shape[1], 1), 1)
    bounds = pairwise(np.searchsorted(fold, np.arange(n_folds + 1)).tolist())
    return Moments.stack([summed(a, z, step) for a, z in bounds])


@dataclass(frozen=True)
class RidgePath:
    """Ridge on one training set for every alpha, in the basis in which its Gram matrix is diagonal.

    Parameters
    ----------
    vectors : ndarray, shape (n_features, n_features)
        The basis.
    weights : ndarray, shape (n_features, n_alphas, n_units)
    """

    vectors: Floats
    weights: Floats

    @classmethod
    def fit(cls, train: Moments, alphas: Floats) -> RidgePath:
        """Fit all alphas by one eigendecomposition."""
        xx, xy, _ = train.centred()
        eigenvalues, vectors = np.linalg.eigh(xx)
        shrinkage = 1 / (np.maximum(eigenvalues, 0.0)[:, None] + alphas)
        return cls(vectors, shrinkage[:, :, None] * (vectors.T @ xy)[:, None])

    def explained_variance(self, held_out: Moments, power: Floats) -> Floats:
        """Score other rows by ``1 − Var(y − ŷ) / Var(y)``, (n_alphas, n_units).

        NaN where a unit does not vary in them, compared with its sum of squares ``power``.
        """
        xx, xy, yy = held_out.centred()
        gram, target = self.vectors.T @ xx @ self.vectors, self.vectors.T @ xy
        spread = np.tensordot(gram, self.weights, 1)
        explained = 2 * np.einsum("kau,ku->au", self.weights, target)
        explained -= np.einsum("kau,kau->au", self.weights, spread)
        varies = yy > 1e-12 * np.maximum(power, 1e-300)
        out = np.full(explained.shape, np.nan)
        np.divide(explained, yy, out=out, where=varies)
        return out


def cv_explained_variance(
    cells: Moments, plan: Plan, alphas: Floats, paths: dict[frozenset[int], RidgePath] | None = None
) -> Floats:
    """Cross-validated explained variance of ridge for every alpha and unit.

    Parameters
    ----------
    cells : Moments
        Stacked.
    plan : Plan
        Each fold is predicted from all the others.
    alphas : ndarray, shape (n_alphas,)
    paths : dict, optional
        Fits by the cells that they were made on: plans that hold out one fold within another share them.

    Returns
    -------
    ndarray, shape (n_alphas, n_units)
        Mean over the folds in which a unit varies; NaN if there are none.
    """
    paths = {} if paths is None else paths
    everything = frozenset(c for fold in plan for c in fold)
    total = cells.total(sorted(everything))
    scores = []
    for fold in plan:
        held_out, rest = cells.total(fold), everything - frozenset(fold)
        if rest not in paths:
            paths[rest] = RidgePath.fit(total - held_out, alphas)
        scores.append(paths[rest].explained_variance(held_out, total.yy))
    stacked = np.stack(scores)
    n = (~np.isnan(stacked)).sum(0)
    mean: Floats = np.where(n > 0, np.nansum(stacked, axis=0) / np.maximum(n, 1), np.nan)
    return mean


def best_alphas(ev: Floats, alphas: Floats, *, fallback: bool = True) -> tuple[Floats, Floats]:
    """Choose for each unit the penalty that explains most.

    Parameters
    ----------
    ev : ndarray, shape (n_alphas, n_units)
        As of :func:`cv_explained_variance`.
    alphas : ndarray, shape (n_alphas,)
    fallback : bool
        True: where none explains anything the penalty is infinite, and the unit is predicted by its mean.

    Returns
    -------
    alpha, ev : ndarray, shape (n_units,)
        The chosen penalty, and the best explained variance.
    """
    best, units = np.where(np.isnan(ev), -np.inf, ev).argmax(0), np.arange(ev.shape[1])
    found = ev[best, units]
    return np.where((found > 0) | (not fallback), alphas[best], np.inf), found


def solve(moments: Moments, alphas: Floats) -> tuple[Floats, Floats]:
    """Ridge weights with one alpha per unit and an unpenalised intercept.

    Parameters
    ----------
    moments : Moments
    alphas : ndarray, shape (n_units,)

    Returns
    -------
    weights : ndarray, shape (n_features, n_units)
    intercept : ndarray, shape (n_units,)
    """
    xx, xy, _ = moments.centred()
    eigenvalues, vectors = np.linalg.eigh(xx)
    shrunk = (vectors.T @ xy) / (np.maximum(eigenvalues, 0.0)[:, None] + alphas)
    weights = vectors @ shrunk
    return weights, (moments.y - moments.x @ weights) / max(moments.n, 1.0)
