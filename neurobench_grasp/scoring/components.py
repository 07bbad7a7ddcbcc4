"""From a layer to at most 78 components: standardise, PCA, winsorise; all fitted on train (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Floats

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

    def scores(self, features: Floats) -> tuple[Floats, int]:
        """Component scores of rows (n_rows, n_features), and how many entries were cut."""
        raw = ((features - self.mean) / self.scale) @ self.axes
        cut = np.clip(raw, -self.limit, self.limit)
        return cut, int(np.count_nonzero(cut != raw))


def fit_components(train: Floats, *, n_components: int, winsorise_sd: float) -> Components:
    """Fit on the training rows of one layer.

    Parameters
    ----------
    train : ndarray, shape (n_rows, n_features)
    n_components : int
        Upper bound; features that do not vary on train and null directions are dropped.
    winsorise_sd : float
        Scores are cut at this many standard deviations of train.
    """
    mean, scale = train.mean(0), train.std(0)
    varies = scale > 1e-9 * np.maximum(np.abs(mean), scale.max(initial=0.0)) + 1e-300
    scale = np.where(varies, scale, 1.0)
    z = np.where(varies, (train - mean) / scale, 0.0)
    eigenvalues, vectors = _largest(z.T @ z / max(len(z), 1), n_components)
    order = np.argsort(eigenvalues)[::-1]
    order = order[eigenvalues[order] > SMALLEST_VARIANCE * max(eigenvalues.max(initial=0.0), 1e-300)]
    axes = np.where(varies[:, None], vectors[:, order], 0.0)
    return Components(mean, scale, axes, winsorise_sd * np.sqrt(eigenvalues[order]))


def _largest(covariance: Floats, n: int) -> tuple[Floats, Floats]:
    """Return the largest eigenvalues, ascending, and their vectors."""
    if len(covariance) < 4 * n:  # the usual case, in which all take no longer
        eigenvalues, vectors = np.linalg.eigh(covariance)
        return eigenvalues[-n:], vectors[:, -n:]
    from scipy.linalg import eigh  # here, because it takes longer to import than a command may to answer

    last = len(covariance) - 1
    eigenvalues, vectors = eigh(covariance, subset_by_index=(last - n + 1, last))
    return eigenvalues, vectors
