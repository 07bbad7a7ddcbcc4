"""The map from activations to units as scikit-learn estimators, for notebooks and pipelines.

``make_pipeline(LayerComponents(), UnitRidge())`` is what the protocol ``encoding`` fits for one layer at lag
0; brain control decodes with :class:`UnitRidge`. The arithmetic is in ``components.py`` and ``ridge.py``.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.scoring.components import fit_components
from neurobench_grasp.scoring.ridge import best_alphas, cv_explained_variance, fold_moments, solve

ALPHAS = tuple(np.logspace(-2, 5, 15).tolist())
"""Penalties of the protocols."""


class LayerComponents(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Standardise features, reduce them to principal components and cut outlying scores.

    Parameters
    ----------
    n_components : int
        Upper bound; features that do not vary in training and null directions are dropped.
    winsorise_sd : float
        Scores are cut at this many standard deviations of the training data.

    Attributes
    ----------
    components_ : Components
    """

    def __init__(self, n_components: int = 78, winsorise_sd: float = 6.0) -> None:
        self.n_components = n_components
        self.winsorise_sd = winsorise_sd

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Fit on training rows, (n_rows, n_features)."""
        features = validate_data(self, X, dtype=np.float64)
        self.components_ = fit_components(
            features, n_components=self.n_components, winsorise_sd=self.winsorise_sd
        )
        self._n_features_out = self.components_.axes.shape[1]
        return self

    def transform(self, X: ArrayLike) -> Floats:
        """Return the component scores of rows, (n_rows, n_components)."""
        check_is_fitted(self)
        return self.components_.scores(validate_data(self, X, dtype=np.float64, reset=False))[0]


class UnitRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with one penalty for each unit, chosen by cross-validated explained variance.

    A unit of which no penalty explains anything is predicted by its mean.

    Parameters
    ----------
    alphas : sequence of float
        Penalties to choose from.
    n_folds : int
        Of the cross-validation.
    fallback : bool
        False: no unit is predicted by its mean, as for the nulls of the protocols.

    Attributes
    ----------
    alpha_, cv_ev_ : ndarray, shape (n_units,)
        Chosen penalty (infinite for a unit that is predicted by its mean), and explained variance.
    coef_ : ndarray, shape (n_features, n_units)
    intercept_ : ndarray, shape (n_units,)
    """

    def __init__(self, alphas: ArrayLike = ALPHAS, n_folds: int = 5, fallback: bool = True) -> None:
        self.alphas = alphas
        self.n_folds = n_folds
        self.fallback = fallback

    def fit(self, X: ArrayLike, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Choose penalties and fit.

        Parameters
        ----------
        X : array-like, shape (n_rows, n_features)
        y : array-like, shape (n_rows, n_units) or (n_rows,)
        groups : array-like, shape (n_rows,), optional
            Rows of one group, such as a condition, stay in one fold; groups are dealt to the folds in their
            order. Default: folds of consecutive rows.
        """
        features, targets = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        self._single = targets.ndim == 1
        units = np.asarray(targets, np.float64).reshape(len(features), -1)
        fold = self._folds(len(features), groups)
        order, used, middle = np.argsort(fold, kind="stable"), np.unique(fold).tolist(), units.mean(0)
        cells = fold_moments(features, order, (units - middle)[order], fold[order], self.n_folds)
        alphas = np.asarray(self.alphas, np.float64)
        scores = cv_explained_variance(cells, [[k] for k in used], alphas)
        self.alpha_, self.cv_ev_ = best_alphas(scores, alphas, fallback=self.fallback)
        self.coef_, intercept = solve(cells.total(used), self.alpha_)
        self.intercept_ = intercept + middle
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """Return predictions, (n_rows, n_units), or (n_rows,) if ``y`` was such."""
        check_is_fitted(self)
        features = validate_data(self, X, dtype=np.float64, reset=False)
        predicted: NDArray[np.float64] = features @ self.coef_ + self.intercept_
        return predicted[:, 0] if self._single else predicted

    def _folds(self, n_rows: int, groups: ArrayLike | None) -> Ints:
        if groups is None:
            return np.arange(n_rows) * self.n_folds // n_rows
        _, group = np.unique(column_or_1d(groups), return_inverse=True)
        fold: Ints = group % self.n_folds
        return fold
