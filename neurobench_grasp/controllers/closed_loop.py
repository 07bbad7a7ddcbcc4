"""Closed loop for scoring: a network controls one body per trial, from before the trial to its last step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch
from torch import Tensor

from neurobench_grasp.bodies import body_of, keypoint_distances
from neurobench_grasp.contract import Floats, Goal, Ints, Ragged, Trials
from neurobench_grasp.controllers.network import Network, observation, one_torch_thread, stream_sizes
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.senses import Senses
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import NgbError
from neurobench_grasp.threads import usable_cores

GOALS = ("joint_angles", "embedding")


@dataclass(frozen=True)
class ClosedLoop:
    """Results of a closed-loop run, every array (trial, step, …).

    Parameters
    ----------
    joint_angles : Ragged
        rad.
    keypoints : Ragged
        Metres in the body's frame.
    observations : Ragged
        Observations as they reached the network.
    activation : Ragged
        Of the muscles, 0 … 1; without columns for a body that is moved by torques.
    """

    joint_angles: Ragged
    keypoints: Ragged
    observations: Ragged
    activation: Ragged

    @property
    def muscle_activation(self) -> Ragged | None:
        """Activation of the muscles, 0 … 1; ``None`` for a body that is moved by torques."""
        return self.activation if self.activation.values.shape[1] else None


def run_closed_loop(
    network: Network,
    action: str,
    reference: Reference,
    settings: ControllerSettings,
    *,
    goal: Goal | None = None,
    threads: int | None = None,
) -> ClosedLoop:
    """Imitate complete trials independently, without exploration and without noise.

    Each body starts ``settle_steps`` before its trial in the trial's first posture, which is its goal until
    the trial begins; so activations have settled by then, and late observations are of that time. A network
    with a memory begins the trial without one. Results do not depend on the batch.

    Parameters
    ----------
    network : Network
        Any precision; scores use float64.
    action : str
        ``muscle`` or ``torque``.
    reference : Reference
    settings : ControllerSettings
    goal : Goal, optional
        Replaces the reference, step by step: ``joint_angles`` (trial, step, look_ahead · n_joints) or
        ``embedding`` (trial, step, encoder_units).
    threads : int, optional

    Returns
    -------
    ClosedLoop

    Raises
    ------
    NgbError
        If the goal does not match the trials, or the simulation became unstable.
    """
    offsets = reference.offsets
    if goal is not None:
        _check_goal(goal, reference, settings)
    threads = threads or usable_cores()
    order = np.argsort(-np.diff(offsets), kind="stable")
    body, n_rows = reference.body, int(offsets[-1])
    n_muscles = len(body.muscles) if action == "muscle" else 0
    n_features = sum(stream_sizes(body, action, settings).values())
    widths = len(body.joints), 3 * len(body.keypoints), n_features, n_muscles
    out = tuple(np.empty((n_rows, width)) for width in widths)
    stop = Event()
    with one_torch_thread(), ThreadPoolExecutor(threads) as pool:  # threads do not wait for each other
        batches = [order[k::threads] for k in range(min(threads, len(order)))]
        moving = [
            pool.submit(_move, network, action, reference, settings, goal, batch, out, stop)
            for batch in batches
        ]
        try:
            for batch in moving:
                batch.result()
        finally:
            stop.set()
    return ClosedLoop(*(Ragged(rows, offsets) for rows in out))


def _move(
    network: Network,
    action: str,
    reference: Reference,
    settings: ControllerSettings,
    goal: Goal | None,
    batch: Ints,
    out: tuple[Floats, ...],
    stop: Event,
) -> None:
    """Let some bodies imitate their trials, longest first, and write the results into ``out``."""
    first, end = reference.offsets[batch], reference.offsets[batch + 1] - 1
    lengths = end - first + 1
    angles, points, observed, activation = out
    bodies = reference.body.simulate(action, len(batch), threads=1)  # the same for all networks
    bodies.start(slice(None), reference.joint_angles[first], np.zeros_like(reference.joint_velocity[first]))
    senses = Senses(reference.body, action, len(batch), settings)
    last_action = np.zeros((len(batch), bodies.n_actions))
    for step in range(-settings.settle_steps, int(lengths.max())):
        if stop.is_set():
            break
        n = len(batch) if step < 0 else int(np.count_nonzero(lengths > step))  # the other trials have ended
        rows = first[:n] + max(step, 0)
        if goal is not None and goal.kind == "joint_angles":
            goals = np.asarray(goal.values.values[rows], np.float64)
        else:
            goals = goals_after(reference, first[:n], end[:n], step, settings.look_ahead)
        sent = observation(bodies, goals, last_action[:n])
        if step == -settings.settle_steps:
            senses.start(slice(None), sent)
        if step in (-settings.settle_steps, 0):
            memory = network.initial_memory(n)
        seen = senses.receive(sent)
        if step >= 0:
            angles[rows], points[rows], observed[rows] = bodies.joint_angles[:n], bodies.keypoints[:n], seen
            activation[rows] = bodies.activation[:n]
        last_action[:n], memory = _act(network, seen, memory[:n], goal, rows)
        bodies.step(last_action[:n])
    bodies.close()


def goals_after(reference: Reference, first: Ints, end: Ints, step: int | Ints, look_ahead: int) -> Floats:
    """Return the postures that follow steps of trials, held at the trials' ends.

    Parameters
    ----------
    reference : Reference
    first, end : ndarray of int64, shape (n,)
        First and last frame of each trial.
    step : int or ndarray of int64, shape (n,)
        Counted from the trial's first frame; it may precede it.
    look_ahead : int

    Returns
    -------
    ndarray, shape (n, look_ahead · n_joints)
        rad; the next posture first.
    """
    ahead = (first + step)[:, None] + np.arange(1, look_ahead + 1)
    goals: Floats = reference.joint_angles[np.clip(ahead, first[:, None], end[:, None])]
    return goals.reshape(len(first), -1)


def _act(
    network: Network, seen: Floats, memory: Tensor, goal: Goal | None, rows: Ints
) -> tuple[Floats, Tensor]:
    kind = network.action.weight.dtype
    embedding = None
    if goal is not None and goal.kind == "embedding":
        embedding = torch.as_tensor(goal.values.values[rows], dtype=kind)
    with torch.inference_mode():
        action, memory = network.act(torch.as_tensor(seen, dtype=kind), memory, embedding)
    return action.double().numpy(), memory


def _check_goal(goal: Goal, reference: Reference, settings: ControllerSettings) -> None:
    offsets = reference.offsets
    if goal.kind not in GOALS:
        raise NgbError(
            f"A goal of kind {goal.kind!r} cannot replace the reference; choose one of: {', '.join(GOALS)}."
        )
    postures = settings.look_ahead * len(reference.body.joints)
    wide = settings.encoder_units if goal.kind == "embedding" else postures
    if not np.array_equal(goal.values.offsets, offsets) or goal.values.values.shape[1] != wide:
        raise NgbError(
            f"The goal has {goal.values.values.shape} values in {len(goal.values)} trials; a goal in "
            f"{goal.kind} needs {wide} for each of the {offsets[-1]} steps of {len(offsets) - 1} trials."
        )


def window_error(reached: Ragged, trials: Trials) -> float:
    """Return the mean keypoint distance over the scored windows of trials, millimetres.

    Parameters
    ----------
    reached : Ragged
        Keypoints, (trial, step, 3 · n_keypoints), metres.
    trials : Trials
    """
    assert trials.joint_angles is not None
    steps = [o + np.arange(a, z) for o, (a, z) in zip(trials.offsets[:-1], trials.window, strict=True)]
    rows = np.concatenate(steps)
    wanted = body_of(trials).keypoint_positions(trials.joint_angles.values[rows])
    return 1000 * float(keypoint_distances(reached.values[rows], wanted).mean())
