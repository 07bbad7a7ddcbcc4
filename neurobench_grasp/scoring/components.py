"""From a layer to at most 78 components: standardise, PCA, winsorise; all fitted on train (section 3)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from neurobench_grasp.contract import Floats

BLOCK = 1 << 25
"""Features that are read at a time: 256 MiB in double precision, little beside a session's features."""
SMALLEST_VARIANCE = 1e-10
"""Components (and features) below this fraction of the largest variance are rounding noise."""


@dataclass(frozen=True)
class Components:
    """A standardiser and PCA fitted on training rows.

    Parameters
    ----------
    mean, scale : ndarray, shape (n_features,)
    axes : ndarray, shape (n_features, n_components)
    limit : ndarray, shape (n_components,)
        Scores are cut at plus and minus this value.
    """

    mean: Floats
    scale: Floats
    axes: Floats
    limit: Floats

    def scores(self, features: Features) -> tuple[Floats, int]:
        """Component scores of rows (n_rows, n_features), and how many entries were cut."""
        cut, n_cut = np.empty((features.shape[0], len(self.limit))), 0
        for rows in _blocks(features):
            raw = ((features[rows] - self.mean) / self.scale) @ self.axes
            np.clip(raw, -self.limit, self.limit, out=cut[rows])
            n_cut += int(np.count_nonzero(cut[rows] != raw))
        return cut, n_cut


class Features(Protocol):
    """Rows of features that may be made when they are asked for: an array, or what is indexed like one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows and of features."""

    def __getitem__(self, rows: slice, /) -> Floats:
        """Return some rows, (n_rows, n_features)."""


def fit_components(train: Features, *, n_components: int, winsorise_sd: float) -> Components:
    """Fit on the training rows of one layer.

    Parameters
    ----------
    train : ndarray or Features, shape (n_rows, n_features)
    n_components : int
        Upper bound; features that do not vary on train and null directions are dropped.
    winsorise_sd : float
        Scores are cut at this many standard deviations of train.
    """
    mean = _sum_over(train, lambda x: x.sum(0)) / train.shape[0]

    def products(x: Floats) -> Floats:
        centred = x - mean
        found: Floats = centred.T @ centred
        return found

    covariance = _sum_over(train, products) / train.shape[0]
    scale = np.sqrt(covariance.diagonal())
    varies = scale > 1e-9 * np.maximum(np.abs(mean), scale.max(initial=0.0)) + 1e-300
    scale = np.where(varies, scale, 1.0)
    covariance /= scale[:, None] * scale
    covariance[~varies] = covariance[:, ~varies] = 0.0
    eigenvalues, vectors = _largest(covariance, n_components)
    order = np.argsort(eigenvalues)[::-1]
    order = order[eigenvalues[order] > SMALLEST_VARIANCE * max(eigenvalues.max(initial=0.0), 1e-300)]
    axes = np.where(varies[:, None], vectors[:, order], 0.0)
    return Components(mean, scale, axes, winsorise_sd * np.sqrt(eigenvalues[order]))


def _blocks(features: Features) -> Iterator[slice]:
    """Divide rows into blocks of at most :data:`BLOCK` features."""
    n_rows, n_features = features.shape
    step = max(BLOCK // max(n_features, 1), 1)
    return (slice(first, min(first + step, n_rows)) for first in range(0, max(n_rows, 1), step))


def _sum_over(features: Features, term: Callable[[Floats], Floats]) -> Floats:
    """Add up a function of the rows, block by block."""
    return functools.reduce(operator.add, (term(features[rows]) for rows in _blocks(features)))


def _largest(covariance: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues, ascending, and their vectors."""
    if len(covariance) < 4 * n:  # the usual case, in which all take no longer
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return eigenvalues[-n:], vectors[:, -n:]
    from scipy.linalg import eigh  # here, because it takes longer to import than a command may to answer

    last = len(covariance) - 1
    eigenvalues, vectors = eigh(covariance, subset_by_index=(last - n + 1, last))
    return eigenvalues, vectors
