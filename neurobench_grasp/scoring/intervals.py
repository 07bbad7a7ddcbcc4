"""Aggregates over units, sessions and animals, with 95 % intervals (section 3, uncertainty).

The interval is a jackknife over what the score must generalise to (held-out conditions, or trials where
conditions are too few) plus the variance of the mean over units (and, for random references, over their
draws), with Student's t for the few groups there are: Efron and Stein (1981), The Annals of Statistics
9:586. A percentile bootstrap over seven objects covers too little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.types import Floats

MIN_GROUPS = 5


@dataclass(frozen=True)
class UnitScores:
    """Scores of the units of one area in one session.

    Parameters
    ----------
    session, subject : str
    units : tuple of str, length n_units
    values : ndarray, shape (n_units,)
        NaN where a unit has no score.
    left_out : mapping of str to ndarray, shape (n_units,)
        The same with one group (condition or trial) left out.
    draws : ndarray, shape (n_draws, n_units), optional
        Scores of the single draws that ``values`` is the mean of, where the model itself is random.
    """

    session: str
    subject: str
    units: tuple[str, ...]
    values: Floats
    left_out: Mapping[str, Floats]
    draws: Floats | None = None

    @classmethod
    def mean_of(cls, draws: Sequence[UnitScores]) -> UnitScores:
        """Average over the draws of a random model."""
        first = draws[0]
        if len(draws) == 1:
            return first
        values = np.stack([d.values for d in draws])
        left_out = {g: np.mean([d.left_out[g] for d in draws], axis=0) for g in first.left_out}
        return cls(first.session, first.subject, first.units, values.mean(0), left_out, values)

    def minus(self, other: UnitScores) -> UnitScores:
        """Gain over another model's scores of the same units, paired unit by unit."""
        if (self.session, self.units) != (other.session, other.units):
            raise ValueError(f"scores of {self.session} and {other.session} are not of the same units")
        left_out = {g: v - other.left_out[g] for g, v in self.left_out.items()}
        draws = None if other.draws is None else self.values - other.draws
        return UnitScores(self.session, self.subject, self.units, self.values - other.values, left_out, draws)


@dataclass(frozen=True)
class Summary:
    """An aggregate score.

    Parameters
    ----------
    value, median : float
        Mean and median; mean over units, then sessions, then animals.
    ci : tuple of float, optional
        95 % interval of the mean.
    n_units, n_groups : int
    """

    value: float
    median: float
    ci: tuple[float, float] | None
    n_units: int
    n_groups: int


def summarise(parts: Sequence[UnitScores]) -> Summary | None:
    """Aggregate the sessions of one area; ``None`` if no unit has a score."""
    defined = [p for p in parts if np.isfinite(p.values).any()]
    if not defined:
        return None
    groups = sorted({g for p in defined for g in p.left_out})
    value = _mean_over_animals(defined, lambda p: p.values)
    jackknife = np.array(
        [_mean_over_animals(defined, lambda p, g=g: p.left_out.get(g, p.values)) for g in groups]  # type: ignore[misc]
    )
    pooled = np.concatenate([p.values for p in defined])
    n_units = int(np.isfinite(pooled).sum())
    return Summary(
        value, float(np.nanmedian(pooled)), _interval(value, jackknife, defined), n_units, len(groups)
    )


def _interval(value: float, jackknife: Floats, parts: Sequence[UnitScores]) -> tuple[float, float] | None:
    n = len(jackknife)
    if n < MIN_GROUPS or not np.isfinite(jackknife).all():
        return None
    variance = (n - 1) / n * float(((jackknife - jackknife.mean()) ** 2).sum()) + _unit_variance(parts)
    half = (_t(n - 1) ** 2 * variance + _draw_half_width(parts) ** 2) ** 0.5
    return value - half, value + half


def _draw_half_width(parts: Sequence[UnitScores]) -> float:
    """Half width of the interval over the draws of a random model; 0 for a model that is not random."""
    if parts[0].draws is None:
        return 0.0
    n = len(parts[0].draws)
    values = [_mean_over_animals(parts, lambda p, k=k: p.draws[k]) for k in range(n)]  # type: ignore[misc]
    half: float = _t(n - 1) * float(np.std(values, ddof=1)) / n**0.5
    return half


def _mean_over_animals(parts: Sequence[UnitScores], pick: Callable[[UnitScores], Floats]) -> float:
    animals: dict[str, list[float]] = {}
    for part in parts:
        scores = pick(part)
        scores = scores[np.isfinite(scores)]
        if len(scores):
            animals.setdefault(part.subject, []).append(float(scores.mean()))
    return float(np.mean([np.mean(sessions) for sessions in animals.values()])) if animals else float("nan")


def _unit_variance(parts: Sequence[UnitScores]) -> float:
    """Variance of the aggregate that comes from which units were recorded."""
    sessions_of: dict[str, int] = {}
    for part in parts:
        sessions_of[part.subject] = sessions_of.get(part.subject, 0) + 1
    total = 0.0
    for part in parts:
        scores = part.values[np.isfinite(part.values)]
        weight = 1 / (len(sessions_of) * sessions_of[part.subject])
        if len(scores) > 1:
            total += weight**2 * float(scores.var(ddof=1)) / len(scores)
    return total


def _t(degrees_of_freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit  # here, because it takes longer to import than a command may to answer

    return float(stdtrit(degrees_of_freedom, 0.975))
