"""Movements of a session: the hand reaches, opens, shapes to the object, holds it and lets go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.contract import Floats, Ints
from neurobench_grasp.demo.objects import Grasp, aperture, grasps, rest_posture, to_angles
from neurobench_grasp.demo.random_stream import Stream

STEP = 0.02  # s, of joint angles and rates
TICK_RATE = 30_000  # ticks per second of the session's clock
TICKS_PER_STEP = 600
ANGLE_QUANTUM = 1e-4  # rad
REPEATS = 15
MARGIN = 1.0  # s of recording before the first trial and after the last
RELEASE = 0.5  # s from reward until the hand is back at rest
PEAK_OPENING = 2 / 3  # of the movement's duration; also the peak of the opening's pulse, s⁴(1 − s)²

# Part of the movement that each group of joints uses: the wrist leads, the distal joints follow.
PHASES = {
    "wrist": (0.0, 0.8),
    "thumb": (0.1, 0.95),
    "mcp": (0.0, 0.85),
    "pm": (0.15, 0.95),
    "md": (0.25, 1.0),
}

# Variability from trial to trial: standard deviations, in free coordinates unless stated otherwise
VARY_DURATION = 0.4  # of the argument of a squashing function that keeps it within 0.4 … 1.0 s
VARY_OPENING = 0.25  # as a fraction of the opening
VARY_SYNERGY = 0.17  # along each of a few directions common to many joints
VARY_JOINT = 0.12

GROUPS = ("wrist",) * 3 + ("thumb",) * 4 + ("mcp", "mcp", "pm", "md") * 4
"""Group of each joint, a key of :data:`PHASES`."""


def _fingers(each_finger: list[float], each_joint: list[float]) -> Floats:
    """Return a direction in posture space that moves the fingers only, shape (n_joints,)."""
    return np.concatenate([np.zeros(7), np.outer(each_finger, each_joint).ravel()])


SYNERGIES = np.stack(
    [
        _fingers([1, 1, 1, 1], [1, 0, 1, 1]),  # close the hand
        _fingers([-1, -0.3, 0.3, 1], [1, 0, 1, 1]),  # little versus index finger
        _fingers([1, 1, 1, 1], [1, 0, -1, -0.7]),  # proximal versus distal joints
        _fingers([1, 0.2, -0.5, -1], [0, 1, 0, 0]),  # spread
        np.eye(len(JOINTS))[3:7].sum(axis=0),  # straighten the thumb
        *np.eye(len(JOINTS))[[0, 1, 2, 4]],  # wrist; thumb away from the palm
    ]
)
"""Directions in posture along which trials differ, shape (n_synergies, n_joints)."""


@dataclass(frozen=True)
class Movements:
    """Behaviour of one session.

    Parameters
    ----------
    times : ndarray, shape (n_steps,)
        Seconds, the centres of bins of 20 ms.
    joint_angles : ndarray, shape (n_steps, n_joints)
        rad, multiples of 1e-4, within the limits.
    goal : ndarray, shape (n_steps, n_joints)
        Posture in which the trial's object is grasped (free coordinates, 0 at rest); it rises from the
        go cue to the middle of the movement and fades as the hand lets go.
    objects : tuple of str, length n_trials
    ticks : dict of str to ndarray of int64, shape (n_trials,)
        ``start``, ``stop`` and the events, in ticks of 1/30000 s.
    """

    times: Floats
    joint_angles: Floats
    goal: Floats
    objects: tuple[str, ...]
    ticks: dict[str, Ints]


def make_movements(animal: str, session: str) -> Movements:
    """Generate 15 grasps of every object by one animal, in blocks of random order.

    Parameters
    ----------
    animal, session : str
        Names of the streams of random numbers.
    """
    stream = Stream(f"{session}/movements")
    repertoire = grasps(animal)
    order = [repertoire[i] for _ in range(REPEATS) for i in stream.order(len(repertoire))]
    ticks = _schedule(stream, Stream(f"{animal}/pace"), order)
    n_steps = int(ticks["stop"][-1] + MARGIN * TICK_RATE) // TICKS_PER_STEP
    times = STEP * (np.arange(n_steps, dtype=np.float64) + 0.5)
    angles = _quantise(to_angles(_trajectory(stream, times, ticks, order, rest_posture(animal))))
    ticks["max_aperture"] = _widest(aperture(angles), ticks)
    return Movements(
        times=times,
        joint_angles=angles,
        goal=_goal(times, ticks, order, rest_posture(animal)),
        objects=tuple(grasp.name for grasp in order),
        ticks=ticks,
    )


def _schedule(stream: Stream, pace: Stream, order: list[Grasp]) -> dict[str, Ints]:
    """Return when each trial starts and stops and its events happen, in ticks."""
    n = len(order)
    habitual = {name: pace.uniform(-0.5, 0.5) for name in dict.fromkeys(grasp.name for grasp in order)}
    drive = np.array([habitual[grasp.name] for grasp in order]) + VARY_DURATION * stream.normal(n)
    steps = {
        "start": stream.uniform(0.15, 0.30, n),
        "go_cue": stream.uniform(0.30, 0.40, n),
        "move_onset": stream.uniform(0.22, 0.34, n),
        "contact": 0.7 + 0.3 * np.tanh(drive + pace.uniform(-0.6, -0.2)),
        "reward": stream.uniform(0.30, 0.40, n),
        "stop": np.full(n, 0.2),
    }
    durations = np.stack([np.rint(TICK_RATE * seconds) for seconds in steps.values()], axis=1).astype(
        np.int64
    )
    instants = int(MARGIN * TICK_RATE) + np.cumsum(durations).reshape(durations.shape)
    return dict(zip(steps, instants.T, strict=True))


def _trajectory(
    stream: Stream, times: Floats, ticks: dict[str, Ints], order: list[Grasp], rest: Floats
) -> Floats:
    """Return postures in free coordinates, shape (n_steps, n_joints)."""
    n_trials = len(order)
    rests = rest + _vary(stream, n_trials + 1)
    targets = np.stack([grasp.closed for grasp in order]) + _vary(stream, n_trials)
    first, last = np.array([PHASES[group] for group in GROUPS]).T
    digits = np.array([group != "wrist" for group in GROUPS])
    openings = 1 + VARY_OPENING * stream.normal(n_trials)
    onset, contact, reward = (ticks[event] / TICK_RATE for event in ("move_onset", "contact", "reward"))
    bounds = np.searchsorted(times, [*onset, np.inf])
    postures = np.tile(rests[0], (len(times), 1))
    for i, grasp in enumerate(order):
        now = slice(bounds[i], bounds[i + 1])
        phase = ((times[now] - onset[i]) / (contact[i] - onset[i]))[:, None]
        path = rests[i] + (targets[i] - rests[i]) * _minimum_jerk((phase - first) / (last - first))
        halfway = rests[i] + (targets[i] - rests[i]) * _minimum_jerk((PEAK_OPENING - first) / (last - first))
        path += openings[i] * _pulse(phase) * digits * (grasp.opened - halfway)
        back = _minimum_jerk((times[now] - reward[i]) / RELEASE)[:, None]
        postures[now] = path + (rests[i + 1] - path) * back
    return postures


def _vary(stream: Stream, n: int) -> Floats:
    """Draw deviations in posture, shape (n, n_joints): along a few synergies, and slightly in every joint."""
    together = VARY_SYNERGY * stream.normal(n, len(SYNERGIES)) @ SYNERGIES
    varied: Floats = together + VARY_JOINT * stream.normal(n, len(JOINTS))
    return varied


def _goal(times: Floats, ticks: dict[str, Ints], order: list[Grasp], rest: Floats) -> Floats:
    go, onset, contact, reward = (
        ticks[event] / TICK_RATE for event in ("go_cue", "move_onset", "contact", "reward")
    )
    bounds = np.searchsorted(times, [*go, np.inf])
    goal = np.zeros((len(times), len(rest)))
    for i, grasp in enumerate(order):
        now = slice(bounds[i], bounds[i + 1])
        middle = (onset[i] + contact[i]) / 2
        grown = _minimum_jerk((times[now] - go[i]) / (middle - go[i]))
        faded = _minimum_jerk((times[now] - reward[i]) / RELEASE)
        goal[now] = (grown * (1 - faded))[:, None] * (grasp.closed - rest)
    return goal


def _widest(width: Floats, ticks: dict[str, Ints]) -> Ints:
    """Return the tick of the largest aperture between onset and contact."""
    first, last = (ticks[event] // TICKS_PER_STEP + 1 for event in ("move_onset", "contact"))
    steps = [a + int(np.argmax(width[a:b])) for a, b in zip(first, last - 1, strict=True)]
    return np.array(steps, dtype=np.int64) * TICKS_PER_STEP + TICKS_PER_STEP // 2


def _quantise(angles: Floats) -> Floats:
    return np.rint(angles / ANGLE_QUANTUM) * ANGLE_QUANTUM + 0.0  # + 0.0 turns −0 into 0


def _minimum_jerk(phase: Floats) -> Floats:
    s = np.clip(phase, 0, 1)
    travelled: Floats = s * s * s * (10 + s * (6 * s - 15))
    return travelled


def _pulse(phase: Floats) -> Floats:
    """Pulse that rises from 0 to 1 at :data:`PEAK_OPENING` and falls to 0 at phase 1."""
    s = np.clip(phase, 0, 1)
    height = PEAK_OPENING**4 * (1 - PEAK_OPENING) ** 2
    pulse: Floats = s * s * s * s * (1 - s) * (1 - s) / height
    return pulse
