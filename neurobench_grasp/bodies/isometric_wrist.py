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

from neurobench_grasp.bodies.from_scratch import add_muscle, new_spec
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.myohand import MUSCLES as MYOHAND
from neurobench_grasp.bodies.myohand import build_myohand
from neurobench_grasp.bodies.spec import View
from neurobench_grasp.bodies.tendons import neutral_arms
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
_PARAMETERS = ("force", "scale", "lmin", "lmax", "vmax", "fpmax", "fvmax")
"""Of a muscle in MuJoCo, after the two of its length range."""


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

    spec = new_spec()
    hand = spec.worldbody.add_body(name="forearm").add_body(name="hand")
    hand.explicitinertial, hand.mass, hand.inertia = True, 0.1, [1e-6] * 3  # the handle's is larger by far
    limits = dict.fromkeys(JOINTS, (-MOST, MOST))
    for joint, axis in JOINTS.items():
        hand.add_joint(
            name=joint,
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=axis,
            limited=True,
            range=limits[joint],
            stiffness=STIFFNESS,
            damping=2 * STIFFNESS * SETTLING,
            armature=STIFFNESS * SETTLING**2,
        )
    hand.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, pos=[0, 0, LEVER], size=[0.05, 0, 0])
    hand.add_site(name="handle", pos=[0, 0, LEVER])
    for name, (arms, muscle) in _held().items():
        add_muscle(spec, name, arms, limits, dict.fromkeys(JOINTS, 0.0), **muscle)
    return spec


def _held() -> dict[str, tuple[dict[str, float], dict[str, Any]]]:
    """Return moment arms (m) and parameters of the hand's muscles in the held posture."""
    hand = build_myohand()
    arms = neutral_arms(hand)[:, [hand.joints.index(joint) for joint in JOINTS]]
    lengths = hand.muscle_kinematics(np.tile(hand.neutral, (2, 1)), hand.control_step).length[0]
    held = {}
    for name in MUSCLES:
        i = hand.muscles.index(name)
        shortest, longest = hand.model.actuator_lengthrange[i]
        low, high, *others = hand.model.actuator_gainprm[i]
        fibre = (longest - shortest) / (high - low)
        muscle = dict(zip(_PARAMETERS, others, strict=False), timeconst=hand.model.actuator_dynprm[i, :2])
        muscle |= {"fibre": fibre, "at_neutral": low + (lengths[i] - shortest) / fibre, "tausmooth": 0.0}
        held[name] = dict(zip(JOINTS, arms[i], strict=True)), muscle
    return held
