"""A small synthetic session: a hand grasps a few objects, and units follow its joints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import DEFAULT_BODY, Floats, Ints, Session, Signal

PACE = 2.6
"""Seconds between the movements of successive trials."""
AREAS = ("M1", "M1", "M1", "S1", "S1", "S1")


def sample_session(n_objects: int = 4, n_repeats: int = 3, seed: int = 0) -> Session:
    """Make a session in memory.

    Trials have unequal lengths. In addition to joint angles there is a signal ``position`` of two columns.

    Parameters
    ----------
    n_objects, n_repeats : int
    seed : int
    """
    from neurobench_grasp.data import session_from_arrays

    rng = np.random.default_rng(seed)
    n = n_objects * n_repeats
    onset = 1.0 + PACE * np.arange(n, dtype=np.float64)
    contact = onset + rng.uniform(0.35, 0.75, n)
    times: Floats = np.arange(0, onset[-1] + PACE, 0.02) + 0.01
    angles = _grasping(times, onset, contact, np.arange(n) % n_objects, rng)
    session = session_from_arrays(
        id=f"sample_{seed}",
        subject="sample",
        spike_times={str(unit): _spikes(angles[:, 3 + 3 * unit], times, rng) for unit in range(len(AREAS))},
        areas={str(unit): area for unit, area in enumerate(AREAS)},
        trials={
            "start": (onset - 0.8).tolist(),
            "stop": (onset + 1.4).tolist(),
            "condition": [f"object_{i % n_objects}" for i in range(n)],
            "move_onset": onset.tolist(),
            "contact": contact.tolist(),
        },
        joint_angles={joint: angles[:, i] for i, joint in enumerate(find_body(DEFAULT_BODY).joints)},
        angle_times=times,
    )
    course = angles[:, :2] @ np.array([[0.3, 0.1], [0.1, 0.2]])
    position = Signal("position", "position", ("x", "y"), "m", times, course)
    return replace(session, signals={**session.signals, position.name: position})


def sample_trials(n_objects: int = 4, n_repeats: int = 3, seed: int = 0) -> AlignedSession:
    """Cut a sample session into trials, as for scoring."""
    return align(sample_session(n_objects, n_repeats, seed))


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
    times: Floats, onset: Floats, contact: Floats, objects: Ints, rng: np.random.Generator
) -> Floats:
    """Return minimum-jerk movements from rest to an object's posture and back, (n_times, n_joints) in rad."""
    body = find_body(DEFAULT_BODY)
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
