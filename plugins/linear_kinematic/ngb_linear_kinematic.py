"""Linear kinematics: features of the recorded movement, without any network.

The same features are a reference for every model; as a model, they are ranked with the others.
"""

import numpy as np

from neurobench_grasp import Activations, ModelCard, ModelSpec, Trials, hookimpl


class LinearKinematic:
    """Features of the recorded movement; nothing is fitted here, the map to units is linear."""

    def fit(self, train: Trials, *, seed: int) -> None:
        """Do nothing: there are no parameters."""

    def activations(self, trials: Trials) -> Activations:
        """Return muscle kinematics if there are joint angles, recorded signals otherwise."""
        from neurobench_grasp.bodies import linear_kinematics  # MuJoCo; listing models must stay fast

        return Activations({"kinematics": linear_kinematics(trials)})

    def state(self) -> dict[str, np.ndarray]:
        """Return no arrays: there are no parameters."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Do nothing: there are no parameters."""


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "linear_kinematic",
        build=lambda seed: LinearKinematic(),
        summary="muscle lengths and velocities of the moment, or recorded kinematics; no network",
        seeded=False,
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="",
            action_space="none",
            training_data=(),
            parameters=0,
            steps=0,
            compute="none",
            seeds=(),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0 (muscle lengths only)",
        ),
    )
