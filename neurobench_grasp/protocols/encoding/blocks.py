"""Sessions with more rates than fit the memory: units are scored block by block, and only sums are kept.

A score follows from sums over the trials of each condition, and is of one unit. So predictions of a block of
units become sums before those of the next are made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Floats, Ints, Ragged
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.encoding.predictions import SPLITS, Predictions, Predictor, unit_blocks, whole
from neurobench_grasp.protocols.encoding.sums import Activity, group_sums
from neurobench_grasp.records.table import EXPLAINED_VARIANCE
from neurobench_grasp.scoring.intervals import MIN_GROUPS
from neurobench_grasp.scoring.sums import JOINED


@dataclass(frozen=True)
class Reduction:
    """Turns predictors of a session into what is kept of them: predictions or, of a long session, sums.

    Parameters
    ----------
    context : Context
    session : AlignedSession
    blocks : sequence of ndarray of int64
        Units that are predicted together.
    activity : Activity, optional
        Of a session with several blocks.
    by_trial : tuple of str
        Splits whose scores need the sums of single trials, too.
    """

    context: Context
    session: AlignedSession
    blocks: Sequence[Ints]
    activity: Activity | None = None
    by_trial: tuple[str, ...] = ()

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> Reduction:
        """Divide the units of a session."""
        blocks = unit_blocks(np.arange(len(session.units)), int(session.units.rates.offsets[-1]))
        if len(blocks) == 1:
            return cls(context, session, blocks)
        return cls(context, session, blocks, Activity.of(context, session), _by_trial(context))

    def __call__(self, fitted: Predictor) -> Predictions:
        """Return the predictions of all units or, of a long session, sums by :func:`sums_key`."""
        if self.activity is None:
            return whole(self.session, fitted)
        parts: dict[str, list[Floats]] = {}
        for block in self.blocks:
            for key, values in self._sums(block, fitted.predict(block), self.activity):
                parts.setdefault(key, []).append(values)
        return {key: np.concatenate(values, axis=2) for key, values in parts.items()} | fitted.chosen

    @property
    def staged(self) -> Context:
        """The context, in which sums are kept apart from predictions."""
        if self.activity is None:
            return self.context
        inputs: dict[str, Any] = {"sums": list(self.by_trial), "block": len(self.blocks[0])}
        return replace(self.context, stages=partial(self.context.stages, **inputs))

    def _sums(
        self, block: Ints, predictions: Predictions, activity: Activity
    ) -> Iterator[tuple[str, Floats]]:
        """Yield the sums of a block that scores follow from, and their names."""
        for split in (s for s in SPLITS if s in predictions):
            trials = trials_of(self.context, self.session, split)
            rates = self.session.units.rates.part(trials, block)
            layers = enumerate(predictions.get(f"{split}_layers", ()))
            for layer, predicted in chain([(None, predictions[split])], layers):
                signals = rates, Ragged(predicted, rates.offsets)
                for metric in EXPLAINED_VARIANCE if layer is None else EXPLAINED_VARIANCE[:1]:
                    single = metric.startswith("single_trial")
                    for by_trial in (False, True) if single and split in self.by_trial else (False,):
                        sums = group_sums(
                            self.session, trials, block, signals, metric, activity, by_trial=by_trial
                        )
                        yield sums_key(split, metric, layer, by_trial=by_trial), sums


def sums_key(split: str, metric: str, layer: int | None, *, by_trial: bool) -> str:
    """Return the name of the sums from which a score follows; EV and R² of single trials have the same."""
    metric = metric.replace("single_trial_r2", "single_trial_ev")
    return f"sums {split} {metric} {'best' if layer is None else layer}{' by trial' * by_trial}"


def trials_of(context: Context, session: AlignedSession, split: str) -> list[int]:
    """Return the trials of a session that a split scores."""
    splits = context.splits
    return context.index(session, splits.train if split == "train_by_object" else getattr(splits, split))


def conditions_of(
    context: Context, sessions: Sequence[AlignedSession], area: str, split: str
) -> frozenset[str]:
    """Return the conditions in which a unit of an area was observed."""
    found = set()
    for session in sessions:
        mine = [a == area for a in session.units.areas]
        found |= {
            session.trials.condition[i]
            for i in trials_of(context, session, split)
            if session.units.observed[i, mine].any()
        }
    return frozenset(found)


def over_trials(split: str, conditions: Collection[str]) -> bool:
    """Return whether intervals are over trials: there are few conditions, and other folds add none."""
    return split not in JOINED and len(conditions) < MIN_GROUPS


def _by_trial(context: Context) -> tuple[str, ...]:
    sessions = [session for session in context.sessions if session.units]
    areas = sorted({area for session in sessions for area in session.units.areas})
    return tuple(
        split
        for split in SPLITS
        if any(over_trials(split, conditions_of(context, sessions, area, split)) for area in areas)
    )
