"""How alike a population and what it is compared with are on held-out data, by four measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.splits import folds_by_condition
from neurobench_grasp.contract import Floats
from neurobench_grasp.protocols.population.responses import Repeats, Responses
from neurobench_grasp.protocols.settings import POPULATION
from neurobench_grasp.records.table import CCA, DSA, PROCRUSTES
from neurobench_grasp.scoring.emg import attainable, spearman_brown
from neurobench_grasp.scoring.intervals import MIN_GROUPS, UnitScores
from neurobench_grasp.scoring.population import Alignment, Dynamics, dissimilarities, rank_similarity
from neurobench_grasp.scoring.sums import Sums

ALL = "population"
"""Name of the one unit whose score a similarity is."""
Both = tuple[Repeats, Repeats]
"""Trials of a population, and of what it is compared with."""


@dataclass(frozen=True)
class Pair:
    """A population, and responses that it is compared with.

    Parameters
    ----------
    session : AlignedSession
        Of the population.
    population, other : Responses
    trials : mapping of str to tuple of Repeats
        Split → trials of both, ``train`` among them.
    halves : bool
        Whether both are halves of one population, whose similarity gives its ceiling.
    """

    session: AlignedSession
    population: Responses
    other: Responses
    trials: Mapping[str, Both]
    halves: bool = False
    _fitted: dict[str, Callable[[Both], UnitScores]] = field(default_factory=dict)

    def score(self, metric: str, split: str) -> UnitScores:
        """Evaluate a measure on a split; what it needs is fitted on train, once."""
        if metric not in self._fitted:
            self._fitted[metric] = self._fit(metric)
        return self._fitted[metric](self.trials[split])

    def _fit(self, metric: str) -> Callable[[Both], UnitScores]:
        if metric in (CCA, PROCRUSTES):
            return self._alignment(whitened=metric == CCA)
        return self._dynamics() if metric == DSA else self._rsa

    def score_on_train(self, metric: str) -> float:
        """Mean similarity of training conditions that nothing was fitted on, fold by fold.

        Of training conditions that it was fitted on, where they are too few for folds.
        """
        labels = np.array(_common(self.trials["train"]))
        n_folds = min(POPULATION.n_folds, len(labels) // (MIN_GROUPS if metric == DSA else 1))
        if n_folds < 2:
            return float(np.nan_to_num(self.score(metric, "train").values[0]))
        folds = np.array(folds_by_condition(labels.tolist(), n_folds))
        found = []
        for fold in np.unique(folds):
            trials = {
                "train": _of(self.trials["train"], labels[folds != fold].tolist()),
                "new": _of(self.trials["train"], labels[folds == fold].tolist()),
            }
            inner = replace(self, trials=trials, _fitted={})
            found.append(float(inner.score(metric, "new").values[0]))
        return float(np.nan_to_num(found).mean())

    def _averages(self, trials: Both) -> tuple[list[str], Floats, Floats]:
        """Conditions that both have, and the components of their averages."""
        labels = _common(trials)
        a, b = _of(trials, labels)
        return labels, self.population.average(a), self.other.average(b)

    def _alignment(self, *, whitened: bool) -> Callable[[Both], UnitScores]:
        _, *train = self._averages(self.trials["train"])
        alignment = Alignment.of(*train, whitened=whitened)
        kind = "attainable" if self.halves else "correlation"

        def evaluate(trials: Both) -> UnitScores:
            labels, *new = self._averages(trials)
            found = alignment.sums(*new)
            if self.halves:  # their product is free of noise; the squares are those of the average of both
                whole = self.population.average({c: np.concatenate([s[c] for s in trials]) for c in labels})
                found[:-1] = alignment.sums(whole, whole)[:-1]
            sums = Sums(kind, tuple(labels), found)
            return UnitScores.of_terms(self.session.id, self.session.subject, (ALL,), ((1, sums),))

        return evaluate

    def _dynamics(self) -> Callable[[Both], UnitScores]:
        """Compare operators; no correction is known for what noise does to them.

        Not of few conditions: operators of one or two movements are of any kind.
        """
        _, *train = self._averages(self.trials["train"])
        rank = self.population.n_dimensions
        dynamics = Dynamics.of(*train, rank=rank, n_delays=POPULATION.n_delays)

        def evaluate(trials: Both) -> UnitScores:
            labels, *new = self._averages(trials)
            enough = len(labels) >= MIN_GROUPS
            return self._scores(
                labels, dynamics.similarity(*new) if enough else np.full(len(labels) + 1, np.nan)
            )

        return evaluate

    def _rsa(self, trials: Both) -> UnitScores:
        """Compare dissimilarities of conditions of which at least one is held-out data."""
        a, b = ({**train, **new} for train, new in zip(self.trials["train"], trials, strict=True))
        labels = [c for c in _common((a, b)) if len(a[c]) > 1 and len(b[c]) > 1]
        held = np.array([c in trials[0] and c in trials[1] for c in labels], bool)
        found = rank_similarity(
            dissimilarities(self.population.trials, [a[c] for c in labels]),
            dissimilarities(self.other.trials, [b[c] for c in labels]),
            held[:, None] | held,
        )
        return self._scores(labels, attainable(spearman_brown(found)) if self.halves else found)

    def _scores(self, labels: Sequence[str], found: Floats) -> UnitScores:
        """Scores on all conditions, then without each; where the others define none, the score on all."""
        found = np.where(np.isfinite(found), found, found[0])[:, None]
        left_out = dict(zip(labels, found[1:], strict=True))
        return UnitScores(self.session.id, self.session.subject, (ALL,), found[0], left_out)


def _common(trials: Both) -> list[str]:
    """Conditions of both, sorted."""
    return sorted(trials[0].keys() & trials[1].keys())


def _of(trials: Both, labels: Sequence[str]) -> Both:
    """Trials of some conditions, in this order."""
    return {c: trials[0][c] for c in labels}, {c: trials[1][c] for c in labels}
