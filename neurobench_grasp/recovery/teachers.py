"""Drives of a teacher's units: layers of a network in closed loop, or the recorded movement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from neurobench_grasp.contract import Floats, ModelSpec, Trials
from neurobench_grasp.demo.driven import muscle_features, network_features

KINDS: Mapping[str, str] = {
    "muscle_ppo": "muscle",
    "torque_ppo": "torque",
    "permuted_muscles": "permuted",
    "linear_kinematic": "kinematics",
}
"""Teachers and candidates → their kind of input or action."""


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
            return muscle_features(trials)
        model = spec.build(self.seed)
        model.fit(train, seed=self.seed)
        return network_features(model, trials)
