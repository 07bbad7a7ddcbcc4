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

from neurobench_grasp.data.converters.binned import SignalKind

ARM = "macaque_arm"
"""The body that is this model, in another size."""
JOINTS = (
    *("shoulder_adduction", "shoulder_rotation", "shoulder_flexion", "elbow_flexion"),
    *("radial_pronation", "wrist_flexion", "wrist_abduction"),
)
TOGETHER = "opensim"
ANGLES, LENGTHS = "joint_ang", "muscle_len"
ENDINGS = {ANGLES: "_ang", LENGTHS: "_len"}
"""Signal → how its columns end."""
ASSUMED = (
    f"{ANGLES} are those of the arm model of the Miller laboratory in degrees, as OpenSim writes them "
    "(in rad where none is beyond a turn)"
)

Matrices = dict[str, list[NDArray[Any]]]
"""Signal → its values, trial by trial, (n_bins, n_columns)."""


def arm_signals(
    kinds: Mapping[str, SignalKind], found: Mapping[str, list[NDArray[Any]]]
) -> tuple[dict[str, SignalKind], Matrices, tuple[str, ...]]:
    """Name joint angles, in rad, and muscle lengths of the arm model, if they are there.

    Returns
    -------
    kinds, found
        The same, with the signals ``joint_ang`` and ``muscle_len`` of the columns that are theirs.
    tuple of str
        Columns of ``joint_ang`` that are joints of the model.
    """
    kinds, found = dict(kinds), dict(found)
    for signal, end in ENDINGS.items():
        if signal not in kinds and TOGETHER in kinds:
            _take_out(kinds, found, signal, end)
        if signal in kinds:
            names = tuple(name.removesuffix(end) for name in kinds[signal].columns)
            kinds[signal] = replace(kinds[signal], columns=names)
    if LENGTHS in kinds:
        kinds[LENGTHS] = replace(kinds[LENGTHS], role="muscle_length")
    joints = tuple(joint for joint in JOINTS if ANGLES in kinds and joint in kinds[ANGLES].columns)
    if not joints:
        return kinds, found, ()
    kinds[ANGLES] = SignalKind("joint_angle", kinds[ANGLES].columns, "rad")
    if max(np.nanmax(np.abs(values), initial=0.0) for values in found[ANGLES]) > 2 * np.pi:
        found[ANGLES] = [np.radians(values) for values in found[ANGLES]]
    return kinds, found, joints


def _take_out(kinds: dict[str, SignalKind], found: Matrices, signal: str, end: str) -> None:
    """Make a signal of those columns of all results whose names end alike."""
    columns, values = kinds[TOGETHER].columns, found[TOGETHER]
    theirs = np.array([name.endswith(end) for name in columns])
    for name, chosen in ((signal, theirs), (TOGETHER, ~theirs)):
        kinds[name] = replace(kinds[TOGETHER], columns=tuple(np.array(columns)[chosen].tolist()))
        found[name] = [matrix[:, chosen] for matrix in values]
        if not chosen.any():
            del kinds[name], found[name]
