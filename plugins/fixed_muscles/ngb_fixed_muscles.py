"""A controller like ``muscle_ppo``, of a hand whose 39 muscles have the moment arms of the neutral posture.

It is the other half of a control: ``permuted_muscles`` has constant moment arms too, and differs from it in
which muscle has which. On a body whose tendons are fixed anyway it is ``muscle_ppo``.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

NAME, TENDONS = "fixed_muscles", "fixed"


def build(seed, *, fit_steps=None):
    """Return an unfitted controller; the seed is used by fitting and training.

    Fitting loads the network trained on the same trials, or trains one for a few steps.
    """
    from neurobench_grasp.controllers.controller import NetworkController

    return NetworkController(NAME, "muscle", tendons=TENDONS, fit_steps=fit_steps)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        NAME,
        build=build,
        summary="muscle_ppo on a hand whose muscles have constant moment arms",
        controller=True,
        tendons=TENDONS,
        step_s=0.02,
        smoke={"fit_steps": 512},
        depends_on=lambda seed, train: trained_digest(NAME, seed, train),
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="after Marin Vargas et al., Imitation learning of dexterous hand control uncovers "
            "muscle-level representations in primate sensorimotor cortex",
            action_space="39 muscles on fixed tendons",
            training_data=(),
            parameters=205_485,
            steps=1_200_128,
            compute="about 14 min on one core, on demo",
            seeds=(0, 1, 2, 3, 4),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
