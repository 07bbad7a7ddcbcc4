"""Map recorded joint angles to postures of a body, within its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.contract import Floats
from neurobench_grasp.contract.body import Posture
from neurobench_grasp.errors import NgbError

TURNS, SHARE = 4 * np.pi, 0.1
"""Joint angles in rad are refused where more than this share of a joint's samples is beyond two turns.

No joint turns once. A wrapped or offset angle is off by one turn at most, and artefacts are rare, so that
what was recorded in rad passes; degrees pass only where a joint stays near 0, and are clipped and counted.
"""

JointMap = Mapping[str, tuple[str, float, float]]


def posture(body: BodyModel, values: Floats, columns: Sequence[str], joint_map: JointMap | None) -> Posture:
    """Map recorded joint angles to the body's order and limits; as ``Body.posture``."""
    sources = _sources(body, columns, joint_map or {})
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise NgbError(f"Joint angles have shape {values.shape} but {len(columns)} column names.")
    angles = np.tile(body.neutral, (len(values), 1))
    for joint, (column, sign, offset) in sources.items():
        recorded = values[:, column]
        gaps = np.sum(~np.isfinite(recorded))
        if gaps:
            raise NgbError(
                f"Joint-angle column {columns[column]!r} has {gaps} values that are not finite numbers; "
                "fill the gaps or omit these trials."
            )
        _check_unit(columns[column], recorded)
        angles[:, body.joints.index(joint)] = sign * recorded + offset
    used = {column for column, _, _ in sources.values()}
    low, high = body.joint_limits.T
    outside = np.sum((angles < low) | (angles > high), axis=0)
    return Posture(
        joint_angles=np.clip(angles, low, high),
        clipped={joint: int(n) for joint, n in zip(body.joints, outside, strict=True) if n},
        missing=tuple(joint for joint in body.joints if joint not in sources),
        unused=tuple(c for i, c in enumerate(columns) if i not in used),
    )


def in_degrees(recorded: Floats) -> bool:
    """Return whether the angles of a joint, (n_steps,), can only be degrees."""
    return _beyond(recorded) > SHARE


def _beyond(recorded: Floats) -> float:
    return float(np.mean(np.abs(recorded) > TURNS)) if len(recorded) else 0.0


def _check_unit(column: str, recorded: Floats) -> None:
    """Raise if angles in rad can only be degrees."""
    if in_degrees(recorded):
        raise NgbError(
            f"Joint-angle column {column!r} reaches {np.abs(recorded).max():.0f} rad, and more than two "
            f"turns in {100 * _beyond(recorded):.0f} % of its samples, so it is in degrees; state that unit "
            "(`unit: degrees` of the signal in the layout)."
        )


def _sources(
    body: BodyModel, columns: Sequence[str], joint_map: JointMap
) -> dict[str, tuple[int, float, float]]:
    """Return joint → (index of its column, sign, offset)."""
    full_map = {c: (c, 1.0, 0.0) for c in columns if c in body.joints} | dict(joint_map)
    for column, (joint, _, _) in full_map.items():
        if column not in columns:
            raise NgbError(f"The joint map names a column {column!r}{_near(column, columns)}")
        if joint not in body.joints:
            raise NgbError(f"Column {column!r} is mapped to a joint {joint!r}{_near(joint, body.joints)}")
    refuse_rivals(full_map)
    if not full_map:
        raise NgbError(
            f"None of the columns ({', '.join(columns)}) is a joint of the body {body.name}; use joint_map "
            f"to map them to some of: {', '.join(body.joints)}."
        )
    return {joint: (list(columns).index(c), sign, offset) for c, (joint, sign, offset) in full_map.items()}


def refuse_rivals(joint_map: JointMap) -> None:
    """Raise if two columns map to one joint."""
    for joint, n in Counter(joint for joint, _, _ in joint_map.values()).items():
        if n > 1:
            rivals = " and ".join(repr(column) for column, (to, _, _) in joint_map.items() if to == joint)
            raise NgbError(f"Columns {rivals} map to one joint, {joint!r}; map only one of them.")


def _near(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}."
    return f" that does not exist; {hint}"
