"""A macaque's arm in a horizontal plane: two joints, six muscles, parameters from published models.

Sizes and forces are those of the macaque arm of Chan and Moran (2006), Journal of Neural Engineering 3:324,
as published by the Miller laboratory (github.com/limblab/monkeyArmModel, commit 4fb7ddd), for an animal that
is larger by :data:`SCALE`: lengths grow with it, forces with its square, masses with its cube and moments of
inertia with its fifth power. The model's moment arms depend on posture; constant ones of these six muscle
groups are published for the human arm, and scaled by the length of the upper arm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from neurobench_grasp.bodies.from_scratch import add_muscle, new_spec
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.spec import View
from neurobench_grasp.contract.body import Part

SCALE = 1.2
"""Size of the animal, relative to the model's: workspaces of 20 cm, which are recorded, are then in reach."""


@dataclass(frozen=True)
class Segment:
    """A rigid segment.

    Parameters
    ----------
    length, centre : float
        Of the segment, and from its joint to its centre of mass, m.
    mass : float
        kg.
    inertia : float
        About the centre of mass, perpendicular to the plane, kg m².
    """

    length: float
    centre: float
    mass: float
    inertia: float


def _scaled(length: float, centre: float, mass: float, inertia: float) -> Segment:
    return Segment(SCALE * length, SCALE * centre, SCALE**3 * mass, SCALE**5 * inertia)


UPPER_ARM = _scaled(0.125, 0.0555, 0.203, 2.93e-4)
"""The model's humerus, from shoulder to elbow."""
FOREARM = _scaled(0.185, 0.0764, 0.203, 7.86e-4)
"""The model's ulna, radius and hand as one segment, with a straight wrist, from the elbow to the handle.

The wrist is 0.140 m from the elbow; the handle is taken to be 0.045 m further, in the palm. Centres of mass
are 0.045 (ulna), 0.053 (radius) and 0.165 m (hand) from the elbow; their moments of inertia are added by the
parallel axis theorem.
"""
_HUMAN_UPPER_ARM = 0.31
_ARMS = SCALE * 0.125 / _HUMAN_UPPER_ARM
"""Scale of the moment arms, which are those of table 1 in Journal of Neuroscience 29:12606 (2009)."""


@dataclass(frozen=True)
class Muscle:
    """A group of muscles.

    Parameters
    ----------
    shoulder, elbow : float
        Moment arms, m; positive: flexion.
    force : float
        Peak isometric force, N.
    fibre : float
        Optimal fibre length, m; the force-weighted mean of the group.
    """

    shoulder: float
    elbow: float
    force: float
    fibre: float


def _muscle(shoulder: float, elbow: float, force: float, fibre: float) -> Muscle:
    return Muscle(_ARMS * shoulder, _ARMS * elbow, SCALE**2 * force, SCALE * fibre)


MUSCLES: Mapping[str, Muscle] = {
    "shoulder_flexor": _muscle(0.0536, 0.0, 406.5, 0.0543),  # anterior deltoid, pectoralis
    "shoulder_extensor": _muscle(-0.0536, 0.0, 406.5, 0.0690),  # posterior deltoid
    "elbow_flexor": _muscle(0.0, 0.0316, 174.3, 0.0716),  # brachialis, brachioradialis
    "elbow_extensor": _muscle(0.0, -0.0267, 271.2, 0.1080),  # triceps, lateral and short head
    "biarticular_flexor": _muscle(0.0386, 0.0427, 96.9, 0.1225),  # biceps
    "biarticular_extensor": _muscle(-0.0388, -0.0300, 116.1, 0.1062),  # triceps, long head
}
"""The six groups; fixed tendons with these moment arms."""

LIMITS: Mapping[str, tuple[float, float]] = {"shoulder": (-0.7, 2.3), "elbow": (0.15, 2.6)}
"""Lowest and highest angle, rad; the elbow does not extend fully, so that a hand in reach has one posture."""
NEUTRAL: Mapping[str, float] = {"shoulder": 0.65, "elbow": 1.75}
"""The hand is straight ahead of the shoulder, in the middle of what it can reach; fibres have their optimal
length."""
DAMPING = 0.02
"""N·m·s/rad in each joint: the released arm comes to rest within a second. No measurement of it is known."""
FASTEST = 10.0
"""Optimal fibre lengths per second at which a shortening muscle has no force: Zajac (1989), Critical Reviews
in Biomedical Engineering 17:359."""

_FROM_ABOVE = View(
    look_at=(0.0, 0.1, 0.0), towards=(0.0, 0.0, 1.0), up=(0.0, 1.0, 0.0), distance=1.0, field_of_view=46.0
)


@cache
def build_planar_arm() -> MujocoBody:
    """Return the arm; it is compiled when first used.

    A right arm from above: x points to the right, y ahead, angles turn counter-clockwise. At shoulder 0 the
    upper arm points to the right; the elbow's angle is 0 when it is extended, and grows with flexion.
    """
    return MujocoBody(
        "planar_arm",
        make_spec=_spec,
        joint_names={joint: joint for joint in LIMITS},
        muscle_names={muscle: (muscle, f"{muscle}_tendon") for muscle in MUSCLES},
        keypoint_sources={"elbow": ("body", "forearm"), "hand": ("site", "hand")},
        tips=("hand",),
        frame="shoulder",
        frame_body="trunk",
        parts=(Part("arm", tuple(LIMITS), ("elbow", "hand")),),
        neutral_angles=NEUTRAL,
        view=_FROM_ABOVE,
        endpoint="hand",
        endpoint_axes=("x", "y"),
    )


def _spec() -> Any:
    spec = new_spec()
    trunk = spec.worldbody.add_body(name="trunk")
    upper = _segment(trunk, "upper_arm", "shoulder", UPPER_ARM, at=0.0)
    forearm = _segment(upper, "forearm", "elbow", FOREARM, at=UPPER_ARM.length)
    forearm.add_site(name="hand", pos=[FOREARM.length, 0, 0])
    for name, muscle in MUSCLES.items():
        arms = {"shoulder": -muscle.shoulder, "elbow": -muscle.elbow}  # a flexor shortens with flexion
        own = {"fibre": muscle.fibre, "force": muscle.force, "vmax": FASTEST, "tausmooth": 0.0}
        add_muscle(spec, name, arms, LIMITS, NEUTRAL, **own)
    return spec


def _segment(parent: Any, name: str, joint: str, segment: Segment, at: float) -> Any:
    import mujoco

    body = parent.add_body(name=name, pos=[at, 0, 0])
    body.explicitinertial = True
    body.mass, body.ipos = segment.mass, [segment.centre, 0, 0]
    body.inertia = [0.1 * segment.inertia, segment.inertia, segment.inertia]  # turned about z alone
    body.add_joint(
        name=joint,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0, 0, 1],
        limited=True,
        range=LIMITS[joint],
        damping=DAMPING,
    )
    body.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=[0, 0, 0, segment.length, 0, 0], size=[0.012, 0, 0]
    )
    return body
