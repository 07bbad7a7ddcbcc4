"""The supervised twin of ``muscle_ppo``: the same network and inputs, trained on that network's actions.

Each network imitates the actions (and its critic the values) of the network of ``muscle_ppo`` of the same
seed and training trials, in the states that it visits itself (DAgger). So it behaves like one that learned
from reward, and ``muscle_ppo`` minus ``muscle_sl`` is what learning from reward does to representations.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

NAME, EXPERT = "muscle_sl", "muscle_ppo"


def build(seed, *, fit_steps=None):
    """Return an unfitted controller; the seed is used by fitting and training, and selects the expert.

    Fitting loads the network trained on the same trials, or trains an expert and a network for a few steps.
    """
    from neurobench_grasp.controllers.controller import NetworkController

    return NetworkController(NAME, "muscle", expert=EXPERT, fit_steps=fit_steps)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        NAME,
        build=build,
        summary="muscle_ppo trained to imitate the actions of muscle_ppo, instead of by reward",
        controller=True,
        step_s=0.02,
        smoke={"fit_steps": 512},
        depends_on=lambda seed, train: trained_digest(NAME, seed, train, expert=EXPERT),
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="",
            action_space="39 muscles",
            training_data=(),
            parameters=205_485,
            steps=1_200_128,
            compute="8.3 min on one core, on demo",
            seeds=(0, 1, 2, 3, 4),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
