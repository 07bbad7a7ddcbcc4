"""The same body in another size: that of a smaller or larger animal of the same build."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.contract import Body
from neurobench_grasp.errors import UnknownNameError, UnsupportedError

SMALLEST, LARGEST = 0.1, 10.0
"""Relative sizes."""
_KEPT = (
    *("name", "group", "range", "limited", "width", "margin", "springlength"),
    *("stiffness", "damping", "frictionloss", "armature"),
)
"""Fields of a tendon."""


def of_size(body: Body, size: str) -> MujocoBody:
    """Return a body all of whose lengths are multiplied, named ``<body>@<size>``.

    Forces grow with the square of the size, moments of force (and so stiffness and damping of joints) and
    masses with its cube, moments of inertia (and so armature) with its fifth power: the body has the same
    tissue. Angles, limits, and the normalised lengths and velocities of muscles stay as they are.

    Parameters
    ----------
    body : Body
        One that MuJoCo simulates.
    size : str
        Relative to the body's, such as ``0.6``.

    Raises
    ------
    UnknownNameError
        If it is no such number, or one that is written in another way than others would.
    UnsupportedError
        If MuJoCo does not simulate the body.
    """
    if not isinstance(body, MujocoBody):
        raise UnsupportedError(f"The body {body.name} has one size only: it is not a body of MuJoCo.")
    try:
        factor = float(size)
    except ValueError:
        factor = np.nan
    if not SMALLEST <= factor <= LARGEST or f"{factor:g}" != size:
        raise UnknownNameError(
            f"There is no body '{body.name}@{size:.20}'; after the @, state a size relative to {body.name} "
            f"as a number from {SMALLEST:g} to {LARGEST:g}, such as 0.6."
        )
    view = body.view
    if view is not None:
        x, y, z = view.look_at
        view = replace(view, look_at=(factor * x, factor * y, factor * z), distance=factor * view.distance)
    return replace(
        body, name=f"{body.name}@{size}", make_spec=lambda: _resized(body.make_spec(), factor), view=view
    )


def _resized(spec: Any, size: float) -> Any:
    """Multiply all that has a unit of length, mass or force; what is not stated is NaN, and stays so."""
    import mujoco

    if any(constraint.type != mujoco.mjtEq.mjEQ_JOINT for constraint in spec.equalities):
        raise UnsupportedError(
            f"A body of the size {size:g} cannot have other constraints than those of joints."
        )
    for segment in spec.bodies:
        segment.pos, segment.ipos = size * segment.pos, size * segment.ipos
        segment.mass *= size**3
        segment.inertia, segment.fullinertia = size**5 * segment.inertia, size**5 * segment.fullinertia
    for thing in (*spec.geoms, *spec.sites):
        thing.pos, thing.size, thing.fromto = size * thing.pos, size * thing.size, size * thing.fromto
    for geom in spec.geoms:
        geom.mass *= size**3
        geom.margin, geom.gap = size * geom.margin, size * geom.gap
    for thing in (*spec.frames, *spec.cameras, *spec.lights):
        thing.pos = size * thing.pos
    for mesh in spec.meshes:
        mesh.scale = size * mesh.scale
    for joint in spec.joints:
        joint.pos, joint.armature = size * joint.pos, size**5 * joint.armature
        joint.stiffness, joint.damping = size**3 * joint.stiffness, size**3 * joint.damping
        joint.frictionloss *= size**3
    for tendon in list(spec.tendons):
        _rewire(spec, tendon, size)
    for tendon in spec.tendons:
        tendon.range, tendon.width = size * tendon.range, size * tendon.width
        tendon.springlength = np.where(tendon.springlength < 0, -1, size * tendon.springlength)
        tendon.stiffness, tendon.damping = size * tendon.stiffness, size * tendon.damping
        tendon.frictionloss, tendon.armature = size**2 * tendon.frictionloss, size**3 * tendon.armature
    for muscle in spec.actuators:
        muscle.lengthrange, muscle.forcerange = size * muscle.lengthrange, size**2 * muscle.forcerange
        muscle.gainprm, muscle.biasprm = _stronger(muscle.gainprm, size), _stronger(muscle.biasprm, size)
    return spec


def _rewire(spec: Any, tendon: Any, size: float) -> None:
    """Make a fixed tendon again with larger arms, since MuJoCo changes none."""
    import mujoco

    arms = [(arm.target.name, arm.coef) for arm in tendon.path if arm.type == mujoco.mjtWrap.mjWRAP_JOINT]
    if not arms:
        return
    kept = {name: getattr(tendon, name) for name in _KEPT}
    spec.delete(tendon)
    new = spec.add_tendon(**kept)
    for joint, arm in arms:
        new.wrap_joint(joint, size * arm)


def _stronger(muscle: Any, size: float) -> Any:
    """Multiply the force of a muscle; where none is stated, what MuJoCo divides by an acceleration.

    That acceleration, a moment by an inertia, falls with the fourth power of the size.
    """
    changed = np.array(muscle)
    if changed[2] >= 0:
        changed[2] *= size**2
    else:
        changed[3] *= size**-2
    return changed
