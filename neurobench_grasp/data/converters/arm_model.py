"""What an arm model computed from markers, as TrialData files have it: joint angles and lengths of muscles.

The Miller laboratory runs OpenSim on its model of a macaque arm and keeps all results in one field,
``opensim``, whose columns end in ``_ang``, ``_vel``, ``_len``, ``_muscVel`` or ``_moment``; files for one
analysis have ``joint_ang`` and ``muscle_len`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.bodies.macaque_arm import JOINTS
from neurobench_grasp.bodies.posture import in_degrees
from neurobench_grasp.data.converters.binned import SignalKind

TOGETHER = "opensim"
ANGLES, LENGTHS = "joint_ang", "muscle_len"
ENDINGS = {ANGLES: "_ang", LENGTHS: "_len"}
"""Signal → how its columns end."""

Matrices = dict[str, list[NDArray[Any]]]
"""Signal → its values, trial by trial, (n_bins, n_columns)."""


def arm_signals(
    kinds: Mapping[str, SignalKind], found: Mapping[str, list[NDArray[Any]]]
) -> tuple[dict[str, SignalKind], Matrices, str]:
    """Name joint angles, in rad, and muscle lengths of the arm model, if they are there.

    Angles count as the model's only where all of its joints are among them.

    Returns
    -------
    kinds, found
        The same, with the signals ``joint_ang`` and ``muscle_len`` of the columns that are theirs.
    str
        What is assumed of joint angles of the model; empty without any.
    """
    kinds, found = dict(kinds), dict(found)
    for signal, end in ENDINGS.items():
        if signal not in kinds and TOGETHER in kinds:
            _take_out(kinds, found, signal, end)
        if signal in kinds:
            names = tuple(name.removesuffix(end) for name in kinds[signal].columns)
            if all(names) and len(set(names)) == len(names):
                kinds[signal] = replace(kinds[signal], columns=names)
    if LENGTHS in kinds:
        kinds[LENGTHS] = replace(kinds[LENGTHS], role="muscle_length")
    if ANGLES not in kinds or not set(JOINTS) <= set(kinds[ANGLES].columns):
        return kinds, found, ""
    others = ", ".join(name for name in kinds[ANGLES].columns if name not in JOINTS)
    columns = [kinds[ANGLES].columns.index(joint) for joint in JOINTS]
    kinds[ANGLES] = SignalKind("joint_angle", JOINTS, "rad")
    found[ANGLES] = [values[:, columns] for values in found[ANGLES]]
    degrees = any(in_degrees(joint) for joint in np.concatenate(found[ANGLES]).T)  # an elbow is never near 0
    if degrees:
        found[ANGLES] = [np.radians(values) for values in found[ANGLES]]
    how = f"{'degrees' if degrees else 'rad'}{f', without {others}' if others else ''}"
    return kinds, found, f"{ANGLES} is taken as the angles of the Miller laboratory's arm model, in {how}"


def _take_out(kinds: dict[str, SignalKind], found: Matrices, signal: str, end: str) -> None:
    """Make a signal of those columns of all results whose names end alike."""
    columns, values = kinds[TOGETHER].columns, found[TOGETHER]
    theirs = np.array([name.endswith(end) for name in columns])
    for name, chosen in ((signal, theirs), (TOGETHER, ~theirs)):
        kinds[name] = replace(kinds[TOGETHER], columns=tuple(np.array(columns)[chosen].tolist()))
        found[name] = [matrix[:, chosen] for matrix in values]
        if not chosen.any():
            del kinds[name], found[name]
