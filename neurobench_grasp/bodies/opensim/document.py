"""Read an OpenSim model (``.osim``): bodies, coordinates, wrap objects, muscles and markers.

Versions 3 (joints inside bodies) and 4 (a set of joints, with offset frames). What has no equivalent in a
tree of hinges is refused in one sentence. Delp et al. (2007), IEEE Transactions on Biomedical Engineering
54:1940; OpenSim 4 API documentation.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import CorruptFileError, UnsafeFileError, UnsupportedError
from neurobench_grasp.formats import MB, read_plain
from neurobench_grasp.text import plain

LARGEST = 20 * MB
MOST_ELEMENTS = 500_000
GROUND = "ground"
_FULL_TURN = 2 * math.pi
_AXES = {"x": 0, "y": 1, "z": 2}
_MUSCLES = ("Muscle", "Muscle_Deprecated")
"""Endings of the names of OpenSim's classes of muscles."""


@dataclass(frozen=True, eq=False)
class Pose:
    """A frame in another.

    Parameters
    ----------
    rotation : ndarray, shape (3, 3)
    position : ndarray, shape (3,)
        m.
    """

    rotation: Floats
    position: Floats

    def __matmul__(self, other: Pose) -> Pose:
        """Return the other frame, which is in this one, in the frame that this one is in."""
        return Pose(self.rotation @ other.rotation, self.rotation @ other.position + self.position)

    @property
    def inverse(self) -> Pose:
        """The other frame in this one."""
        return Pose(self.rotation.T, -self.rotation.T @ self.position)


@dataclass(frozen=True)
class Coordinate:
    """An angle of a joint, rad.

    Parameters
    ----------
    name : str
    default, lowest, highest : float
    locked : bool
    """

    name: str
    default: float
    lowest: float
    highest: float
    locked: bool


@dataclass(frozen=True, eq=False)
class Turn:
    """One of the successive rotations of a joint.

    Parameters
    ----------
    axis : ndarray, shape (3,)
        Unit vector in the joint's frame, as turned by those before it.
    coordinate : Coordinate, optional
        Without it, or if it is locked, the rotation is constant.
    angle : float
        Of a constant rotation, rad.
    """

    axis: Floats
    coordinate: Coordinate | None
    angle: float

    @property
    def moves(self) -> bool:
        """Whether it is not constant."""
        return self.coordinate is not None and not self.coordinate.locked


@dataclass(frozen=True, eq=False)
class Segment:
    """A rigid body and the joint to its parent.

    Parameters
    ----------
    name, parent : str
    mass : float
        kg.
    centre : ndarray, shape (3,)
        Of mass, m.
    inertia : ndarray, shape (3, 3)
        About the centre of mass, kg m².
    in_parent, in_body : Pose
        Frame of the joint in the parent and in the body.
    turns : tuple of Turn
    """

    name: str
    parent: str
    mass: float
    centre: Floats
    inertia: Floats
    in_parent: Pose
    in_body: Pose
    turns: tuple[Turn, ...]


@dataclass(frozen=True, eq=False)
class Wrap:
    """An object that muscles wrap over.

    Parameters
    ----------
    name, body : str
    kind : str
        ``ellipsoid``, ``cylinder`` (its axis is z), ``sphere`` or ``torus`` (its ring is about z).
    pose : Pose
        In the body.
    size : tuple of float
        Semi-axes; radius and length; radius; or radius of the tube and of the ring, m.
    side : ndarray, shape (3,), optional
        Direction in its frame on whose side a path has to pass. Default: whichever is shorter.
    """

    name: str
    body: str
    kind: str
    pose: Pose
    size: tuple[float, ...]
    side: Floats | None = None


@dataclass(frozen=True, eq=False)
class PathPoint:
    """A point of a muscle's path.

    Parameters
    ----------
    body : str
    position : ndarray, shape (3,)
        m; of a moving point where its coordinates are at their defaults.
    note : str
        What kind of point it is, if it is no fixed one.
    within : (str, float, float), optional
        Coordinate, and lowest and highest angle at which the path touches the point.
    """

    body: str
    position: Floats
    note: str = ""
    within: tuple[str, float, float] | None = None


@dataclass(frozen=True)
class Muscle:
    """A muscle with its tendon.

    Parameters
    ----------
    name : str
    force : float
        Greatest isometric force, N.
    fibre, slack : float
        Optimal length of the fibres, and of the tendon without force, m.
    pennation : float
        Angle of the fibres at optimal length, rad.
    points : tuple of PathPoint
    wraps : tuple of str
    """

    name: str
    force: float
    fibre: float
    slack: float
    pennation: float
    points: tuple[PathPoint, ...]
    wraps: tuple[str, ...]


@dataclass(frozen=True)
class OpenSimModel:
    """What was read.

    Parameters
    ----------
    name : str
    segments : tuple of Segment
        Parents before their children; ``ground`` is none of them.
    wraps : mapping of str to Wrap
    muscles : tuple of Muscle
    markers : mapping of str to PathPoint
    notes : tuple of str
        Sentences about what was left out or held.
    """

    name: str
    segments: tuple[Segment, ...]
    wraps: Mapping[str, Wrap]
    muscles: tuple[Muscle, ...]
    markers: Mapping[str, PathPoint]
    notes: tuple[str, ...]

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Those that move, in the order of the segments."""
        turns = (turn for segment in self.segments for turn in segment.turns if turn.moves)
        return tuple(turn.coordinate for turn in turns if turn.coordinate is not None)


def read_osim(path: str | Path) -> OpenSimModel:
    """Read an OpenSim model.

    Raises
    ------
    UnsafeFileError
        If the file is a link, too large, or declares entities.
    CorruptFileError
        If it is no OpenSim model, or a number or name in it makes no sense.
    UnsupportedError
        If it has joints or wrap objects that have no equivalent here.
    """
    path = Path(path)
    return _Reader(path.name, _parsed(path)).model()


def _parsed(path: Path) -> ET.Element:
    raw = read_plain(path, LARGEST, advice="check the path")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise UnsafeFileError(
            f"{path.name} declares entities, which no OpenSim model needs; it was not read."
        )
    try:
        root = ET.fromstring(raw)
    except ET.ParseError as error:
        raise CorruptFileError(
            f"{path.name} is no XML ({error}); export the model from OpenSim again."
        ) from None
    found = root.find("Model") if root.tag == "OpenSimDocument" else None
    if found is None:
        raise CorruptFileError(
            f"{path.name} is no OpenSim model: it has no <OpenSimDocument> with a <Model>."
        )
    if sum(1 for _ in found.iter()) > MOST_ELEMENTS:
        raise UnsafeFileError(f"{path.name} has more than {MOST_ELEMENTS} elements; it was not read.")
    return found


class _Reader:
    """The elements of one file; texts of the file are shown as printable ones."""

    def __init__(self, file: str, root: ET.Element) -> None:
        self._file, self._root, self._notes = file, root, list[str]()
        defaults = root.find("defaults")
        self._defaults = {} if defaults is None else {one.tag: one for one in defaults}
        self._frames: dict[str, tuple[str, Pose]] = {}

    def model(self) -> OpenSimModel:
        bodies = list(self._objects(self._root, "BodySet"))
        segments = self._in_order(self._segments(bodies))
        names = {GROUND, *(segment.name for segment in segments)}
        ground = self._root.find("Ground")
        carriers = bodies if ground is None else [*bodies, ground]
        wraps = {wrap.name: wrap for body in carriers for wrap in self._wraps(body)}
        muscles = tuple(self._muscles(names, wraps))
        if not muscles:
            raise CorruptFileError(f"{self._file} has no muscles, so it is no body that can be moved.")
        markers = {
            _name(one): PathPoint(self._body_of(one, names), self._numbers(one, "location", 3))
            for one in self._objects(self._root, "MarkerSet")
        }
        used = {name for muscle in muscles for name in muscle.wraps}
        return OpenSimModel(
            plain(self._root.get("name") or ""),
            tuple(segments),
            {name: wrap for name, wrap in wraps.items() if name in used},
            muscles,
            markers,
            tuple(self._notes),
        )

    # --- elements -----------------------------------------------------------------------------------

    def _objects(self, parent: ET.Element, name: str) -> Iterator[ET.Element]:
        found = parent.find(f"{name}/objects")
        yield from () if found is None else found

    def _text(self, element: ET.Element, name: str) -> str:
        """Return the text of a property: its own, else the default of its class, else none."""
        for one in (element, self._defaults.get(element.tag)):
            found = None if one is None else one.find(name)
            if found is not None and found.text and found.text.strip():
                return found.text.strip()
        return ""

    def _numbers(self, element: ET.Element, name: str, n: int, default: float | None = None) -> Floats:
        text = self._text(element, name)
        if not text and default is not None:
            return np.full(n, default)
        try:
            values = np.array([float(part) for part in text.split()])
        except ValueError:
            values = np.empty(0)
        if len(values) != n or not np.isfinite(values).all():
            raise CorruptFileError(
                f"<{name}> of {self._called(element)} in {self._file} is {plain(text)!r}; "
                f"it needs {n} finite number{'s' if n > 1 else ''}."
            )
        return values

    def _number(self, element: ET.Element, name: str, default: float | None = None) -> float:
        return float(self._numbers(element, name, 1, default)[0])

    def _is(self, element: ET.Element, name: str) -> bool:
        return self._text(element, name).lower() == "true"

    def _called(self, element: ET.Element) -> str:
        return f"the {element.tag} {_name(element)!r}"

    def _body_of(self, element: ET.Element, names: set[str]) -> str:
        """Return the body that a point is on."""
        name = (self._text(element, "socket_parent_frame") or self._text(element, "body")).rpartition("/")[2]
        if name not in names:
            raise CorruptFileError(
                f"{self._called(element)} in {self._file} is on {plain(name)!r}, which is no body of the "
                "model; name one of its bodies."
            )
        return name

    # --- bodies and joints --------------------------------------------------------------------------

    def _segments(self, bodies: Sequence[ET.Element]) -> Iterator[Segment]:
        joints = {}
        for joint in self._objects(self._root, "JointSet"):
            child, in_body = self._socket(joint, "socket_child_frame")
            joints[child] = (joint, self._socket(joint, "socket_parent_frame"), in_body)
        for body in bodies:
            name = _name(body)
            if name == GROUND:
                continue
            if name in joints:
                joint, (parent, in_parent), in_body = joints[name]
            else:
                own = body.find("Joint")
                if own is None or len(own) != 1:
                    raise CorruptFileError(f"{self._called(body)} in {self._file} has no joint; add one.")
                joint = own[0]
                parent = self._text(joint, "parent_body")
                in_parent = self._pose(joint, "orientation_in_parent", "location_in_parent")
                in_body = self._pose(joint, "orientation", "location")
            inertia = self._inertia(body)
            turns, shift = self._motion(joint)
            moved = Pose(in_parent.rotation, in_parent.position + in_parent.rotation @ shift)
            centre = self._numbers(body, "mass_center", 3, 0.0)
            mass = self._number(body, "mass", 0.0)
            yield Segment(name, parent, mass, centre, inertia, moved, in_body, turns)

    def _in_order(self, segments: Iterator[Segment]) -> list[Segment]:
        """Return parents before their children."""
        left, placed, out = list(segments), {GROUND}, list[Segment]()
        while left:
            ready = [segment for segment in left if segment.parent in placed]
            if not ready:
                raise CorruptFileError(
                    f"The body {plain(left[0].name)!r} in {self._file} hangs on "
                    f"{plain(left[0].parent)!r}, which is no body of the model or hangs on it in turn."
                )
            out += ready
            placed.update(segment.name for segment in ready)
            left = [segment for segment in left if segment.name not in placed]
        return out

    def _inertia(self, body: ET.Element) -> Floats:
        if self._text(body, "inertia"):
            xx, yy, zz, xy, xz, yz = self._numbers(body, "inertia", 6)
        else:
            parts = ("xx", "yy", "zz", "xy", "xz", "yz")
            xx, yy, zz, xy, xz, yz = (self._number(body, f"inertia_{part}", 0.0) for part in parts)
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    def _socket(self, joint: ET.Element, name: str) -> tuple[str, Pose]:
        """Return the body that a joint's frame is on, and the frame in it."""
        target = self._text(joint, name).rpartition("/")[2]
        for frame in joint.iter("PhysicalOffsetFrame"):
            if _name(frame) == target:
                body = self._text(frame, "socket_parent").rpartition("/")[2]
                return body, self._pose(frame, "orientation", "translation")
        return target, Pose(np.eye(3), np.zeros(3))

    def _pose(self, element: ET.Element, turned: str, placed: str) -> Pose:
        return Pose(
            body_fixed(self._numbers(element, turned, 3, 0.0)), self._numbers(element, placed, 3, 0.0)
        )

    def _motion(self, joint: ET.Element) -> tuple[tuple[Turn, ...], Floats]:
        """Return a joint's rotations and its constant translation."""
        if self._is(joint, "reverse"):
            raise UnsupportedError(
                f"{self._called(joint)} in {self._file} is reversed (from child to parent), which is not "
                "supported; exchange its bodies."
            )
        listed = [*self._objects(joint, "CoordinateSet"), *(joint.find("coordinates") or ())]
        coordinates = [self._coordinate(one) for one in listed]
        axes = {"WeldJoint": "", "PinJoint": "z", "UniversalJoint": "xy", "GimbalJoint": "xyz"}
        if joint.tag in axes and len(coordinates) == len(axes[joint.tag]):
            turns = [
                Turn(_unit(axis), c, c.default) for axis, c in zip(axes[joint.tag], coordinates, strict=True)
            ]
            return tuple(turns), np.zeros(3)
        transform = joint.find("SpatialTransform")
        if joint.tag != "CustomJoint" or transform is None:
            raise UnsupportedError(
                f"{self._called(joint)} in {self._file} cannot be read; joints are WeldJoint, PinJoint, "
                "UniversalJoint, GimbalJoint and CustomJoint."
            )
        known, turns, shift = {c.name: c for c in coordinates}, [], np.zeros(3)
        for axis in transform.iter("TransformAxis"):
            vector = self._numbers(axis, "axis", 3)
            length = float(np.linalg.norm(vector))
            if not length:
                raise CorruptFileError(f"An axis of {self._called(joint)} in {self._file} is zero; set it.")
            coordinate, slope, value = self._function(axis, joint, known)
            if (axis.get("name") or "").startswith("translation"):
                if coordinate is not None and slope:
                    raise self._moves(joint, coordinate, "slides")
                shift = shift + vector / length * value
            elif coordinate is None or not slope:
                turns.append(Turn(vector / length, None, value))
            else:
                turns.append(Turn(vector / length * slope, coordinate, coordinate.default))
        moving = [turn.coordinate.name for turn in turns if turn.moves and turn.coordinate is not None]
        for name in moving:
            if moving.count(name) > 1:
                raise self._moves(joint, known[name], "turns about several axes")
        return tuple(turns), shift

    def _function(
        self, axis: ET.Element, joint: ET.Element, known: Mapping[str, Coordinate]
    ) -> tuple[Coordinate | None, float, float]:
        """Return the coordinate that an axis follows, its sign (±1, or 0) and the constant that is added."""
        name, scale = self._text(axis, "coordinates"), 1.0
        for multiplier in axis.iter("MultiplierFunction"):
            scale = self._number(multiplier, "scale", 1.0)
        for found in axis.iter():
            if found.tag == "Constant":
                return None, 0.0, scale * self._number(found, "value", 0.0)
            if found.tag in ("LinearFunction", "SimmSpline", "PiecewiseLinearFunction", "NaturalCubicSpline",
                             "PolynomialFunction"):  # fmt: skip
                if name not in known:
                    raise CorruptFileError(
                        f"{self._called(joint)} in {self._file} follows {plain(name)!r}, which is no "
                        "coordinate of it; name one of its coordinates."
                    )
                coordinate = known[name]
                if found.tag != "LinearFunction":
                    raise self._moves(joint, coordinate, f"moves along a {found.tag}")
                slope, offset = scale * self._numbers(found, "coefficients", 2)
                if slope not in (0.0, 1.0, -1.0) or offset:
                    raise self._moves(
                        joint, coordinate, f"turns by {slope:g} times the angle plus {offset:g}"
                    )
                return coordinate, float(slope), float(offset)
        return None, 0.0, 0.0

    def _moves(self, joint: ET.Element, coordinate: Coordinate, how: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self._called(joint)} in {self._file} {how} with the coordinate {coordinate.name!r}, and only "
            "hinges are supported; replace that function by a constant."
        )

    def _coordinate(self, element: ET.Element) -> Coordinate:
        lowest, highest = self._numbers(element, "range", 2, 0.0)
        name, default = _name(element), self._number(element, "default_value", 0.0)
        locked = self._is(element, "locked")
        if max(abs(lowest), abs(highest), abs(default)) > _FULL_TURN:
            raise CorruptFileError(
                f"{self._called(element)} in {self._file} goes from {lowest:g} to {highest:g} with default "
                f"{default:g}, more than a full turn: OpenSim states angles in rad, these look like degrees; "
                "convert them."
            )
        if locked:
            self._notes.append(
                f"The coordinate {name} is locked, so it is held at {np.rad2deg(default):.0f}°."
            )
        elif not lowest < highest:
            raise CorruptFileError(
                f"{self._called(element)} in {self._file} goes from {lowest:g} to {highest:g} rad, which is "
                "no range; set it, or lock the coordinate."
            )
        return Coordinate(name, default, float(lowest), float(highest), locked)

    # --- muscles ------------------------------------------------------------------------------------

    def _wraps(self, body: ET.Element) -> Iterator[Wrap]:
        name = GROUND if body.tag == "Ground" else _name(body)
        for wrap in self._objects(body, "WrapObjectSet"):
            sizes: Mapping[str, tuple[tuple[str, int], ...]] = {
                "WrapEllipsoid": (("dimensions", 3),),
                "WrapCylinder": (("radius", 1), ("length", 1)),
                "WrapSphere": (("radius", 1),),
                "WrapTorus": (("inner_radius", 1), ("outer_radius", 1)),
            }
            if wrap.tag not in sizes:
                yield Wrap(_name(wrap), name, plain(wrap.tag), Pose(np.eye(3), np.zeros(3)), ())
                continue
            values = [v for prop, n in sizes[wrap.tag] for v in self._numbers(wrap, prop, n).tolist()]
            if min(values) <= 0:
                raise CorruptFileError(
                    f"{self._called(wrap)} in {self._file} has a size of 0 or less; set it."
                )
            pose = self._pose(wrap, "xyz_body_rotation", "translation")
            yield Wrap(_name(wrap), name, wrap.tag[4:].lower(), pose, tuple(values), self._side(wrap))

    def _side(self, wrap: ET.Element) -> Floats | None:
        text = (self._text(wrap, "quadrant") or "all").lower()
        if text in ("all", "unassigned"):
            return None
        axis = text.lstrip("+-")
        if axis not in _AXES:
            raise CorruptFileError(
                f"<quadrant> of {self._called(wrap)} in {self._file} is {plain(text)!r}; "
                "it is 'all' or one of x, -x, y, -y, z and -z."
            )
        return _unit(axis) * (-1.0 if text.startswith("-") else 1.0)

    def _muscles(self, names: set[str], wraps: Mapping[str, Wrap]) -> Iterator[Muscle]:
        for element in self._objects(self._root, "ForceSet"):
            if not element.tag.endswith(_MUSCLES):
                continue
            name, path = _name(element), next(element.iter("GeometryPath"), None)
            if path is None:
                raise CorruptFileError(f"{self._called(element)} in {self._file} has no path; draw it.")
            points = tuple(self._point(one, names) for one in self._objects(path, "PathPointSet"))
            if len(points) < 2:
                raise CorruptFileError(
                    f"The path of {self._called(element)} in {self._file} has {len(points)} points; "
                    "it needs two."
                )
            over = [self._text(one, "wrap_object") for one in self._objects(path, "PathWrapSet")]
            for wrap in over:
                self._refuse_wrap(name, wrap, wraps)
            yield Muscle(
                name,
                self._number(element, "max_isometric_force"),
                self._number(element, "optimal_fiber_length"),
                self._number(element, "tendon_slack_length"),
                self._number(element, "pennation_angle_at_optimal", 0.0),
                points,
                tuple(over),
            )

    def _refuse_wrap(self, muscle: str, wrap: str, wraps: Mapping[str, Wrap]) -> None:
        if wrap not in wraps:
            raise CorruptFileError(
                f"The muscle {muscle} in {self._file} wraps over {plain(wrap)!r}, which the model does not "
                "have; name one of its wrap objects."
            )
        if not wraps[wrap].size:
            raise UnsupportedError(
                f"The muscle {muscle} in {self._file} wraps over {plain(wrap)!r}, a {wraps[wrap].kind}; "
                "ellipsoids, cylinders, spheres and tori are supported, so replace it by one of them."
            )

    def _point(self, element: ET.Element, names: set[str]) -> PathPoint:
        body = self._body_of(element, names)
        if element.tag == "PathPoint":
            return PathPoint(body, self._numbers(element, "location", 3))
        if element.tag == "ConditionalPathPoint":
            name = self._text(element, "socket_coordinate") or self._text(element, "coordinate")
            low, high = self._numbers(element, "range", 2).tolist()
            within = (name.rpartition("/")[2], low, high)
            return PathPoint(body, self._numbers(element, "location", 3), "conditional", within)
        if element.tag == "MovingPathPoint":
            return PathPoint(body, np.array([self._middle(element, axis) for axis in "xyz"]), "moving")
        raise UnsupportedError(
            f"{self._called(element)} in {self._file} cannot be read; points are PathPoint, "
            "ConditionalPathPoint and MovingPathPoint."
        )

    def _middle(self, point: ET.Element, axis: str) -> float:
        """Return a moving point's place along an axis in the middle of what its function states."""
        function = point.find(f"{axis}_location")
        values = next(
            (one for one in (function if function is not None else ()) for one in one.iter("y")), None
        )
        if values is None:
            constant = None if function is None else next(function.iter("Constant"), None)
            return 0.0 if constant is None else self._number(constant, "value", 0.0)
        stated = [float(part) for part in (values.text or "0").split()]
        return (min(stated) + max(stated)) / 2


def body_fixed(angles: Floats) -> Floats:
    """Return the rotation by angles (rad) about x, the new y and the new z, shape (3, 3)."""
    out = np.eye(3)
    for axis, angle in zip("xyz", angles, strict=True):
        out = out @ rotation(_unit(axis), float(angle))
    return out


def rotation(axis: Floats, angle: float) -> Floats:
    """Return the rotation about a unit vector by an angle (rad), shape (3, 3): Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: Floats = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    return turned


def _unit(axis: str) -> Floats:
    out = np.zeros(3)
    out[_AXES[axis]] = 1.0
    return out


def _name(element: ET.Element) -> str:
    return plain(element.get("name") or "")
