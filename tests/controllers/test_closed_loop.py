"""Closed loop: deterministic, causal, independent of the batch; goals and twins take the right place."""

import dataclasses

import numpy as np
import pytest
from lazy import Lazy
from movements import grasp_trials

from neurobench_grasp.contract import Goal, Ragged, Trainable, Twinned
from neurobench_grasp.errors import NgbError

controllers = Lazy("neurobench_grasp.controllers.controller")
networks = Lazy("neurobench_grasp.controllers.network")

LOOK_AHEAD = 5


def controller(action="muscle", seed=0):
    """A controller with random weights that are large enough to move the hand."""
    model = controllers.NetworkController("planted", action)
    state = networks.network_state(networks.initial_network(action, model.settings, seed, grasp_trials()))
    state["action.weight"] = state["action.weight"] * 30
    settings = {f"settings.{k}": np.array(v) for k, v in vars(model.settings).items()}
    model.restore(state | settings)
    return model


@pytest.fixture(scope="module")
def trials():
    return grasp_trials(6)


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_a_trial_does_not_depend_on_the_others_nor_on_the_run(trials, action):
    together = controller(action)
    tracked, layers = together.track(trials), together.activations(trials).layers
    moved = np.ptp(tracked.joint_angles[0], axis=0).max()
    assert moved > 0.1  # rad: the network does something
    for i in (1, 4):
        alone = controller(action)
        one = trials.select([i])
        np.testing.assert_allclose(alone.track(one).keypoints[0], tracked.keypoints[i], atol=1e-8)
        for name, layer in alone.activations(one).layers.items():
            np.testing.assert_allclose(layer[0], layers[name][i], atol=1e-8)
    again = controller(action).activations(trials).layers
    for name, layer in layers.items():
        np.testing.assert_array_equal(layer.values, again[name].values)


def test_every_layer_of_both_networks_has_a_name_and_the_steps_of_the_trials(trials):
    layers = controller().activations(trials).layers
    parts = ("trajectory", "proprioception", "efference", "integration", "decoder")
    expected = [f"actor/{p}" for p in (*parts, "action")] + [f"critic/{p}" for p in (*parts, "value")]
    assert list(layers) == expected
    for layer in layers.values():
        np.testing.assert_array_equal(layer.offsets, trials.offsets)
        assert layer.values.dtype == np.float64 and np.isfinite(layer.values).all()
    assert layers["actor/action"].values.shape[1] == 39 and layers["critic/value"].values.shape[1] == 6


def test_the_future_beyond_the_look_ahead_changes_nothing(trials):
    at = 20  # the first step whose posture differs
    angles = trials.joint_angles.values.copy()
    rows = slice(trials.offsets[2] + at, trials.offsets[3])
    angles[rows] += 0.1
    changed = dataclasses.replace(trials, joint_angles=Ragged(angles, trials.offsets))
    before, after = (controller().activations(t).layers for t in (trials, changed))
    for name, layer in before.items():
        np.testing.assert_array_equal(layer[2][: at - LOOK_AHEAD], after[name][2][: at - LOOK_AHEAD])
    name = "actor/trajectory"
    assert not np.array_equal(before[name][2][at - LOOK_AHEAD], after[name][2][at - LOOK_AHEAD])


def test_the_reference_itself_as_goal_changes_nothing(trials):
    model = controller()
    intact, observed = model.track(trials), model.observe(trials)
    angles = Ragged(observed.values[:, : LOOK_AHEAD * 23].copy(), trials.offsets)
    for goal in (Goal("joint_angles", angles), Goal("embedding", model.embed(trials))):
        replaced = controller().track(trials, goal=goal)
        for i, (first, _) in enumerate(trials.window):
            np.testing.assert_allclose(
                replaced.keypoints[i][first:], intact.keypoints[i][first:], atol=2e-4, err_msg=goal.kind
            )


def test_another_goal_moves_the_hand_elsewhere(trials):
    model = controller()
    other = Ragged(np.zeros((trials.offsets[-1], 64)), trials.offsets)
    moved = model.track(trials, goal=Goal("embedding", other)).keypoints.values
    assert np.abs(moved - model.track(trials).keypoints.values).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "width", "said"), [("embedding", 3, "needs 64"), ("force", 64, "joint_angles, embedding")]
)
def test_a_goal_that_does_not_fit_is_refused(trials, kind, width, said):
    goal = Goal(kind, Ragged(np.zeros((trials.offsets[-1], width)), trials.offsets))
    with pytest.raises(NgbError, match=said):
        controller().track(trials, goal=goal)


def test_activations_are_an_open_pass_over_what_was_observed(trials):
    model = controller()
    layers = model.activations(trials).layers
    for name, layer in model.activations_of(model.observe(trials)).layers.items():
        np.testing.assert_array_equal(layer.values, layers[name].values)
    np.testing.assert_array_equal(model.embed(trials).values, layers["actor/trajectory"].values)


def test_layers_equal_plain_numpy(trials):
    """The network by hand: encoders, integration, decoder, with ELU, on the normalised observation."""
    model = controller()
    w = {k: v.astype(np.float64) for k, v in model.state().items() if not k.startswith("settings.")}
    x = model.observe(trials).values[:40]
    x = np.clip((x - w["towers.centre"]) / w["towers.scale"], -5, 5)

    def layer(x, name):
        y = x @ w[f"{name}.weight"].T + w[f"{name}.bias"]
        return np.where(y > 0, y, np.expm1(np.minimum(y, 0)))

    cuts = np.cumsum([115, 78])
    names = ("trajectory", "proprioception", "efference")
    encoded = [
        layer(s, f"towers.actor.encoders.{n}") for s, n in zip(np.split(x, cuts, axis=1), names, strict=True)
    ]
    integration = layer(np.hstack(encoded), "towers.actor.integration")
    decoder = layer(integration, "towers.actor.decoder")
    action = np.clip(decoder @ w["action.weight"].T + w["action.bias"], -1, 1)
    found = model.activations(trials).layers
    for name, expected in (("trajectory", encoded[0]), ("integration", integration), ("action", action)):
        np.testing.assert_allclose(found[f"actor/{name}"].values[:40], expected, atol=1e-6)


def test_state_and_restore_give_the_same_controller(trials):
    model = controller(seed=3)
    twin = controllers.NetworkController("planted", "muscle")
    twin.restore(model.state())
    np.testing.assert_array_equal(model.observe(trials).values, twin.observe(trials).values)


def test_the_untrained_twin_sees_what_the_trained_network_saw(trials):
    trained = controller(seed=3)
    twin = controllers.UntrainedController("planted", "muscle")
    random = networks.network_state(networks.initial_network("muscle", trained.settings, 9, trials))
    settings = {k: v for k, v in trained.state().items() if k.startswith("settings.")}
    twin.restore(random | settings | {f"trained.{k}": v for k, v in trained.state().items()})
    plain = controllers.NetworkController("planted", "muscle")
    plain.restore(random | settings)
    for name, layer in plain.activations_of(trained.observe(trials)).layers.items():
        np.testing.assert_array_equal(twin.activations(trials).layers[name].values, layer.values)
    own, others = twin.track(trials).keypoints.values, trained.track(trials).keypoints.values
    assert not np.array_equal(own, others)
    for name, weights in trained.untrained(seed=9).state().items():  # before training it is what it is
        np.testing.assert_array_equal(twin.untrained(seed=9).state()[name], weights)


def test_a_controller_knows_its_network_before_training(trials):
    """Weights of the seed, and the normalisation of observations that training used, without the trials."""
    trained = controller(seed=3)
    before = networks.network_state(networks.initial_network("muscle", trained.settings, 9, trials))
    normalised = {k: v for k, v in trained.state().items() if k.endswith((".centre", ".scale"))}
    twin = trained.untrained(seed=9).state()
    for name, weights in (before | normalised).items():
        np.testing.assert_array_equal(twin[name], weights)
    assert not np.array_equal(twin["action.weight"], trained.state()["action.weight"])


def test_controllers_fulfil_the_contract():
    for model in (controller(), controllers.UntrainedController("planted", "muscle")):
        assert isinstance(model, Twinned) and isinstance(model, Trainable)


def test_open_passes_run_whole_trials_whatever_their_size(trials, monkeypatch):
    model = controller()
    seen, heights = model.observe(trials), []
    compute = model._network.layers

    def noted(steps):
        heights.append(steps.observed.shape[1])
        return compute(steps)

    whole = model.activations_of(seen).layers
    monkeypatch.setattr("neurobench_grasp.controllers.controller._ROWS", int(1.5 * seen.lengths.max()))
    monkeypatch.setattr(model._network, "layers", noted)
    batched = model.activations_of(seen).layers
    whole_trials = set((seen.offsets[:, None] - seen.offsets).ravel().tolist())
    assert (
        len(heights) > 1 and sum(heights) == seen.offsets[-1] and set(heights) <= whole_trials
    )  # in any order
    for name, layer in whole.items():
        np.testing.assert_allclose(batched[name].values, layer.values, atol=1e-12)
    empty = model.activations_of(seen.select([])).layers
    assert {name: layer.values.shape for name, layer in empty.items()} == {
        name: (0, layer.values.shape[1]) for name, layer in whole.items()
    }
