"""Frozen splits: a committed rule says for every trial whether it is train, test or ood (section 2).

The rule hashes labels, so a split depends on nothing but the names of conditions and trials: it does
not change with the order of files, and adding a session leaves the others' splits as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RULE = "ngb-split-1"
HELD_OUT_CONDITIONS = 0.2
HELD_OUT_TRIALS = 0.2
MIN_CONDITIONS = 3


def hash_order(kind: str, labels: Sequence[str]) -> list[str]:
    """Sort labels into the fixed pseudo-random order of the rule."""
    return sorted(labels, key=lambda x: hashlib.sha256(f"{RULE}|{kind}|{x}".encode()).hexdigest())


@dataclass(frozen=True)
class Splits:
    """Trial ids of each split.

    Parameters
    ----------
    train, test, ood : mapping of str to tuple of str
        Session → trial ids.
    held_out : tuple of str
        The conditions of ``ood``.
    """

    train: Mapping[str, tuple[str, ...]]
    test: Mapping[str, tuple[str, ...]]
    ood: Mapping[str, tuple[str, ...]]
    held_out: tuple[str, ...]

    def as_json(self) -> str:
        """Canonical text: what is stored and what the digest covers."""
        body = {"rule": RULE, "held_out": self.held_out, "train": self.train, "test": self.test}
        return json.dumps({**body, "ood": self.ood}, sort_keys=True, indent=0)

    @property
    def sha256(self) -> str:
        """Digest of the split."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()


def make_splits(conditions: Mapping[str, Mapping[str, str]]) -> Splits:
    """Apply the rule.

    Parameters
    ----------
    conditions : mapping
        Session → trial id → condition label, of all trials in the files (dropped ones too, so that a
        trial's split does not depend on why another was dropped).

    Returns
    -------
    Splits
        With fewer than three conditions nothing is held out and ``ood`` is empty.
    """
    labels = sorted({c for trials in conditions.values() for c in trials.values()})
    n_held_out = max(1, round(HELD_OUT_CONDITIONS * len(labels))) if len(labels) >= MIN_CONDITIONS else 0
    held_out = set(hash_order("condition", labels)[:n_held_out])
    train: dict[str, tuple[str, ...]] = {}
    test: dict[str, tuple[str, ...]] = {}
    ood: dict[str, tuple[str, ...]] = {}
    for session, trials in conditions.items():
        testing: set[str] = set()
        for label in labels:
            mine = [t for t, c in trials.items() if c == label and label not in held_out]
            ranked = hash_order("trial", [f"{session}|{t}" for t in mine])
            testing.update(x.split("|", 1)[1] for x in ranked[: round(HELD_OUT_TRIALS * len(mine))])
        ood[session] = tuple(t for t, c in trials.items() if c in held_out)
        test[session] = tuple(t for t in trials if t in testing)
        train[session] = tuple(t for t, c in trials.items() if c not in held_out and t not in testing)
    return Splits(train, test, ood, tuple(sorted(held_out)))


def folds_by_trial(ids: Sequence[str], conditions: Sequence[str], n_folds: int) -> list[int]:
    """Fold of each trial, every condition spread evenly over the folds."""
    rank = {t: i for i, t in enumerate(hash_order("fold", list(ids)))}
    order = sorted(range(len(ids)), key=lambda i: (conditions[i], rank[ids[i]]))
    fold = [0] * len(ids)
    for position, i in enumerate(order):
        fold[i] = position % n_folds
    return fold


def folds_by_condition(conditions: Sequence[str], n_folds: int) -> list[int]:
    """Fold of each trial, every condition wholly in one fold."""
    rank = {c: i for i, c in enumerate(hash_order("fold", sorted(set(conditions))))}
    return [rank[c] % n_folds for c in conditions]
