"""The 35 objects, and the hand's opening and closing for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS, KEYPOINTS, build_myohand
from neurobench_grasp.contract import Floats
from neurobench_grasp.demo.random_stream import Stream


@dataclass(frozen=True)
class Digits:
    """A posture of fingers and thumb in few parameters (rad).

    Parameters
    ----------
    flexed : tuple of float
        Flexion of the index finger's three joints.
    ulnar : float
        Additional flexion of each finger relative to its radial neighbour.
    spread : float
        Spread of the fingers.
    thumb : tuple of float
        The thumb's four joints.
    """

    flexed: tuple[float, float, float]
    ulnar: float
    spread: float
    thumb: tuple[float, float, float, float]


@dataclass(frozen=True)
class Shape:
    """Objects of one shape, with the hand wide open and tightly closed around it."""

    sizes: tuple[int, ...]  # mm
    orientations: tuple[str, ...]
    wide: Digits
    tight: Digits


SHAPES = {
    "sphere": Shape(
        sizes=(20, 30, 40, 50, 60),
        orientations=("",),
        wide=Digits((0.15, 0.3, 0.15), 0.02, 0.16, (0.15, 0.55, 0.1, 0.0)),
        tight=Digits((0.75, 0.9, 0.5), 0.02, 0.1, (-0.32, 0.1, -0.15, -0.2)),
    ),
    "cylinder": Shape(
        sizes=(20, 30, 45, 60),
        orientations=("upright", "lying"),
        wide=Digits((0.2, 0.25, 0.1), 0.03, 0.05, (0.2, 0.45, 0.2, 0.1)),
        tight=Digits((0.9, 1.2, 0.7), 0.08, -0.05, (0.0, 0.2, -0.55, -1.1)),
    ),
    "box": Shape(
        sizes=(20, 30, 45, 60),
        orientations=("upright", "lying"),
        wide=Digits((0.35, 0.1, 0.05), 0.0, 0.05, (0.2, 0.6, 0.15, 0.1)),
        tight=Digits((1.15, 0.35, 0.15), -0.02, 0.0, (-0.4, 0.25, -0.1, -0.1)),
    ),
    "plate": Shape(
        sizes=(4, 8, 14, 22),
        orientations=("upright", "lying"),
        wide=Digits((0.4, 0.5, 0.2), 0.12, 0.0, (0.2, 0.25, 0.1, -0.1)),
        tight=Digits((0.9, 0.9, 0.35), 0.18, -0.1, (-0.37, 0.19, -0.23, -0.38)),
    ),
    "ring": Shape(
        sizes=(6, 10, 15, 20, 26, 32),
        orientations=("",),
        wide=Digits((0.35, 0.45, 0.25), -0.1, 0.12, (0.1, 0.5, 0.0, -0.1)),
        tight=Digits((0.85, 1.0, 0.65), -0.2, 0.08, (0.0, 0.2, -0.55, -0.6)),
    ),
}
AT_REST = Digits((0.85, 0.9, 0.5), 0.05, 0.0, (0.0, 0.2, -0.3, -0.5))

WRISTS = {"": (0.0, 0.1, -0.2), "upright": (-0.9, 0.2, -0.35), "lying": (1.0, 0.0, 0.1)}
"""Forearm rotation, deviation and flexion (rad) for each orientation."""
WRIST_AT_REST = (0.2, 0.05, 0.25)

FINGER_PADS = 12  # mm between the sites of thumb tip and index tip when the pads touch
APERTURE_AT_ZERO, APERTURE_PER_MM = (
    45,
    0.8,
)  # largest aperture (mm): grows slower than the object, as in humans
PER_SHAPE = 0.12  # variation between animals per shape, in free coordinates
PER_OBJECT = 0.1  # variation between animals per object


@dataclass(frozen=True)
class Grasp:
    """Grasp of one object by one animal, in the free coordinates of :func:`to_angles`.

    Parameters
    ----------
    name : str
        Such as ``cylinder_30mm_upright``.
    opened, closed : ndarray, shape (n_joints,)
        At the largest aperture, and at contact.
    """

    name: str
    opened: Floats
    closed: Floats


def grasps(animal: str) -> list[Grasp]:
    """Return one animal's grasp of each of the 35 objects: the posture of its shape, closed to its size.

    Parameters
    ----------
    animal : str
        Name of the animal's random stream.
    """
    stream = Stream(f"{animal}/grasp")
    found = []
    for name, shape in SHAPES.items():
        habit = PER_SHAPE * stream.normal(len(JOINTS))
        for orientation in shape.orientations:
            for size in shape.sizes:
                offset = habit + PER_OBJECT * stream.normal(len(JOINTS))
                wide = to_free(_angles(WRISTS[orientation], shape.wide)) + offset
                tight = to_free(_angles(WRISTS[orientation], shape.tight)) + offset
                label = "_".join(filter(None, (name, f"{size}mm", orientation)))
                found.append(_fit(label, size, wide, tight))
    return found


def rest_posture(animal: str) -> Floats:
    """Return an animal's resting posture, shape (n_joints,), in free coordinates."""
    return to_free(_angles(WRIST_AT_REST, AT_REST)) + PER_SHAPE * Stream(f"{animal}/rest").normal(len(JOINTS))


def aperture(joint_angles: Floats) -> Floats:
    """Return the distance between the tips of thumb and index finger, shape (n_steps,), in mm."""
    points = build_myohand().keypoint_positions(joint_angles).reshape(len(joint_angles), -1, 3)
    gap = points[:, KEYPOINTS.index("thumb_tip")] - points[:, KEYPOINTS.index("index_tip")]
    distance: Floats = 1000 * np.sqrt((gap**2).sum(axis=1))
    return distance


def to_angles(free: Floats) -> Floats:
    """Map free coordinates smoothly into the joint limits (rad), with 1 % of the range as margin."""
    low, high = build_myohand().joint_limits.T
    angles: Floats = (low + high) / 2 + 0.49 * (high - low) * np.tanh(free)
    return angles


def to_free(joint_angles: Floats) -> Floats:
    """Invert :func:`to_angles`, limited to 95 % of the range to a limit."""
    low, high = build_myohand().joint_limits.T
    free: Floats = np.arctanh(np.clip((joint_angles - (low + high) / 2) / (0.49 * (high - low)), -0.95, 0.95))
    return free


def _fit(name: str, size: int, wide: Floats, tight: Floats) -> Grasp:
    """Find the postures of largest aperture and of the object's width between wide open and closed."""
    closing = np.linspace(0, 1, 41)
    path = wide + closing[:, None] * (tight - wide)
    widths = np.minimum.accumulate(aperture(to_angles(path)))
    targets = [APERTURE_AT_ZERO + APERTURE_PER_MM * size, FINGER_PADS + size]
    opened, closed = np.interp(targets, widths[::-1], closing[::-1])
    return Grasp(name, wide + opened * (tight - wide), wide + closed * (tight - wide))


def _angles(wrist: tuple[float, float, float], digits: Digits) -> Floats:
    """Return joint angles (rad), shape (n_joints,)."""
    fingers = []
    for i, fan in enumerate((1.0, 0.2, -0.5, -1.0)):  # index to little finger
        mcp, pip, dip = (flexion + i * digits.ulnar for flexion in digits.flexed)
        fingers += [mcp, fan * digits.spread, pip, dip]
    return np.array([*wrist, *digits.thumb, *fingers])
