"""Where the recorded axes of an isometric task point in a body: by the directions in which muscles pull.

A screen shows force along axes that need not be those of the wrist. Each muscle is most active when it pulls
where it can; the turn of the recorded plane is the one that brings the recorded directions closest to the
body's. It is fitted on the training trials of a fold, and again for a body with other tendons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurobench_grasp.alignment.clock import trials_with
from neurobench_grasp.alignment.muscle_map import EMG
from neurobench_grasp.alignment.muscles import RecordedMuscles
from neurobench_grasp.alignment.posture import check_axes, endpoint_in_metres, joint_angles_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import find_body, pulling_directions
from neurobench_grasp.contract import Body, Floats, Session
from neurobench_grasp.errors import UnsupportedError

Turn = tuple[tuple[float, ...], ...]
"""Matrix, one row for each axis of the body."""
DECIMALS = 6
"""Of a fitted turn: its last digits would differ between machines, and with them digests of trials."""


def aligned_by_muscles(session: AlignedSession, train: Sequence[str], tendons: str | None) -> AlignedSession:
    """Turn the recorded axes of the endpoint into the body's, where the layout lets EMG decide.

    Parameters
    ----------
    session : AlignedSession
    train : sequence of str
        Ids of the trials that the turn is fitted on.
    tendons : str, optional
        Other tendons of the body's muscles, for which the turn is fitted.

    Returns
    -------
    AlignedSession
        With joint angles; the same one if nothing has to be aligned. Without EMG the recorded axes are
        turned as the layout states, or not at all.
    """
    recorded = None if session.recording is None else session.recording.session
    endpoint = None if recorded is None else recorded.endpoint
    if recorded is None or endpoint is None or not endpoint.aligned_by:
        return session
    if endpoint.signal not in session.trials.signals:  # nor is there anything to turn
        return session
    assert session.recording is not None
    body = find_body(recorded.body if tendons is None else f"{recorded.body}/{tendons}")
    known = set(train)
    try:
        index = [i for i in trials_with(session, EMG) if session.trials.ids[i] in known]
        turn, note = _fitted(session, recorded, body, index)
    except UnsupportedError as why:
        turn = endpoint.turn or tuple(map(tuple, np.eye(len(endpoint.axes)).tolist()))
        how = "turned as the layout states" if endpoint.turn else f"taken for those of {body.name}"
        note = f"the axes of {endpoint.signal} are {how}, since EMG does not show where they point: {why}"
    turned = replace(recorded, endpoint=replace(endpoint, turn=turn))
    trials = session.trials
    posture = joint_angles_of(turned, trials.signals, trials.dt)
    angles, source = posture.joint_angles, posture.inferred_from
    return replace(
        session,
        trials=replace(trials, joint_angles=angles, body=recorded.body, inferred_from=source),
        notes=(note, *session.notes, *posture.notes),
        recording=replace(session.recording, session=turned),
        turn=turn,
    )


def _fitted(session: AlignedSession, recorded: Session, body: Body, train: Sequence[int]) -> tuple[Turn, str]:
    """Return the turn that EMG of the training trials implies, and how well it fits."""
    found, t = RecordedMuscles.of(session, body, train), session.scored
    assert recorded.endpoint is not None
    check_axes(recorded, recorded.endpoint, body)
    bare = replace(recorded.endpoint, turn=None, keypoints={})  # it may be turned already
    shown = replace(recorded, endpoint=bare)
    position = endpoint_in_metres(shown, t.signals).cut(*t.window.T)
    tuning, share = preferred_directions(found.activity.select(train).values, position.select(train).values)
    pulls = pulling_directions(body, found.muscles)
    turn = np.round(fitted_turn(tuning, pulls, share), DECIMALS)
    cosine = np.average(np.sum((tuning @ turn.T) * pulls, axis=1), weights=share)
    left_out = f"; without signal: {', '.join(found.silent)}" if found.silent else ""
    note = (
        f"the axes of {recorded.endpoint.signal} are turned by {_described(turn)} into those of {body.name}, "
        f"as fitted to EMG of {len(train)} training trials: muscles are active where they pull, with a mean "
        f"cosine of {cosine:.2f} over {', '.join(found.channels)}{left_out}"
    )
    return tuple(map(tuple, turn.tolist())), note


def preferred_directions(activity: Floats, position: Floats) -> tuple[Floats, Floats]:
    """Return the direction in which each channel is most active, and how much of it position explains.

    Regression of the square root of EMG, whose size its noise grows with, on position.

    Parameters
    ----------
    activity : ndarray, shape (n_steps, n_channels)
    position : ndarray, shape (n_steps, n_axes)

    Returns
    -------
    directions : ndarray, shape (n_channels, n_axes)
        Unit vectors.
    share : ndarray, shape (n_channels,)
        Share of variance, 0 … 1.
    """
    root = np.sqrt(np.maximum(activity, 0.0))
    root, position = root - root.mean(0), position - position.mean(0)
    slopes = np.linalg.lstsq(position, root, rcond=None)[0]
    variance = np.maximum((root**2).sum(0), 1e-300)
    share = ((position @ slopes) ** 2).sum(0) / variance
    return slopes.T / np.maximum(np.linalg.norm(slopes.T, axis=1, keepdims=True), 1e-300), share


def fitted_turn(recorded: Floats, pulls: Floats, weights: Floats) -> Floats:
    """Return the rotation that brings directions closest to others.

    The orthogonal Procrustes problem without mirror images: Kabsch (1976), Acta Crystallographica A32:922. A
    layout states mirrored axes by their signs.

    Parameters
    ----------
    recorded, pulls : ndarray, shape (n_channels, n_axes)
        Unit vectors.
    weights : ndarray, shape (n_channels,)

    Returns
    -------
    ndarray, shape (n_axes, n_axes)
        A rotation; ``turn @ recorded[i]`` is to be like ``pulls[i]``.
    """
    left, _, right = np.linalg.svd((pulls * weights[:, None]).T @ recorded)
    left[:, -1] *= np.sign(np.linalg.det(left @ right))
    turn: Floats = left @ right
    return turn


def _described(turn: Floats) -> str:
    """Return a rotation of a plane as degrees, counter-clockwise; another as a matrix."""
    if turn.shape != (2, 2):
        return str(np.round(turn, 2).tolist())
    return f"{np.degrees(np.arctan2(turn[1, 0], turn[0, 0])):.0f} degrees"
