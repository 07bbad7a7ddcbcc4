"""Joint angles of a session's body: those that were recorded, or those that a recorded endpoint implies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.inverse import REACHED, endpoint_of
from neurobench_grasp.contract import Body, Endpoint, Floats, Ragged, Session, Signal
from neurobench_grasp.contract.body import InferredPosture
from neurobench_grasp.contract.data import HELD
from neurobench_grasp.errors import UnknownNameError, UnsupportedError

MIDDLE = (2.5, 97.5)
"""Percentiles of recorded positions between which the workspace lies; a few stray samples do not count."""
METRES = {"m": 1.0, "meters": 1.0, "metres": 1.0, "cm": 0.01, "mm": 0.001}
"""Units that a signal may state, m."""
ALIKE = 0.9
"""Correlation of recorded lengths of muscles with a body's, in the median, below which postures are doubted.

Recorded lengths are those of a model of the same anatomy, and correlate by nearly 1."""
FAR = 0.01
"""Distance from the recorded endpoint, m, in the median over steps; a larger one means a wrong layout."""


@dataclass(frozen=True)
class BodyAngles:
    """Joint angles of a session's body, where they are known.

    Parameters
    ----------
    joint_angles : Ragged, optional
        (trial, step, n_joints), rad, within the body's limits.
    inferred_from : str
        Signal from which they follow by inverse kinematics; empty where they were recorded.
    notes : tuple of str
        What was changed and assumed, one sentence each.
    """

    joint_angles: Ragged | None = None
    inferred_from: str = ""
    notes: tuple[str, ...] = ()


def joint_angles_of(session: Session, sampled: Mapping[str, Ragged], dt: float) -> BodyAngles:
    """Return the joint angles that were recorded or, without, those that the recorded endpoint implies.

    Raises
    ------
    UnknownNameError
        If the session's body is not installed.
    UnsupportedError
        If the body cannot follow the recorded endpoint.
    """
    named = [s for s in session.inputs.values() if s.role == "joint_angle"]
    followed = session.endpoint if session.endpoint and session.endpoint.signal in sampled else None
    if followed is not None and followed.aligned_by and followed.turn is None:
        followed = None  # not yet known: every fold aligns it by its training trials
    if not named and followed is None:
        return BodyAngles()
    body = _body_of(session)
    # Where no map is stated, a column is mapped to its own name, which the body need not know.
    joint_map = {c: to for c, to in session.joint_map.items() if to[0] != c or c in body.joints}
    if named and any(c in joint_map or c in body.joints for c in named[0].columns):
        found = _recorded(named[0], sampled, body, joint_map)
    elif followed is not None:
        found = _inferred(session, followed, body, sampled, dt)
    else:
        return BodyAngles(notes=(_unnamed(named[0].name, named[0].columns, body),))
    return replace(found, notes=(*found.notes, *_lengths_recorded(session, sampled, body, found, dt)))


def _lengths_recorded(
    session: Session, sampled: Mapping[str, Ragged], body: Body, found: BodyAngles, dt: float
) -> Iterator[str]:
    """Compare recorded lengths of muscles with those in the body's postures, one note for each signal."""
    assert found.joint_angles is not None
    for signal in (s for s in session.inputs.values() if s.role == "muscle_length"):
        muscles = {k: m for k, name in enumerate(signal.columns) if (m := _muscle_of(name, body.muscles))}
        if not muscles:
            yield f"no column of {signal.name} is a muscle of {body.name}, so its lengths check nothing"
            continue
        lengths = body.muscle_kinematics(found.joint_angles.values, dt, found.joint_angles.offsets).length
        alike = {}
        for column, muscle in muscles.items():
            pair = sampled[signal.name].values[:, column], lengths[:, body.muscles.index(muscle)]
            if all(np.isfinite(one).all() and np.ptp(one) > 0 for one in pair):
                alike[muscle] = float(np.corrcoef(*pair)[0, 1])
        if not alike:
            yield f"the lengths in {signal.name} do not vary, or have gaps, so they check nothing"
            continue
        median, least = float(np.median(list(alike.values()))), min(alike, key=lambda muscle: alike[muscle])
        doubt = "" if median >= ALIKE else "; the postures are not those of the recording"
        yield (
            f"{signal.name} has lengths of {len(alike)} muscles of {body.name}: they correlate with those in "
            f"its postures by {median:.2f} in the median and {alike[least]:.2f} at least ({least}){doubt}"
        )


def _muscle_of(column: str, muscles: Sequence[str]) -> str | None:
    """Return the muscle that a column is named after, perhaps with more behind its name (``_len``)."""
    found = [muscle for muscle in muscles if f"{column}_".startswith(f"{muscle}_")]
    return max(found, key=len, default=None)


def _unnamed(signal: str, columns: Sequence[str], body: Body) -> str:
    """State that columns are no joints of the body, and which joints have similar names."""
    near = {c: found[0] for c in columns if (found := get_close_matches(c, body.joints, n=1, cutoff=0.5))}
    similar = "; similar: " + ", ".join(f"{c} and {joint}" for c, joint in near.items()) if near else ""
    return (
        f"{', '.join(columns)} of {signal} drive no joint of {body.name}, and are used as recorded signals "
        f"only; a layout's joint_map names their joints (`ngb bodies {body.name}` lists them{similar})"
    )


def _body_of(session: Session) -> Body:
    try:
        return find_body(session.body)
    except UnknownNameError as cause:
        raise UnknownNameError(
            f"{session.id} needs the body {session.body!r}, which its layout {session.layout} names. {cause}"
        ) from cause


def _recorded(
    signal: Signal,
    sampled: Mapping[str, Ragged],
    body: Body,
    joint_map: Mapping[str, tuple[str, float, float]],
) -> BodyAngles:
    """Map recorded joint angles to the body."""
    result = body.posture(sampled[signal.name].values, signal.columns, joint_map)
    notes = []
    if result.clipped:
        n_clipped = sum(result.clipped.values())
        joints = ", ".join(result.clipped)
        notes.append(
            f"{n_clipped} joint-angle samples beyond the limits of {body.name} were clipped ({joints})"
        )
    if result.missing:
        notes.append(f"joints not recorded, held at neutral: {', '.join(result.missing)}")
    if result.unused:
        notes.append(_unnamed(signal.name, result.unused, body))
    return BodyAngles(Ragged(result.joint_angles, sampled[signal.name].offsets), notes=tuple(notes))


def _inferred(
    session: Session, endpoint: Endpoint, body: Body, sampled: Mapping[str, Ragged], dt: float
) -> BodyAngles:
    """Find the postures in which the body's endpoint follows the recorded one."""
    if not body.endpoint:
        raise UnsupportedError(
            f"The body {body.name} of {session.id} has no endpoint that determines its posture; name another "
            "body in the layout, or map joint angles (joint_map)."
        )
    check_axes(session, endpoint, body)
    path, origin = endpoint_in_metres(session, sampled), _origin(session, endpoint, body)
    place = path.values + np.tile(origin, 1 + len(endpoint.keypoints))
    more = {"keypoints": tuple(endpoint.keypoints)} if endpoint.keypoints else {}
    result = body.inverse_kinematics(place, dt, path.offsets, **more)
    missed = np.nanmedian(result.residual)
    if missed > FAR:
        away = np.nanmax(np.linalg.norm(place[:, : len(origin)], axis=1))
        wrong = ", origin or columns of keypoints" if endpoint.keypoints else " or origin"
        raise UnsupportedError(
            f"The body {body.name} cannot follow {endpoint.signal} of {session.id}: its "
            f"{_followed(body, endpoint)} {1000 * missed:.0f} mm away in the median, since positions are up "
            f"to {away:.2f} m from its {body.frame}; correct scale (metres per unit){wrong} of the layout's "
            "endpoint."
        )
    notes = _notes(endpoint, body, result, origin)
    unit = session.signals[endpoint.signal].unit
    if not np.isclose(METRES.get(unit, endpoint.scale), endpoint.scale):
        notes.append(f"{endpoint.signal} states {unit} as its unit; its layout takes {endpoint.scale:g} m")
    return BodyAngles(Ragged(result.joint_angles, path.offsets), endpoint.signal, tuple(notes))


def endpoint_in_metres(session: Session, sampled: Mapping[str, Ragged]) -> Ragged:
    """Return recorded positions along the body's axes, as `Endpoint.in_metres`, trial by trial."""
    assert session.endpoint is not None
    path = sampled[session.endpoint.signal]
    columns = session.signals[session.endpoint.signal].columns
    return Ragged(session.endpoint.in_metres(path.values, columns), path.offsets)


def check_axes(session: Session, endpoint: Endpoint, body: Body) -> None:
    """Raise if the recorded endpoint does not have the axes of the body's.

    Raises
    ------
    UnsupportedError
        The message names the columns that there are.
    """
    signal = session.signals[endpoint.signal]
    absent = [name for name in endpoint.columns if name not in signal.columns]
    if absent or not endpoint.columns or len(endpoint.axes) != len(body.endpoint_axes):
        wanted, columns = ", ".join(body.endpoint_axes), ", ".join(signal.columns)
        raise UnsupportedError(
            f"The endpoint of {session.id} has the axes {', '.join(endpoint.axes)}; {body.name} needs a "
            f"column of {signal.name} ({columns}) for each of {wanted}, or '{HELD}' where none was recorded."
        )
    for keypoint, axes in endpoint.keypoints.items():
        others = [k for k in body.keypoints if k != body.endpoint]
        if keypoint not in others or len(axes) != len(endpoint.axes) or HELD in (*axes, *endpoint.axes):
            raise UnsupportedError(
                f"The endpoint of {session.id} names the keypoint {keypoint!r} with the columns "
                f"{', '.join(axes)}; {body.name} has the further keypoints {', '.join(others) or '(none)'}, "
                f"and all of them, and its {body.endpoint}, need a column for each of "
                f"{', '.join(body.endpoint_axes)}."
            )


def _origin(session: Session, endpoint: Endpoint, body: Body) -> Floats:
    """Return where the recorded zero is in the body's frame, (n_axes,) in m."""
    if endpoint.origin is not None:
        return np.array(endpoint.origin)
    signal = session.signals[endpoint.signal]
    recorded = endpoint.in_metres(signal.values, signal.columns)[:, : len(endpoint.axes)]
    middle = np.nanpercentile(recorded, MIDDLE, axis=0).mean(0)
    (neutral,) = endpoint_of(body, body.keypoint_positions(body.neutral[None]))
    origin: Floats = neutral - middle
    return origin


def _followed(body: Body, endpoint: Endpoint) -> str:
    """Name the keypoints whose distance is stated after it."""
    others = ", ".join(endpoint.keypoints)
    return f"{body.endpoint} with {others} is (root mean square)" if others else f"{body.endpoint} is"


def _notes(endpoint: Endpoint, body: Body, result: InferredPosture, origin: Floats) -> list[str]:
    """State how joint angles were found, how well the endpoint follows, and what was assumed."""
    residual = 1000 * result.residual[np.isfinite(result.residual)]
    beyond = int((residual > 1000 * REACHED).sum())
    notes = [
        f"joint angles of {body.name} follow from {endpoint.signal} by inverse kinematics: the "
        f"{_followed(body, endpoint)} {np.median(residual):.2f} mm away in the median and "
        f"{residual.max():.1f} mm at most; {beyond} of {len(residual)} steps are beyond {1000 * REACHED:g} "
        "mm, out of reach"
    ]
    axes = zip(body.endpoint_axes, endpoint.axes, strict=True)
    if unknown := ", ".join(axis for axis, column in axes if column == HELD):
        notes.append(f"the {body.endpoint} was not recorded along {unknown}, and is held at neutral there")
    if result.at_limit:
        held = ", ".join(f"{joint} {n}" for joint, n in result.at_limit.items())
        notes.append(f"joint angles at a limit of {body.name}, steps: {held}")
    if endpoint.origin is None:
        at = ", ".join(f"{axis} {100 * x:.1f}" for axis, x in zip(body.endpoint_axes, origin, strict=True))
        notes.append(
            f"where the {body.frame} was is not recorded: the middle of the workspace is assumed at the "
            f"neutral posture of {body.name}, so the zero of {endpoint.signal} at {at} cm"
        )
    return notes
