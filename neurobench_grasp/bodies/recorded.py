"""Features of a recorded movement for a linear map, without a network or fitted parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies.find import body_of
from neurobench_grasp.contract import Floats, Ints, Ragged, Trials
from neurobench_grasp.errors import UnsupportedError

LOOK_AHEAD = 0.1
"""Seconds of future movement in the features: the look-ahead of a controller."""
POSITION_ROLES = ("joint_angle", "position")
KINEMATIC_ROLES = (*POSITION_ROLES, "velocity")


def recorded_angles(trials: Trials) -> Ragged | None:
    """Return the joint angles of a body, unless they only follow from another signal."""
    return None if trials.inferred_from else trials.joint_angles


def linear_kinematics(trials: Trials) -> Ragged:
    """Return the kinematics of the moment.

    With recorded joint angles of a body: lengths and velocities of its muscles. Otherwise, also where angles
    only follow from the hand's position: the kinematic signals that were recorded, their rates of change and
    the magnitude of these.

    Parameters
    ----------
    trials : Trials

    Returns
    -------
    Ragged
        (trial, step, n_features).

    Raises
    ------
    UnsupportedError
        If nothing of the movement was recorded.
    """
    if recorded_angles(trials) is not None:
        return muscle_kinematics(trials)
    changes = [(s, _change(s, trials.dt)) for s in _kinematic(trials)]
    columns = [np.hstack([s.values, v, np.linalg.norm(v, axis=1, keepdims=True)]) for s, v in changes]
    return Ragged(np.hstack(columns), trials.offsets)


def muscle_kinematics(trials: Trials) -> Ragged:
    """Return lengths and velocities of the body's muscles in the recorded posture.

    Raises
    ------
    UnsupportedError
        If no posture of a body was recorded.
    """
    if trials.joint_angles is None:
        raise UnsupportedError(f"{trials.sessions[0]} has no joint angles, so lengths of muscles are unknown")
    muscles = body_of(trials).muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
    return Ragged(np.hstack([muscles.length, muscles.velocity]), trials.offsets)


def joint_kinematics(trials: Trials) -> Ragged:
    """Return joint angles and their velocities; without a body as `linear_kinematics`."""
    if trials.joint_angles is None:
        return linear_kinematics(trials)
    velocity = _change(trials.joint_angles, trials.dt)
    return Ragged(np.hstack([trials.joint_angles.values, velocity]), trials.offsets)


def goals(trials: Trials) -> Ragged:
    """Return the movement to come, without the present: what a controller receives as its goal.

    The postures of the next 100 ms (joint angles) or, without a body, the recorded positions (velocities,
    where only these were recorded).
    """
    steps = range(1, max(round(LOOK_AHEAD / trials.dt), 1) + 1)
    if trials.joint_angles is not None:
        return at_lags(trials.joint_angles, steps)
    positions = np.hstack([s.values for s in _kinematic(trials, POSITION_ROLES)])
    return at_lags(Ragged(positions, trials.offsets), steps)


def linear_lookahead(trials: Trials) -> Ragged:
    """Return the kinematics of a window of time, to match what a controller sees: see `linear_kinematics`.

    With recorded joint angles of a body now and in the next 100 ms; without, over the layout's lags.
    """
    return lookahead_rows(trials).whole


def lookahead_rows(trials: Trials) -> AtLags:
    """Return the features of :func:`linear_lookahead`, which are made when some are asked for."""
    first, last = (0.0, LOOK_AHEAD) if recorded_angles(trials) is not None else trials.signal_lags
    steps = range(round(first / trials.dt), round(last / trials.dt) + 1)
    return AtLags(linear_kinematics(trials), steps)


def motion(trials: Trials) -> Ragged:
    """Return position, velocity and acceleration of the moment, (trial, step, n_features).

    Of the recorded joint angles of a body or, without, of the recorded positions (of velocities, where only
    these were recorded).

    Raises
    ------
    UnsupportedError
        If nothing of the movement was recorded.
    """
    angles = recorded_angles(trials)
    positions = [angles] if angles is not None else _kinematic(trials, POSITION_ROLES)
    only_velocity = angles is None and not set(POSITION_ROLES) & set(trials.roles.values())
    terms = [Ragged(np.hstack([p.values for p in positions]), trials.offsets)]
    for _ in range(1 if only_velocity else 2):
        terms.append(Ragged(_change(terms[-1], trials.dt), trials.offsets))
    return Ragged(np.hstack([term.values for term in terms]), trials.offsets)


def quadratic_kinematics(trials: Trials, train: Sequence[int]) -> Ragged:
    """Return position, velocity and acceleration (`motion`), with their squares and products.

    Parameters
    ----------
    trials : Trials
    train : sequence of int
        Trials by which each is standardised before products are formed.

    Returns
    -------
    Ragged
        (trial, step, n · (n + 3) / 2) for n linear terms.

    Raises
    ------
    UnsupportedError
        If nothing of the movement was recorded.
    """
    return quadratic_rows(trials, train).whole


def quadratic_rows(trials: Trials, train: Sequence[int]) -> WithProducts:
    """Return the features of :func:`quadratic_kinematics`, which are made when some are asked for."""
    terms = motion(trials)
    known = terms.select(train).values
    scale = known.std(0)
    linear = (terms.values - known.mean(0)) / np.where(scale > 0, scale, 1.0)
    return WithProducts(Ragged(linear, trials.offsets))


def _kinematic(trials: Trials, preferred: Sequence[str] = KINEMATIC_ROLES) -> list[Ragged]:
    """Choose recorded signals of the preferred roles, else of any kinematic role, else all."""
    for roles in (preferred, KINEMATIC_ROLES, None):
        found = [s for name, s in trials.signals.items() if roles is None or trials.roles.get(name) in roles]
        if found:
            return found
    raise UnsupportedError(
        f"{trials.sessions[0]} has neither joint angles nor other behavioural signals that a model may see "
        "(EMG is none of them), so the recorded movement is unknown; you can still score your own "
        "activations (--activations)."
    )


def _change(signal: Ragged, dt: float) -> Floats:
    """Rate of change of each column, by central differences (one-sided at a trial's ends)."""
    return np.concatenate([np.gradient(trial, dt, axis=0) for trial in signal])


def at_lags(features: Ragged, lags: Sequence[int]) -> Ragged:
    """Concatenate features at several lags (steps; positive: later), held at a trial's ends."""
    return AtLags(features, lags).whole


@dataclass(frozen=True)
class OnDemand:
    """Features of a movement that follow from fewer, row by row, and are made when some are asked for.

    Of hours of recording all would not fit the memory.

    Parameters
    ----------
    source : Ragged
        (trial, step, n_columns).
    """

    source: Ragged

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of features."""
        return len(self.source.values), self[np.arange(0)].shape[1]

    @property
    def whole(self) -> Ragged:
        """All features, (trial, step, n_features)."""
        return Ragged(self[np.arange(self.shape[0])], self.source.offsets)

    def __getitem__(self, rows: Ints) -> Floats:
        raise NotImplementedError


@dataclass(frozen=True)
class AtLags(OnDemand):
    """Features at several lags side by side, see :func:`at_lags`."""

    lags: Sequence[int]

    def __getitem__(self, rows: Ints) -> Floats:
        values, offsets = self.source.values, self.source.offsets
        trial = np.searchsorted(offsets, rows, side="right") - 1
        first, last = offsets[trial], offsets[trial + 1] - 1
        return np.hstack([values[np.clip(rows + lag, first, last)] for lag in self.lags])


@dataclass(frozen=True)
class WithProducts(OnDemand):
    """Terms with their squares and products."""

    def __getitem__(self, rows: Ints) -> Floats:
        linear = self.source.values[rows]
        n_rows, n = linear.shape
        found = np.empty((n_rows, n + n * (n + 1) // 2))
        found[:, :n], place = linear, n
        for k in range(n):  # with itself and those that follow; a gather of pairs takes ten times as long
            np.multiply(linear[:, k : k + 1], linear[:, k:], out=found[:, place : place + n - k])
            place += n - k
        return found
