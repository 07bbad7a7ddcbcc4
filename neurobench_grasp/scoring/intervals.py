"""Aggregates over units, sessions and animals, with 95 % intervals (section 3, uncertainty).

The interval is a jackknife over what the score must generalise to (held-out conditions, or trials where
conditions are too few) plus the variance of the mean over units, less what both contain, plus the variance
over networks and over draws of random references, with Student's t for the few there are: Efron and Stein
(1981), The Annals of Statistics 9:586; two ways of clustering: Cameron, Gelbach and Miller (2011), Journal of
Business & Economic Statistics 29:238. A percentile bootstrap over seven objects covers too little.

Networks that are tested on separate folds differ because their conditions do, too. What the conditions
explain, by the jackknife, is taken away from the variance over folds; the rest counts as that of networks.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurobench_grasp.contract import Bools, Floats
from neurobench_grasp.scoring.sums import OF_ALL_FOLDS, Sums, joined

MIN_GROUPS = 5
MIN_NETWORKS = 3
"""Networks that a gain needs for an interval, if the model depends on a seed."""
Term = tuple[float, Sums]
"""A weight and the sums behind a score, which is the weighted sum of the terms' scores."""


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
    terms : tuple of (float, Sums)
        Sums from which the scores follow, where those of several folds can be joined.
    folds : tuple of UnitScores
        The folds whose sums were joined, where there are several.
    """

    session: str
    subject: str
    units: tuple[str, ...]
    values: Floats
    left_out: Mapping[str, Floats]
    draws: tuple[Floats, ...] = ()
    terms: tuple[Term, ...] = ()
    folds: tuple[UnitScores, ...] = ()

    @classmethod
    def of_terms(
        cls, session: str, subject: str, units: tuple[str, ...], terms: tuple[Term, ...]
    ) -> UnitScores:
        """Compute the scores that follow from sums of equal groups."""
        rows = np.sum([weight * sums.scores() for weight, sums in terms], axis=0)
        left_out = dict(zip(terms[0][1].groups, rows[1:], strict=True))
        return cls(session, subject, units, rows[0], left_out, terms=terms)

    @classmethod
    def mean_of(cls, draws: Sequence[UnitScores]) -> UnitScores:
        """Average over the draws of a random model, such as its networks; join those of several folds.

        Sources of randomness within a draw are in the spread of the draws already.
        """
        first = draws[0]
        if len(draws) == 1:
            return first
        if all(d.terms for d in draws):
            return cls._joined(draws)
        values = np.array([d.values for d in draws])
        groups = list(dict.fromkeys(g for d in draws for g in d.left_out))  # a network may not have seen all
        left = [[d.left_out.get(g, d.values) for g in groups] for d in draws]
        means = np.array(left).mean(0)  # at once: there are thousands
        left_out = dict(zip(groups, means, strict=True))
        return cls(first.session, first.subject, first.units, values.mean(0), left_out, (values,))

    @classmethod
    def _joined(cls, draws: Sequence[UnitScores]) -> UnitScores:
        """Compute the scores from the sums of all draws at once."""
        by_fold: dict[frozenset[str], list[UnitScores]] = {}
        for draw in draws:
            by_fold.setdefault(frozenset(draw.left_out), []).append(draw)
        folds = [cls._of_joined_terms(parts) for parts in by_fold.values()]
        if len(folds) > 1:
            return replace(cls._of_joined_terms(folds), folds=tuple(folds))
        return replace(folds[0], draws=(np.array([d.values for d in draws]),))

    @classmethod
    def _of_joined_terms(cls, parts: Sequence[UnitScores]) -> UnitScores:
        first = parts[0]
        columns = zip(*(part.terms for part in parts), strict=True)
        terms = tuple((column[0][0], joined([sums for _, sums in column])) for column in columns)
        return cls.of_terms(first.session, first.subject, first.units, terms)

    @property
    def has_data(self) -> Bools:
        """Whether each unit has data that a score can follow from, perhaps only with those of other folds."""
        if not self.terms:
            return np.isfinite(self.values)
        every: Bools = np.all([sums.values[0].sum(0) > 0 for _, sums in self.terms], axis=0)
        return every

    def of(self, units: Sequence[str], groups: Sequence[str]) -> UnitScores:
        """Keep some units, in this order, and some groups."""
        place = {unit: k for k, unit in enumerate(self.units)}
        at = [place[unit] for unit in units]
        if self.terms:
            terms = tuple((sign, sums.of(groups, at)) for sign, sums in self.terms)
            scores = UnitScores.of_terms(self.session, self.subject, tuple(units), terms)
            folds = tuple(fold.of(units, groups) for fold in self.folds if {*groups} & {*fold.left_out})
            draws = tuple(source[:, at] for source in self.draws)
            return replace(scores, draws=draws, folds=folds if len(folds) > 1 else ())
        left_out = {g: self.left_out[g][at] for g in groups}
        draws = tuple(source[:, at] for source in self.draws)
        return UnitScores(self.session, self.subject, tuple(units), self.values[at], left_out, draws)

    def where(self, units: Bools) -> UnitScores:
        """Keep the scores of some units; the others have none."""
        left_out = {g: np.where(units, v, np.nan) for g, v in self.left_out.items()}
        draws = tuple(np.where(units, source, np.nan) for source in self.draws)
        return UnitScores(
            self.session, self.subject, self.units, np.where(units, self.values, np.nan), left_out, draws
        )

    def times(self, factor: float) -> UnitScores:
        """Multiply all scores by a factor."""
        return replace(
            self,
            values=factor * self.values,
            left_out={g: factor * v for g, v in self.left_out.items()},
            draws=tuple(factor * source for source in self.draws),
            terms=tuple((factor * weight, sums) for weight, sums in self.terms),
            folds=tuple(fold.times(factor) for fold in self.folds),
        )

    def minus(self, other: UnitScores) -> UnitScores:
        """Gain over another model's scores of the same units, paired unit by unit.

        The two models' networks and draws are independent of each other, but networks of one fold are paired.
        """
        if (self.session, self.units) != (other.session, other.units):
            raise ValueError(f"scores of {self.session} and {other.session} are not of the same units")
        left_out = {g: v - other.left_out[g] for g, v in self.left_out.items()}
        draws = (
            *(source - other.values for source in self.draws),
            *(self.values - source for source in other.draws),
        )
        terms = (*self.terms, *((-sign, sums) for sign, sums in other.terms))
        theirs = {frozenset(fold.left_out): fold for fold in other.folds}
        folds = [fold.minus(theirs[frozenset(fold.left_out)]) for fold in self.folds]
        return UnitScores(
            self.session,
            self.subject,
            self.units,
            self.values - other.values,
            left_out,
            draws,
            terms if self.terms and other.terms else (),
            tuple(folds),
        )


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
    variances : Variances, optional
        Of which ``data_se`` consists.
    n_folds : int
        Folds of the conditions over which networks vary; 0 if every network has all conditions.
    """

    value: float
    median: float
    ci: tuple[float, float] | None
    n_units: int
    n_groups: int
    data_se: float | None
    draw_se: float
    variances: Variances | None = None
    n_folds: int = 0

    @classmethod
    def of(
        cls,
        value: float,
        median: float,
        n_units: int,
        n_groups: int,
        variances: Variances | None,
        draws: Sequence[tuple[float, int]],
        n_folds: int,
    ) -> Summary:
        """Add the interval to a mean, from its variances and the standard errors over draws."""
        ci, data_se = None, None
        if variances is not None:
            data_se = variances.error
            half = half_width(data_se, n_groups, draws)
            ci = (value - half, value + half)
        draw_se = math.hypot(*(se for se, _ in draws))
        return cls(value, median, ci, n_units, n_groups, data_se, draw_se, variances, n_folds)


def half_width(data_se: float, n_groups: int, draws: Sequence[tuple[float, int]]) -> float:
    """Half width of a 95 % interval: Student's t for the groups, and for each source of randomness."""
    of_draws = math.hypot(*(student_t(n - 1) * se for se, n in draws))
    return math.hypot(student_t(n_groups - 1) * data_se, of_draws)


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
    variances, draws = Variances.of(jackknife, defined), _draw_errors(defined, jackknife)
    n_folds = len(defined[0].folds) if all(part.folds for part in defined) else 0
    return Summary.of(value, float(np.nanmedian(pooled)), n_units, len(groups), variances, draws, n_folds)


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


@dataclass(frozen=True)
class Variances:
    """Variance of an aggregate score by where it comes from.

    Parameters
    ----------
    groups, units : float
        From which groups (conditions) and which units were recorded.
    both : float
        From what is particular to one unit in one group, as far as the jackknife over groups has it.
    """

    groups: float
    units: float
    both: float

    @classmethod
    def of(cls, jackknife: Floats, parts: Sequence[UnitScores]) -> Variances | None:
        """Variances of an aggregate, from those with each group left out; ``None`` with too few groups."""
        if len(jackknife) < MIN_GROUPS or not np.isfinite(jackknife).all():
            return None
        return cls.apart(float(jackknife_variance(jackknife)), _unit_variance(parts), _noise_variance(parts))

    @classmethod
    def apart(cls, of_groups: float, of_units: float, both: float) -> Variances:
        """Take what is particular to a unit in a group away from the variances over groups and over units.

        It is in both of these, and counts once.
        """
        return cls(max(of_groups - both, 0.0), max(of_units - both, 0.0), min(both, of_groups))

    @property
    def error(self) -> float:
        """Standard error from groups and units together."""
        return math.sqrt(self.groups + self.both + self.units)


def jackknife_variance(left_out: Floats) -> Floats:
    """Variance of scores over groups, from those with each group left out, (..., n_groups)."""
    n = left_out.shape[-1]
    variance: Floats = (n - 1) / n * ((left_out - left_out.mean(-1, keepdims=True)) ** 2).sum(-1)
    return variance


def _draw_errors(parts: Sequence[UnitScores], jackknife: Floats) -> list[tuple[float, int]]:
    """Return the standard error over the draws of each source of randomness, and the number of draws."""
    errors = []
    for source in zip(*(part.draws for part in parts), strict=True):
        values = over_animals(parts, source)
        errors.append((float(np.std(values, ddof=1)) / len(values) ** 0.5, len(values)))
    if all(part.folds for part in parts):
        values = over_animals(parts, [fold_values(part) for part in parts])
        errors.append((float(fold_error(values, jackknife_variance(jackknife))), len(values)))
    return errors


def fold_values(part: UnitScores) -> Floats:
    """Return the scores of single folds, (n_folds, n_units), which differ as their networks do.

    The correlation within a fold of few conditions is another quantity than that over all: its pseudo-values
    are returned instead, from scores with the fold left out (Tukey 1958, Ann. Math. Statist. 29:614).
    """
    if not any(sums.kind in OF_ALL_FOLDS for _, sums in part.terms):
        return np.stack([fold.values for fold in part.folds])
    n = len(part.folds)
    others = [[fold for fold in part.folds if fold is not out] for out in part.folds]
    without = np.stack([UnitScores._of_joined_terms(folds).values for folds in others])
    pseudo: Floats = n * part.values - (n - 1) * without
    return pseudo


def fold_error(folds: Floats, of_conditions: Floats | float) -> Floats:
    """Return the standard error over folds, (..., n_folds), less what conditions explain (a variance)."""
    error: Floats = np.sqrt(np.maximum(np.var(folds, axis=-1, ddof=1) / folds.shape[-1] - of_conditions, 0.0))
    return error


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
