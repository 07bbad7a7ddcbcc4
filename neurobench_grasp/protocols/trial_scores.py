"""Scores with one number per trial: their means over trials, sessions and animals, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, ScoreRow
from neurobench_grasp.scoring.intervals import MIN_GROUPS, UnitScores, summarise
from neurobench_grasp.scoring.sums import JOINED, Sums

PerTrial = Mapping[str, Floats]
"""Numbers by name, each with one entry (or row) for every trial of a session."""


@dataclass(frozen=True)
class TrialScores:
    """A session with numbers of each of its trials."""

    session: AlignedSession
    values: PerTrial


Parts = Sequence[tuple[TrialScores, Sequence[int]]]
"""Sessions, and the trials of them that count."""


def summary(parts: Parts, split: str, name: str) -> ScoreRow:
    """Mean over trials, then sessions, then animals, with its interval, or the reason why there is none."""
    if not parts:
        return {"value": None, "reason": f"the split {split} has no trials"}
    if any(name not in p.values for p, _ in parts):
        return {"value": None, "reason": "there are no training trials to average"}
    by_trial = over_trials(parts, split)
    return row_of(
        [unit_scores(p, trials, name, split, by_trial=by_trial) for p, trials in parts], parts, split
    )


def row_of(scores: Sequence[UnitScores], parts: Parts, split: str) -> ScoreRow:
    """Aggregate the scores of sessions that are means over the given trials."""
    conditions, few = _conditions(parts), over_trials(parts, split)
    total = summarise(scores)
    assert total is not None
    row: ScoreRow = {"value": total.value, "ci": total.ci, "n_conditions": len(conditions)}
    row["n_trials"] = sum(len(trials) for _, trials in parts)
    if total.ci is None:
        row["reason"] = f"no interval: {row['n_trials']} trials of {len(conditions)} conditions are too few"
    else:
        row["ci_over"] = ["trial" if few else "condition"]
        if few:
            row["reason"] = "interval for the conditions seen here only: too few to generalise"
    return row


def over_trials(parts: Parts, split: str) -> bool:
    """Return True if intervals have to be over trials: with few conditions, unless folds add others."""
    return split not in JOINED and len(_conditions(parts)) < MIN_GROUPS


def _conditions(parts: Parts) -> set[str]:
    return {p.session.trials.condition[i] for p, trials in parts for i in trials}


def unit_scores(
    part: TrialScores, trials: Sequence[int], name: str, split: str, *, by_trial: bool
) -> UnitScores:
    """Mean over trials, and with each condition (or trial) left out, as the score of one unit: the body."""
    session, values = part.session, part.values[name][list(trials)]
    groups = np.array(labels_of(session, trials, by_trial=by_trial))
    labels = tuple(sorted(set(groups.tolist())))
    sums = np.array([[np.sum(groups == g), values[groups == g].sum()] for g in labels]).T[:, :, None]
    scores = UnitScores.of_terms(session.id, session.subject, ("hand",), ((1, Sums("mean", labels, sums)),))
    return scores if split in JOINED else replace(scores, terms=())


def labels_of(session: AlignedSession, trials: Sequence[int], *, by_trial: bool) -> list[str]:
    """Return the name of the group that each trial is left out with."""
    if by_trial:
        return [f"{session.id}/{session.trials.ids[i]}" for i in trials]
    return [session.trials.condition[i] for i in trials]
