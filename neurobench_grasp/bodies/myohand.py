"""MyoHand: its joints, muscles and keypoints by name, and the model built from MyoSuite's recipe.

Names are those of MyoSuite 3 without the side's suffix. MyoSuite 2 swapped the names of the
thumb's ``cmc_flexion`` and ``cmc_abduction``, in the same order of joints.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import NgbError

SIDE = "_r"

JOINTS = (
    "pro_sup",
    "deviation",
    "flexion",
    "cmc_flexion",
    "cmc_abduction",
    "mp_flexion",
    "ip_flexion",
    *(f"{joint}" for i in (2, 3, 4, 5) for joint in (
        f"mcp{i}_flexion", f"mcp{i}_abduction", f"pm{i}_flexion", f"md{i}_flexion",
    )),
)  # fmt: skip
"""The 23 joints in the order of ``qpos``: forearm and wrist, thumb, then index to little finger."""

MUSCLES = (
    *("ECRL", "ECRB", "ECU", "FCR", "FCU", "PL", "PT", "PQ"),
    *(f"{muscle}{i}" for muscle in ("FDS", "FDP", "EDC") for i in (5, 4, 3, 2)),
    *("EDM", "EIP", "EPL", "EPB", "FPL", "APL", "OP"),
    *(f"{muscle}{i}" for i in (2, 3, 4, 5) for muscle in ("RI", "LU_RB", "UI_UB")),
)
"""The 39 muscles in the order of the actuators."""

PARTS = ("wrist", "thumb", "index", "middle", "ring", "little")
"""Forearm and wrist, and the five digits."""

JOINT_PARTS = np.array([0, 0, 0, *np.repeat(range(1, 6), 4)])
KEYPOINT_PARTS = np.repeat(range(1, 6), 4)
"""Index in :data:`PARTS` of every joint and of every keypoint."""

WRIST = "lunate" + SIDE
"""The body whose frame keypoints are expressed in; they do not depend on forearm and wrist joints."""

_KEYPOINT_SOURCES = {
    "thumb_cmc": ("body", "firstmc"),
    "thumb_mcp": ("body", "proximal_thumb"),
    "thumb_ip": ("body", "distal_thumb"),
    "thumb_tip": ("site", "THtip"),
    **{
        f"{finger}_{point}": source
        for i, finger, tip in zip((2, 3, 4, 5), ("index", "middle", "ring", "little"), "IMRL", strict=True)
        for point, source in (
            ("mcp", ("body", f"{i}proxph")),
            ("pip", ("body", f"midph{i}")),
            ("dip", ("body", f"distph{i}")),
            ("tip", ("site", f"{tip}Ftip")),
        )
    },
}

KEYPOINTS = tuple(_KEYPOINT_SOURCES)
"""The 20 keypoints: each digit's joints and its tip."""


@cache
def build_hand() -> tuple[Any, Any]:
    """Build the hand, once per process.

    Returns
    -------
    model : mujoco.MjModel
    spec : mujoco.MjSpec
        MyoSuite's ``hand_standard`` and named sensors: ``<muscle>_length`` (m), ``<muscle>_velocity`` (m/s),
        ``<joint>_position`` (rad), ``<joint>_velocity`` (rad/s) and one named after each keypoint (m, in the
        wrist's frame). Both objects are shared: copy the spec before editing it.

    Raises
    ------
    NgbError
        If the installed MyoSuite builds a hand with other joints or muscles.
    """
    import mujoco

    with _quiet():
        import_module("myosuite.core.model_recipes")  # registers the recipes
        from myosuite.core.model_builder import build_from_recipe

        _, spec = build_from_recipe("hand_standard")
        _add_sensors(spec)
        model = spec.compile()
    joints = tuple(model.joint(i).name.removesuffix(SIDE) for i in range(model.njnt))
    muscles = tuple(model.actuator(i).name.removesuffix(SIDE) for i in range(model.nu))
    if (joints, muscles) != (JOINTS, MUSCLES):
        raise NgbError(
            f"MyoSuite with MuJoCo {mujoco.__version__} built a hand with other joints or muscles than this "
            "version of neurobench-grasp supports; install myosuite==3.0.0."
        )
    return model, spec


def joint_limits() -> Floats:
    """Lowest and highest angle of each joint.

    Returns
    -------
    ndarray, shape (23, 2)
        rad.
    """
    limits: Floats = np.array(build_hand()[0].jnt_range)
    return limits


def _add_sensors(spec: Any) -> None:
    from mujoco import mjtObj, mjtSensor

    def add(name: str, kind: Any, source: Any, target: str, **frame: Any) -> None:
        spec.add_sensor(name=name, type=kind, objtype=source, objname=target, **frame)

    for muscle in MUSCLES:
        tendon = f"{muscle}_tendon{SIDE}"  # not the muscle: a hand without muscles has tendons too
        add(f"{muscle}_length", mjtSensor.mjSENS_TENDONPOS, mjtObj.mjOBJ_TENDON, tendon)
        add(f"{muscle}_velocity", mjtSensor.mjSENS_TENDONVEL, mjtObj.mjOBJ_TENDON, tendon)
    for joint in JOINTS:
        add(f"{joint}_position", mjtSensor.mjSENS_JOINTPOS, mjtObj.mjOBJ_JOINT, joint + SIDE)
        add(f"{joint}_velocity", mjtSensor.mjSENS_JOINTVEL, mjtObj.mjOBJ_JOINT, joint + SIDE)
    kinds = {"body": mjtObj.mjOBJ_XBODY, "site": mjtObj.mjOBJ_SITE}
    for name, (kind, target) in _KEYPOINT_SOURCES.items():
        wrist = {"reftype": mjtObj.mjOBJ_XBODY, "refname": WRIST}
        add(name, mjtSensor.mjSENS_FRAMEPOS, kinds[kind], target + SIDE, **wrist)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress MuJoCo's warnings, which go to stderr and MUJOCO_LOG.TXT, and Python's."""
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(before)
