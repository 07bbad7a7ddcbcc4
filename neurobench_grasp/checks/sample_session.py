"""A small synthetic session: a body takes a posture for each of a few objects, and units follow joints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import DEFAULT_BODY, Body, Floats, Ints, Session, Signal

PACE = 2.6
"""Seconds between the movements of successive trials."""
N_OBJECTS, N_REPEATS = 6, 4
"""Options of the session on which plugins are tried."""
AREAS = ("M1", "M1", "M1", "S1", "S1", "S1")


def sample_session(
    n_objects: int = 4, n_repeats: int = 3, seed: int = 0, body: str = DEFAULT_BODY
) -> Session:
    """Make a session in memory.

    Trials have unequal lengths. In addition to joint angles there is a signal ``position`` of two columns.

    Parameters
    ----------
    n_objects, n_repeats : int
    seed : int
    body : str
        Name of the body that moves.

    Raises
    ------
    UnknownNameError
        If no plugin offers the body.
    """
    from neurobench_grasp.data import session_from_arrays

    rng, moved = np.random.default_rng(seed), find_body(body)
    n_joints = len(moved.joints)  # a single one drives all units
    n = n_objects * n_repeats
    onset = 1.0 + PACE * np.arange(n, dtype=np.float64)
    contact = onset + rng.uniform(0.35, 0.75, n)
    times: Floats = np.arange(0, onset[-1] + PACE, 0.02) + 0.01
    angles = _grasping(moved, times, onset, contact, np.arange(n) % n_objects, rng)
    drives = [angles[:, (3 + 3 * unit) % n_joints] for unit in range(len(AREAS))]
    session = session_from_arrays(
        id=f"sample_{seed}",
        subject="sample",
        spike_times={str(unit): _spikes(drive, times, rng) for unit, drive in enumerate(drives)},
        areas={str(unit): area for unit, area in enumerate(AREAS)},
        trials={
            "start": (onset - 0.8).tolist(),
            "stop": (onset + 1.4).tolist(),
            "condition": [f"object_{i % n_objects}" for i in range(n)],
            "move_onset": onset.tolist(),
            "contact": contact.tolist(),
        },
        joint_angles=dict(zip(moved.joints, angles.T, strict=True)),
        angle_times=times,
        body=body,
    )
    course = angles[:, [0, 1 % n_joints]] @ np.array([[0.3, 0.1], [0.1, 0.2]])
    position = Signal("position", "position", ("x", "y"), "m", times, course)
    return replace(session, signals={**session.signals, position.name: position})


def sample_trials(body: str = DEFAULT_BODY) -> AlignedSession:
    """Cut the session on which models, protocols and decoders are tried into trials, as for scoring."""
    return align(sample_session(N_OBJECTS, N_REPEATS, body=body))


def write_sample(path: Path, n_objects: int = 4, n_repeats: int = 3, seed: int = 0) -> Path:
    """Write a sample session as an NWB file."""
    from datetime import UTC, datetime

    from neurobench_grasp.data import write_session

    write_session(
        path,
        replace(sample_session(n_objects, n_repeats, seed), synthetic=True),
        species="Macaca mulatta",
        sex="U",
        age="P8Y",
        session_start_time=datetime(2025, 1, 1, tzinfo=UTC),
        description="a sample for checks of plugins",
    )
    return path


def _grasping(
    body: Body, times: Floats, onset: Floats, contact: Floats, objects: Ints, rng: np.random.Generator
) -> Floats:
    """Return minimum-jerk movements from rest to an object's posture and back, (n_times, n_joints) in rad."""
    (low, high), rest = body.joint_limits.T, body.neutral
    closed = rest + 0.3 * rng.standard_normal((objects.max() + 1, len(rest)))
    target = closed[objects] + 0.05 * rng.standard_normal((len(onset), len(rest)))
    there = _minimum_jerk((times[:, None] - onset) / (contact - onset))
    back = _minimum_jerk((times[:, None] - contact - 0.4) / 0.5)
    angles: Floats = np.clip(rest + (there - back) @ (target - rest), low, high)
    return angles


def _minimum_jerk(phase: Floats) -> Floats:
    s = np.clip(phase, 0, 1)
    travelled: Floats = s * s * s * (10 + s * (6 * s - 15))
    return travelled


def _spikes(drive: Floats, times: Floats, rng: np.random.Generator) -> Floats:
    """Return the spike times of a unit whose rate follows a joint, s."""
    rate = 15 + 40 / (1 + np.exp(-10 * (drive - drive.mean())))
    fired = np.flatnonzero(rng.random(len(times)) < 0.02 * rate)
    spikes: Floats = times[fired] + 0.008 * rng.random(len(fired))
    return spikes
