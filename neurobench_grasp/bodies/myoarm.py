"""Right arm of a human: MyoSuite's shoulder, elbow, forearm and wrist, with a hand that is held relaxed.

Clavicle and scapula follow the elevation of the arm, as MyoSuite's model has it (scapulohumeral rhythm): ten
joints that depend on ``shoulder_elv``, and one that turns the plane of elevation back before the humerus
rotates. They are none of the body's joints, but kinematics and simulation move them.

The fingers are fixed in MyoHand's neutral posture. The muscles within the hand, which cross no joint that
is left, are left out. The long muscles of the fingers stay: they cross the wrist, and have more than half of
the peak force of the muscles that do. Their lengths are those of the whole model with such fingers.

Gravity is MyoSuite's, as in MyoHand; the trunk is upright, so that it pulls against y.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from neurobench_grasp.bodies import myohand
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.spec import CONTROL_STEP, PAINTED, PHYSICS_STEPS, SEEN, UNSEEN, View
from neurobench_grasp.contract.body import Part

SIDE = myohand.SIDE

JOINTS = (
    "elv_angle", "shoulder_elv", "shoulder_rot", "elbow_flexion", "pro_sup", "deviation", "flexion",
)  # fmt: skip
"""Shoulder: plane of elevation, elevation and axial rotation; elbow and forearm; wrist."""

_FINGER_JOINTS = myohand.JOINTS[3:]
_IN_THE_HAND = ("OP", *(f"{muscle}{i}" for i in (2, 3, 4, 5) for muscle in ("RI", "LU_RB", "UI_UB")))

MUSCLES = (
    *("DELT1", "DELT2", "DELT3", "SUPSP", "INFSP", "SUBSC", "TMIN", "TMAJ"),
    *("PECM1", "PECM2", "PECM3", "LAT1", "LAT2", "LAT3", "CORB"),
    *("TRIlong", "TRIlat", "TRImed", "ANC", "SUP", "BIClong", "BICshort", "BRA", "BRD"),
    *(muscle for muscle in myohand.MUSCLES if muscle not in _IN_THE_HAND),
)
"""The muscles in the order of the actuators: shoulder, elbow and forearm, and those of MyoHand that stay.

In myo-sim 0.2.3, LAT1 is shorter than its length range in every posture, so that it has hardly any force.
"""

NEUTRAL: Mapping[str, float] = {
    "elv_angle": 1.2,
    "shoulder_elv": 0.7,
    "shoulder_rot": 0.4,
    "elbow_flexion": 1.4,
}
"""rad; the hand is 40 cm in front of the trunk at the height of the chest, the wrist straight and the palm to
the left."""
SETTLING = (2 * CONTROL_STEP / PHYSICS_STEPS, 0.5)
"""Time constant (s; the shortest that MuJoCo allows) and damping ratio of the constraints that joints follow.

With MyoSuite's (0.02 s, 1) these joints are off by up to 8 degrees when random actions move the arm, and with
this by 3: the integrator treats damping and muscles implicitly, and the constraints explicitly.
"""

_TRUNK = ("sacrum", "lumbar", "torso", "neck", "head")
_BONE_COLOUR = [0.93, 0.90, 0.84, 1.0]
_FLESH_OPACITY = 0.4


def _dress(spec: Any) -> None:
    """Draw the bones, with translucent flesh around those of the arm."""
    for geom in spec.geoms:
        of_trunk = geom.parent.name.startswith(_TRUNK)
        if geom.group == PAINTED and not of_trunk and geom.parent.name != "world":
            geom.material, geom.rgba = "", [1, 1, 1, _FLESH_OPACITY]
        elif geom.group == SEEN:
            geom.material, geom.rgba = "", _BONE_COLOUR
        else:
            geom.group = UNSEEN


_FROM_AHEAD = View(
    look_at=(0.1, -0.05, 0.15),
    towards=(1.0, 0.2, 0.6),
    up=(0.0, 1.0, 0.0),
    distance=2.0,
    field_of_view=35.0,
    dress=_dress,
)


@cache
def build_myoarm() -> MujocoBody:
    """Return the arm; it is compiled when first used.

    Keypoints are in the frame of the thorax, whose origin is the right sternoclavicular joint: x points
    ahead, y up and z to the right. When the arm hangs, the elbow is at (-0.02, -0.30, 0.13) m and the centre
    of the shoulder, which moves with the scapula, 0.29 m above it. The endpoint is the head of the third
    metacarpal bone.
    """
    return MujocoBody(
        "myoarm",
        make_spec=_spec,
        joint_names={joint: joint + SIDE for joint in JOINTS},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in MUSCLES},
        keypoint_sources={
            "elbow": ("body", "ulna" + SIDE),
            "wrist": ("body", "lunate" + SIDE),
            "hand": ("body", "3proxph" + SIDE),
        },
        tips=("hand",),
        frame="thorax",
        frame_body="myoarm_r_root",
        parts=(Part("arm", JOINTS, ("elbow", "wrist", "hand")),),
        neutral_angles=NEUTRAL,
        view=_FROM_AHEAD,
        endpoint="hand",
    )


def _spec() -> Any:
    spec = import_module("myo_sim").load_spec("myoarm_r")
    for joint in _FINGER_JOINTS:  # of some, the names have no side
        _hold(spec, spec.joint(joint + SIDE) or spec.joint(joint), myohand.NEUTRAL[joint])
    for constraint in spec.equalities:
        constraint.solref = SETTLING
    for joint in spec.joints:
        if joint.name.removesuffix(SIDE) not in JOINTS:
            joint.limited = False  # what they follow has limits, and theirs are up to 2 degrees narrower
    for muscle in list(spec.actuators):
        if muscle.name not in MUSCLES:
            spec.delete(muscle)
    for tendon in list(spec.tendons):  # also ligaments, which have no force
        if tendon.name.removesuffix("_tendon") not in MUSCLES:
            spec.delete(tendon)
    return spec


def _hold(spec: Any, joint: Any, angle: float) -> None:
    """Fix a joint at an angle; several joints of one bone are turned in their order."""
    import mujoco

    turn, turned = np.empty(4), np.empty(4)
    mujoco.mju_axisAngle2Quat(turn, joint.axis, angle)
    mujoco.mju_mulQuat(turned, joint.parent.quat, turn)
    joint.parent.quat = turned
    spec.delete(joint)
