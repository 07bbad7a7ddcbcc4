"""An arm of our own in the place of the fetched macaque arm: its joints, seven pairs of muscles, simple bones."""

import json

import mujoco
import numpy as np

from neurobench_grasp.bodies import find, macaque_arm
from neurobench_grasp.bodies.from_scratch import add_muscle

AHEAD, UP, RIGHT = np.eye(3)
UPPER, FORE, HAND = 0.15, 0.17, 0.07
"""Lengths of the segments, m."""
AXES = {
    "shoulder_adduction": AHEAD, "shoulder_rotation": UP, "shoulder_flexion": RIGHT, "elbow_flexion": RIGHT,
    "radial_pronation": UP, "wrist_flexion": RIGHT, "wrist_abduction": AHEAD,
}  # fmt: skip
_DEGREES = ((-100, 50), (-80, 90), (-75, 90), (20, 140), (-90, 90), (-75, 90), (-60, 45))
LIMITS = dict(zip(macaque_arm.JOINTS, np.deg2rad(_DEGREES).tolist(), strict=True))
ARM = 0.02
"""Moment arm of each muscle, m."""
PAIRS = {
    "shoulder_adduction": ("lat_dorsi_sup", "deltoid_med"),
    "shoulder_rotation": ("subscapularis", "infraspinatus"),
    "shoulder_flexion": ("deltoid_ant", "deltoid_pos"),
    "elbow_flexion": ("brachialis", "tricep_lat"),
    "radial_pronation": ("pronator_quad", "supinator"),
    "wrist_flexion": ("flex_carpi_radialis", "ext_digitorum"),
    "wrist_abduction": ("ext_carpi_rad_longus", "ext_carpi_ulnaris"),
}
"""Joint → the muscle that increases its angle, and the one that decreases it."""


def install():
    """Put the arm where a fetched one is kept, in the cache that is set; :func:`forget` it in the end."""
    place = macaque_arm._place()
    place.mkdir(parents=True)
    (place / "body.xml").write_text(_spec().to_xml())
    muscles = [muscle for pair in PAIRS.values() for muscle in pair]
    (place / "conversion.json").write_text(json.dumps({"muscles": muscles}))
    forget()


def forget():
    """Let the next test build its body again."""
    macaque_arm.build_macaque_arm.cache_clear()
    find._built.cache_clear()


def _spec():
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.gravity = [0, 0, 0]
    trunk = spec.worldbody.add_body(name="sternum")
    parent, at = trunk, 0.0
    for name, joints, length in (
        ("humerus", macaque_arm.JOINTS[:3], UPPER), ("ulna1", macaque_arm.JOINTS[3:4], 0.02),
        ("radius", macaque_arm.JOINTS[4:5], FORE - 0.02), ("hand", macaque_arm.JOINTS[5:], HAND),
    ):  # fmt: skip
        segment = parent.add_body(name=name, pos=at * UP)
        for joint in joints:
            segment.add_joint(name=joint, axis=AXES[joint], range=LIMITS[joint], limited=True,
                              damping=0.02, armature=1e-3)  # fmt: skip
        segment.add_geom(name=f"bone-{name}", type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[0.01, 0, 0],
                         fromto=[0, 0, 0, 0, -length, 0], mass=0.2)  # fmt: skip
        parent, at = segment, -length
    parent.add_site(name="Marker_1", pos=-HAND * UP)
    for joint, pair in PAIRS.items():
        neutral = {joint: macaque_arm.NEUTRAL.get(joint, 0.0)}
        for muscle, arm in zip(pair, (-ARM, ARM), strict=True):
            add_muscle(spec, muscle, {joint: arm}, LIMITS, neutral, fibre=0.08, force=150.0, tausmooth=0.0)
    return spec
