"""Compare models pair by pair, by one rule (protocol section 3, uncertainty).

Two models differ if and only if the 95 % interval of their difference, paired unit by unit and condition by
condition, excludes 0. Ranks and ties follow from all pairs. The tests over networks and over units are shown
beside it and decide nothing. Mann and Whitney (1947), Ann. Math. Statist. 18:50; Wilcoxon (1945), Biometrics
Bulletin 1:80; Holm (1979), Scand. J. Statist. 6:65; groups of ties: Piepho (2004), J. Comput. Graph. Statist.
13:456.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from neurobench_grasp.contract import Bools
from neurobench_grasp.scoring.intervals import Summary, summarise
from neurobench_grasp.scoring.networks import Networks, in_common, mean_in_common

RESOLUTION = 1e-6  # scores of single units are kept in single precision; what is less is rounding


def difference(a: Networks, b: Networks) -> Summary | None:
    """Difference of two models over what both have scores for, paired unit by unit, group by group."""
    a, b = in_common(a, b)
    return summarise([x.minus(y) for x, y in zip(mean_in_common(a), mean_in_common(b), strict=True)])


def gains(model: Networks, twins: Networks) -> Networks:
    """Subtract from each network's scores those of its twin."""
    model, twins = in_common(model, twins)
    return [
        [x.minus(y) for x, y in zip(network, twin, strict=True)]
        for network, twin in zip(model, twins, strict=True)
    ]


def verdict(total: Summary | None) -> int:
    """Return the sign of a difference whose interval excludes 0, by more than rounding; else 0, a tie."""
    if total is None or total.ci is None:
        return 0
    low, high = total.ci
    return int(low > RESOLUTION) - int(high < -RESOLUTION)


def beats(differences: Mapping[tuple[int, int], Summary | None], n: int, *, lower: bool) -> Bools:
    """Find which model is better than which.

    Parameters
    ----------
    differences : mapping of (int, int) to Summary
        First model minus second.
    n : int
        Number of models.
    lower : bool
        True if lower scores are better.

    Returns
    -------
    ndarray, shape (n, n)
        True where the model of the row is better than that of the column.
    """
    better = np.zeros((n, n), bool)
    for (i, j), total in differences.items():
        sign = -verdict(total) if lower else verdict(total)
        better[i, j], better[j, i] = sign > 0, sign < 0
    return better


def rank_intervals(better: Bools) -> list[tuple[int, int]]:
    """Best and worst possible rank of each model: after all that are better, before all that are worse."""
    n = len(better)
    return [
        (1 + int(above), n - int(below))
        for above, below in zip(better.sum(axis=0), better.sum(axis=1), strict=True)
    ]


def tie_groups(better: Bools) -> list[tuple[int, ...]]:
    """List all largest groups of models of which no two differ; a model may be in several.

    Being tied is not transitive: the first may tie with the second and the second with the third, although
    the first and the third differ. The groups are (0, 1) and (1, 2) then.
    """
    tied = ~(better | better.T)
    neighbours = [sum(1 << int(j) for j in np.flatnonzero(row) if j != i) for i, row in enumerate(tied)]
    groups = [_members(g) for g in _largest(0, (1 << len(better)) - 1, 0, neighbours)]
    return sorted(g for g in groups if g)


def _largest(group: int, candidates: int, seen: int, neighbours: Sequence[int]) -> Iterator[int]:
    """Yield all largest groups of neighbours as bits: Bron and Kerbosch (1973), Commun. ACM 16:575."""
    if not candidates | seen:
        yield group
        return
    pivot = max(_members(candidates | seen), key=lambda k: (candidates & neighbours[k]).bit_count())
    for k in _members(candidates & ~neighbours[pivot]):
        near = neighbours[k]
        yield from _largest(group | 1 << k, candidates & near, seen & near, neighbours)
        candidates, seen = candidates & ~(1 << k), seen | 1 << k


def _members(bits: int) -> tuple[int, ...]:
    """Numbers of the bits that are set, ascending."""
    return tuple(k for k in range(bits.bit_length()) if bits >> k & 1)


def mann_whitney(a: Networks, b: Networks) -> float | None:
    """Exact two-sided p over networks; ``None`` unless both models have at least two."""
    from scipy.stats import mannwhitneyu

    if min(len(a), len(b)) < 2:
        return None
    x, y = ([total.value for network in m if (total := summarise(network))] for m in in_common(a, b))
    return float(mannwhitneyu(x, y, method="exact").pvalue) if x and y else None


def smallest_mann_whitney(n: int, m: int) -> float:
    """Smallest two-sided p that ``n`` against ``m`` networks can reach."""
    return 2 / math.comb(n + m, n)


def wilcoxon_signed_rank(a: Networks, b: Networks) -> float | None:
    """Two-sided p over units, their scores averaged over networks; ``None`` without a unit in common."""
    from scipy.stats import wilcoxon

    a, b = in_common(a, b)
    pairs = zip(mean_in_common(a), mean_in_common(b), strict=True)
    paired = np.concatenate([np.empty(0), *(x.minus(y).values for x, y in pairs)])
    if not len(paired):
        return None
    return float(wilcoxon(paired).pvalue) if paired.any() else 1.0  # nothing but zeros has no ranks


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values for their number by Holm's step-down method."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(value) for value in adjusted]
