"""Map recorded joint angles to postures of the hand, within its limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS, joint_limits
from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import NgbError

NEUTRAL: Mapping[str, float] = {
    **dict.fromkeys(JOINTS, 0.0),
    "cmc_abduction": 0.2,
    "mp_flexion": -0.1,
    "ip_flexion": -0.2,
    **{f"mcp{i}_flexion": 0.35 for i in (2, 3, 4, 5)},
    **{f"pm{i}_flexion": 0.5 for i in (2, 3, 4, 5)},
    **{f"md{i}_flexion": 0.3 for i in (2, 3, 4, 5)},
}
"""The relaxed hand (rad) with a straight wrist: value of joints that were not recorded."""


@dataclass(frozen=True)
class Posture:
    """Postures of the hand.

    Parameters
    ----------
    joint_angles : ndarray, shape (n_steps, 23)
        rad, in the order of :data:`JOINTS`, within the joint limits.
    clipped : mapping of str to int
        Joint → number of steps outside its limits; joints without any are omitted.
    missing : tuple of str
        Joints without a column; they are held at :data:`NEUTRAL`.
    unused : tuple of str
        Columns that match no joint of the hand.
    """

    joint_angles: Floats
    clipped: Mapping[str, int]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def posture(
    values: Floats, columns: Sequence[str], joint_map: Mapping[str, tuple[str, float, float]] | None = None
) -> Posture:
    """Map recorded joint angles to the hand's order and limits.

    Parameters
    ----------
    values : ndarray, shape (n_steps, n_columns)
        rad.
    columns : sequence of str, length n_columns
    joint_map : mapping, optional
        Column → (joint, sign, offset in rad): the joint's angle is ``sign · value + offset``. A column that
        that is not listed and named like a joint maps to that joint; other columns are not used.

    Returns
    -------
    Posture

    Raises
    ------
    NgbError
        If columns and values do not match, a listed column or joint does not exist, two columns map to one
        joint, no column maps to any, or an angle is not a finite number.
    """
    sources = _sources(columns, joint_map or {})
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise NgbError(f"Joint angles have shape {values.shape} but {len(columns)} column names.")
    angles = np.tile(np.array([NEUTRAL[joint] for joint in JOINTS]), (len(values), 1))
    for joint, (column, sign, offset) in sources.items():
        recorded = values[:, column]
        gaps = np.sum(~np.isfinite(recorded))
        if gaps:
            raise NgbError(
                f"Joint-angle column {columns[column]!r} has {gaps} values that are not finite numbers; "
                "fill the gaps or omit these trials."
            )
        angles[:, JOINTS.index(joint)] = sign * recorded + offset
    used = {column for column, _, _ in sources.values()}
    low, high = joint_limits().T
    outside = np.sum((angles < low) | (angles > high), axis=0)
    return Posture(
        joint_angles=np.clip(angles, low, high),
        clipped={joint: int(n) for joint, n in zip(JOINTS, outside, strict=True) if n},
        missing=tuple(joint for joint in JOINTS if joint not in sources),
        unused=tuple(c for i, c in enumerate(columns) if i not in used),
    )


def _sources(
    columns: Sequence[str], joint_map: Mapping[str, tuple[str, float, float]]
) -> dict[str, tuple[int, float, float]]:
    """Return joint → (index of its column, sign, offset)."""
    full_map = {c: (c, 1.0, 0.0) for c in columns if c in JOINTS} | dict(joint_map)
    for column, (joint, _, _) in full_map.items():
        if column not in columns:
            raise NgbError(f"The joint map names a column {column!r}{_near(column, columns)}")
        if joint not in JOINTS:
            raise NgbError(f"Column {column!r} is mapped to a joint {joint!r}{_near(joint, JOINTS)}")
    for joint, n in Counter(joint for joint, _, _ in full_map.values()).items():
        if n > 1:
            rivals = " and ".join(repr(column) for column, (to, _, _) in full_map.items() if to == joint)
            raise NgbError(f"Columns {rivals} all map to the joint {joint!r}; map only one of them.")
    if not full_map:
        raise NgbError(
            f"None of the columns ({', '.join(columns)}) is a joint of the hand; use joint_map to "
            f"map them to some of: {', '.join(JOINTS)}."
        )
    return {joint: (list(columns).index(c), sign, offset) for c, (joint, sign, offset) in full_map.items()}


def _near(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}."
    return f" that does not exist; {hint}"
