"""The example plugin fulfils the controller's contract with nothing but the public interface."""

import ast
from pathlib import Path

import ngb_example_controller
import numpy as np
import pytest
from movements import grasp_trials
from ngb_example_controller import build, ngb_models

from neurobench_grasp.contract import Controller, Goal
from neurobench_grasp.protocols.brain_control.trials import postures_ahead

PUBLIC = {"neurobench_grasp", "neurobench_grasp.bodies"}


@pytest.fixture(scope="module")
def fitted():
    (spec,) = ngb_models()
    model = build(0, **spec.smoke)
    model.fit(grasp_trials(), seed=0)
    return model


def test_it_imports_the_public_interface_alone():
    for path in Path(ngb_example_controller.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("neurobench_grasp"):
                assert node.module in PUBLIC, path


def test_it_moves_a_hand_and_names_its_layers(fitted):
    trials = grasp_trials()
    assert isinstance(fitted, Controller)
    tracked = fitted.track(trials)
    assert tracked.joint_angles.values.shape == (trials.offsets[-1], 23)
    assert tracked.keypoints.values.shape == (trials.offsets[-1], 60)
    layers = fitted.activations(trials).layers
    assert list(layers) == ["goal", "state", "hidden", "torque"]
    for layer in layers.values():
        np.testing.assert_array_equal(layer.offsets, trials.offsets)
        assert np.isfinite(layer.values).all()


def test_a_trial_does_not_depend_on_the_others(fitted):
    trials = grasp_trials()
    together = fitted.activations(trials).layers["hidden"]
    alone = fitted.activations(trials.select([1])).layers["hidden"]
    np.testing.assert_allclose(alone[0], together[1], atol=1e-8)


def test_its_own_embedding_as_goal_changes_nothing_and_state_comes_back(fitted):
    trials = grasp_trials()
    intact = fitted.track(trials).keypoints.values
    replaced = fitted.track(trials, goal=Goal("embedding", fitted.embed(trials))).keypoints.values
    np.testing.assert_allclose(replaced, intact, atol=1e-8)
    postures = Goal("joint_angles", postures_ahead(trials.joint_angles, 5))  # as in brain control
    np.testing.assert_allclose(fitted.track(trials, goal=postures).keypoints.values, intact, atol=1e-8)
    twin = build(1)
    twin.restore(fitted.state())
    np.testing.assert_array_equal(twin.track(trials).keypoints.values, intact)
