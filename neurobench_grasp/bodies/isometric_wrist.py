"""A wrist that pulls on a stiff handle: the posture is held, and what the muscles produce are joint moments.

The muscles are those of MyoHand that cross the wrist, with its moment arms, peak forces and fibre lengths in
its neutral posture. The handle is a spring about both axes of the wrist: it turns in proportion to the
moment, by 2.3 degrees at most, so that muscle lengths hardly change. The keypoint is a point on a long
lever, whose position in metres is the moment times :data:`LEVER` / :data:`STIFFNESS`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.myohand import MUSCLES as MYOHAND
from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.bodies.spec import View
from neurobench_grasp.contract import Floats
from neurobench_grasp.contract.body import Part

JOINTS = {"flexion": (0.0, 1.0, 0.0), "deviation": (-1.0, 0.0, 0.0)}
"""Moments that are read, with their axes. Positive: palmar flexion, which moves the end of the lever along x,
and radial deviation, which moves it along y."""
STIFFNESS = 250.0
"""N·m/rad of the handle, about each axis; a moment of 4 N·m, a quarter of what the extensors can produce,
turns it by 0.9 degrees."""
LEVER = 5.0
"""m; 4 N·m move its end by 8 cm, the distance of a cursor's target on a screen."""
SETTLING = 0.01
"""s; time constant of the critically damped handle with the hand in it. No measurement of it is known."""
MOST = 0.04
"""rad; limit of both angles, which is a moment of 10 N·m."""

_FROM_THE_END = View(
    look_at=(0.0, 0.0, LEVER), towards=(0.0, 0.0, 1.0), up=(0.0, 1.0, 0.0), distance=1.0, field_of_view=32.0
)


MUSCLES = tuple(m for m in MYOHAND if m not in ("PT", "PQ", "OP") and not m.startswith(("RI", "LU", "UI")))
"""Those that cross the wrist: without pronators and the muscles within the hand."""


@cache
def build_isometric_wrist() -> MujocoBody:
    """Return the wrist; it is compiled when first used."""
    return MujocoBody(
        "isometric_wrist",
        make_spec=_spec,
        joint_names={joint: joint for joint in JOINTS},
        muscle_names={name: (name, f"{name}_tendon") for name in MUSCLES},
        keypoint_sources={"handle": ("site", "handle")},
        tips=("handle",),
        frame="forearm",
        frame_body="forearm",
        parts=(Part("wrist", tuple(JOINTS), ("handle",)),),
        neutral_angles={},
        labels={"flexion": "wrist flexion", "deviation": "radial deviation"},
        view=_FROM_THE_END,
        endpoint="handle",
        endpoint_axes=("x", "y"),
    )


def _spec() -> Any:
    import mujoco

    spec = mujoco.MjSpec()
    spec.option.gravity = [0, 0, 0]
    spec.compiler.degree = False
    spec.compiler.LRopt.useexisting = True  # length ranges are given below
    hand = spec.worldbody.add_body(name="forearm").add_body(name="hand")
    hand.explicitinertial, hand.mass, hand.inertia = True, 0.1, [1e-6] * 3  # the handle's is larger by far
    for joint, axis in JOINTS.items():
        hand.add_joint(
            name=joint,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=axis,
            limited=True,
            range=(-MOST, MOST),
            stiffness=STIFFNESS,
            damping=2 * STIFFNESS * SETTLING,
            armature=STIFFNESS * SETTLING**2,
        )
    hand.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=[0, 0, LEVER], size=[0.05, 0, 0])
    hand.add_site(name="handle", pos=[0, 0, LEVER])
    for name, arms, length in zip(MUSCLES, *_held(), strict=True):
        _add_muscle(spec, name, arms, length)
    return spec


def _held() -> tuple[Floats, Floats]:
    """Return moment arms, (n_muscles, n_joints) in m, and lengths, (n_muscles,) in m, in the held posture."""
    hand = build_myohand()
    arms = hand.muscle_capacity(hand.neutral[None])[0][0]
    length = hand.muscle_kinematics(np.tile(hand.neutral, (2, 1)), hand.control_step).length[0]
    mine = [hand.muscles.index(name) for name in MUSCLES]
    return arms[np.ix_(mine, [hand.joints.index(joint) for joint in JOINTS])], length[mine]


def _add_muscle(spec: Any, name: str, arms: Floats, length: float) -> None:
    """Add a muscle of MyoHand on a fixed tendon, whose zero is its length in the held posture."""
    import mujoco

    model = build_myohand().model
    theirs = model.actuator(build_myohand().muscle_names[name][0])
    (shortest, longest), (lowest, highest) = theirs.lengthrange, theirs.gainprm[:2]
    fibre = (longest - shortest) / (highest - lowest)
    normalised = lowest + (length - shortest) / fibre
    tendon = spec.add_tendon(name=f"{name}_tendon")
    for joint, arm in zip(JOINTS, arms, strict=True):
        tendon.wrap_joint(joint, arm)
    excursion = MOST * np.abs(arms).sum()
    actuator = spec.add_actuator(name=name, target=f"{name}_tendon", ctrllimited=True, ctrlrange=[0, 1])
    actuator.trntype = mujoco.mjtTrn.mjTRN_TENDON
    actuator.set_to_muscle(tausmooth=0.0)
    actuator.dynprm[:], actuator.gainprm[:], actuator.biasprm[:] = (
        theirs.dynprm,
        theirs.gainprm,
        theirs.biasprm,
    )
    for parameters in (actuator.gainprm, actuator.biasprm):
        parameters[:2] = normalised - excursion / fibre, normalised + excursion / fibre
    actuator.lengthrange = [-excursion, excursion]
