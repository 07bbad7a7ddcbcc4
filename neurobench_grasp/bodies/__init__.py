"""The hand as an MjSpec with named sensors. The only code that knows MuJoCo."""

from neurobench_grasp.bodies.kinematics import MuscleKinematics, keypoints, muscle_kinematics
from neurobench_grasp.bodies.myohand import JOINTS, KEYPOINTS, MUSCLES, build_hand, joint_limits
from neurobench_grasp.bodies.posture import NEUTRAL, Posture, posture
from neurobench_grasp.bodies.quality import co_contraction, jerk, keypoint_distances
from neurobench_grasp.bodies.recorded import recorded_kinematics
from neurobench_grasp.bodies.simulator import ACTIONS, CONTROL_STEP, Hands

__all__ = [
    "ACTIONS",
    "CONTROL_STEP",
    "JOINTS",
    "KEYPOINTS",
    "MUSCLES",
    "NEUTRAL",
    "Hands",
    "MuscleKinematics",
    "Posture",
    "build_hand",
    "co_contraction",
    "jerk",
    "joint_limits",
    "keypoint_distances",
    "keypoints",
    "muscle_kinematics",
    "posture",
    "recorded_kinematics",
]
