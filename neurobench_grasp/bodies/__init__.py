"""Bodies as MjSpecs with named sensors. The only code that knows MuJoCo."""

from neurobench_grasp.bodies.find import body_of, find_body
from neurobench_grasp.bodies.mujoco_body import MujocoBody
from neurobench_grasp.bodies.quality import co_contraction, jerk, keypoint_distances
from neurobench_grasp.bodies.recorded import recorded_kinematics
from neurobench_grasp.bodies.spec import View

__all__ = [
    "MujocoBody",
    "View",
    "body_of",
    "co_contraction",
    "find_body",
    "jerk",
    "keypoint_distances",
    "recorded_kinematics",
]
