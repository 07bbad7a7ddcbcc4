"""Read an OpenSim model (``.osim``): bodies, coordinates, wrap objects, muscles and markers.

Versions 3 (joints inside bodies) and 4 (a set of joints, with offset frames). What has no equivalent in a
tree of hinges is refused in one sentence. Delp et al. (2007), IEEE Transactions on Biomedical Engineering
54:1940; OpenSim 4 API documentation.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from neurobench_grasp.contract import Floats
from neurobench_grasp.errors import CorruptFileError, UnsafeFileError, UnsupportedError
from neurobench_grasp.formats import MB, read_plain
from neurobench_grasp.text import plain

LARGEST = 20 * MB
MOST_ELEMENTS = 500_000
MOST = 1e6
"""Size of a number, and :data:`MOST_LETTERS` of a name."""
MOST_LETTERS = 80
GROUND = "ground"
_FULL_TURN = 2 * math.pi
_AXES = {"x": 0, "y": 1, "z": 2}
_ABOUT_FUNCTIONS = {"TransformAxis", "coordinates", "axis", "function", "MultiplierFunction", "scale"}
"""Elements of an axis that are no function."""
STRAIN, STIFFNESS = 0.6, 4.0
"""Of passive fibres, where a file states none: OpenSim's own defaults for Thelen's muscle."""
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
        m; of a moving point in the middle of where it moves.
    within : (str, float, float), optional
        Coordinate, and lowest and highest angle at which the path touches the point.
    moves : mapping of int to (str, ndarray, ndarray)
        Axis of a moving point → the coordinate that it follows, angles, and where it is at these, m.
    """

    body: str
    position: Floats
    within: tuple[str, float, float] | None = None
    moves: Mapping[int, tuple[str, Floats, Floats]] = field(default_factory=dict)


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
    strain, stiffness : float
        Strain of passive fibres whose force is the greatest isometric one, and the factor in the exponent of
        the passive force: Thelen (2003), Journal of Biomechanical Engineering 125:70, equation 3.
    points : tuple of PathPoint
    wraps : tuple of str
    """

    name: str
    force: float
    fibre: float
    slack: float
    pennation: float
    strain: float
    stiffness: float
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

    @property
    def defaults(self) -> Mapping[str, float]:
        """Default angle of every coordinate, also of those that are locked."""
        turns = (turn for segment in self.segments for turn in segment.turns)
        return {turn.coordinate.name: turn.coordinate.default for turn in turns if turn.coordinate}


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
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw or b"\0" in raw:  # which also UTF-16 has
        raise UnsafeFileError(
            f"{path.name} declares entities or is not in UTF-8, and OpenSim writes neither; it was not read."
        )
    if raw.count(b"<") > 2 * MOST_ELEMENTS:
        raise UnsafeFileError(f"{path.name} has more than {MOST_ELEMENTS} elements; it was not read.")
    try:
        root = ET.fromstring(raw)
    except (ET.ParseError, ValueError, LookupError) as error:  # the latter of encodings
        raise CorruptFileError(
            f"{path.name} is no XML ({error}); export the model from OpenSim again."
        ) from None
    found = root.find("Model") if root.tag == "OpenSimDocument" else None
    if found is None:
        raise CorruptFileError(
            f"{path.name} is no OpenSim model: it has no <OpenSimDocument> with a <Model>."
        )
    return found


class _Reader:
    """The elements of one file; texts of the file are shown as printable ones."""

    def __init__(self, file: str, root: ET.Element) -> None:
        self._file, self._root, self._notes = file, root, list[str]()
        defaults = root.find("defaults")
        self._defaults = {} if defaults is None else {one.tag: one for one in defaults}
        self._coordinates: set[str] = set()

    def model(self) -> OpenSimModel:
        bodies = list(self._objects(self._root, "BodySet"))
        segments = self._in_order(self._segments(bodies))
        names = {GROUND, *(segment.name for segment in segments)}
        ground = self._root.find("Ground")
        carriers = bodies if ground is None else [*bodies, ground]
        wraps = {wrap.name: wrap for body in carriers for wrap in self._wraps(body)}
        muscles = tuple(self._muscles(names, wraps))
        if not muscles or not any(turn.moves for segment in segments for turn in segment.turns):
            lacks = "no joint that turns" if muscles else "no muscles"
            raise CorruptFileError(f"{self._file} has {lacks}, so it is no body that can be moved; add one.")
        markers = {
            self._name(one): PathPoint(self._body_of(one, names), self._numbers(one, "location", 3))
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
        if len(values) != n or not (np.abs(values) <= MOST).all():
            raise CorruptFileError(
                f"<{name}> of {self._called(element)} in {self._file} is {plain(text, MOST_LETTERS)!r}; "
                f"it needs {n} finite number{'s' if n > 1 else ''}, {MOST:.0e} at most."
            )
        return values

    def _number(self, element: ET.Element, name: str, default: float | None = None) -> float:
        return float(self._numbers(element, name, 1, default)[0])

    def _is(self, element: ET.Element, name: str) -> bool:
        return self._text(element, name).lower() == "true"

    def _scale(self, element: ET.Element) -> float:
        """Return the factor of the function in an element."""
        multiplier = next(element.iter("MultiplierFunction"), None)
        return 1.0 if multiplier is None else self._number(multiplier, "scale", 1.0)

    def _called(self, element: ET.Element) -> str:
        return f"the {plain(element.tag, MOST_LETTERS)} {_label(element.get('name') or '')!r}"

    def _name(self, element: ET.Element) -> str:
        name = _label(element.get("name") or "")
        if not name:
            raise CorruptFileError(
                f"A <{plain(element.tag, MOST_LETTERS)}> in {self._file} has no name; add one."
            )
        return name

    def _reference(self, element: ET.Element, *names: str) -> str:
        """Return the name of what an element refers to, by the first of some properties that it has."""
        return _label(next(filter(None, (self._text(element, name) for name in names)), ""))

    def _body_of(self, element: ET.Element, names: set[str]) -> str:
        """Return the body that a point is on."""
        name = self._reference(element, "socket_parent_frame", "body")
        if name not in names:
            raise CorruptFileError(
                f"{self._called(element)} in {self._file} is on {name!r}, which is no body of the "
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
            name = self._name(body)
            if name == GROUND:
                continue
            if name in joints:
                joint, (parent, in_parent), in_body = joints[name]
            else:
                own = body.find("Joint")
                if own is None or len(own) != 1:
                    raise CorruptFileError(f"{self._called(body)} in {self._file} has no joint; add one.")
                joint = own[0]
                parent = self._reference(joint, "parent_body")
                in_parent = self._pose(joint, "orientation_in_parent", "location_in_parent")
                in_body = self._pose(joint, "orientation", "location")
            inertia = self._inertia(body)
            turns, shift = self._motion(joint)
            moved = Pose(in_parent.rotation, in_parent.position + in_parent.rotation @ shift)
            centre = self._numbers(body, "mass_center", 3, 0.0)
            mass = self._number(body, "mass", 0.0)
            if mass < 0:
                raise CorruptFileError(f"{self._called(body)} in {self._file} has a mass below 0; set it.")
            yield Segment(name, parent, mass, centre, inertia, moved, in_body, turns)

    def _in_order(self, segments: Iterator[Segment]) -> list[Segment]:
        """Return parents before their children."""
        left, placed, out = list(segments), {GROUND}, list[Segment]()
        while left:
            ready = [segment for segment in left if segment.parent in placed]
            if not ready:
                raise CorruptFileError(
                    f"The body {left[0].name!r} in {self._file} hangs on "
                    f"{left[0].parent!r}, which is no body of the model or hangs on it in turn."
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
        target = self._reference(joint, name)
        for frame in joint.iter("PhysicalOffsetFrame"):
            if _label(frame.get("name") or "") == target:
                body = self._reference(frame, "socket_parent")
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
        several = joint.find("coordinates")
        listed = [*self._objects(joint, "CoordinateSet"), *(several if several is not None else ())]
        coordinates = [self._coordinate(one) for one in listed]
        self._coordinates.update(coordinate.name for coordinate in coordinates)
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
        name, scale = self._reference(axis, "coordinates"), self._scale(axis)
        found = next((one for one in axis.iter() if one.tag not in _ABOUT_FUNCTIONS), None)
        if found is None:
            return None, 0.0, 0.0
        if found.tag == "Constant":
            return None, 0.0, scale * self._number(found, "value", 0.0)
        if name not in known:
            raise CorruptFileError(
                f"{self._called(joint)} in {self._file} follows {name!r}, which is no coordinate of it; "
                "name one of its coordinates."
            )
        coordinate = known[name]
        if found.tag != "LinearFunction":
            raise self._moves(joint, coordinate, f"moves along a {plain(found.tag, MOST_LETTERS)}")
        slope, offset = scale * self._numbers(found, "coefficients", 2)
        if slope not in (0.0, 1.0, -1.0) or offset:
            raise self._moves(joint, coordinate, f"turns by {slope:g} times the angle plus {offset:g}")
        return coordinate, float(slope), float(offset)

    def _moves(self, joint: ET.Element, coordinate: Coordinate, how: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self._called(joint)} in {self._file} {how} with the coordinate {coordinate.name!r}, and only "
            "hinges are supported; replace that function by a constant."
        )

    def _coordinate(self, element: ET.Element) -> Coordinate:
        lowest, highest = self._numbers(element, "range", 2, 0.0)
        name, default = self._name(element), self._number(element, "default_value", 0.0)
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
        name = GROUND if body.tag == "Ground" else self._name(body)
        for wrap in self._objects(body, "WrapObjectSet"):
            sizes: Mapping[str, tuple[tuple[str, int], ...]] = {
                "WrapEllipsoid": (("dimensions", 3),),
                "WrapCylinder": (("radius", 1), ("length", 1)),
                "WrapSphere": (("radius", 1),),
                "WrapTorus": (("inner_radius", 1), ("outer_radius", 1)),
            }
            if wrap.tag not in sizes:
                yield Wrap(self._name(wrap), name, plain(wrap.tag), Pose(np.eye(3), np.zeros(3)), ())
                continue
            values = [v for prop, n in sizes[wrap.tag] for v in self._numbers(wrap, prop, n).tolist()]
            if min(values) <= 0:
                raise CorruptFileError(
                    f"{self._called(wrap)} in {self._file} has a size of 0 or less; set it."
                )
            pose = self._pose(wrap, "xyz_body_rotation", "translation")
            yield Wrap(self._name(wrap), name, wrap.tag[4:].lower(), pose, tuple(values), self._side(wrap))

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
            name, path = self._name(element), next(element.iter("GeometryPath"), None)
            if path is None:
                raise CorruptFileError(f"{self._called(element)} in {self._file} has no path; draw it.")
            points = tuple(self._point(one, names) for one in self._objects(path, "PathPointSet"))
            if len(points) < 2:
                raise CorruptFileError(
                    f"The path of {self._called(element)} in {self._file} has {len(points)} points; "
                    "it needs two."
                )
            over = [self._reference(one, "wrap_object") for one in self._objects(path, "PathWrapSet")]
            for wrap in over:
                self._refuse_wrap(name, wrap, wraps)
            force = self._number(element, "max_isometric_force")
            fibre = self._number(element, "optimal_fiber_length")
            pennation = self._number(element, "pennation_angle_at_optimal", 0.0)
            if min(force, fibre) <= 0 or not 0 <= pennation < math.pi / 2:
                raise CorruptFileError(
                    f"{self._called(element)} in {self._file} has a force of {force:g} N, fibres of "
                    f"{fibre:g} m and a pennation of {pennation:g} rad; force and length must be positive, "
                    "and the angle between 0 and 1.57."
                )
            slack = self._number(element, "tendon_slack_length")
            strain = self._number(element, "FmaxMuscleStrain", STRAIN)
            stiffness = self._number(element, "KshapePassive", STIFFNESS)
            if not (0.05 <= strain <= 5 and 0.1 <= stiffness <= 50):
                raise CorruptFileError(
                    f"{self._called(element)} in {self._file} has a passive strain of {strain:g} and a shape "
                    f"of {stiffness:g}; expected 0.05 to 5 and 0.1 to 50 (FmaxMuscleStrain, KshapePassive)."
                )
            yield Muscle(name, force, fibre, slack, pennation, strain, stiffness, points, tuple(over))

    def _refuse_wrap(self, muscle: str, wrap: str, wraps: Mapping[str, Wrap]) -> None:
        if wrap not in wraps:
            raise CorruptFileError(
                f"The muscle {muscle} in {self._file} wraps over {wrap!r}, which the model does not "
                "have; name one of its wrap objects."
            )
        if not wraps[wrap].size:
            raise UnsupportedError(
                f"The muscle {muscle} in {self._file} wraps over {wrap!r}, a {wraps[wrap].kind}; "
                "ellipsoids, cylinders, spheres and tori are supported, so replace it by one of them."
            )

    def _point(self, element: ET.Element, names: set[str]) -> PathPoint:
        body = self._body_of(element, names)
        if element.tag == "PathPoint":
            return PathPoint(body, self._numbers(element, "location", 3))
        if element.tag == "ConditionalPathPoint":
            name = self._follows(element, "socket_coordinate", "coordinate")
            low, high = self._numbers(element, "range", 2).tolist()
            return PathPoint(body, self._numbers(element, "location", 3), (name, low, high))
        if element.tag == "MovingPathPoint":
            return self._moving(element, body)
        raise UnsupportedError(
            f"{self._called(element)} in {self._file} cannot be read; points are PathPoint, "
            "ConditionalPathPoint and MovingPathPoint."
        )

    def _follows(self, point: ET.Element, *properties: str) -> str:
        """Return the coordinate that a point depends on."""
        name = self._reference(point, *properties)
        if name not in self._coordinates:
            raise CorruptFileError(
                f"{self._called(point)} in {self._file} follows {name!r}, which is no coordinate of the "
                "model; name one of them."
            )
        return name

    def _moving(self, point: ET.Element, body: str) -> PathPoint:
        position, moves = np.zeros(3), {}
        for k, axis in enumerate(_AXES):
            function = next((one for one in point if f"{axis}_location" in (one.tag, one.get("name"))), None)
            if function is None:
                continue
            scale = self._scale(function)
            constant = next(function.iter("Constant"), None)
            if constant is not None:
                position[k] = scale * self._number(constant, "value", 0.0)
                continue
            stated = next((one for one in function.iter() if one.find("x") is not None), function)
            n = len(self._text(stated, "x").split())
            angles, places = self._numbers(stated, "x", n), scale * self._numbers(stated, "y", n)
            if n < 2 or (np.diff(angles) <= 0).any():
                raise UnsupportedError(
                    f"<{axis}_location> of {self._called(point)} in {self._file} cannot be read; it may be a "
                    "constant, or a curve through places <y> at increasing angles <x>."
                )
            name = self._follows(point, f"socket_{axis}_coordinate", f"{axis}_coordinate")
            position[k], moves[k] = (places.min() + places.max()) / 2, (name, angles, places)
        return PathPoint(body, position, moves=moves)


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


def _label(text: str) -> str:
    """Return a name, or the last one of a path, with letters, digits and a few other characters only."""
    return re.sub(r"[^\w.+-]", "_", plain(text.rpartition("/")[2], MOST_LETTERS))
