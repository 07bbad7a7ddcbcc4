"""Mean over the networks of a model: what all have scores for, averaged unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from neurobench_grasp.scoring.intervals import Summary, UnitScores, summarise

Networks = Sequence[Sequence[UnitScores]]
"""Unit scores of one model: network by network, session by session."""


def in_common(*models: Networks) -> list[Networks]:
    """Keep the sessions, units and groups that every network of every model has scores for."""
    networks = [{part.session: part for part in network} for model in models for network in model]
    sessions = [name for name in networks[0] if all(name in network for network in networks)]
    columns = [_same_units([network[name] for network in networks]) for name in sessions]
    rows = iter([[column[k] for column in columns] for k in range(len(networks))])
    return [[next(rows) for _ in model] for model in models]


def _same_units(parts: Sequence[UnitScores]) -> list[UnitScores]:
    """Scores of one session, one per network, restricted to what all have."""
    if all(_complete_like(part, parts[0]) for part in parts):
        return list(parts)
    places = [{unit: k for k, unit in enumerate(p.units) if np.isfinite(p.values[k])} for p in parts]
    units = tuple(unit for unit in places[0] if all(unit in place for place in places))
    groups = [g for g in parts[0].left_out if all(g in p.left_out for p in parts)]
    out = []
    for part, place in zip(parts, places, strict=True):
        at = [place[unit] for unit in units]
        left_out = {g: part.left_out[g][at] for g in groups}
        out.append(UnitScores(part.session, part.subject, units, part.values[at], left_out))
    return out


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
