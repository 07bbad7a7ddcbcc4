"""What brain control works with: usable trials of a session, their spikes, and the goals that are decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession, bins_before
from neurobench_grasp.alignment.splits import hash_order
from neurobench_grasp.contract import Bools, DecodedTrials, Decoder, Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.brain_control.command_clock import CommandClock
from neurobench_grasp.protocols.brain_control.decoders import decode
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
        On the controller's steps, cut to those for which commands are decoded.
    goals : mapping of str to Ragged
        What each kind of command should be, (trial, step, n_features).
    targets : mapping of str to Ragged
        The goals of the steps that each bin drives, (trial, bin, n_commands · n_features).
    clock : CommandClock
    first_bin, first_step : ndarray of int64, shape (n_trials,)
        The bin of each trial's first command, and its first step, counted from the start of its window.
    lead : int
        Bins of spikes before each trial's first command.
    counts : Ragged
        (trial, lead + bin, n_units), of the units that were recorded throughout.
    units : ndarray of int64, shape (n_units,)
        Their places in the session.
    split : mapping of str to ndarray of int64
        Places, among these trials, of those of each split.
    """

    session: AlignedSession
    index: Ints
    trials: Trials
    goals: Mapping[str, Ragged]
    targets: Mapping[str, Ragged]
    clock: CommandClock
    first_bin: Ints
    first_step: Ints
    lead: int
    counts: Ragged
    units: Ints
    split: Mapping[str, Ints]

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> DecodingTrials:
        """Find what is usable.

        Raises
        ------
        UnsupportedError
            If the session has no joint angles, no units, or too few trials in which they were recorded; or if
            its behaviour on the controller's steps is not known.
        """
        if session.trials.joint_angles is None:
            raise UnsupportedError("the session has no joint angles of a body to decode")
        if not session.units:
            raise UnsupportedError("the session has no units to decode from")
        units, index, n_before = recorded_throughout(session)
        places = {int(i): k for k, i in enumerate(index)}
        split = {
            name: np.array([places[i] for i in context.index(session, ids) if i in places], np.int64)
            for name, ids in ((name, getattr(context.splits, name)) for name in ("train", *SPLITS))
        }
        split["train"] = split["train"][~_reaches_held_out(session, index, split, n_before)]
        if len(split["train"]) < SETTINGS.min_trials:
            raise UnsupportedError(
                f"{len(split['train'])} training trials have spikes from "
                f"{n_before * session.trials.dt:.2g} s before the window on; a decoder "
                f"needs {SETTINGS.min_trials}"
            )
        whole = context.clock(session).scored.select(index)
        assert whole.joint_angles is not None
        dt, start = session.trials.dt, whole.window[:, 0]
        clock, lead = CommandClock.of(dt, whole.dt), min(n_before, SETTINGS.history - 1)
        first_bin = np.maximum(clock.first_bin(-start), lead - n_before)
        first_step = np.minimum(clock.first_step(first_bin), 0)
        cut = start + first_step, whole.window[:, 1]
        goals = {
            "embedding": context.model.controller.embed(whole),
            "joint_angles": postures_ahead(whole.joint_angles, SETTINGS.look_ahead(whole.dt)),
        }
        counts = session.units.counts.select(index)
        if counts.values.dtype.kind == "u":  # which would wrap around when subtracted
            counts = counts.astype(np.int32)
        skipped = bins_before(dt) + first_bin - lead
        bins = [np.arange(a, n - bins_before(dt)) for a, n in zip(first_bin, counts.lengths, strict=True)]
        return cls(
            session,
            index,
            whole.cut(*cut),
            {kind: goal.cut(*cut) for kind, goal in goals.items()},
            {kind: _of_bins(goal, clock, bins, start) for kind, goal in goals.items()},
            clock,
            first_bin,
            first_step,
            lead,
            Ragged(counts.values[:, units], counts.offsets).cut(skipped, counts.lengths),
            units,
            split,
        )

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
        targets, dt = self.targets[kind].select(train), self.session.trials.dt
        return DecodedTrials(self.spikes(units, train), targets, conditions, dt, groups)

    def decoded(self, kind: str, decoder: Decoder, counts: Ragged, which: Ints) -> Ragged:
        """Decode trials with the given spikes.

        Parameters
        ----------
        kind : str
        decoder : Decoder
            Fitted.
        counts : Ragged
            (trial, lead + bin, n_units).
        which : ndarray of int64
            The trials.

        Returns
        -------
        Ragged
            What drives each step, (trial, step, n_features).
        """
        first_driven = self.clock.first_step(self.first_bin)
        n_early = first_driven - self.first_step  # 0 where spikes were recorded before the window
        early = self._mean_goals(kind, int(n_early.max(initial=0)))
        lengths = self.trials.offsets[which + 1] - self.trials.offsets[which]
        on_steps = []
        for i, commands, n in zip(which, decode(decoder, counts, self.lead), lengths, strict=True):
            bins = self.first_bin[i] + np.arange(len(commands))
            steps = np.arange(first_driven[i], self.first_step[i] + n)
            driven = self.clock.on_steps(commands, bins, steps)
            on_steps.append(np.concatenate([early[: n_early[i]], driven]))
        return Ragged.of(on_steps)

    def _mean_goals(self, kind: str, n_steps: int) -> Floats:
        """Return the training trials' mean goals: what drives steps that end before any bin is complete."""
        early: Floats = np.mean([self.goals[kind][i][:n_steps] for i in self.split["train"]], axis=0)
        return early

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


def recorded_throughout(session: AlignedSession) -> tuple[Ints, Ints, int]:
    """Find units that were recorded in most trials, and the trials in which all of these were.

    Returns
    -------
    units, trials : ndarray of int64
        Their places in the session.
    n_before : int
        Bins before the window in which they were recorded: all that commands depend on, or, where no unit
        was recorded then, none.
    """
    before = bins_before(session.trials.dt)
    for recorded, n_before in ((session.units.recorded, before), (session.units.observed, 0)):
        units = np.flatnonzero(recorded.mean(0) >= 0.5)
        if len(units):
            return units, np.flatnonzero(recorded[:, units].all(1)), n_before
    return np.empty(0, np.int64), np.empty(0, np.int64), before


def _reaches_held_out(
    session: AlignedSession, index: Ints, split: Mapping[str, Ints], n_before: int
) -> Bools:
    """Return True for training trials whose bins before the window lie in the window of a held-out trial."""
    start = session.start[index]
    stop = start + session.units.rates.lengths[index] * session.trials.dt
    first = start[split["train"]] - n_before * session.trials.dt
    held_out = np.concatenate([split[name] for name in SPLITS])
    shared = (first[:, None] < stop[held_out]) & (start[held_out] < start[split["train"]][:, None])
    reaches: Bools = shared.any(1)
    return reaches


def _of_bins(goals: Ragged, clock: CommandClock, bins: Sequence[Ints], start: Ints) -> Ragged:
    """Return the goals of the steps that each bin drives, (trial, bin, n_commands · n_features)."""
    targets = []
    for goal, mine, first in zip(goals, bins, start, strict=True):
        steps = np.minimum(first + clock.steps_of(mine), len(goal) - 1)  # the last bin may end with the trial
        targets.append(goal[steps].reshape(len(mine), -1))
    return Ragged.of(targets)


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
