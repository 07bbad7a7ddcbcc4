"""The random-muscle control: like ``fixed_muscles``, with moment arms permuted among the muscles.

At every joint the arms are permuted among the muscles that cross it: joints, strengths and number of muscles
stay, anatomy is gone. Each network has another permutation; all reach as much of the joint torques as the
fixed hand (:mod:`neurobench_grasp.bodies.tendons`). ``fixed_muscles`` minus ``permuted_muscles`` is what
anatomy adds.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl
from neurobench_grasp.controllers import trained_digest

NAME, TENDONS = "permuted_muscles", "permuted-{seed}"


def build(seed, *, fit_steps=None):
    """Return an unfitted controller; the seed is used by fitting and training, and selects the permutation.

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
        summary="fixed_muscles on hands whose moment arms are permuted among the muscles of each joint",
        controller=True,
        tendons=TENDONS,
        step_s=0.02,
        smoke={"fit_steps": 512},
        depends_on=lambda seed, train: trained_digest(NAME, seed, train),
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="",
            action_space="39 muscles on fixed tendons with permuted moment arms",
            training_data=(),
            parameters=205_485,
            steps=1_200_128,
            compute="about 14 min on one core, on demo",
            seeds=(0, 1, 2, 3, 4, 100, 101),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
