"""How probable each kind of teacher is, given the numbers of its comparisons.

Model: the mean of each kind is drawn around a common mean, and the numbers of a teacher around the mean of
its kind: random effects, one-way. Both covariances have the shape that is measured over units; nothing else
is known of their sizes. The common mean has a flat prior, the size a prior of 1/size, and the share of the
variance that is between kinds (the intraclass correlation) a uniform one, over which a grid integrates: Box
and Tiao (1973), Bayesian Inference in Statistical Analysis, chapter 5. A priori every kind is equally
probable. So the means of kinds that hardly differ are drawn together, and two kinds are distinguished only if
they are further from each other than teachers of one kind.

Assumptions: the kind is among those that were taught; candidates, movements and numbers of units are the
same; teachers of one kind, and kinds, differ in the directions in which units differ. A teacher is judged
by the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.recovery.numbers import Numbers

SURE = 0.95
"""Probability from which one kind is distinguished from another."""
_ROUNDING = 1e-9
SHARES = (np.arange(20) + 0.5) / 20
"""Grid of the share of the variance that is between kinds."""


def kind_probabilities(kinds: Sequence[str], numbers: Sequence[Numbers]) -> list[dict[str, float]]:
    """Return the probability of each kind for each teacher, calibrated on the other teachers.

    Parameters
    ----------
    kinds : sequence of str, length n_teachers
        True kinds.
    numbers : sequence of Numbers, length n_teachers
        With equal names.

    Returns
    -------
    list of dict of str to float
        Empty dicts unless there are two kinds and at least two teachers of each: without another teacher
        of its kind, none can be recognised.
    """
    if len(set(kinds)) < 2 or min(map(list(kinds).count, kinds)) < 2:
        return [{} for _ in kinds]
    values = _whitened(
        np.array([n.values for n in numbers]), np.mean([n.covariance for n in numbers], axis=0)
    )
    found = []
    for k in range(len(kinds)):
        others = [i for i in range(len(kinds)) if i != k]
        found.append(_probabilities(values[[*others, k]], [kinds[i] for i in others]))
    return found


def _whitened(values: Floats, covariance: Floats) -> Floats:
    """Return coordinates of equal variance; directions in which no units differ have no known scale."""
    variances, directions = np.linalg.eigh(covariance)
    known = variances > _ROUNDING * variances.max()
    out: Floats = values @ directions[:, known] / variances[known] ** 0.5
    return out


def _probabilities(values: Floats, kinds: Sequence[str]) -> dict[str, float]:
    """Probability of each kind of the last of some teachers; those of the others are known."""
    candidates = list(dict.fromkeys(kinds))
    logs = np.array([_log_likelihoods(values, [*kinds, candidate]) for candidate in candidates])
    weights = np.exp(logs - logs.max()).sum(1)
    return dict(zip(candidates, (weights / weights.sum()).tolist(), strict=True))


def _log_likelihoods(values: Floats, kinds: Sequence[str]) -> Floats:
    """Marginal likelihood of all teachers' numbers if they are of these kinds, for each of :data:`SHARES`.

    Common mean and size of the variance are integrated out.
    """
    n, n_numbers = values.shape
    same = np.array([[a == b for b in kinds] for a in kinds], float)
    correlations = np.eye(n) + SHARES[:, None, None] * (same - np.eye(n))
    precisions = np.linalg.inv(correlations)
    weights = precisions.sum((1, 2))
    residuals = values - (precisions.sum(1) @ values / weights[:, None])[:, None]
    squares = (residuals * (precisions @ residuals)).sum((1, 2))
    _, determinants = np.linalg.slogdet(correlations)
    found: Floats = -0.5 * n_numbers * (determinants + np.log(weights) + (n - 1) * np.log(squares))
    return found


def indistinct(kinds: Sequence[str], probabilities: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """List the pairs of kinds that are confused: a teacher of either is not surely of its kind.

    Parameters
    ----------
    kinds : sequence of str, length n_teachers
        True kinds.
    probabilities : sequence of mapping of str to float
        See :func:`kind_probabilities`.
    """
    return [
        (a, b)
        for a, b in combinations(dict.fromkeys(kinds), 2)
        if any(
            p and p[kind] < SURE * (p[a] + p[b])
            for kind, p in zip(kinds, probabilities, strict=True)
            if kind in (a, b)
        )
    ]
