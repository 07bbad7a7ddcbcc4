"""Ridge regression with one alpha per unit, chosen by cross-validated explained variance.

Everything is computed from sufficient statistics of the folds (sums and Gram matrices): a candidate
alpha costs one small matrix product however many bins there are, and the explained variance of a
held-out fold is exact without ever forming a prediction. Pure functions; sklearn gives the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.types import Floats, Ints


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
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, np.einsum("tu,tu->u", y, y))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.n + other.n,
            self.x + other.x,
            self.y + other.y,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def __sub__(self, other: Moments) -> Moments:
        return Moments(
            self.n - other.n,
            self.x - other.x,
            self.y - other.y,
            self.xx - other.xx,
            self.xy - other.xy,
            self.yy - other.yy,
        )

    def of_units(self, units: Ints) -> Moments:
        """Take some of the units."""
        return Moments(self.n, self.x, self.y[units], self.xx, self.xy[:, units], self.yy[units])

    def centred(self) -> tuple[Floats, Floats, Floats]:
        """Products about the mean: (xx, xy, yy)."""
        n = max(self.n, 1.0)
        return (
            self.xx - np.outer(self.x, self.x) / n,
            self.xy - np.outer(self.x, self.y) / n,
            np.maximum(self.yy - self.y**2 / n, 0.0),
        )


def fold_moments(x: Floats, y: Floats, fold: Ints, n_folds: int) -> list[Moments]:
    """Moments of each fold, ``fold`` (n_rows,) giving the fold of each row."""
    return [Moments.of(x[fold == f], y[fold == f]) for f in range(n_folds)]


def cv_explained_variance(folds: list[Moments], alphas: Floats) -> tuple[Floats, Floats]:
    """Cross-validated explained variance of ridge for every alpha and unit.

    Parameters
    ----------
    folds : list of Moments
        One per fold; each is predicted from all the others.
    alphas : ndarray, shape (n_alphas,)

    Returns
    -------
    mean : ndarray, shape (n_alphas, n_units)
        Mean over the folds of ``1 − Var(y − ŷ) / Var(y)``. A fold in which a unit does not vary says
        nothing about that unit and is left out of its mean; NaN if it varies in none.
    standard_error : ndarray, shape (n_alphas, n_units)
        Of that mean, from the spread over the folds; infinite with fewer than two folds.
    """
    total = sum(folds[1:], folds[0])
    scores = np.full((len(folds), len(alphas), len(total.y)), np.nan)
    for f, held_out in enumerate(folds):
        xx, xy, _ = (total - held_out).centred()
        eigenvalues, vectors = np.linalg.eigh(xx)
        target = vectors.T @ xy
        xx_out, xy_out, yy_out = held_out.centred()
        gram_out, target_out = vectors.T @ xx_out @ vectors, vectors.T @ xy_out
        varies = yy_out > 1e-12 * np.maximum(total.yy, 1e-300)
        for a, alpha in enumerate(alphas):
            weights = target / (np.maximum(eigenvalues, 0.0) + alpha)[:, None]
            explained = 2 * (weights * target_out).sum(0) - (weights * (gram_out @ weights)).sum(0)
            np.divide(explained, yy_out, out=scores[f, a], where=varies)
    n = (~np.isnan(scores)).sum(0)
    filled = np.where(np.isnan(scores), 0.0, scores)
    mean = np.where(n > 0, filled.sum(0) / np.maximum(n, 1), np.nan)
    squares = (np.where(np.isnan(scores), 0.0, scores - mean) ** 2).sum(0)
    standard_error = np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1)), np.inf)
    return mean, standard_error


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
