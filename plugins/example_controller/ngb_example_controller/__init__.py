"""Example: a controller with its own torch network, using only the public interface. Copy it.

It learns by motor babbling, as is thought of infants: the hand moves at random, and the network learns which
torques moved it from one posture to that 60 ms later. To imitate, it predicts the torques that
lead to the posture 60 ms ahead.
"""

from neurobench_grasp import ModelCard, ModelSpec, hookimpl


def build(seed, **settings):
    """Return an unfitted controller; torch is imported here, because listing models must stay fast."""
    from ngb_example_controller.controller import ExampleController

    return ExampleController(**settings)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "example_controller",
        build=build,
        summary="example with its own network: torques learned by motor babbling",
        controller=True,
        step_s=0.02,
        smoke={"n_steps": 60, "n_updates": 150},
        card=ModelCard(
            licence="Apache-2.0",
            authors=("The neurobench_grasp developers",),
            citation="",
            action_space="23 joint torques",
            training_data=(),
            parameters=20_327,
            steps=19_200,
            compute="some seconds on one core",
            seeds=(),
            simulator="MuJoCo 4.0.0, MyoSuite 3.0.0",
        ),
    )
