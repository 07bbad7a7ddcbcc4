"""Checks of bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np

from neurobench_grasp.checks.audit import Audit
from neurobench_grasp.checks.fixture import Audited
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.contract import Body, Floats, Simulator

ACTIONS = ("muscle", "torque")
N_STEPS = 25
"""Control steps of random actions."""
LEAST_ARM = 1e-4
"""Largest moment arm about a joint that counts as none, m."""
N_RELEASED = 100
"""Control steps of a released body."""
SLACK = np.radians(2)
"""Tolerance of its joint limits, which are soft, rad."""
SENSED = 1e-9
"""Tolerance between sensors and kinematics, m."""


class BodyCase(Audited):
    """A body; it is built once."""

    spec: Any = None

    def __init__(self, audit: Audit) -> None:
        self.audit = audit

    @cached_property
    def body(self) -> Any:
        """The body."""
        return self.call("build", self.spec.build)

    def moved(self, action: str) -> Simulator:
        """Return two simulated bodies after random actions from the neutral posture."""
        rng = np.random.default_rng(0)
        bodies: Simulator = self.call("simulate", lambda: self.body.simulate(action, 2, threads=1))
        start = np.tile(self.body.neutral, (2, 1))
        self.call("start", lambda: bodies.start(slice(None), start, np.zeros_like(start)))
        for _ in range(N_STEPS):
            chosen = rng.uniform(-1, 1, (2, self.body.n_actions(action)))
            self.call("step", partial(bodies.step, chosen))
        return bodies


@check("body")
def is_body(case: BodyCase) -> None:
    """`build` returns a body of the spec's name."""
    body = case.body
    if not case.call("build", lambda: isinstance(body, Body)):
        raise Broken("The result of `build` is not a Body; use neurobench_grasp.bodies.MujocoBody.")
    if body.name != case.spec.name:
        raise Broken(f"Its name is {body.name!r}, that of its spec {case.spec.name!r}; use one name.")


@check("body", "is_body")
def names_parts(case: BodyCase) -> None:
    """Names are unique, and every joint and keypoint belongs to one part."""
    body = case.body
    _each_once("joint", body.joints, [joint for part in body.parts for joint in part.joints])
    _each_once("keypoint", body.keypoints, [point for part in body.parts for point in part.keypoints])
    _each_once("muscle", body.muscles, body.muscles)
    if unknown := set(body.tips) - set(body.keypoints):
        raise Broken(f"The tips {', '.join(sorted(unknown))} are not among its keypoints.")
    if not body.joints or not body.keypoints:
        raise Broken("It needs a joint to move and a keypoint to measure the error at.")


@check("body", "is_body")
def rests_within_limits(case: BodyCase) -> None:
    """Its neutral posture is within its joint limits."""
    low, high = case.body.joint_limits.T
    outside = (case.body.neutral < low) | (case.body.neutral > high) | ~(low < high)
    if outside.any():
        joint = case.body.joints[int(np.argmax(outside))]
        raise Broken(f"The neutral angle of {joint} is outside its limits; change one of them (rad).")


@check("body", "is_body")
def states_its_origin(case: BodyCase) -> None:
    """The spec states the licence and the source of model and parameters."""
    for name in ("licence", "source"):
        if not str(getattr(case.spec, name)).strip():
            raise Broken(f"Its {name} is empty; state it in the BodySpec.")


@check("body", "names_parts")
def reaches_every_joint(case: BodyCase) -> None:
    """Every joint has a muscle with a moment arm about it, if the body has muscles."""
    body = case.body
    if not body.muscles:
        return
    arms, _ = case.call("muscle_capacity", lambda: body.muscle_capacity(body.neutral[None]))
    if (unmoved := np.abs(arms[0]).max(0) < LEAST_ARM).any():
        raise Broken(
            f"No muscle moves {body.joints[int(unmoved.argmax())]}; add one, or leave out the joint."
        )


@check("body", "rests_within_limits", "reaches_every_joint")
def stays_within_limits(case: BodyCase) -> None:
    """Released from its neutral posture without torques, it stays finite and within its limits."""
    body, n = case.body, len(case.body.joints)
    bodies: Simulator = case.call("simulate", lambda: body.simulate("torque", 1, threads=1))
    case.call("start", lambda: bodies.start(slice(None), body.neutral[None], np.zeros((1, n))))
    angles = []
    for _ in range(N_RELEASED):
        case.call("step", lambda: bodies.step(np.zeros((1, n))))
        angles.append(bodies.joint_angles[0].copy())
    bodies.close()
    path, (low, high) = np.array(angles), body.joint_limits.T
    outside = ~(np.maximum(low - path, path - high).max(0) < SLACK)  # not finite is outside, too
    if outside.any():
        raise Broken(
            f"Released from the neutral posture, {body.joints[int(outside.argmax())]} leaves its limits; add "
            "damping or armature, or choose another neutral posture."
        )


@check("body", "rests_within_limits", "reaches_every_joint")
def senses(case: BodyCase) -> None:
    """Sensors of the simulation agree with the kinematics of the same posture."""
    body = case.body
    for action in ACTIONS:
        bodies = case.moved(action)
        angles = bodies.joint_angles
        points = case.call("keypoint_positions", partial(body.keypoint_positions, angles))
        still = partial(body.muscle_kinematics, np.repeat(angles, 2, axis=0), body.control_step)
        _agree("keypoints", bodies.keypoints, points)
        _agree("muscle lengths", bodies.muscles[:, ::2], case.call("muscle_kinematics", still).length[::2])
        bodies.close()


@check("body", "senses")
def continues(case: BodyCase) -> None:
    """Its simulation is finite, and continues exactly from a restored state."""
    for action in ACTIONS:
        bodies = case.moved(action)
        if not np.isfinite(bodies.sensors).all():
            raise Broken("Sensors are not finite; reduce forces or add damping and armature to the joints.")
        kept, still = bodies.state(), np.zeros((2, case.body.n_actions(action)))
        bodies.step(still)
        first = bodies.sensors.copy()
        bodies.restore(kept)
        bodies.step(still)
        if not np.array_equal(first, bodies.sensors):
            raise Broken("`state` lacks something that the next step depends on; add it.")
        bodies.close()


def _each_once(kind: str, names: Sequence[str], listed: Sequence[str]) -> None:
    """Raise unless every name occurs once, and once in the list of all parts."""
    count, known = Counter(listed), Counter(names)
    wrong = sorted(name for name in {*count, *known} if (count[name], known[name]) != (1, 1))
    if wrong:
        raise Broken(f"The {kind} {wrong[0]!r} must be named once, and be in exactly one part.")


def _agree(what: str, sensed: Floats, computed: Floats) -> None:
    if sensed.shape != computed.shape or not np.allclose(sensed, computed, rtol=0, atol=SENSED):
        raise Broken(
            f"Sensors and kinematics of one posture disagree about {what}; both must be those of the body's "
            "model at the same instant."
        )
