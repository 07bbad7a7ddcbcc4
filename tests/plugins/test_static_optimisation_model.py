"""Static optimisation as a model: one layer, of the muscles of whichever body the trials name."""

from dataclasses import replace

import numpy as np
import pytest
from movements import grasp_trials
from ngb_static_optimisation import ngb_models

from neurobench_grasp import MUSCLE_LAYER, Ragged
from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.static_optimisation import static_optimisation
from neurobench_grasp.errors import UnsupportedError

(SPEC,) = ngb_models()
HAND = grasp_trials(3)


def arm_trials():
    """Trials of the arm in a plane with two of the hand's courses."""
    body = find_body("planar_arm")
    turned = HAND.joint_angles.values[:, 7:9] - HAND.joint_angles.values[0, 7:9]
    return replace(HAND, body="planar_arm", joint_angles=Ragged(body.neutral + turned, HAND.offsets))


@pytest.mark.parametrize("trials", [HAND, arm_trials()], ids=["hand", "arm"])
def test_the_layer_is_the_least_activation_of_the_bodys_muscles(trials):
    model, body = SPEC.build(0), find_body(trials.body)
    model.fit(trials, seed=0)
    ((name, layer),) = model.activations(trials).layers.items()
    expected = static_optimisation(body, trials.joint_angles.values, trials.dt, trials.offsets)
    assert name == MUSCLE_LAYER and layer.values.shape == (trials.offsets[-1], len(body.muscles))
    np.testing.assert_array_equal(layer.values, expected)
    np.testing.assert_array_equal(layer.offsets, trials.offsets)


def test_without_joint_angles_it_is_unsupported():
    blind = replace(HAND, joint_angles=None, signals={"hand": HAND.joint_angles})
    with pytest.raises(UnsupportedError, match=r"^planted has no joint angles of a body\.$"):
        SPEC.build(0).activations(blind)
