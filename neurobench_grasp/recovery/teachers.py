"""Drives of a teacher's units: layers of a network in closed loop, or the recorded movement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.bodies import body_of
from neurobench_grasp.contract import Floats, ModelSpec, Trials

KINDS: Mapping[str, str] = {"muscle_ppo": "muscle", "torque_ppo": "torque", "linear_kinematic": "kinematics"}
"""Teachers and candidates → their kind of input or action."""
LAYERS = ("actor/integration", "actor/decoder", "critic/integration", "critic/decoder")
"""Layers of a network that drive units, with equal weight on average: those after its inputs are combined."""


@dataclass(frozen=True)
class Teacher:
    """Model that generates the units of a session.

    Parameters
    ----------
    model, kind : str
        See :data:`KINDS`.
    seed : int
        Of its network; without a network, of its units.
    """

    model: str
    kind: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its sessions and random streams."""
        return f"{self.model}-{self.seed}"

    def drives(self, spec: ModelSpec, train: Trials, trials: Trials) -> dict[str, Floats]:
        """Return the teacher's features for some trials.

        Parameters
        ----------
        spec : ModelSpec
            Model of the teacher.
        train : Trials
            Training data of its network.
        trials : Trials

        Returns
        -------
        dict of str to ndarray, shape (n_total_steps, n_features)
            For each kind of drive, standardised; constant features are omitted.
        """
        if self.kind == "kinematics":  # recorded posture alone
            assert trials.joint_angles is not None
            muscles = body_of(trials).muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
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
