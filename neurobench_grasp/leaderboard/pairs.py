"""Differences of all pairs of models at once: as ``leaderboard.ranking.difference`` for one pair.

The networks of each model are averaged once. Pairs that have the same units are then computed together, as
arrays; most models of a board are scored on the same units, so that there is one such set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.leaderboard.ranking import difference
from neurobench_grasp.scoring.intervals import (
    MIN_GROUPS,
    Summary,
    UnitScores,
    Variances,
    fold_error,
    fold_values,
    jackknife_variance,
    over_animals,
    weights_of,
)
from neurobench_grasp.scoring.networks import Networks, in_common, mean_of_networks

Parts = Sequence[UnitScores]


@dataclass(frozen=True)
class _Stack:
    """Models scored on the same units, as arrays: a list has one array for each session.

    Parameters
    ----------
    values : list of ndarray, shape (n_models, n_units)
    residuals : list of ndarray, shape (n_models, n_groups, n_units)
        Scores with a group left out, minus their mean over groups.
    total : ndarray, shape (n_models,)
    jackknife : ndarray, shape (n_models, n_groups)
        Totals with a group left out.
    draws : list of tuple, optional
        Of each model standard error over its networks and their number; ``None`` for a single network.
    folds : ndarray, shape (n_models, n_folds)
        Totals of each fold; no columns unless all models have the same folds.
    """

    values: list[Floats]
    residuals: list[Floats]
    total: Floats
    jackknife: Floats
    draws: list[tuple[float, int] | None]
    folds: Floats

    @classmethod
    def of(cls, models: Sequence[Parts], like: Parts) -> _Stack:
        """Stack models that have the sessions, units and groups of ``like``."""
        weights = weights_of(like)
        names = sorted({g for part in like for g in part.left_out})
        values, residuals = [], []
        total, jackknife = np.zeros(len(models)), np.zeros((len(models), len(names)))
        for k, (part, weight) in enumerate(zip(like, weights, strict=True)):
            value = np.stack([m[k].values for m in models])
            left_out = np.stack([[m[k].left_out[g] for g in part.left_out] for m in models])
            left_out = left_out.reshape(len(models), len(part.left_out), len(part.units))
            mean = value.mean(1)
            total += weight * mean
            ours = dict(zip(part.left_out, left_out.mean(2).T, strict=True))
            jackknife += weight * np.stack([ours.get(g, mean) for g in names], 1).reshape(jackknife.shape)
            values.append(value)
            residuals.append(left_out - left_out.mean(1, keepdims=True) if part.left_out else left_out)
        draws = [_draw_error(m, like) for m in models]
        return cls(values, residuals, total, jackknife, draws, _fold_totals(models, like))


def all_differences(models: Mapping[int, Networks]) -> dict[tuple[int, int], Summary | None]:
    """Return the difference of every pair of models, first minus second.

    Parameters
    ----------
    models : mapping of int to Networks

    Returns
    -------
    dict
        (i, j) with i < j, in ascending order.
    """
    means = {i: mean_of_networks(networks) for i, networks in models.items()}
    alike: dict[object, list[int]] = defaultdict(list)
    for i, parts in means.items():
        alike[_signature(parts) if _all_finite(parts) else i].append(i)
    found: dict[tuple[int, int], Summary | None] = {}
    for ours, theirs in product(alike.values(), repeat=2):
        pairs = [(i, later) for i in ours if (later := [j for j in theirs if j > i])]
        groups = [[frozenset(p.left_out) for p in means[group[0]]] for group in (ours, theirs)]
        if pairs and groups[0] == groups[1] and all(_all_finite(means[g[0]]) for g in (ours, theirs)):
            found.update(_between(means, pairs))
        else:
            found.update({(i, j): difference(models[i], models[j]) for i, later in pairs for j in later})
    return dict(sorted(found.items()))


def _signature(parts: Parts) -> object:
    return tuple((p.session, p.subject, p.units, frozenset(p.left_out)) for p in parts)


def _all_finite(parts: Parts) -> bool:
    return all(np.isfinite(v).all() for part in parts for v in part.left_out.values())


def _between(
    means: Mapping[int, Parts], pairs: Sequence[tuple[int, list[int]]]
) -> Iterator[tuple[tuple[int, int], Summary | None]]:
    """Compare models of one set of units with later ones of another, or of the same."""
    ours, theirs = [i for i, _ in pairs], sorted({j for _, later in pairs for j in later})
    ((like,), _) = in_common([means[ours[0]]], [means[theirs[0]]])
    like = [part for part in like if part.units]
    if not like:
        yield from (((i, j), None) for i, later in pairs for j in later)
        return
    members = sorted({*ours, *theirs})
    place = {i: k for k, i in enumerate(members)}
    stack = _Stack.of([_restricted(means[i], like) for i in members], like)
    for i, later in pairs:
        for j, total in zip(later, _minus(stack, like, place[i], [place[j] for j in later]), strict=True):
            yield (i, j), total


def _restricted(parts: Parts, like: Parts) -> list[UnitScores]:
    """Keep the sessions, units and groups of ``like``."""
    by_session, out = {part.session: part for part in parts}, []
    for wanted in like:
        part = by_session[wanted.session]
        if part.units != wanted.units:
            part = part.of(wanted.units, list(wanted.left_out))
        out.append(part)
    return out


def _minus(stack: _Stack, like: Parts, i: int, others: Sequence[int]) -> Iterator[Summary]:
    """Summaries of one model minus each of some others."""
    pooled, unit_variance, noise = [], np.zeros(len(others)), np.zeros(len(others))
    for values, residuals, weight in zip(stack.values, stack.residuals, weights_of(like), strict=True):
        minus = values[i] - values[others]
        pooled.append(minus)
        n_groups, n_units = residuals.shape[1:]
        if n_units > 1:
            unit_variance += weight**2 * minus.var(1, ddof=1) / n_units
        if n_units > 1 and n_groups > 1:
            rest = (residuals[i] - residuals[others]).reshape(len(others), -1)
            of_units = (n_groups - 1) / n_groups * np.einsum("mk,mk->m", rest, rest) / n_units
            noise += weight**2 * of_units / n_units
    medians = np.median(np.concatenate(pooled, 1), 1)
    jackknife = stack.jackknife[i] - stack.jackknife[others]
    n, n_folds = jackknife.shape[1], stack.folds.shape[1]
    variance = jackknife_variance(jackknife)
    fold_se = fold_error(stack.folds[i] - stack.folds[others], variance) if n_folds else None
    n_units = sum(len(part.units) for part in like)
    for k, j in enumerate(others):
        draws = [draw for draw in (stack.draws[i], stack.draws[j]) if draw]
        if fold_se is not None:
            draws.append((float(fold_se[k]), n_folds))
        apart = Variances.apart(float(variance[k]), float(unit_variance[k]), float(noise[k]))
        variances = apart if n >= MIN_GROUPS else None
        value = float(stack.total[i] - stack.total[j])
        yield Summary.of(value, float(medians[k]), n_units, n, variances, draws, n_folds)


def _draw_error(parts: Parts, like: Parts) -> tuple[float, int] | None:
    if not all(part.draws for part in parts):
        return None
    totals = over_animals(like, [part.draws[0] for part in parts])
    return float(np.std(totals, ddof=1)) / len(totals) ** 0.5, len(totals)


def _fold_totals(models: Sequence[Parts], like: Parts) -> Floats:
    """Return the totals of each fold of some models, (n_models, n_folds); no columns if folds differ."""
    folds = [[frozenset(fold.left_out) for fold in part.folds] for model in models for part in model]
    if any(own != folds[0] for own in folds):
        return np.zeros((len(models), 0))
    rows = [[fold_values(part) for part in model] for model in models if folds[0]]
    return np.array([over_animals(like, row) for row in rows]).reshape(len(models), -1)
