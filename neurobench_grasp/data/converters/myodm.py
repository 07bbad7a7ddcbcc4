"""MyoDM: clips of human hands with objects, on the joints of MyoHand, as one session without neurons.

Details for readers of the scores are in ``docs/hand_kinematics.md``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.contract import Floats, Session, Signal, TrialTable, Window
from neurobench_grasp.data import session_digest, write_session
from neurobench_grasp.data.nwb.read import NO_UNITS

NAME = "myodm"
FRAMES_PER_SECOND = 50
GAP = 100
"""Frames between clips: 2 s, longer than any padding."""

ROOT = 6
"""Columns of a clip before those of the joints: position and orientation of the forearm."""

MOVED = 0.005
"""Displacement in metres above which an object counts as moved."""

DESCRIPTION = (
    "Human hands that grasp and use objects (motion capture GRAB), retargeted to MyoHand by the authors of "
    "MyoDM. One trial per clip, laid end to end with gaps; the date is nominal. No neurons."
)


def write(folder: Path, clips: Mapping[str, bytes]) -> dict[str, str]:
    """Write the clips as one NWB file.

    Parameters
    ----------
    folder : path
    clips : mapping of str to bytes
        File ``MyoHand_<object>_<task>.npz`` → its bytes.

    Returns
    -------
    dict of str to str
        Session → digest of its content.
    """
    session = make_session(clips)
    write_session(
        folder / f"{NAME}.nwb",
        session,
        species="Homo sapiens",
        sex="U",
        age=None,
        session_start_time=datetime(2020, 1, 1, tzinfo=UTC),
        description=DESCRIPTION,
        licence="GRAB licence (non-commercial research)",
    )
    return {session.id: session.sha256}


def make_session(clips: Mapping[str, bytes]) -> Session:
    """Make the session in memory.

    The joints of a clip have the order of :data:`neurobench_grasp.bodies.myohand.JOINTS`; they are taken by
    position, because two thumb joints have since swapped names. Frame ``i`` of a clip stands in
    the middle of the clip's step ``i``, so that sampling on the 20 ms grid returns the frames.
    """
    names = sorted(clips)
    loaded = [np.load(io.BytesIO(clips[name]), allow_pickle=False) for name in names]
    angles = [clip["robot"][:, ROOT:].astype(np.float64) for clip in loaded]
    n_frames = np.array([len(a) for a in angles])
    first = np.concatenate([[0], np.cumsum(n_frames + GAP)[:-1]])
    frames = np.concatenate([np.arange(n) + f for n, f in zip(n_frames, first, strict=True)])
    moves = [f + _moves(clip["object"]) for f, clip in zip(first, loaded, strict=True)]
    start, stop = first / FRAMES_PER_SECOND, (first + n_frames) / FRAMES_PER_SECOND
    labels = [name.removeprefix("MyoHand_").removesuffix(".npz") for name in names]
    session = Session(
        id=NAME,
        subject="unknown",
        layout="ngb-grasp-1",
        sha256="",
        synthetic=False,
        units=NO_UNITS,
        trials=TrialTable(
            ids=tuple(labels),
            start=start,
            stop=stop,
            condition=tuple(label.split("_")[0] for label in labels),
            events={"clip_start": start, "clip_stop": stop, "object_moves": _instant(np.array(moves))},
        ),
        signals={
            "joint_angles": Signal(
                "joint_angles", "joint_angle", JOINTS, "rad", _instant(frames), np.concatenate(angles)
            )
        },
        window=Window("clip_start", "clip_stop", contiguous="trial"),
    )
    return replace(session, sha256=session_digest(session))


def _instant(frame: Floats) -> Floats:
    """Return the middle of a frame's step in seconds, correctly rounded."""
    return (2 * frame + 1) / (2 * FRAMES_PER_SECOND)


def _moves(pose: Floats) -> float:
    """Return the first frame in which the object has moved, s; NaN if it stays.

    Its reference is the second frame: in the first, every object is where the simulator puts it
    before the clip begins, up to 3 cm off.
    """
    gone = np.linalg.norm(pose[:, :3] - pose[1, :3], axis=1) > MOVED
    gone[0] = False
    return float(np.argmax(gone)) if gone.any() else np.nan
