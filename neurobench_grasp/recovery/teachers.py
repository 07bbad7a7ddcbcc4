"""What drives the units of a teacher: layers of a network in closed loop, or the recorded movement itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies import muscle_kinematics
from neurobench_grasp.contract import Floats, ModelSpec, Trials

KINDS: Mapping[str, str] = {"muscle_ppo": "muscle", "torque_ppo": "torque", "linear_kinematic": "kinematics"}
"""Teachers and candidates → their kind of input or action."""
LAYERS = ("actor/integration", "actor/decoder", "critic/integration", "critic/decoder")
"""Layers of a network that drive units, each with the same weight on average: where its inputs have met."""


@dataclass(frozen=True)
class Teacher:
    """What generates the units of a session.

    Parameters
    ----------
    model, kind : str
        See :data:`KINDS`.
    seed : int
        Of its network; without one, of its units.
    """

    model: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its sessions and streams of random numbers."""
        return f"{self.model}-{self.seed}"

    def drives(self, spec: ModelSpec, train: Trials, trials: Trials) -> dict[str, Floats]:
        """Return what the teacher computes during some trials.

        Parameters
        ----------
        spec : ModelSpec
            Of the teacher's model.
        train : Trials
            What its network was trained on.
        trials : Trials

        Returns
        -------
        dict of str to ndarray, shape (n_total_steps, n_features)
            For each kind of drive, standardised; features that never change are left out.
        """
        if self.kind == "kinematics":  # of the recorded posture alone: what a candidate adds, it must afford
            assert trials.joint_angles is not None
            muscles = muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
            found = {"muscle kinematics": np.hstack([muscles.length, muscles.velocity])}
        else:
            model = spec.build(self.seed)
            model.fit(train, seed=self.seed)
            layers = model.activations(trials).layers
            found = {name: layers[name].values for name in LAYERS}
        return {name: _standardise(np.asarray(values, np.float64)) for name, values in found.items()}


def _standardise(values: Floats) -> Floats:
    spread = values.std(axis=0)
    moving = spread > 1e-9 * max(float(spread.max()), 1e-300)
    standardised: Floats = (values[:, moving] - values[:, moving].mean(axis=0)) / spread[moving]
    return standardised
