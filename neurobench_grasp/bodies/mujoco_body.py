"""A body simulated by MuJoCo: what :class:`neurobench_grasp.Body` requires, for any description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from neurobench_grasp.bodies import kinematics, render, simulator
from neurobench_grasp.bodies.inverse import inverse_kinematics
from neurobench_grasp.bodies.posture import posture
from neurobench_grasp.bodies.spec import BodyModel
from neurobench_grasp.contract import Bools, Floats, Ints
from neurobench_grasp.contract.body import InferredPosture, MuscleKinematics, Posture


class MujocoBody(BodyModel):
    """A body simulated by MuJoCo; its methods are those of :class:`neurobench_grasp.Body`."""

    def moved_parts(self, action: str) -> Bools:
        """Return which parts each action moves, shape (n_actions, n_parts)."""
        return simulator.moved_parts(self, action)

    def posture(
        self,
        values: Floats,
        columns: Sequence[str],
        joint_map: Mapping[str, tuple[str, float, float]] | None = None,
    ) -> Posture:
        """Map recorded joint angles to the body's order and limits."""
        return posture(self, values, columns, joint_map)

    def inverse_kinematics(
        self, endpoint: Floats, dt: float, offsets: Ints, keypoints: Sequence[str] = ()
    ) -> InferredPosture:
        """Return the postures in which the endpoint, and further keypoints, follow recorded paths."""
        return inverse_kinematics(self, endpoint, dt, offsets, keypoints)

    def keypoint_positions(self, joint_angles: Floats) -> Floats:
        """Return the keypoints in the body's frame, m, shape (n_steps, 3 · n_keypoints)."""
        return kinematics.keypoint_positions(self, joint_angles)

    def muscle_kinematics(
        self, joint_angles: Floats, dt: float, offsets: Ints | None = None
    ) -> MuscleKinematics:
        """Return lengths and velocities of the muscles along recorded joint angles."""
        return kinematics.muscle_kinematics(self, joint_angles, dt, offsets)

    def muscle_moments(self, joint_angles: Floats, dt: float, offsets: Ints | None = None) -> Floats:
        """Return the joint moments that active muscles must produce to follow the movement, N·m."""
        return kinematics.muscle_moments(self, joint_angles, dt, offsets)

    def muscle_capacity(self, joint_angles: Floats) -> tuple[Floats, Floats]:
        """Return moment arms of the muscles (m), and the isometric force of each when fully active (N)."""
        return kinematics.muscle_capacity(self, joint_angles)

    def simulate(
        self, action: str, n: int, *, threads: int | None = None, physics_steps: int | None = None
    ) -> simulator.Simulation:
        """Make a batch of simulated bodies."""
        return simulator.Simulation(self, action, n, threads=threads, physics_steps=physics_steps)

    def painter(self, width: int, height: int) -> render.Painter:
        """Return a painter of images of that size in pixels."""
        return render.Painter(self, width, height)
