"""What brain control works with: usable trials of a session, their spikes, and the goals that are decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession, bins_before
from neurobench_grasp.alignment.settings import ALIGNMENT
from neurobench_grasp.alignment.splits import hash_order
from neurobench_grasp.bodies import body_of
from neurobench_grasp.contract import Bools, DecodedTrials, Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.settings import BRAIN_CONTROL as SETTINGS

KINDS = ("embedding", "joint_angles")
SPLITS = ("test", "ood")


@dataclass(frozen=True)
class DecodingTrials:
    """Trials from the lead to the end of their windows, with the spikes before them.

    Parameters
    ----------
    session : AlignedSession
    index : ndarray of int64, shape (n_trials,)
        Place of each trial in the session.
    trials : Trials
        Cut to the steps for which commands are decoded.
    goals : mapping of str to Ragged
        What each kind of command should be, (trial, step, n_features).
    counts : Ragged
        (trial, lead + step, n_units), of the units that were recorded throughout.
    units : ndarray of int64, shape (n_units,)
        Their places in the session.
    split : mapping of str to ndarray of int64
        Places, among these trials, of those of each split.
    """

    session: AlignedSession
    index: Ints
    trials: Trials
    goals: Mapping[str, Ragged]
    counts: Ragged
    units: Ints
    split: Mapping[str, Ints]

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> DecodingTrials:
        """Find what is usable.

        Raises
        ------
        UnsupportedError
            If the session has no joint angles, no units, or too few trials in which they were recorded.
        """
        if session.trials.joint_angles is None:
            raise UnsupportedError("the session has no joint angles of a body to decode")
        if not session.units:
            raise UnsupportedError("the session has no units to decode from")
        step = context.model.step_s or body_of(session.trials).control_step
        if abs(session.trials.dt - step) > 1e-9:  # commands are decoded bin by bin
            raise UnsupportedError(
                f"the session has bins of {1000 * session.trials.dt:g} ms, and controllers move in steps of "
                f"{1000 * step:g} ms"
            )
        units, index = recorded_throughout(session)
        places = {int(i): k for k, i in enumerate(index)}
        split = {
            name: np.array([places[i] for i in context.index(session, ids) if i in places], np.int64)
            for name, ids in ((name, getattr(context.splits, name)) for name in ("train", *SPLITS))
        }
        split["train"] = split["train"][~_reaches_held_out(session, index, split)]
        if len(split["train"]) < SETTINGS.min_trials:
            raise UnsupportedError(
                f"{len(split['train'])} training trials have spikes from "
                f"{bins_before(session.trials.dt) * session.trials.dt:.2g} s before the window on; a decoder "
                f"needs {SETTINGS.min_trials}"
            )
        whole = session.scored.select(index)
        assert whole.joint_angles is not None
        first = np.maximum(whole.window[:, 0] - ALIGNMENT.steps_before(whole.dt), 0)
        stop = whole.window[:, 1]
        goals = {
            "embedding": context.model.controller.embed(whole),
            "joint_angles": postures_ahead(whole.joint_angles, SETTINGS.look_ahead(whole.dt)),
        }
        counts = session.units.counts.select(index)
        skipped = bins_before(whole.dt) - (whole.window[:, 0] - first) - (SETTINGS.history - 1)
        return cls(
            session,
            index,
            whole.cut(first, stop),
            {kind: goal.cut(first, stop) for kind, goal in goals.items()},
            Ragged(counts.values[:, units], counts.offsets).cut(skipped, counts.lengths),
            units,
            split,
        )

    @property
    def lead(self) -> int:
        """Bins of spikes before each trial's first command."""
        return SETTINGS.history - 1

    def units_of(self, area: str) -> Ints:
        """Columns of ``counts`` that belong to an area.

        Raises
        ------
        UnsupportedError
            If there are too few.
        """
        mine = np.flatnonzero([self.session.units.areas[u] == area for u in self.units])
        if len(mine) < SETTINGS.min_units:
            raise UnsupportedError(
                f"{area} has {len(mine)} unit{'' if len(mine) == 1 else 's'} recorded throughout; "
                f"a population needs {SETTINGS.min_units}"
            )
        return mine

    def spikes(self, units: Ints, which: Ints) -> Ragged:
        """Spikes of some units in some trials."""
        counts = self.counts.select(which)
        return Ragged(counts.values[:, units], counts.offsets)

    def training(self, kind: str, units: Ints) -> DecodedTrials:
        """Return what a decoder is fitted on: training trials alone."""
        train = self.split["train"]
        conditions = tuple(self.trials.condition[i] for i in train)
        groups = tuple(self.session.groups.get(self.trials.ids[i], "") for i in train)
        return DecodedTrials(
            self.spikes(units, train), self.goals[kind].select(train), conditions, self.trials.dt, groups
        )

    @cached_property
    def driven(self) -> Mapping[str, Ints]:
        """Trials of each split that are driven in closed loop: some of every condition, by a fixed rule."""
        return {name: self._spread(self.split[name]) for name in SPLITS}

    def _spread(self, which: Ints) -> Ints:
        by_condition: dict[str, list[int]] = {}
        place = {self.trials.ids[i]: int(i) for i in which}
        for trial in hash_order("driven", list(place)):
            by_condition.setdefault(self.trials.condition[place[trial]], []).append(place[trial])
        turns = chain.from_iterable(zip_longest(*by_condition.values()))
        chosen = [i for i in turns if i is not None][: SETTINGS.trials_per_split]
        return np.array(sorted(chosen), np.int64)


def recorded_throughout(session: AlignedSession) -> tuple[Ints, Ints]:
    """Units that were recorded in most trials, and the trials in which all of these were."""
    units = np.flatnonzero(session.units.recorded.mean(0) >= 0.5)
    return units, np.flatnonzero(session.units.recorded[:, units].all(1) & (len(units) > 0))


def _reaches_held_out(session: AlignedSession, index: Ints, split: Mapping[str, Ints]) -> Bools:
    """Return True for training trials whose bins before the window lie in the window of a held-out trial."""
    start = session.start[index]
    stop = start + session.units.rates.lengths[index] * session.trials.dt
    first = start[split["train"]] - bins_before(session.trials.dt) * session.trials.dt
    held_out = np.concatenate([split[name] for name in SPLITS])
    shared = (first[:, None] < stop[held_out]) & (start[held_out] < start[split["train"]][:, None])
    reaches: Bools = shared.any(1)
    return reaches


def postures_ahead(joint_angles: Ragged, n: int) -> Ragged:
    """Return each step's goal: the next postures, held at the trial's last, (trial, step, n · n_joints)."""
    ahead: list[Floats] = []
    for trial in joint_angles:
        step = np.minimum(np.arange(len(trial))[:, None] + np.arange(1, n + 1), len(trial) - 1)
        ahead.append(trial[step].reshape(len(trial), -1))
    return Ragged.of(ahead)


def areas_of(sessions: Sequence[AlignedSession]) -> list[str]:
    """List the areas of all sessions."""
    return sorted({area for session in sessions for area in session.units.areas})
