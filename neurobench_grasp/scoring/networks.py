"""Mean over the networks of a model: what all have scores for, averaged unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from neurobench_grasp.scoring.intervals import Summary, UnitScores, summarise

Networks = Sequence[Sequence[UnitScores]]
"""Unit scores of one model: network by network, session by session."""


def in_common(*models: Networks) -> list[Networks]:
    """Keep the sessions and units that every network of every model has scores for.

    And the groups that each model has in some network; networks left without any are left out.
    """
    networks = [{part.session: part for part in network} for model in models for network in model]
    sessions = [name for name in networks[0] if all(name in network for network in networks)]
    sizes = [len(model) for model in models]
    columns = [_same_units([network[name] for network in networks], sizes) for name in sessions]
    rows = iter([[column[k] for column in columns] for k in range(len(networks))])
    alike = [[next(rows) for _ in model] for model in models]
    seen = [any(part.left_out for network in model for part in network) for model in alike]
    return [
        [network for network in model if not some or any(part.left_out for part in network)]
        for model, some in zip(alike, seen, strict=True)
    ]


def _same_units(parts: Sequence[UnitScores], sizes: Sequence[int]) -> list[UnitScores]:
    """Scores of one session, one per network (so many of each model), restricted to what all have."""
    if all(_complete_like(part, parts[0]) for part in parts):
        return list(parts)
    scored = [{unit for unit, has in zip(p.units, p.has_data, strict=True) if has} for p in parts]
    units = tuple(unit for unit in parts[0].units if all(unit in own for own in scored))
    groups = _same_groups(parts, sizes)
    return [part.of(units, [g for g in groups if g in part.left_out]) for part in parts]


def _same_groups(parts: Sequence[UnitScores], sizes: Sequence[int]) -> list[str]:
    """Find the groups that each model has in some network."""
    bounds = [0, *np.cumsum(sizes).tolist()]
    owners = [dict.fromkeys(g for part in parts[a:z] for g in part.left_out) for a, z in pairwise(bounds)]
    return [g for g in owners[0] if all(g in own for own in owners)]


def _complete_like(part: UnitScores, like: UnitScores) -> bool:
    """Whether nothing must be left out: the usual case, and a quick answer."""
    same = part.units == like.units and part.left_out.keys() == like.left_out.keys() and not part.draws
    return same and bool(np.isfinite(part.values).all())


def mean_of_networks(model: Networks) -> list[UnitScores]:
    """Average the scores that all networks of a model have, session by session."""
    (model,) = in_common(model)
    return mean_in_common(model)


def mean_in_common(model: Networks) -> list[UnitScores]:
    """Average networks that have scores for the same units, as :func:`in_common` returns them."""
    return [UnitScores.mean_of(parts) for parts in zip(*model, strict=True)]


def average(model: Networks) -> Summary | None:
    """Mean over the networks of a model, which are a source of randomness; ``None`` without a scored unit."""
    return summarise(mean_of_networks(model))
