"""A controller that moves the simulated hand by torques at 23 joints, trained by PPO to imitate grasps.

The network: three encoders (future postures; muscle lengths and velocities; last action and activation), an
integration layer, a decoder; actor and critic alike. Every layer of both is a candidate for the map to units.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

NAME = "torque_ppo"


def build(seed, *, fit_steps=None):
    """Return an unfitted controller; the seed is used by fitting and training.

    Fitting loads the network trained on the same trials, or trains one for a few steps.
    """
    from neurobench_grasp.controllers.controller import NetworkController

    return NetworkController(NAME, "torque", fit_steps=fit_steps)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        NAME,
        build=build,
        summary="modular network that moves the hand by torques at 23 joints, trained by PPO",
        controller=True,
        step_s=0.02,
        smoke={"fit_steps": 512},
        depends_on=lambda seed, train: trained_digest(NAME, seed, train),
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="after Marin Vargas et al., Imitation learning of dexterous hand control uncovers "
            "muscle-level representations in primate sensorimotor cortex",
            action_space="23 joint torques",
            training_data=(),
            parameters=196_381,
            steps=800_256,
            compute="3 to 13 min on one core, on demo",
            seeds=(0, 1, 2, 3, 4, 100, 101),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
