"""Power of the design: how often the right policy is ahead with fewer units, conditions or networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from neurobench_grasp.leaderboard.ranking import difference, verdict
from neurobench_grasp.recovery.candidates import Candidate
from neurobench_grasp.scoring.intervals import MIN_NETWORKS
from neurobench_grasp.scoring.networks import Networks

DRAWS = 40
"""Random subsets of each size."""
UNITS = (15, 30, 50, 100, 200)
CONDITIONS = (10, 20, 35)


@dataclass(frozen=True)
class Power:
    """How often two policies are distinguished by part of the data.

    Parameters
    ----------
    what : str
        ``units``, ``conditions`` or ``networks``: what there is less of.
    size : int
        How many; of the other two all there are. Networks bring the conditions of their folds.
    share : float
        Of the draws in which the 95 % interval of the difference excludes 0, on the right side.
    n_draws : int
    """

    what: str
    size: int
    share: float
    n_draws: int


def power(own: Candidate, other: Candidate) -> tuple[Power, ...]:
    """Compare two policies on random parts of the units, conditions and networks of one session.

    Parameters
    ----------
    own, other : Candidate
        The first is of the kind of the teacher, and should be ahead.
    """
    rng = np.random.default_rng(0)
    return tuple(
        Power(what, size, float(np.mean(ahead)), len(ahead))
        for what, size, ahead in (
            *_by_units(own, other, rng),
            *_by_conditions(own, other, rng),
            *_by_networks(own, other),
        )
    )


Found = Iterator[tuple[str, int, list[bool]]]


def _by_units(own: Candidate, other: Candidate, rng: np.random.Generator) -> Found:
    units = [len(part.units) for part in own.networks[0]]
    for size in (n for n in UNITS if n <= min(units)):
        draws = [[rng.choice(n, size, replace=False) for n in units] for _ in range(DRAWS)]
        yield (
            "units",
            size,
            [_ahead(*(_with_units(m.networks, chosen) for m in (own, other))) for chosen in draws],
        )


def _by_conditions(own: Candidate, other: Candidate, rng: np.random.Generator) -> Found:
    every = sorted({group for network in own.networks for part in network for group in part.left_out})
    for size in (n for n in CONDITIONS if n <= len(every)):
        draws = [rng.choice(every, size, replace=False).tolist() for _ in range(DRAWS)]
        yield (
            "conditions",
            size,
            [_ahead(*(_with_conditions(m.networks, chosen) for m in (own, other))) for chosen in draws],
        )


def _by_networks(own: Candidate, other: Candidate) -> Found:
    n = min(len(own.networks), len(other.networks))
    for size in range(MIN_NETWORKS, n + 1):
        draws = list(combinations(range(n), size))
        yield (
            "networks",
            size,
            [_ahead(*([m.networks[k] for k in chosen] for m in (own, other))) for chosen in draws],
        )


def _with_units(model: Networks, chosen: list[np.ndarray]) -> Networks:
    return [
        [
            part.of([part.units[i] for i in mine], list(part.left_out))
            for part, mine in zip(network, chosen, strict=True)
        ]
        for network in model
    ]


def _with_conditions(model: Networks, chosen: list[str]) -> Networks:
    kept = [[part.of(part.units, [g for g in chosen if g in part.left_out]) for part in net] for net in model]
    return [network for network in kept if all(part.left_out for part in network)]


def _ahead(own: Networks, other: Networks) -> bool:
    return verdict(difference(own, other)) > 0
