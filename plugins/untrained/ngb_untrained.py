"""The muscle-driven controller before training: the same architecture with random weights.

Its layers receive the observations of the trained network in closed loop, so that a difference in score is
a difference of weights alone. In tracking it moves its own hand.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

TRAINED = "muscle_ppo"


def build(seed, *, fit_steps=None):
    """Return an unfitted controller; the seed selects the trained twin and the random weights.

    The twin is the network trained on the same trials, or one trained for a few steps.
    """
    from neurobench_grasp.controllers.controller import UntrainedController

    return UntrainedController(TRAINED, "muscle", fit_steps=fit_steps)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "untrained",
        build=build,
        summary="muscle_ppo with random weights, on what the trained network observed",
        controller=True,
        step_s=0.02,
        smoke={"fit_steps": 512},
        depends_on=lambda seed, train: trained_digest(TRAINED, seed, train),
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="",
            action_space="39 muscles",
            training_data=(),
            parameters=205_485,
            steps=0,
            compute="none",
            seeds=(0, 1, 2, 3, 4, 100, 101),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
