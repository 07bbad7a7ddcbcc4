"""Static optimisation: the least muscle activations that produce the joint moments of the recorded movement.

Nothing is trained, and any body with muscles will do: :mod:`neurobench_grasp.bodies.static_optimisation`.
"""

import numpy as np

from neurobench_grasp import MUSCLE_LAYER, Activations, ModelCard, ModelSpec, Ragged, Trials, hookimpl


class StaticOptimisation:
    """Activations of the body's muscles; nothing is fitted here, the map to units is linear."""

    def fit(self, train: Trials, *, seed: int) -> None:
        """Do nothing: there are no parameters."""

    def activations(self, trials: Trials) -> Activations:
        """Return the activations of the muscles as one layer, in the order of the body's muscles."""
        from neurobench_grasp.bodies import body_of  # MuJoCo; listing models must stay fast
        from neurobench_grasp.bodies.static_optimisation import static_optimisation

        body, angles = body_of(trials), trials.joint_angles
        found = static_optimisation(body, angles.values, trials.dt, angles.offsets)
        return Activations({MUSCLE_LAYER: Ragged(found, angles.offsets)})

    def state(self) -> dict[str, np.ndarray]:
        """Return no arrays: there are no parameters."""
        return {}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Do nothing: there are no parameters."""


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "static_optimisation",
        build=lambda seed: StaticOptimisation(),
        summary="least muscle activations that produce the joint moments of the movement; no network",
        seeded=False,
        step_s=0.02,
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="Crowninshield and Brand (1981), Journal of Biomechanics 14:793; "
            "Anderson and Pandy (2001), Journal of Biomechanics 34:153",
            action_space="none",
            training_data=(),
            parameters=0,
            steps=0,
            compute="none",
            seeds=(),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0 (inverse dynamics and muscles only)",
        ),
    )
