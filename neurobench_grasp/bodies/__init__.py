"""Bodies as MjSpecs with named sensors. The only code that knows MuJoCo."""

from neurobench_grasp.bodies.find import body_of, find_body
from neurobench_grasp.bodies.inverse import pulling_directions
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.muscle_control import computed_muscle_control
from neurobench_grasp.bodies.quality import co_contraction, jerk, keypoint_distances
from neurobench_grasp.bodies.recorded import (
    at_lags,
    goals,
    joint_kinematics,
    linear_kinematics,
    linear_lookahead,
    lookahead_rows,
    motion,
    muscle_kinematics,
    quadratic_kinematics,
    quadratic_rows,
)
from neurobench_grasp.bodies.simulator import action_of, device_simulation, scale_controls, unstable
from neurobench_grasp.bodies.spec import View

__all__ = [
    "MujocoBody",
    "View",
    "action_of",
    "at_lags",
    "body_of",
    "co_contraction",
    "computed_muscle_control",
    "device_simulation",
    "find_body",
    "goals",
    "jerk",
    "joint_kinematics",
    "keypoint_distances",
    "linear_kinematics",
    "linear_lookahead",
    "lookahead_rows",
    "motion",
    "muscle_kinematics",
    "pulling_directions",
    "quadratic_kinematics",
    "quadratic_rows",
    "scale_controls",
    "unstable",
]
