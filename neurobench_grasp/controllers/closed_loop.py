"""Closed loop for scoring: a network controls one body per trial, from before the trial to its last step."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
import torch

from neurobench_grasp.bodies import body_of, keypoint_distances
from neurobench_grasp.contract import Floats, Goal, Ints, Ragged, Trials
from neurobench_grasp.controllers.network import Network, observation, one_torch_thread, stream_sizes
from neurobench_grasp.controllers.reference import Reference
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
        Observations of the network.
    n_muscles : int
        Muscles that are actuated; their activations are the observations' last features.
    """

    joint_angles: Ragged
    keypoints: Ragged
    observations: Ragged
    n_muscles: int

    @property
    def muscle_activation(self) -> Ragged | None:
        """Activation of the muscles, 0 … 1; ``None`` for a body that is moved by torques."""
        if not self.n_muscles:
            return None
        return Ragged(self.observations.values[:, -self.n_muscles :], self.observations.offsets)


def run_closed_loop(
    network: Network,
    action: str,
    reference: Reference,
    settings: ControllerSettings,
    *,
    goal: Goal | None = None,
    threads: int | None = None,
) -> ClosedLoop:
    """Imitate complete trials independently, without exploration.

    Each body starts ``settle_steps`` before its trial in the trial's first posture, which is its goal until
    the trial begins; so activations have settled by then. Results do not depend on the batch.

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
    widths = len(body.joints), 3 * len(body.keypoints), sum(stream_sizes(body, action, settings).values())
    angles, points, seen = (np.empty((n_rows, width)) for width in widths)
    stop = Event()
    with one_torch_thread(), ThreadPoolExecutor(threads) as pool:  # threads do not wait for each other
        batches = [order[k::threads] for k in range(min(threads, len(order)))]
        moving = [
            pool.submit(
                _move, network, action, reference, settings, goal, batch, (angles, points, seen), stop
            )
            for batch in batches
        ]
        try:
            for batch in moving:
                batch.result()
        finally:
            stop.set()
    n_muscles = len(body.muscles) if action == "muscle" else 0
    return ClosedLoop(Ragged(angles, offsets), Ragged(points, offsets), Ragged(seen, offsets), n_muscles)


def _move(
    network: Network,
    action: str,
    reference: Reference,
    settings: ControllerSettings,
    goal: Goal | None,
    batch: Ints,
    out: tuple[Floats, Floats, Floats],
    stop: Event,
) -> None:
    """Let some bodies imitate their trials, longest first, and write the results into ``out``."""
    first, end = reference.offsets[batch], reference.offsets[batch + 1] - 1
    lengths = end - first + 1
    angles, points, observed = out
    bodies = reference.body.simulate(action, len(batch), threads=1)  # the same for all networks
    bodies.start(slice(None), reference.joint_angles[first], np.zeros_like(reference.joint_velocity[first]))
    last_action = np.zeros((len(batch), bodies.n_actions))
    for step in range(-settings.settle_steps, int(lengths.max())):
        if stop.is_set():
            break
        n = len(batch) if step < 0 else int(np.count_nonzero(lengths > step))  # the other trials have ended
        rows = first[:n] + max(step, 0)
        if goal is not None and goal.kind == "joint_angles":
            goals = np.asarray(goal.values.values[rows], np.float64)
        else:
            goals = _goals(reference, first[:n], end[:n], step, settings.look_ahead)
        seen = observation(bodies, goals, last_action[:n])
        if step >= 0:
            angles[rows], points[rows], observed[rows] = bodies.joint_angles[:n], bodies.keypoints[:n], seen
        last_action[:n] = _act(network, seen, goal, rows)
        bodies.step(last_action[:n])
    bodies.close()


def _goals(reference: Reference, first: Ints, end: Ints, step: int, look_ahead: int) -> Floats:
    """Return the postures after a step, which may precede the trial, held at the trial's ends."""
    ahead = np.clip(first[:, None] + step + np.arange(1, look_ahead + 1), first[:, None], end[:, None])
    goals: Floats = reference.joint_angles[ahead].reshape(len(first), -1)
    return goals


def _act(network: Network, seen: Floats, goal: Goal | None, rows: Ints) -> Floats:
    kind = network.action.weight.dtype
    embedding = None
    if goal is not None and goal.kind == "embedding":
        embedding = torch.as_tensor(goal.values.values[rows], dtype=kind)
    with torch.inference_mode():
        action: Floats = network.act(torch.as_tensor(seen, dtype=kind), embedding).double().numpy()
    return action


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
