"""Aggregates over units, sessions and animals, with 95 % intervals (section 3, uncertainty).

The interval is a jackknife over what the score must generalise to (held-out conditions, or trials where
conditions are too few) plus the variance of the mean over units, less what both contain, plus the variance
over networks and over draws of random references, with Student's t for the few there are: Efron and Stein
(1981), The Annals of Statistics 9:586; two ways of clustering: Cameron, Gelbach and Miller (2011), Journal of
Business & Economic Statistics 29:238. A percentile bootstrap over seven objects covers too little.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Bools, Floats

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
    draws : tuple of ndarray, shape (n_draws, n_units)
        For each source of randomness (the networks of a model, the draws of a random reference) the scores
        of the single draws that ``values`` is the mean of.
    """

    session: str
    subject: str
    units: tuple[str, ...]
    values: Floats
    left_out: Mapping[str, Floats]
    draws: tuple[Floats, ...] = ()

    @classmethod
    def mean_of(cls, draws: Sequence[UnitScores]) -> UnitScores:
        """Average over the draws of a random model, such as its networks.

        Sources of randomness within a draw are in the spread of the draws already.
        """
        first = draws[0]
        if len(draws) == 1:
            return first
        values = np.array([d.values for d in draws])
        groups = list(first.left_out)
        means = np.array([[d.left_out[g] for g in groups] for d in draws]).mean(
            0
        )  # at once: there are thousands
        left_out = dict(zip(groups, means, strict=True))
        return cls(first.session, first.subject, first.units, values.mean(0), left_out, (values,))

    def where(self, units: Bools) -> UnitScores:
        """Keep the scores of some units; the others have none."""
        left_out = {g: np.where(units, v, np.nan) for g, v in self.left_out.items()}
        draws = tuple(np.where(units, source, np.nan) for source in self.draws)
        return UnitScores(
            self.session, self.subject, self.units, np.where(units, self.values, np.nan), left_out, draws
        )

    def minus(self, other: UnitScores) -> UnitScores:
        """Gain over another model's scores of the same units, paired unit by unit.

        The two models' networks and draws are independent of each other.
        """
        if (self.session, self.units) != (other.session, other.units):
            raise ValueError(f"scores of {self.session} and {other.session} are not of the same units")
        left_out = {g: v - other.left_out[g] for g, v in self.left_out.items()}
        draws = (
            *(source - other.values for source in self.draws),
            *(self.values - source for source in other.draws),
        )
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
    data_se : float, optional
        Standard error of the mean from the data: which conditions and units were recorded.
    draw_se : float
        Standard error of the mean from which networks were trained, or which random references drawn.
    """

    value: float
    median: float
    ci: tuple[float, float] | None
    n_units: int
    n_groups: int
    data_se: float | None
    draw_se: float

    @classmethod
    def of(
        cls,
        value: float,
        median: float,
        n_units: int,
        n_groups: int,
        data_se: float | None,
        draws: Sequence[tuple[float, int]],
    ) -> Summary:
        """Add the interval: ``draws`` has standard error and number of draws of each source of randomness."""
        ci = None
        if data_se is not None:
            of_draws = math.hypot(*(student_t(n - 1) * se for se, n in draws))
            half = math.hypot(student_t(n_groups - 1) * data_se, of_draws)
            ci = (value - half, value + half)
        return cls(value, median, ci, n_units, n_groups, data_se, math.hypot(*(se for se, _ in draws)))


def summarise(parts: Sequence[UnitScores]) -> Summary | None:
    """Aggregate the sessions of one area; ``None`` if no unit has a score."""
    defined = [p for p in parts if np.isfinite(p.values).any()]
    if not defined:
        return None
    groups = sorted({g for p in defined for g in p.left_out})
    rows = [np.stack([p.values, *(p.left_out.get(g, p.values) for g in groups)]) for p in defined]
    aggregates = over_animals(defined, rows)
    value, jackknife = float(aggregates[0]), aggregates[1:]
    pooled = np.concatenate([p.values for p in defined])
    n_units = int(np.isfinite(pooled).sum())
    data_se, draws = _data_error(jackknife, defined), _draw_errors(defined)
    return Summary.of(value, float(np.nanmedian(pooled)), n_units, len(groups), data_se, draws)


def summarise_ratio(scores: Sequence[UnitScores], ceilings: Sequence[UnitScores]) -> Summary | None:
    """Aggregate scores as a share of their ceilings: the ratio of the two aggregates.

    A ratio of sums over units, never a mean of ratios: a unit whose ceiling is near zero says nothing and
    would drown the others. Its interval is that of the linearised ratio (delta method), so that the ceiling's
    uncertainty counts too.

    Parameters
    ----------
    scores, ceilings : sequence of UnitScores
        Of the same units; units that lack either do not count.

    Returns
    -------
    Summary, optional
        Its median is that of the linearised ratio, its interval is over the groups of the ceilings; ``None``
        if no unit has both.
    """
    pairs = list(zip(scores, ceilings, strict=True))
    both = [np.isfinite(s.values) & np.isfinite(c.values) for s, c in pairs]
    top, bottom = (
        float(over_animals(parts, [p.where(b).values[None] for p, b in zip(parts, both, strict=True)])[0])
        for parts in (scores, ceilings)
    )
    if not bottom > 0:  # nor if it is undefined
        return None
    ratio = top / bottom

    def linear(score: Floats, ceiling: Floats) -> Floats:
        return ratio + (score - ratio * ceiling) / bottom

    parts = []
    for s, c in pairs:
        left_out = {g: linear(s.left_out.get(g, s.values), ceiling) for g, ceiling in c.left_out.items()}
        parts.append(UnitScores(s.session, s.subject, s.units, linear(s.values, c.values), left_out))
    return summarise(parts)


def _data_error(jackknife: Floats, parts: Sequence[UnitScores]) -> float | None:
    """Return the standard error over groups and units; ``None`` with too few groups."""
    n = len(jackknife)
    if n < MIN_GROUPS or not np.isfinite(jackknife).all():
        return None
    variance = (n - 1) / n * float(((jackknife - jackknife.mean()) ** 2).sum())
    variance += max(_unit_variance(parts) - _noise_variance(parts), 0.0)
    return float(variance**0.5)


def _draw_errors(parts: Sequence[UnitScores]) -> list[tuple[float, int]]:
    """Return the standard error over the draws of each source of randomness, and the number of draws."""
    errors = []
    for source in zip(*(part.draws for part in parts), strict=True):
        values = over_animals(parts, source)
        errors.append((float(np.std(values, ddof=1)) / len(values) ** 0.5, len(values)))
    return errors


def over_animals(parts: Sequence[UnitScores], rows: Sequence[Floats]) -> Floats:
    """Mean over units, sessions and animals of each row; ``rows`` has (n_rows, n_units) of each part."""
    sessions = np.stack([_mean(scores.T) for scores in rows])
    subjects = np.array([part.subject for part in parts])
    return _mean(np.stack([_mean(sessions[subjects == animal]) for animal in np.unique(subjects)]))


def _mean(values: Floats) -> Floats:
    """Mean over the first axis of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    if len(values) and finite.all():  # the usual case, and there are thousands
        usual: Floats = values.sum(0) / len(values)
        return usual
    n = finite.sum(0)
    mean: Floats = np.where(n > 0, np.where(finite, values, 0.0).sum(0) / np.maximum(n, 1), np.nan)
    return mean


def _unit_variance(parts: Sequence[UnitScores]) -> float:
    """Variance of the aggregate that comes from which units were recorded."""
    total = 0.0
    for part, weight in zip(parts, weights_of(parts), strict=True):
        scores = part.values[np.isfinite(part.values)]
        if len(scores) > 1:
            total += weight**2 * float(scores.var(ddof=1)) / len(scores)
    return total


def _noise_variance(parts: Sequence[UnitScores]) -> float:
    """Variance of the aggregate from what is particular to one unit in one group.

    It is in the variance over groups and in that over units, and must not count twice.
    """
    total = 0.0
    for part, weight in zip(parts, weights_of(parts), strict=True):
        defined, n = np.isfinite(part.values), len(part.left_out)
        if n > 1 and defined.sum() > 1:
            left_out = np.array(list(part.left_out.values()))[:, defined]
            of_units = (n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0)
            total += weight**2 * float(of_units.mean()) / int(defined.sum())
    return total


def weights_of(parts: Sequence[UnitScores]) -> list[float]:
    """Weight of each session in a mean over sessions, then animals."""
    subjects = [part.subject for part in parts]
    return [1 / (len(set(subjects)) * subjects.count(subject)) for subject in subjects]


@functools.cache
def student_t(degrees_of_freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit  # here, because it takes longer to import than a command may to answer

    return float(stdtrit(degrees_of_freedom, 0.975))
