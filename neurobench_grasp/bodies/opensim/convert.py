"""Turn an OpenSim model into an MjSpec: hinges, sites, wrapped tendons and muscles.

MuJoCo wraps tendons over spheres and cylinders, one between two points of a path. Ellipsoids are replaced,
muscle by muscle, by the sphere or cylinder with which the muscle's length changes least over the workspace,
tori by a sphere that the tendon passes inside. Conditional points are kept or left out, whichever changes
lengths less. :class:`Converted` states by how much lengths differ from those of the original.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from neurobench_grasp.bodies.from_scratch import new_spec
from neurobench_grasp.bodies.opensim.document import (
    GROUND,
    Muscle,
    OpenSimModel,
    PathPoint,
    Pose,
    Turn,
    Wrap,
    rotation,
)
from neurobench_grasp.bodies.opensim.strings import Obstacle, around, in_base, path_length, straight
from neurobench_grasp.contract import Bools, Floats
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.text import plain

N_FITTED, N_JUDGED = 64, 200
"""Postures by which objects are replaced, and others by which lengths are compared."""
RADIUS_STEP = 5e-4
"""Radii are multiples of it, m, so that a conversion is the same on every machine."""
MATTERS = 1e-4
"""Error of a path's length without a wrap object, root mean square in m, from which the object is kept."""
BONE = 0.004
"""Radius of the bones that are drawn, m; they neither weigh nor collide."""
DAMPING = 2e-3
"""Of a joint, in s, times the greatest moment of its muscles: turning at 5 rad/s costs a hundredth of it."""
ARMATURE = 2e-5
"""Of a joint, in s², times that moment: so that light segments between strong muscles can be simulated."""
FASTEST = 10.0
"""Optimal fibre lengths per second at which a shortening muscle has no force: Zajac (1989), Critical Reviews
in Biomedical Engineering 17:359. The classes of muscles state it in different units, or not at all."""
STRETCHED = 1.6
"""Longest active length of MuJoCo's muscles, in optimal lengths; the passive force is fitted up to it."""


@dataclass(frozen=True)
class LengthError:
    """How the length of a converted muscle differs from that of the original over the workspace.

    Parameters
    ----------
    rms, largest : float
        Of the difference without its mean, m; a constant is taken up by the tendon.
    moving : float
        Standard deviation of the length itself, m.
    replaced : tuple of str
        What was replaced in its path.
    """

    rms: float
    largest: float
    moving: float
    replaced: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Converted:
    """An OpenSim model for MuJoCo.

    Parameters
    ----------
    xml : str
        MJCF. Joints, muscles, bodies and markers have the names of the file, the tendon of a muscle is called
        ``<muscle>_tendon``.
    joints, muscles : tuple of str
        In the order of the MjSpec.
    keypoints : mapping of str to (str, str)
        Markers that move, or without them the last bodies: kind and name in the MjSpec.
    neutral : mapping of str to float
        Default angle of each joint, rad, within its limits.
    errors : mapping of str to LengthError
        By muscle.
    notes : tuple of str
        Sentences about what was held or left out.
    centre : tuple of float
        Of the model in the posture of 0, m.
    extent : float
        Of the model in that posture, m.
    """

    xml: str
    joints: tuple[str, ...]
    muscles: tuple[str, ...]
    keypoints: Mapping[str, tuple[str, str]]
    neutral: Mapping[str, float]
    errors: Mapping[str, LengthError]
    notes: tuple[str, ...]
    centre: tuple[float, float, float]
    extent: float


def convert(model: OpenSimModel) -> Converted:
    """Convert a model.

    Raises
    ------
    UnsupportedError
        If MuJoCo does not accept the result, or no muscle crosses a joint that moves.
    """
    try:
        return _converted(model)
    except ValueError as error:  # of names that are there twice, or of what compiles to no model
        raise UnsupportedError(
            f"MuJoCo does not accept the model ({plain(str(error))}); change that in the OpenSim file."
        ) from None


def _converted(model: OpenSimModel) -> Converted:
    fitted, judged = (Places.at(model, postures(model, n)) for n in (N_FITTED, N_JUDGED))
    paths = [_path(muscle, model, fitted) for muscle in model.muscles]
    spec = _skeleton(model)
    for path in paths:
        _add_tendon(spec, path)
    lengths = _lengths(spec, model, judged.angles)
    errors, notes = dict[str, LengthError](), list(model.notes)
    for path, length in zip(paths, lengths.T, strict=True):
        muscle = path.muscle
        if np.ptp(length) < MATTERS:
            spec.delete(spec.tendon(f"{muscle.name}_tendon"))
            notes.append(f"The muscle {muscle.name} crosses no joint that moves it, so it is left out.")
            continue
        _add_muscle(spec, muscle, length)
        errors[muscle.name] = _error(length, original_length(muscle, model, judged), path.replaced)
    if not errors:
        raise UnsupportedError("No muscle of the model crosses a joint that moves, so it is no body.")
    model = replace(model, muscles=tuple(muscle for muscle in model.muscles if muscle.name in errors))
    _set_joints(spec, model)
    compiled = spec.compile()
    stat = compiled.stat
    return Converted(
        spec.to_xml(),
        tuple(compiled.joint(k).name for k in range(compiled.njnt)),
        tuple(errors),
        _keypoints(model),
        {c.name: min(max(c.default, c.lowest), c.highest) for c in model.coordinates},
        errors,
        tuple(notes),
        (float(stat.center[0]), float(stat.center[1]), float(stat.center[2])),
        float(stat.extent),
    )


def _keypoints(model: OpenSimModel) -> Mapping[str, tuple[str, str]]:
    """Return the markers that move, or without them the last bodies: kind and name in the MjSpec."""
    moving = {GROUND: False}
    for segment in model.segments:
        moving[segment.name] = moving[segment.parent] or any(turn.moves for turn in segment.turns)
    last = {s.name for s in model.segments if moving[s.name]} - {s.parent for s in model.segments}
    markers = {name: ("site", name) for name, marker in model.markers.items() if moving[marker.body]}
    return markers or {name: ("body", name) for name in sorted(last)}


def postures(model: OpenSimModel, n: int) -> Floats:
    """Return postures that fill the ranges of all coordinates evenly, (n, n_coordinates) in rad."""
    from scipy.stats import qmc

    sequence = qmc.Halton(len(model.coordinates), scramble=False)
    sequence.fast_forward(n)  # different postures for different numbers
    low, high = np.array([(c.lowest, c.highest) for c in model.coordinates]).T
    angles: Floats = low + (high - low) * sequence.random(n)
    return angles


@dataclass(frozen=True, eq=False)
class Places:
    """Where the bodies of a model are in some postures.

    Parameters
    ----------
    model : OpenSimModel
    angles : ndarray, shape (n, n_coordinates)
        rad.
    of_bodies : mapping of str to tuple of ndarray
        Rotation, (n, 3, 3), and position, (n, 3), of each body.
    """

    model: OpenSimModel
    angles: Floats
    of_bodies: Mapping[str, tuple[Floats, Floats]]

    @classmethod
    def at(cls, model: OpenSimModel, postures: Floats) -> Places:
        """Return the places in some postures, (n, n_coordinates) in rad, by the model's kinematics."""
        import mujoco

        compiled = _skeleton(model).compile()
        data, n, order = mujoco.MjData(compiled), len(postures), _places_of(compiled, model)
        turned, placed = np.empty((compiled.nbody, n, 3, 3)), np.empty((compiled.nbody, n, 3))
        for row, angles in enumerate(postures):
            data.qpos[order] = angles
            mujoco.mj_kinematics(compiled, data)
            turned[:, row], placed[:, row] = data.xmat.reshape(-1, 3, 3), data.xpos
        ids = {GROUND: 0} | {s.name: compiled.body(s.name).id for s in model.segments}
        return cls(model, postures, {name: (turned[k], placed[k]) for name, k in ids.items()})

    def of_point(self, point: PathPoint) -> Floats:
        """Return where a point is, (n, 3)."""
        rotation, position = self.of_bodies[point.body]
        return np.asarray(np.einsum("nij,nj->ni", rotation, self.in_body(point)) + position, np.float64)

    def in_body(self, point: PathPoint) -> Floats:
        """Return where a point is in the frame of its body, (n, 3)."""
        local = np.tile(point.position, (len(self.angles), 1))
        for axis, (name, angles, places) in point.moves.items():
            local[:, axis] = np.interp(self._angle(name), angles, places)
        return local

    def of_wrap(self, wrap: Wrap) -> Obstacle:
        """Return a wrap object where it is in the postures."""
        return Obstacle(wrap.kind, wrap.size, *in_base(wrap.pose, *self.of_bodies[wrap.body]), wrap.side)

    def touches(self, point: PathPoint) -> Bools:
        """Return in which postures the path touches a point."""
        if point.within is None:
            return np.ones(len(self.angles), bool)
        name, low, high = point.within
        angle = self._angle(name)
        return (angle >= low) & (angle <= high)

    def _angle(self, name: str) -> Floats:
        """Return a coordinate's angle in each posture, also of one that is held."""
        names = [c.name for c in self.model.coordinates]
        held = np.full(len(self.angles), self.model.defaults.get(name, 0.0))
        return self.angles[:, names.index(name)] if name in names else held

    def some(self, which: Bools) -> Places:
        """Return the places in some of the postures."""
        of_bodies = {name: (turned[which], at[which]) for name, (turned, at) in self.of_bodies.items()}
        return replace(self, angles=self.angles[which], of_bodies=of_bodies)


# --- the original ---------------------------------------------------------------------------------


def original_length(muscle: Muscle, model: OpenSimModel, places: Places) -> Floats:
    """Return the lengths of a muscle over its original wrap objects and points, (n,) in m."""
    touched = np.stack([places.touches(point) for point in muscle.points])
    out = np.empty(touched.shape[1])
    for pattern in np.unique(touched, axis=1).T:
        which = (touched == pattern[:, None]).all(axis=0)
        points = [point for point, touches in zip(muscle.points, pattern, strict=True) if touches]
        wraps = [model.wraps[name] for name in muscle.wraps]
        out[which] = _over(points, wraps, places.some(which))
    return out


def _over(points: Sequence[PathPoint], wraps: Sequence[Wrap], places: Places) -> Floats:
    at = [places.of_point(point) for point in points]
    total = np.zeros(len(places.angles))
    for segment in range(len(at) - 1):
        total += path_length(_ends(at, segment), list(_obstacles(segment, at, wraps, places)))
    return total


def _obstacles(
    segment: int, at: Sequence[Floats], wraps: Sequence[Wrap], places: Places
) -> Iterator[Obstacle]:
    """Yield what obstructs a segment; what has to be passed on one side, only the segment closest to it."""
    for wrap in wraps:
        obstacle = places.of_wrap(wrap)
        if obstacle.via is None or _closest(at, obstacle) == segment:
            yield obstacle


def _ends(at: Sequence[Floats], segment: int) -> Floats:
    return np.stack(at[segment : segment + 2], axis=1)


def _closest(at: Sequence[Floats], obstacle: Obstacle) -> int:
    """Return the segment whose middle third is closest to an object, on average over the postures."""
    inner = [
        np.stack([start + (stop - start) * share for share in (0.3, 0.5, 0.7)], axis=1)
        for start, stop in pairwise(at)
    ]
    return int(np.argmin([np.linalg.norm(obstacle.local(some), axis=-1).min(1).mean() for some in inner]))


def _error(length: Floats, original: Floats, replaced: Sequence[str]) -> LengthError:
    difference = length - original
    difference = difference - difference.mean()
    return LengthError(
        float(difference.std()), float(np.abs(difference).max()), float(original.std()), tuple(replaced)
    )


# --- paths for MuJoCo -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Around:
    """A sphere or cylinder between two points of a path, which passes outside, or inside."""

    wrap: Wrap
    inside: bool = False


@dataclass(frozen=True)
class _Path:
    muscle: Muscle
    points: tuple[PathPoint, ...]
    around: tuple[_Around | None, ...]
    """What is between a point and the next, for all but the last."""
    replaced: tuple[str, ...]


def _path(muscle: Muscle, model: OpenSimModel, places: Places) -> _Path:
    """Choose points, and a sphere or cylinder for each segment that is obstructed."""
    points, replaced = _fixed_points(muscle, model, places)
    wraps = [model.wraps[name] for name in muscle.wraps]
    at, around = [places.of_point(point) for point in points], list[_Around | None]()
    for segment in range(len(at) - 1):
        chosen = _most_obstructing(segment, at, wraps, places)
        around.append(None if chosen is None else _replacement(chosen, _ends(at, segment), places))
        if chosen is not None and chosen.kind in ("ellipsoid", "torus"):
            replaced.append(f"{chosen.kind} {chosen.name}")
    return _Path(muscle, points, tuple(around), tuple(replaced))


def _fixed_points(
    muscle: Muscle, model: OpenSimModel, places: Places
) -> tuple[tuple[PathPoint, ...], list[str]]:
    """Return points of a path that are always touched and do not move, and what they replace."""
    replaced = ["moving point" for p in muscle.points if p.moves]
    replaced += ["conditional point" for p in muscle.points if p.within is not None]
    points = tuple(
        replace(p, position=places.in_body(p).mean(0), moves={}) if p.moves else p for p in muscle.points
    )
    muscle = replace(muscle, points=points)
    for point in points:
        if point.within is None:
            continue
        original = original_length(muscle, model, places)
        kept = tuple(replace(p, within=None) if p is point else p for p in points)
        left = tuple(p for p in points if p is not point)
        errors = [
            np.std(original_length(replace(muscle, points=some), model, places) - original)
            for some in (kept, left)
        ]
        points = kept if errors[0] <= errors[1] else left
        muscle = replace(muscle, points=points)
    return points, replaced


def _most_obstructing(
    segment: int, at: Sequence[Floats], wraps: Sequence[Wrap], places: Places
) -> Wrap | None:
    ends, longer = _ends(at, segment), {}
    for wrap in wraps:
        for obstacle in _obstacles(segment, at, [wrap], places):
            longer[wrap.name] = float((obstacle.length(ends) - straight(ends)).std())
    found = {wrap.name: wrap for wrap in wraps}
    most = max(longer, key=lambda name: longer[name], default=None)
    return None if most is None or longer[most] < MATTERS else found[most]


def _replacement(wrap: Wrap, ends: Floats, places: Places) -> _Around | None:
    """Return the sphere or cylinder that replaces a wrap object for one segment of a path.

    None, if none of them comes closer to it than a straight line.
    """
    if wrap.kind == "torus":
        tube, ring = wrap.size
        return _Around(replace(wrap, kind="sphere", size=(max(ring - tube, RADIUS_STEP),)), inside=True)
    if wrap.kind != "ellipsoid":
        return _Around(wrap)
    obstacle = places.of_wrap(wrap)
    target = obstacle.length(ends)
    target = target - target.mean()
    ends = obstacle.local(ends)
    steps = np.arange(1, round(1.5 * max(wrap.size) / RADIUS_STEP) + 1)
    best, least = None, float((straight(ends) - straight(ends).mean() - target).std()) - MATTERS
    for turned, kind in _directions():
        for radius in RADIUS_STEP * steps:
            length = around(kind, radius, ends @ turned)
            error = float((length - length.mean() - target).std())
            if error < least - 1e-9:
                pose = Pose(wrap.pose.rotation @ turned, wrap.pose.position)
                size = (radius,) if kind == "sphere" else (radius, max(wrap.size))
                best, least = replace(wrap, kind=kind, size=size, pose=pose, side=None), error
    return None if best is None else _Around(best)


def _directions() -> Iterator[tuple[Floats, str]]:
    """Yield a sphere, and cylinders along x, y and z: the rotation of the object's frame, and its kind."""
    x, y, z = np.eye(3)
    yield np.eye(3), "sphere"
    yield np.stack([y, z, x], axis=1), "cylinder"
    yield np.stack([z, x, y], axis=1), "cylinder"
    yield np.eye(3), "cylinder"


# --- MuJoCo ---------------------------------------------------------------------------------------


def _skeleton(model: OpenSimModel) -> Any:
    """Return an MjSpec with the bodies, hinges and markers."""
    import mujoco

    spec = new_spec()
    spec.modelname = model.name or "opensim"
    spec.compiler.balanceinertia = True
    bodies = {GROUND: spec.worldbody}
    for segment in model.segments:
        at = segment.in_parent @ _constant(segment.turns) @ segment.in_body.inverse
        body = bodies[segment.parent].add_body(
            name=segment.name, pos=at.position, quat=_quaternion(at.rotation)
        )
        bodies[segment.name] = body
        i = segment.inertia
        if segment.mass > 0 and i.any():  # massless ones, and points that never move, need none
            body.explicitinertial = True
            body.mass, body.ipos = segment.mass, segment.centre
            body.fullinertia = [i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]]
        for axis, turn in _axes(segment.turns):
            assert turn.coordinate is not None
            body.add_joint(
                name=turn.coordinate.name,
                type=mujoco.mjtJoint.mjJNT_HINGE,
                pos=segment.in_body.position,
                axis=segment.in_body.rotation @ axis,
                limited=True,
                range=[turn.coordinate.lowest, turn.coordinate.highest],
            )
        if segment.parent != GROUND:
            _add_bone(bodies[segment.parent], f"bone-{segment.name}", at.position)
    for name, marker in model.markers.items():
        bodies[marker.body].add_site(name=name, pos=marker.position)
    return spec


def _add_bone(body: Any, name: str, end: Floats) -> None:
    """Draw a bone from the origin of a body to that of the next, which joints are usually close to."""
    import mujoco

    if np.linalg.norm(end) > BONE:
        ends = [0.0, 0.0, 0.0, *end]
        place = {"fromto": ends, "size": [BONE, 0, 0], "contype": 0, "conaffinity": 0, "mass": 0}
        body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_CAPSULE, **place)


def _constant(turns: Sequence[Turn]) -> Pose:
    """Return what a joint's rotations amount to where its coordinates are 0."""
    out = np.eye(3)
    for turn in turns:
        if not turn.moves:
            out = out @ rotation(turn.axis, turn.angle)
    return Pose(out, np.zeros(3))


def _axes(turns: Sequence[Turn]) -> Iterator[tuple[Floats, Turn]]:
    """Yield the rotations that move, with their axes in the joint's frame on the body at angles of 0."""
    before, whole = np.eye(3), _constant(turns).rotation
    for turn in turns:
        if turn.moves:
            yield whole.T @ before @ turn.axis, turn
        else:
            before = before @ rotation(turn.axis, turn.angle)


def _quaternion(matrix: Floats) -> Floats:
    import mujoco

    out = np.empty(4)
    mujoco.mju_mat2Quat(out, np.ascontiguousarray(matrix).ravel())
    return out


def _add_tendon(spec: Any, path: _Path) -> None:
    import mujoco

    name = path.muscle.name
    tendon = spec.add_tendon(name=f"{name}_tendon")
    for k, point in enumerate(path.points):
        body = _body(spec, point.body)
        body.add_site(name=f"{name}-{k}", pos=point.position)
        tendon.wrap_site(f"{name}-{k}")
        one = path.around[k] if k < len(path.around) else None
        if one is None:
            continue
        wrap, called = one.wrap, f"{name}-{k}-{one.wrap.name}"
        kinds = {"sphere": mujoco.mjtGeom.mjGEOM_SPHERE, "cylinder": mujoco.mjtGeom.mjGEOM_CYLINDER}
        size = [wrap.size[0], wrap.size[1] / 2 if wrap.kind == "cylinder" else 0, 0]
        carrier = _body(spec, wrap.body)
        place = {"pos": wrap.pose.position, "quat": _quaternion(wrap.pose.rotation)}
        carrier.add_geom(
            name=called, type=kinds[wrap.kind], size=size, contype=0, conaffinity=0, mass=0, **place
        )
        side = np.zeros(3) if one.inside else wrap.side
        if side is not None:
            at = wrap.pose.rotation @ (2 * wrap.size[0] * side) + wrap.pose.position
            carrier.add_site(name=f"{called}-side", pos=at)
        tendon.wrap_geom(called, "" if side is None else f"{called}-side")


def _body(spec: Any, name: str) -> Any:
    return spec.worldbody if name == GROUND else spec.body(name)


def _lengths(spec: Any, model: OpenSimModel, angles: Floats) -> Floats:
    """Return the lengths of all tendons in some postures, (n, n_muscles) in m."""
    import mujoco

    compiled = spec.compile()
    data, out = mujoco.MjData(compiled), np.empty((len(angles), compiled.ntendon))
    order = _places_of(compiled, model)
    for row, posture in enumerate(angles):
        data.qpos[order] = posture
        mujoco.mj_fwdPosition(compiled, data)
        out[row] = data.ten_length
    return out


def _places_of(compiled: Any, model: OpenSimModel) -> list[int]:
    """Return where each coordinate is in ``qpos``, which follows the tree of bodies."""
    return [int(compiled.joint(c.name).qposadr[0]) for c in model.coordinates]


def _add_muscle(spec: Any, muscle: Muscle, lengths: Floats) -> None:
    """Add a muscle whose fibres have the lengths of the file's, on a tendon that does not stretch."""
    import mujoco

    shortest, longest = float(lengths.min()), float(lengths.max())
    along = np.cos(muscle.pennation)
    fibre = muscle.fibre * along
    tendon = f"{muscle.name}_tendon"
    actuator = spec.add_actuator(name=muscle.name, target=tendon, ctrllimited=True, ctrlrange=[0, 1])
    actuator.trntype = mujoco.mjtTrn.mjTRN_TENDON
    actuator.set_to_muscle(
        force=muscle.force * along, vmax=FASTEST, lmax=STRETCHED, fpmax=_passive(muscle), tausmooth=0.0
    )
    ends = [(length - muscle.slack) / fibre for length in (shortest, longest)]
    for parameters in (actuator.gainprm, actuator.biasprm):  # set_to_muscle takes no negative ones
        parameters[:2] = ends
    actuator.lengthrange = [shortest, longest]


def _passive(muscle: Muscle) -> float:
    """Return the factor of MuJoCo's passive force that is closest to the file's, by least squares.

    MuJoCo's curve has one shape, a parabola and then a line, and with its default factor of 1.3 stretched
    fibres would pull three times as hard as those of Thelen (2003).
    """
    stretch = np.linspace(0, min(STRETCHED - 1, muscle.strain), 61)
    wanted = np.expm1(muscle.stiffness * stretch / muscle.strain) / np.expm1(muscle.stiffness)
    half = stretch / ((STRETCHED - 1) / 2)
    curve = np.where(half <= 1, half**2 / 2, half - 0.5)
    return float(curve @ wanted / (curve @ curve))


def _set_joints(spec: Any, model: OpenSimModel) -> None:
    """Set damping and armature of each joint by what its muscles can do in the default posture."""
    default = np.array([c.default for c in model.coordinates])
    turned = 1e-4 * np.eye(len(default))
    ahead, behind = (_lengths(spec, model, default + step) for step in (turned, -turned))
    forces = np.array([muscle.force for muscle in model.muscles])
    moments = (np.abs(ahead - behind) / 2e-4 * forces).sum(1) / 2
    for coordinate, moment in zip(model.coordinates, moments.tolist(), strict=True):
        joint = spec.joint(coordinate.name)
        joint.damping, joint.armature = [DAMPING * moment, 0, 0], ARMATURE * moment
