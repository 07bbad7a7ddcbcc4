"""Sums over the held-out data of each condition, from which a score follows; sums of several folds join.

Every condition is held out in one fold, each by another network and another map. A score over all of them is
computed from all their bins at once, never as a mean of the folds' scores: with two conditions in a fold its
variance alone would decide. Deviations are from what the fold's training trials predict without a model, so
that this prediction scores exactly 0 in the union, too (section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Bools, Floats
from neurobench_grasp.scoring.emg import attainable, spearman_brown
from neurobench_grasp.scoring.ev import one_minus_ratio, sum_without

JOINED = ("ood",)
"""Splits of which every fold has other conditions, so that the sums of all folds join."""
MIN_TRIALS = 3
"""Trials with spikes that a unit needs to be scored: as many as an average over trials needs."""
MIN_SPIKES = 10
"""Spikes that a unit needs in them: fewer vary by more than a third of their number by chance alone."""


def explained(sums: Floats) -> Floats:
    """``1 − Var(error) / Var(deviation)``; see :data:`SCORES`."""
    n, error, squared_error, deviation, squared_deviation, *_ = sums
    residual = np.maximum(squared_error / n - (error / n) ** 2, 0.0)
    return _share(residual, n, deviation, squared_deviation)


def determined(sums: Floats) -> Floats:
    """``1 − mean squared error / Var(deviation)``: a constant offset is an error too; see :data:`SCORES`."""
    n, _, squared_error, deviation, squared_deviation, *_ = sums
    return _share(squared_error / n, n, deviation, squared_deviation)


def mean(sums: Floats) -> Floats:
    """Mean error; see :data:`SCORES`."""
    n, error = sums
    average: Floats = np.where(n > 0, error / np.maximum(n, 1), np.nan)
    return average


def correlation(sums: Floats) -> Floats:
    """Pearson's correlation; see :data:`SCORES`."""
    n, a, squared_a, b, squared_b, product = sums
    size = np.maximum(n * squared_a - a**2, 0.0) * np.maximum(n * squared_b - b**2, 0.0)
    varies = size > 1e-12 * (n**2 * squared_a * squared_b)
    found: Floats = np.where(varies, (n * product - a * b) / np.sqrt(np.where(varies, size, 1.0)), np.nan)
    return found


def reliability(sums: Floats) -> Floats:
    """Spearman–Brown corrected correlation of two halves; see :data:`SCORES`."""
    return spearman_brown(correlation(sums))


def attainable_correlation(sums: Floats) -> Floats:
    """Correlation of an average with its signal, from the products of its halves; see :data:`SCORES`."""
    return attainable(correlation(sums))


SCORES: Mapping[str, Callable[[Floats], Floats]] = {
    "ev": explained,
    "r2": determined,
    "mean": mean,
    "correlation": correlation,
    "reliability": reliability,
    "attainable": attainable_correlation,
}
"""From sums to scores.

Sums have shape (n_sums, n_rows, n_units). For ``mean``: number, errors; ``ev`` and ``r2``: these, squared
errors, deviations, squared deviations, trials with spikes, spikes; ``correlation``, ``reliability`` and
``attainable``: number, sum and sum of squares of the data and of what is compared with them, sum of products
(for ``attainable`` those of two halves of the data, beside sums of all).
"""


N_SUMS: Mapping[str, int] = {"ev": 7, "r2": 7, "mean": 2, "correlation": 6, "reliability": 6, "attainable": 6}
"""How many sums a score follows from."""
OF_PREDICTION: Mapping[str, list[int]] = {
    "ev": [1, 2],
    "r2": [1, 2],
    "mean": [1],
    "correlation": [3, 4, 5],
    "reliability": [3, 4, 5],
    "attainable": [3, 4, 5],
}
"""Which of them depend on what is predicted; the others are of the data."""
OF_ALL_FOLDS = ("correlation", "reliability", "attainable")
"""Scores that the conditions of one fold alone do not estimate."""
OF_SPIKES = ("ev", "r2")
"""Scores that need enough spikes."""


def _share(residual: Floats, n: Floats, deviation: Floats, squared_deviation: Floats) -> Floats:
    variance = np.maximum(squared_deviation / n - (deviation / n) ** 2, 0.0)
    return one_minus_ratio(residual, variance, squared_deviation[:1] / n[:1])


@dataclass(frozen=True)
class Sums:
    """Sums of each group of data (condition), for every unit.

    Parameters
    ----------
    kind : str
        Score that follows from them, see :data:`SCORES`.
    groups : tuple of str
    values : ndarray, shape (n_sums, n_groups, n_units)
        Zero where a unit has no data.
    """

    kind: str
    groups: tuple[str, ...]
    values: Floats

    def scores(self) -> Floats:
        """Score on all groups, and with each left out, (n_groups + 1, n_units).

        NaN for units with too few spikes for any score (a rule that no prediction enters). Where the other
        groups do not define a score, the score on all.
        """
        sums = sum_without(self.values.swapaxes(0, 1)).swapaxes(0, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rows = SCORES[self.kind](sums)
        rows = np.where(self.scored, rows, np.nan)
        return np.where(np.isfinite(rows), rows, rows[:1])

    @property
    def scored(self) -> Bools:
        """Whether each unit has data enough for a score, (n_units,)."""
        total = self.values.sum(1)
        enough: Bools = total[0] > 0
        if self.kind in OF_SPIKES:
            enough = (total[5] >= MIN_TRIALS) & (total[6] >= MIN_SPIKES)
        return enough

    def where(self, units: Bools) -> Sums:
        """Keep the data of some units; the others have none."""
        return Sums(self.kind, self.groups, np.where(units, self.values, 0.0))

    def of(self, groups: Sequence[str], units: Sequence[int] | None = None) -> Sums:
        """Keep some groups, those of them that there are, and some units."""
        wanted = set(groups)
        at = [k for k, group in enumerate(self.groups) if group in wanted]
        values = self.values[:, at]
        return Sums(
            self.kind, tuple(self.groups[k] for k in at), values if units is None else values[:, :, units]
        )


def joined(parts: Sequence[Sums]) -> Sums:
    """Join sums of the same units: each group the mean of those that have it (networks of one fold)."""
    found: dict[str, list[Floats]] = {}
    for part in parts:
        for k, group in enumerate(part.groups):
            found.setdefault(group, []).append(part.values[:, k])
    n_sums, _, n_units = parts[0].values.shape
    means = [np.mean(values, axis=0) for values in found.values()]
    values = np.stack(means, axis=1) if means else np.zeros((n_sums, 0, n_units))
    return Sums(parts[0].kind, tuple(found), values)
