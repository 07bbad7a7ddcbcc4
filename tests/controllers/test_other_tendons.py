"""Controllers of a body with other tendons: the seed names the body, which stays with the network."""

import dataclasses
import json

import numpy as np
import pytest
from lazy import Lazy
from movements import HAND, grasp_trials

from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import Trials
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.train import train_network

controllers = Lazy("neurobench_grasp.controllers.controller")
training = Lazy("neurobench_grasp.controllers.training")

SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0)
BODIES = {"fixed_muscles": "myohand/fixed", "permuted_muscles": "myohand/permuted-1"}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


def built(name):
    spec = load_registry().model(name).spec
    return spec.build(1, **spec.smoke)


@pytest.fixture(scope="module", params=BODIES)
def fitted(request):
    """A model of a plugin, trained for a few steps with seed 1, and its name."""
    model = built(request.param)
    model.fit(grasp_trials(), seed=1)
    return model, request.param


def test_a_plugin_moves_the_body_of_its_seed_and_keeps_it_in_its_state(fitted):
    model, name = fitted
    trials, body = grasp_trials(3, seed=2), find_body(BODIES[name])
    movement = model.track(trials)
    assert movement.body == body.name
    again = built(name)
    again.restore(model.state())
    same = again.track(trials)
    assert same.body == body.name
    np.testing.assert_array_equal(same.keypoints.values, movement.keypoints.values)
    observed = model.observe(trials)
    n_goals = SMALL.look_ahead * len(body.joints)
    lengths = observed.values[:, n_goals : n_goals + 2 * len(body.muscles) : 2]
    kinematics = body.muscle_kinematics(movement.joint_angles.values, trials.dt, trials.offsets)
    np.testing.assert_allclose(lengths, kinematics.length, atol=1e-9)


def test_the_network_before_training_moves_the_same_body_whatever_its_seed(fitted):
    model, name = fitted
    trials = grasp_trials(2)
    twin = model.untrained(seed=7)
    assert twin.track(trials).body == BODIES[name]
    centre = "towers.centre"
    np.testing.assert_array_equal(twin.state()[centre], model.state()[centre])


def test_inputs_are_normalised_by_the_lengths_of_the_body_that_moves():
    trials = grasp_trials()
    models = {}
    for tendons in (None, "fixed", "permuted-{seed}"):
        models[tendons] = controllers.NetworkController("m", "muscle", SMALL, tendons=tendons, fit_steps=128)
        models[tendons].fit(trials, seed=0)
    for tendons, name in (
        (None, "myohand"),
        ("fixed", "myohand/fixed"),
        ("permuted-{seed}", "myohand/permuted-0"),
    ):
        expected = find_body(name).muscle_kinematics(trials.joint_angles.values, trials.dt, trials.offsets)
        n_goals = SMALL.look_ahead * len(HAND.joints)
        centre = models[tendons].state()["towers.centre"][n_goals : n_goals + 2 * len(HAND.muscles)]
        np.testing.assert_allclose(centre[::2], expected.length.mean(0), atol=1e-6)


@pytest.mark.parametrize("name", BODIES)
def test_a_card_names_the_body_and_one_of_another_body_is_refused(name, demo_like, tmp_path, monkeypatch):
    from neurobench_grasp.controllers import controller
    from neurobench_grasp.run.dataset import load_dataset

    monkeypatch.setenv("NGB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        controller, "ControllerSettings", lambda **kw: SMALL if not kw else ControllerSettings(**kw)
    )
    path, card = train_network(name, demo_like, seed=1, steps=128, threads=1)
    assert card.body == BODIES[name]
    train = load_dataset(load_registry(), demo_like).for_network(1).behaviour("train")
    model = load_registry().model(name).spec.build(1)
    model.fit(train, seed=1)
    assert model.track(train.select([0])).body == BODIES[name]
    other = {"fixed_muscles": "myohand/permuted-0", "permuted_muscles": "myohand/fixed"}[name]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"body": other}))
    with pytest.raises(CorruptFileError, match=rf"another body \('{other}' instead of '{BODIES[name]}'\)"):
        model.fit(train, seed=1)


def test_a_permuted_hand_is_the_one_that_the_card_names(demo_like, tmp_path, monkeypatch):
    """Networks 100 and 101 were trained with permutations 98 and 99."""
    from neurobench_grasp.controllers import controller
    from neurobench_grasp.run.dataset import load_dataset

    monkeypatch.setenv("NGB_CACHE", str(tmp_path))
    monkeypatch.setattr(
        controller, "ControllerSettings", lambda **kw: SMALL if not kw else ControllerSettings(**kw)
    )
    path, _ = train_network("permuted_muscles", demo_like, seed=1, steps=128, threads=1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"body": "myohand/permuted-0"}))
    train = load_dataset(load_registry(), demo_like).for_network(1).behaviour("train")
    model = load_registry().model("permuted_muscles").spec.build(1)
    model.fit(train, seed=1)
    assert model.track(train.select([0])).body == "myohand/permuted-0"
    again = load_registry().model("permuted_muscles").spec.build(1)
    again.restore(model.state())
    assert again.track(train.select([0])).body == "myohand/permuted-0"


def test_a_checkpoint_of_another_body_is_refused(tmp_path):
    def train(body=None):
        return training.train(
            grasp_trials(), "muscle", 0, 128, tmp_path, settings=SMALL, body=body, threads=1
        )

    assert train()[1]["body"] == "myohand"
    with pytest.raises(NgbError, match="another training"):
        train(find_body("myohand/fixed"))


def test_trials_of_another_body_are_refused():
    trials = grasp_trials(2)
    other = dataclasses.replace(
        HAND, name="two_handed", keypoint_sources=dict(list(HAND.keypoint_sources.items())[1:])
    )
    with pytest.raises(
        UnsupportedError, match="joint angles of the body myohand, and this controller moves two_handed"
    ):
        Reference.of(trials, body=other)
    blind = Trials(**{**vars(trials), "body": None, "joint_angles": None})
    with pytest.raises(UnsupportedError, match="no joint angles"):
        built("fixed_muscles").fit(blind, seed=0)
