"""Frozen splits: a committed rule deals conditions into folds and assigns every trial to train, test or ood.

The rule hashes labels, so a split depends on nothing but the names of conditions and trials: it does
not change with the order of files, and adding a session leaves the others' splits as they were.
Each fold holds out its own conditions, so that all folds together score every condition as a new one
(section 2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

RULE = "ngb-split-1"
HELD_OUT_CONDITIONS = 0.2
HELD_OUT_TRIALS = 0.2
MIN_CONDITIONS = 3
MAX_FOLDS = 5


def hash_order(kind: str, labels: Sequence[str]) -> list[str]:
    """Sort labels into the fixed pseudo-random order of the rule."""
    return sorted(labels, key=lambda x: hashlib.sha256(f"{RULE}|{kind}|{x}".encode()).hexdigest())


def deal_conditions(labels: Sequence[str]) -> list[tuple[str, ...]]:
    """Deal conditions into folds: a fifth of them into the first, the others evenly into the rest.

    Parameters
    ----------
    labels : sequence of str
        Conditions of a dataset.

    Returns
    -------
    list of tuple of str
        The conditions that each fold holds out: five folds, or as many as there are conditions. With fewer
        than three conditions one fold, which holds out none.
    """
    order = hash_order("condition", sorted(set(labels)))
    if len(order) < MIN_CONDITIONS:
        return [()]
    n_first = max(1, round(HELD_OUT_CONDITIONS * len(order)))
    others = min(MAX_FOLDS, len(order)) - 1
    dealt = [order[:n_first], *(order[n_first + k :: others] for k in range(others))]
    return [tuple(sorted(fold)) for fold in dealt]


@dataclass(frozen=True)
class Splits:
    """Trial ids of each split of one fold.

    Parameters
    ----------
    train, test, ood : mapping of str to tuple of str
        Session → trial ids.
    held_out : tuple of str
        The conditions of ``ood``.
    fold, n_folds : int
    """

    train: Mapping[str, tuple[str, ...]]
    test: Mapping[str, tuple[str, ...]]
    ood: Mapping[str, tuple[str, ...]]
    held_out: tuple[str, ...]
    fold: int
    n_folds: int

    def as_json(self) -> str:
        """Canonical text: what is stored and what the digest covers."""
        body = {"rule": RULE, "held_out": self.held_out, "train": self.train, "test": self.test}
        return json.dumps({**body, "ood": self.ood}, sort_keys=True, indent=0)

    @cached_property
    def sha256(self) -> str:
        """Digest of the split."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()


def make_splits(
    conditions: Mapping[str, Mapping[str, str]], together: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[Splits, ...]:
    """Apply the rule.

    Parameters
    ----------
    conditions : mapping
        Session → trial id → condition label, of all trials in the files (dropped ones too, so that a
        trial's split does not depend on why another was dropped).
    together : mapping, optional
        Session → trial id → set, of trials that belong together because they share time: each set is in
        one split. Where some of a set are of held-out conditions, those are ``ood`` and the others in no
        split.

    Returns
    -------
    tuple of Splits
        One per fold. With fewer than three conditions nothing is held out and ``ood`` is empty.
    """
    folds = deal_conditions([c for trials in conditions.values() for c in trials.values()])
    return tuple(
        _fold(conditions, together or {}, set(held_out), k, len(folds)) for k, held_out in enumerate(folds)
    )


def _fold(
    conditions: Mapping[str, Mapping[str, str]],
    together: Mapping[str, Mapping[str, str]],
    held_out: set[str],
    fold: int,
    n_folds: int,
) -> Splits:
    labels = sorted({c for trials in conditions.values() for c in trials.values()} - held_out)
    train: dict[str, tuple[str, ...]] = {}
    test: dict[str, tuple[str, ...]] = {}
    ood: dict[str, tuple[str, ...]] = {}
    for session, trials in conditions.items():
        sets = together.get(session, {})
        testing: set[str] = set()
        for label in labels:
            mine = [t for t, c in trials.items() if c == label]
            ranked = hash_order("trial", [f"{session}|{t}" for t in mine])
            testing.update(x.split("|", 1)[1] for x in ranked[: round(HELD_OUT_TRIALS * len(mine))])
        follows = _leaders(session, trials, sets)
        tainted = {sets[t] for t, c in trials.items() if c in held_out and t in sets}
        free = [t for t, c in trials.items() if c not in held_out and sets.get(t) not in tainted]
        ood[session] = tuple(t for t, c in trials.items() if c in held_out)
        test[session] = tuple(t for t in free if follows[t] in testing)
        train[session] = tuple(t for t in free if follows[t] not in testing)
    return Splits(train, test, ood, tuple(sorted(held_out)), fold, n_folds)


def _leaders(session: str, trials: Mapping[str, str], sets: Mapping[str, str]) -> dict[str, str]:
    """Return the trial whose split each trial shares: itself, or one of its set, in a fixed hash order."""
    leader: dict[str, str] = {}
    for name in hash_order("set", [f"{session}|{t}" for t in trials]):
        trial = name.split("|", 1)[1]
        leader.setdefault(sets.get(trial, ""), trial)
    return {t: leader[sets[t]] if t in sets else t for t in trials}


def folds_by_trial(
    ids: Sequence[str], conditions: Sequence[str], n_folds: int, together: Mapping[str, str] | None = None
) -> list[int]:
    """Fold of each trial, every condition spread evenly over the folds.

    ``together`` gives the set of trials that have one; each set is in one fold.
    """
    rank = {t: i for i, t in enumerate(hash_order("fold", list(ids)))}
    order = sorted(range(len(ids)), key=lambda i: (conditions[i], rank[ids[i]]))
    fold = [0] * len(ids)
    for position, i in enumerate(order):
        fold[i] = position % n_folds
    first: dict[str, int] = {}
    for i in order:
        fold[i] = first.setdefault(together[ids[i]], fold[i]) if together and ids[i] in together else fold[i]
    return fold


def folds_by_condition(
    conditions: Sequence[str], n_folds: int, together: Sequence[str] | None = None
) -> list[int]:
    """Fold of each trial, every condition wholly in one fold.

    ``together`` names the set of each trial (empty: none); conditions with trials in one set share a fold.
    """
    rank = {c: i for i, c in enumerate(hash_order("fold", sorted(set(conditions))))}
    joined = {c: c for c in rank}
    for members in _sets(conditions, together or ()):
        least = min((joined[c] for c in members), key=rank.__getitem__)
        merged = {joined[c] for c in members}
        joined = {c: least if j in merged else j for c, j in joined.items()}
    return [rank[joined[c]] % n_folds for c in conditions]


def _sets(conditions: Sequence[str], together: Sequence[str]) -> list[set[str]]:
    """Conditions of each set of trials."""
    found: dict[str, set[str]] = {}
    for condition, name in zip(conditions, together, strict=bool(together)):
        if name:
            found.setdefault(name, set()).add(condition)
    return list(found.values())
