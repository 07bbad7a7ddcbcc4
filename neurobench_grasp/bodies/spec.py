"""A body as an MjSpec with named sensors: its names, its compiled model and where its sensors are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyder, polyval

from neurobench_grasp.contract import Bools, Floats, Ints
from neurobench_grasp.contract.body import Part
from neurobench_grasp.errors import NgbError

ACTIONS = ("muscle", "torque")
CONTROL_STEP = 0.02
"""Seconds per control step."""
PHYSICS_STEPS = 4
"""Physics steps per control step, with ``implicitfast``; docs/controllers.md compares it with 2 ms."""

SEEN, PAINTED, UNSEEN = 0, 4, 5
"""Groups of geoms in images: in their own colour, in the colour of the movement, and not at all."""

Keypoint = tuple[str, str]
"""Kind (``body`` or ``site``) and name of what a keypoint is the position of."""


def _paint_all(spec: Any) -> None:
    for geom in spec.geoms:
        geom.group = PAINTED


@dataclass(frozen=True)
class View:
    """Where a body is drawn from: a camera fixed to the segment whose frame keypoints are expressed in.

    Parameters
    ----------
    look_at : tuple of float
        Centre of the image, metres in that frame.
    towards, up : tuple of float
        Directions to the camera, and upwards in the image.
    distance : float
        Of the camera from ``look_at``, metres.
    field_of_view : float
        Degrees.
    dress : callable
        Sets the groups and colours of the geoms of an MjSpec. Default: all are painted.
    """

    look_at: tuple[float, float, float]
    towards: tuple[float, float, float]
    up: tuple[float, float, float]
    distance: float
    field_of_view: float
    dress: Callable[[Any], None] = _paint_all


@dataclass(frozen=True, eq=False)
class BodyModel:
    """Description of a body, and the MuJoCo model it is compiled to when first used.

    Parameters
    ----------
    name : str
    make_spec : callable
        Returns a new ``mujoco.MjSpec`` without sensors, in which exactly the joints, all of them hinges with
        limits, and exactly the muscles, each an actuator with activation on a tendon, are those named here.
        There may be further hinges, each of which follows a named joint by the polynomial of an active joint
        equality constraint: they move with the body, but have no angle in postures, no sensor and no motor,
        and need no limits.
    joint_names : mapping of str to str
        Joint → its name in the MjSpec, in the order of ``qpos`` (without those that follow others).
    muscle_names : mapping of str to (str, str)
        Muscle → the names of its actuator and of its tendon in the MjSpec, in the order of the actuators.
    keypoint_sources : mapping of str to (str, str)
        Keypoint → what it is the position of.
    tips : tuple of str
    frame, frame_body : str
        Segment whose frame keypoints are expressed in, and its name in the MjSpec.
    parts : tuple of Part
    neutral_angles : mapping of str to float
        Relaxed posture, rad; 0 for joints that are left out.
    labels : mapping of str to str
        Joints that a figure shows, with their labels. Default: the first six.
    view : View, optional
        Without it, the body cannot be drawn.
    endpoint : str
        Keypoint whose recorded position determines postures; empty if none does.
    endpoint_axes : tuple of str
        Its coordinates that are recorded, among ``x``, ``y`` and ``z`` of the body's frame.
    control_step : float
        Seconds.
    physics_steps : int
        Physics steps per control step.
    """

    name: str
    make_spec: Callable[[], Any]
    joint_names: Mapping[str, str]
    muscle_names: Mapping[str, tuple[str, str]]
    keypoint_sources: Mapping[str, Keypoint]
    tips: tuple[str, ...]
    frame: str
    frame_body: str
    parts: tuple[Part, ...]
    neutral_angles: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    view: View | None = None
    endpoint: str = ""
    endpoint_axes: tuple[str, ...] = ("x", "y", "z")
    control_step: float = CONTROL_STEP
    physics_steps: int = PHYSICS_STEPS

    @property
    def joints(self) -> tuple[str, ...]:
        """Joints, in the order of joint angles and torques."""
        return tuple(self.joint_names)

    @property
    def muscles(self) -> tuple[str, ...]:
        """Muscles, in the order of excitations."""
        return tuple(self.muscle_names)

    @property
    def keypoints(self) -> tuple[str, ...]:
        """Keypoints, in the order of their coordinates."""
        return tuple(self.keypoint_sources)

    @property
    def shown_joints(self) -> Mapping[str, str]:
        """Joints that a figure shows, with their labels."""
        return self.labels or {joint: joint.replace("_", " ") for joint in self.joints[:6]}

    @cached_property
    def neutral(self) -> Floats:
        """Relaxed posture, rad, shape (n_joints,)."""
        return _read_only(np.array([self.neutral_angles.get(joint, 0.0) for joint in self.joints]))

    @cached_property
    def joint_limits(self) -> Floats:
        """Lowest and highest angle of each joint, rad, shape (n_joints, 2)."""
        return _read_only(np.array([self.model.joint(name).range for name in self.joint_names.values()]))

    @property
    def spec(self) -> Any:
        """The ``mujoco.MjSpec`` with sensors; shared: copy it before editing.

        Sensors are ``<muscle>_length`` (m), ``<muscle>_velocity`` (m/s), ``<joint>_position`` (rad),
        ``<joint>_velocity`` (rad/s) and one named after each keypoint (m, in the body's frame).
        """
        return self._compiled[0]

    @property
    def model(self) -> Any:
        """The ``mujoco.MjModel`` with muscles; shared: do not edit it."""
        return self._compiled[1]

    @cached_property
    def _compiled(self) -> tuple[Any, Any]:
        with _quiet():
            spec = self.make_spec()
            _add_sensors(self, spec)
            model = spec.compile()
        self._check(model)
        return spec, model

    def qpos(self, joint_angles: Floats) -> Floats:
        """Return MuJoCo's ``qpos``, (n, n_model_joints): joint angles and those of the joints that follow."""
        if self._following is None:
            return joint_angles
        leader, origin, coefficients = self._following
        return np.asarray(polyval(joint_angles[:, leader] - origin, coefficients, tensor=False), np.float64)

    def qvel(self, joint_angles: Floats, joint_velocity: Floats) -> Floats:
        """Return MuJoCo's ``qvel``, (n, n_model_joints), at joint velocities."""
        if self._following is None:
            return joint_velocity
        return self._slopes(joint_angles) * joint_velocity[:, self._following[0]]

    def by_joints(self, joint_angles: Floats, by_qpos: Floats) -> Floats:
        """Return derivatives by the joint angles, (n, k, n_joints), from those by ``qpos``: the chain rule.

        Generalised forces are converted in the same way.
        """
        if self._following is None:
            return by_qpos
        leads = self._following[0][:, None] == np.arange(len(self.joints))
        by_angles: Floats = by_qpos @ (self._slopes(joint_angles)[:, :, None] * leads)
        return by_angles

    def _slopes(self, joint_angles: Floats) -> Floats:
        """Return the derivative of each entry of ``qpos`` by the joint that it depends on."""
        assert self._following is not None
        leader, origin, coefficients = self._following
        slopes = polyval(joint_angles[:, leader] - origin, polyder(coefficients), tensor=False)
        return np.asarray(slopes, np.float64)

    @cached_property
    def _following(self) -> tuple[Ints, Floats, Floats] | None:
        """Return how the entries of ``qpos`` depend on joint angles; none if no joint follows another.

        For each entry the joint that it depends on, (n,); the angle of this at which the polynomial's
        argument is 0, (n,); and the coefficients, the constant first, (5, n).
        """
        model, names = self.model, list(self.joint_names.values())
        followed = _followed(model, names)
        if not followed:
            return None
        own = [model.joint(name).id for name in names]
        leader, origin = np.zeros(model.nq, np.int64), np.zeros(model.nq)
        coefficients = np.zeros((5, model.nq))
        leader[own], coefficients[1, own] = np.arange(len(own)), 1.0
        for joint, constraint in followed.items():
            driver = int(model.eq_obj2id[constraint])
            leader[joint], origin[joint] = own.index(driver), model.qpos0[driver]
            coefficients[:, joint] = model.eq_data[constraint, :5]
            coefficients[0, joint] += model.qpos0[joint]
        return leader, origin, coefficients

    def n_actions(self, action: str) -> int:
        """Return the number of actions: muscle excitations or joint torques.

        Raises
        ------
        NgbError
            If there is no such kind of action.
        """
        if action not in ACTIONS:
            raise NgbError(f"The body {self.name} has no action {action!r}; choose {' or '.join(ACTIONS)}.")
        return len(self.muscles if action == "muscle" else self.joints)

    @property
    def muscle_sensors(self) -> slice:
        """Columns of the muscles' lengths and velocities among all sensors, alternating."""
        return slice(0, 2 * len(self.muscles))

    @property
    def angle_sensors(self) -> slice:
        """Columns of the joint angles among all sensors."""
        first = 2 * len(self.muscles)
        return slice(first, first + 2 * len(self.joints), 2)

    @property
    def velocity_sensors(self) -> slice:
        """Columns of the joint velocities among all sensors."""
        angles = self.angle_sensors
        return slice(angles.start + 1, angles.stop + 1, 2)

    @property
    def keypoint_sensors(self) -> slice:
        """Columns of the keypoints among all sensors."""
        first = 2 * len(self.muscles) + 2 * len(self.joints)
        return slice(first, first + 3 * len(self.keypoints))

    @property
    def joints_in_parts(self) -> Bools:
        """Which part each joint belongs to, shape (n_joints, n_parts)."""
        return members(self.joints, [part.joints for part in self.parts])

    def _check(self, model: Any) -> None:
        """Raise if the compiled model has other joints or muscles than those named."""
        import mujoco

        followed = _followed(model, list(self.joint_names.values()))
        joints = tuple(model.joint(i).name for i in range(model.njnt) if i not in followed)
        actuators = tuple(model.actuator(i).name for i in range(model.nu))
        wanted = (
            tuple(self.joint_names.values()),
            tuple(actuator for actuator, _ in self.muscle_names.values()),
        )
        if (joints, actuators) != wanted or model.na != model.nu:
            raise NgbError(
                f"The model of the body {self.name} (MuJoCo {mujoco.__version__}) has other joints or "
                "muscles than its description; install the version of its source that this was written for."
            )
        limited = all(model.joint(name).limited for name in joints)
        if not (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE).all() or not limited:
            raise NgbError(f"Each joint of the body {self.name} must be a hinge with limits.")


def _followed(model: Any, names: Sequence[str]) -> dict[int, int]:
    """Return the joints of a model that follow a named one → the equality constraint by which they do."""
    import mujoco

    found = {}
    for i in np.flatnonzero((model.eq_type == mujoco.mjtEq.mjEQ_JOINT) & (model.eq_active0 != 0)):
        joint, driver = int(model.eq_obj1id[i]), int(model.eq_obj2id[i])
        if driver >= 0 and model.joint(driver).name in names and model.joint(joint).name not in names:
            found[joint] = int(i)
    return found


def members(names: Sequence[str], groups: Sequence[Sequence[str]]) -> Bools:
    """Return which group each name belongs to, shape (n_names, n_groups)."""
    return np.array([[name in group for group in groups] for name in names]).reshape(len(names), len(groups))


def _read_only(array: Floats) -> Floats:
    array.setflags(write=False)
    return array


def _add_sensors(body: BodyModel, spec: Any) -> None:
    from mujoco import mjtObj, mjtSensor

    def add(name: str, kind: Any, source: Any, target: str, **frame: Any) -> None:
        spec.add_sensor(name=name, type=kind, objtype=source, objname=target, **frame)

    for muscle, (_, tendon) in body.muscle_names.items():
        # of the tendon, not the muscle: a body that is moved by torques has tendons too
        add(f"{muscle}_length", mjtSensor.mjSENS_TENDONPOS, mjtObj.mjOBJ_TENDON, tendon)
        add(f"{muscle}_velocity", mjtSensor.mjSENS_TENDONVEL, mjtObj.mjOBJ_TENDON, tendon)
    for joint, target in body.joint_names.items():
        add(f"{joint}_position", mjtSensor.mjSENS_JOINTPOS, mjtObj.mjOBJ_JOINT, target)
        add(f"{joint}_velocity", mjtSensor.mjSENS_JOINTVEL, mjtObj.mjOBJ_JOINT, target)
    kinds = {"body": mjtObj.mjOBJ_XBODY, "site": mjtObj.mjOBJ_SITE}
    for name, (kind, target) in body.keypoint_sources.items():
        frame = {"reftype": mjtObj.mjOBJ_XBODY, "refname": body.frame_body}
        add(name, mjtSensor.mjSENS_FRAMEPOS, kinds[kind], target, **frame)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress MuJoCo's warnings, which go to stderr and MUJOCO_LOG.TXT, and Python's."""
    import mujoco

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        mujoco.set_mju_user_warning(before)
