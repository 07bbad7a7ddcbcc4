"""An example: a controller with a torch network of its own, by the public interface alone. Copy it.

It learns by motor babbling, as infants are thought to: the hand moves at random, and the network learns which
torques took it from where it was to where it is 60 ms later. To imitate, it is asked for the torques that
lead to the posture 60 ms ahead.
"""

from neurobench_grasp import ModelSpec, hookimpl


def build(seed):
    """Give an unfitted controller; torch is imported here, because listing models must stay quick."""
    from ngb_example_controller.controller import ExampleController

    return ExampleController()


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "example_controller",
        build=build,
        summary="example with its own network: torques learned by motor babbling",
        controller=True,
        card={"licence": "Apache-2.0", "action_space": "torques at 23 joints", "training_data": "the body"},
    )
