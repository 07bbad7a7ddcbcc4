"""Raw difference, gains over untrained twins, and contrast: what a comparison of two policies reports.

The *contrast* of two policies is the difference of their gains, each over its own untrained twin. Whether it
says more about what drives units than the raw difference is not assumed: recovery measures all of them on
units whose kind is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.leaderboard.ranking import difference, gains
from neurobench_grasp.records.table import with_interval
from neurobench_grasp.recovery.candidates import Candidate
from neurobench_grasp.scoring.intervals import MIN_NETWORKS, Summary, UnitScores, over_animals, weights_of
from neurobench_grasp.scoring.networks import Networks, average, in_common, mean_in_common

COMPARED = (("muscle_ppo", "torque_ppo"), ("muscle_ppo", "permuted_muscles"))
"""Pairs of candidates, each compared as first minus second."""


@dataclass(frozen=True)
class Comparison:
    """Two policies on the units of one teacher.

    Parameters
    ----------
    first, second : str
        Candidates.
    raw : Summary, optional
        Score of the first minus score of the second, paired by unit and condition.
    gain, other_gain : Summary, optional
        Score of the first, and of the second, minus that of its untrained twin, paired by network too.
    contrast : Summary, optional
        ``gain`` minus ``other_gain``, paired by unit and condition.
    """

    first: str
    second: str
    raw: Summary | None
    gain: Summary | None
    other_gain: Summary | None
    contrast: Summary | None


@dataclass(frozen=True)
class Numbers:
    """All numbers of a teacher's comparisons as one vector: raw differences, then gains.

    Contrasts are differences of its gains, so that they are in it too.

    Parameters
    ----------
    names : tuple of str, length n_numbers
    values : ndarray, shape (n_numbers,)
        Means over units.
    covariance : ndarray, shape (n_numbers, n_numbers)
        Of these means, from how the numbers differ between units.
    """

    names: tuple[str, ...]
    values: Floats
    covariance: Floats


def comparisons(candidates: Mapping[str, Candidate]) -> tuple[Comparison, ...]:
    """Compare the pairs of :data:`COMPARED` of which both were scored, and have twins.

    Intervals of gains need three networks, as everywhere.
    """
    return tuple(
        _compare(first, candidates[first], second, candidates[second]) for first, second in _pairs(candidates)
    )


def _pairs(candidates: Mapping[str, Candidate]) -> list[tuple[str, str]]:
    twinned = {name for name, c in candidates.items() if c.twins}
    return [pair for pair in COMPARED if twinned.issuperset(pair)]


def _compare(first: str, a: Candidate, second: str, b: Candidate) -> Comparison:
    gained = gains(a.networks, a.twins), gains(b.networks, b.twins)
    totals = (
        difference(a.networks, b.networks),
        average(gained[0]),
        average(gained[1]),
        difference(*gained),
    )
    few = "few networks" if min(len(a.networks), len(b.networks)) < MIN_NETWORKS else ""
    return Comparison(first, second, *(with_interval(total, few) for total in totals))


def numbers_of(candidates: Mapping[str, Candidate]) -> Numbers | None:
    """Return the numbers of a teacher with their covariance; ``None`` if no pair can be compared."""
    pairs = _pairs(candidates)
    if not pairs:
        return None
    members = list(dict.fromkeys(name for pair in pairs for name in pair))
    scores = in_common(*(networks for name in members for networks in _both(candidates[name])))
    means = [mean_in_common(model) for model in scores]
    own, twins = (dict(zip(members, means[k::2], strict=True)) for k in (0, 1))
    names = (*(f"{a} − {b}" for a, b in pairs), *(f"gain of {name}" for name in members))
    first = means[0]
    rows = [np.stack([*_of_session(own, twins, pairs, members, k)]) for k in range(len(first))]
    return Numbers(names, over_animals(first, rows), _covariance(first, rows))


def _both(candidate: Candidate) -> tuple[Networks, Networks]:
    return candidate.networks, candidate.twins


def _of_session(
    own: Mapping[str, Sequence[UnitScores]],
    twins: Mapping[str, Sequence[UnitScores]],
    pairs: Sequence[tuple[str, str]],
    members: Sequence[str],
    session: int,
) -> Iterator[Floats]:
    """Yield each number of each unit of a session, (n_units,)."""
    for a, b in pairs:
        yield own[a][session].values - own[b][session].values
    for name in members:
        yield own[name][session].values - twins[name][session].values


def _covariance(parts: Sequence[UnitScores], rows: Sequence[Floats]) -> Floats:
    """Covariance of the means from (n_numbers, n_units) of each session."""
    total = np.zeros((len(rows[0]), len(rows[0])))
    for values, weight in zip(rows, weights_of(parts), strict=True):
        scored = values[:, np.isfinite(values).all(0)]
        total += weight**2 * np.cov(scored) / scored.shape[1]
    return total
