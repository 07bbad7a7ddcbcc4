"""Networks with a memory, and late and noisy afferents: causal, independent of the batch, reset at each trial."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from lazy import Lazy
from movements import HAND, grasp_trials

from neurobench_grasp.bodies import scale_controls
from neurobench_grasp.bodies.simulator import to_control
from neurobench_grasp.contract import Goal, Ragged, Recurrent
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings

torch = Lazy("torch")
training = Lazy("neurobench_grasp.controllers.training")
controllers = Lazy("neurobench_grasp.controllers.controller")
environment = Lazy("neurobench_grasp.controllers.environment")
networks = Lazy("neurobench_grasp.controllers.network")
senses = Lazy("neurobench_grasp.controllers.senses")

SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0)
LATE = {"proprioception_delay": 2, "trajectory_delay": 1, "efference_delay": 3}
KINDS = {
    "lstm": dataclasses.replace(SMALL, lstm_units=24, **LATE),
    "stack": dataclasses.replace(SMALL, stack_steps=4, **LATE),
}
STEPS = 8 * 16 * 12
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


@pytest.fixture(scope="module")
def trials():
    return grasp_trials()


@pytest.fixture(params=KINDS)
def model(request, trials):
    """A controller with random weights whose memory matters."""
    settings = KINDS[request.param]
    made = controllers.RecurrentController("planted", "muscle", settings)
    network = networks.initial_network("muscle", settings, 3, trials)
    with torch.no_grad():
        network.action.weight.mul_(30)  # before training an action is near zero whatever is remembered
    made.restore(networks.network_state(network) | settings_of(settings))
    return made


def settings_of(settings):
    return {f"settings.{name}": np.array(value) for name, value in vars(settings).items()}


def assert_close(one, other, atol=1e-12):
    assert one.keys() == other.keys()
    for name, layer in one.items():
        np.testing.assert_allclose(layer.values, other[name].values, atol=atol, err_msg=name)


# --- the memory -----------------------------------------------------------------------------------


def test_layers_of_a_memory_are_named_and_all_have_the_steps_of_the_trials(model, trials):
    layers = model.activations(trials).layers
    states = {f"{tower}/{name}" for tower in ("actor", "critic") for name in ("hidden", "cell")}
    found = {name for name in layers if name.endswith(("hidden", "cell"))}
    assert found == (states if model.settings.lstm_units else set())
    assert all(np.array_equal(layer.offsets, trials.offsets) for layer in layers.values())
    assert all(layers[name].values.shape[1] == 24 for name in found)
    assert layers["actor/integration"].values.shape[1] == 256


def test_a_layer_depends_on_what_came_before_and_on_nothing_that_comes_after(model, trials):
    seen = model.observe(trials).select([0])
    whole, middle = model.activations_of(seen).layers, 20
    later, earlier = seen.values.copy(), seen.values.copy()
    later[middle:] += 1.0
    earlier[middle - 1] += 1.0
    after = model.activations_of(Ragged(later, seen.offsets)).layers
    before = model.activations_of(Ragged(earlier, seen.offsets)).layers
    for name, layer in whole.items():
        np.testing.assert_array_equal(after[name].values[:middle], layer.values[:middle], err_msg=name)
    for tower in ("actor", "critic"):
        name = f"{tower}/integration"
        assert np.abs(before[name].values[middle] - whole[name].values[middle]).max() > 1e-3


def test_a_window_forgets_what_an_lstm_may_remember(model, trials):
    seen = model.observe(trials).select([0])
    whole, middle = model.activations_of(seen).layers["actor/integration"].values, 20
    values = seen.values.copy()
    values[middle] += 1.0
    other = model.activations_of(Ragged(values, seen.offsets)).layers["actor/integration"].values
    changed = np.abs(other - whole).max(1) > 1e-12
    window = model.settings.stack_steps
    assert changed[middle : middle + window].all()
    assert changed[middle + window :].any() == (model.settings.lstm_units > 0)


def test_results_do_not_depend_on_the_batch_nor_on_what_was_run_before(model, trials):
    seen = model.observe(trials)
    together = model.activations_of(seen).layers
    backwards = model.activations_of(seen.select(range(len(seen))[::-1])).layers
    tracked = model.track(trials).keypoints
    for i in range(len(seen)):
        alone = model.activations_of(seen.select([i])).layers
        assert_close({k: Ragged.of([v[i]]) for k, v in together.items()}, alone, atol=1e-8)
        again = {k: Ragged.of([v[len(seen) - 1 - i]]) for k, v in backwards.items()}
        assert_close(again, alone, atol=1e-8)
        fresh = controllers.RecurrentController("planted", "muscle", model.settings)
        fresh.restore(model.state())
        np.testing.assert_allclose(fresh.track(trials.select([i])).keypoints.values, tracked[i], atol=1e-8)


def test_closed_loop_acts_as_the_open_pass_says(model, trials):
    """The memory of the loop is that of the open pass: from the trial's first step, without what settled."""
    layers, seen = model.activations(trials).layers, model.observe(trials)
    of_muscles = len(HAND.muscles)
    efference = seen.values.shape[1] - 2 * of_muscles
    late = model.settings.efference_delay + 1  # an action is seen a step after it, and then late
    for i in range(len(trials)):
        acted = layers["actor/action"][i][:-late]
        np.testing.assert_allclose(seen[i][late:, efference : efference + of_muscles], acted, atol=1e-9)


def test_step_after_step_is_the_open_pass_from_zeros(model, trials):
    assert isinstance(model, Recurrent)
    seen = model.observe(trials)
    state = model.initial_state(len(seen))
    assert state.shape[0] == len(seen) and not state.any()
    kept, open_pass = state.copy(), model.activations_of(seen).layers
    for step in range(int(seen.lengths.min())):
        layers, state = model.step(np.stack([trial[step] for trial in seen]), state)
        for name, layer in layers.items():
            expected = np.stack([trial[step] for trial in open_pass[name]])
            np.testing.assert_allclose(layer, expected, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(model.initial_state(len(seen)), kept)


def test_an_embedding_from_outside_drives_the_memory_step_by_step(model, trials):
    own, tracked = model.embed(trials), model.track(trials).keypoints.values
    recorded = model.activations(trials).layers["actor/trajectory"].values
    same = {"rtol": 0.0, "atol": 1e-9}  # m; the order of sums depends on the batch, on some processors
    np.testing.assert_allclose(own.values, recorded, **same)
    driven = model.track(trials, goal=Goal("embedding", own)).keypoints.values
    np.testing.assert_allclose(driven, tracked, **same)
    silenced = own.values.copy()
    silenced[own.offsets[0] + 10] = 0.0
    other = model.track(trials, goal=Goal("embedding", Ragged(silenced, own.offsets))).keypoints
    np.testing.assert_allclose(other[0][:11], model.track(trials).keypoints[0][:11], **same)
    assert np.abs(other[0][11:] - model.track(trials).keypoints[0][11:]).max() > 1e-6
    np.testing.assert_allclose(other[1], model.track(trials).keypoints[1], **same)


def test_the_twin_has_the_same_memory_and_other_weights(model, trials):
    twin = model.untrained(seed=3)
    assert isinstance(twin, Recurrent)
    seen = model.observe(trials)
    mine, its = model.activations_of(seen).layers, twin.activations_of(seen).layers
    assert {k: v.values.shape for k, v in mine.items()} == {k: v.values.shape for k, v in its.items()}
    assert not np.allclose(mine["actor/action"].values, its["actor/action"].values)


def test_an_lstm_is_that_of_its_equations(trials):
    """Gates by hand, in numpy: Hochreiter and Schmidhuber 1997 with a forget gate."""
    network = networks.initial_network("muscle", KINDS["lstm"], 0, trials).double()
    cell = network.towers.actor.lstm
    rng = np.random.default_rng(0)
    x, h, c = (rng.standard_normal((5, n)) for n in (cell.input_size, 24, 24))
    wi, wh, bi, bh = (
        p.detach().numpy() for p in (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    )
    i, f, g, o = np.split(x @ wi.T + bi + h @ wh.T + bh, 4, axis=1)
    logistic = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    after = logistic(f) * c + logistic(i) * np.tanh(g)
    hidden = logistic(o) * np.tanh(after)
    with torch.no_grad():
        layers, memory = network.towers.actor.integrate(
            torch.tensor(x)[None], torch.tensor(np.concatenate([h, c], axis=1)), torch.zeros(1, 5, 1)
        )
    np.testing.assert_allclose(layers["hidden"][0], hidden, atol=1e-12)
    np.testing.assert_allclose(layers["cell"][0], after, atol=1e-12)
    linear = network.towers.actor.integration
    joined = (
        np.concatenate([x, hidden], axis=1) @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    )
    np.testing.assert_allclose(
        layers["integration"][0], np.where(joined > 0, joined, np.expm1(joined)), atol=1e-12
    )
    np.testing.assert_allclose(memory, np.concatenate([hidden, after], axis=1), atol=1e-12)


# --- delays and noise -----------------------------------------------------------------------------


def test_each_stream_is_as_late_as_its_setting_says():
    late = senses.Senses(HAND, "muscle", 3, dataclasses.replace(SMALL, **LATE))
    sizes = networks.stream_sizes(HAND, "muscle", SMALL)
    rng, sent = np.random.default_rng(0), []
    late.start(slice(None), first := rng.standard_normal((3, sum(sizes.values()))))
    for step in range(8):
        sent.append(first if step == 0 else rng.standard_normal(first.shape))
        received = late.receive(sent[-1])
        at = 0
        for name, n in sizes.items():
            old = max(step - LATE[f"{name}_delay"], 0)
            np.testing.assert_array_equal(received[:, at : at + n], sent[old][:, at : at + n])
            at += n


def test_an_episode_that_begins_has_none_of_the_episode_before(trials):
    task = environment.Imitation(
        Reference.of(trials), "muscle", 4, dataclasses.replace(SMALL, **LATE), threads=1
    )
    task.begin(np.arange(4))
    action = np.full((4, task.bodies.n_actions), 0.5)
    for _ in range(5):
        task.step(action)
    going = task.observe()
    task.begin(np.array([1]))
    fresh = environment.Imitation(Reference.of(trials), "muscle", 4, SMALL, threads=1)
    fresh.begin(np.arange(4))
    fresh.frame[:], fresh.end[:] = task.frame, task.end
    at = task.frame[[1]]
    fresh.bodies.start([1], task.reference.joint_angles[at], task.reference.joint_velocity[at])
    fresh.senses.start([1], fresh._sense()[[1]])
    np.testing.assert_array_equal(task.observe()[1], fresh.observe()[1])
    np.testing.assert_array_equal(task.observe()[[0, 2, 3]], going[[0, 2, 3]])
    task.bodies.close(), fresh.bodies.close()


def test_closed_loop_observations_are_the_late_ones_and_activation_is_that_of_the_moment(trials):
    """With zero actions nothing feeds back, so late streams are those in time, shifted."""
    runs = {}
    for name, settings in {"in time": SMALL, "late": dataclasses.replace(SMALL, **LATE)}.items():
        network = networks.initial_network("muscle", settings, 0, trials).double()
        with torch.no_grad():
            network.action.weight.zero_()
        made = controllers.NetworkController("planted", "muscle", settings)
        made.restore(networks.network_state(network) | settings_of(settings))
        runs[name] = made.observe(trials), made.track(trials)
    sizes = networks.stream_sizes(HAND, "muscle", SMALL)
    at = 0
    for name, n in sizes.items():
        by = LATE[f"{name}_delay"]
        for early, late in zip(runs["in time"][0], runs["late"][0], strict=True):
            np.testing.assert_array_equal(late[by:, at : at + n], early[: len(early) - by, at : at + n])
        at += n
    np.testing.assert_array_equal(
        runs["late"][1].muscle_activation.values, runs["in time"][1].muscle_activation.values
    )


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_motor_noise_is_a_share_of_each_command(action):
    rng = np.random.default_rng(0)
    values = np.tile(np.linspace(-0.6, 0.6, 13)[:, None], HAND.n_actions(action))
    one = to_control(HAND, action, values)
    np.testing.assert_allclose(to_control(HAND, action, scale_controls(action, values, 1.3)), 1.3 * one)
    np.testing.assert_allclose(scale_controls(action, values, np.ones_like(values)), values, atol=1e-12)
    noisy = np.stack(
        [to_control(HAND, action, senses.noisy_action(action, values, 0.1, rng)) for _ in range(2000)]
    )
    moved = np.abs(one) > 0
    np.testing.assert_allclose(noisy.std(0)[moved] / np.abs(one[moved]), 0.1, rtol=0.12)
    np.testing.assert_allclose(noisy.mean(0)[moved] / one[moved], 1.0, atol=0.012)
    wide = senses.noisy_action(action, np.ones_like(values), 5.0, rng)
    assert np.abs(wide).max() <= 1.0


def test_sensor_noise_is_on_proprioception_alone_and_a_share_of_its_spread(trials):
    noisy = dataclasses.replace(SMALL, sensor_noise=0.2, n_envs=400)
    task = environment.Imitation(Reference.of(trials), "muscle", 400, noisy, threads=1)
    task.begin(np.arange(400))
    with_noise, task._noise = task.observe(), None
    difference = with_noise - task._sense()
    sizes = networks.stream_sizes(HAND, "muscle", noisy)
    first, n = sizes["trajectory"], sizes["proprioception"]
    scale = networks.initial_network("muscle", noisy, 0, trials).towers.scale.numpy()[first : first + n]
    np.testing.assert_allclose(difference[:, first : first + n].std(0) / scale, 0.2, rtol=0.2)
    assert not difference[:, :first].any() and not difference[:, first + n :].any()
    task.bodies.close()


def test_scored_runs_have_no_noise(trials):
    settings = dataclasses.replace(KINDS["lstm"], sensor_noise=0.3, motor_noise=0.3)
    network = networks.network_state(networks.initial_network("muscle", settings, 0, trials))
    runs = []
    for noise in (settings, KINDS["lstm"]):
        made = controllers.RecurrentController("planted", "muscle", noise)
        made.restore(network | settings_of(noise))
        runs.append(made.observe(trials).values)
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lstm_units": 8, "stack_steps": 3}, "two kinds of memory"),
        ({"stack_steps": 51}, "stack_steps is 51, more than 50 steps"),
        ({"efference_delay": 10**9}, "efference is 1000000000, more than 50 steps"),
        ({"stack_steps": 0}, "stack_steps is 0"),
        ({"lstm_units": -1}, "lstm_units is -1"),
        ({"motor_noise": -0.1}, "motor_noise is -0.1"),
        ({"sensor_noise": float("inf")}, "sensor_noise is inf"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        ControllerSettings(**wrong)


# --- training -------------------------------------------------------------------------------------


def trained(folder, settings, seed=0, steps=STEPS, **more):
    network, facts = training.train(
        grasp_trials(), "muscle", seed, steps, Path(folder), settings=settings, threads=1, **more
    )
    return networks.network_state(network), facts


NOISY = {"sensor_noise": 0.1, "motor_noise": 0.1}


def test_experience_of_a_memory_is_kept_as_it_was(tmp_path, trials):
    """The update sees the sequences, resets and memories that were acted on: probabilities are the same."""
    for settings in (dataclasses.replace(kind, n_envs=32, n_steps=24) for kind in KINDS.values()):
        task = environment.Imitation(Reference.of(trials), "muscle", 32, settings, threads=1)
        network = networks.initial_network("muscle", settings, 0, trials)
        ppo = training.make_ppo(task, network, 0, settings, tmp_path)
        _, callback = ppo._setup_learn(1)
        for _ in range(2):  # the second time from a memory that is not empty
            ppo.collect_rollouts(ppo.env, callback, ppo.rollout_buffer, settings.n_steps)
        assert ppo.rollout_buffer.episode_starts[1:].sum() > 3
        assert ppo.rollout_buffer.memory.abs().sum() > 0
        seen = 0
        for batch in ppo.rollout_buffer.get(settings.batch_size):
            with torch.no_grad():
                values, log_prob, _ = ppo.policy.evaluate_actions(batch.observations, batch.actions)
            torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(values.flatten(), batch.old_values, rtol=1e-4, atol=1e-5)
            seen += log_prob.shape[0] * log_prob.shape[1]
        assert seen == 32 * 24  # every step once
        ppo.env.close()


def test_the_end_of_a_trial_is_no_end_of_rewards_and_its_value_has_the_memory_of_that_body(tmp_path, trials):
    settings = dataclasses.replace(KINDS["lstm"], n_envs=8)
    task = environment.Imitation(Reference.of(trials), "muscle", 8, settings, threads=1)
    ppo = training.make_ppo(
        task, networks.initial_network("muscle", settings, 0, trials), 0, settings, tmp_path
    )
    ppo._setup_learn(1)
    rng = np.random.default_rng(0)
    ppo.memory = torch.as_tensor(rng.standard_normal(ppo.memory.shape), dtype=torch.float32)
    last = rng.standard_normal((8, task.n_observed)).astype(np.float32)
    infos = [{"TimeLimit.truncated": i in (2, 5), "terminal_observation": last[i]} for i in range(8)]
    rewards = rng.standard_normal((8, len(HAND.parts))).astype(np.float32)
    with torch.no_grad():
        continued = ppo._continued(rewards, infos) - rewards
        for i in (2, 5):
            alone = ppo.policy.network.one_step(torch.as_tensor(last[[i]]), ppo.memory[[i]])
            value = ppo.policy.network(alone)[1][0, 0]
            np.testing.assert_allclose(continued[i], settings.gamma * value, rtol=1e-4, atol=1e-6)
    assert not np.delete(continued, (2, 5), axis=0).any()
    task.bodies.close()


def test_gradients_flow_back_through_steps_and_stop_at_the_start_of_a_trial(trials):
    for settings in KINDS.values():
        network = networks.initial_network("muscle", settings, 0, trials)
        observed = torch.randn(3, 2, len(network.towers.centre), requires_grad=True)
        first = torch.zeros(3, 2, 1)
        first[2, 1] = 1.0  # the second body begins a trial at the last step
        mean, _, _ = network(networks.Sequences(observed, network.initial_memory(2), first))
        mean[2].sum().backward()
        flown = observed.grad.abs().sum(2)
        assert (flown[:, 0] > 0).all() and flown[2, 1] > 0
        assert not flown[:2, 1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_dies_ends_in_the_same_network(kind, tmp_path):
    settings = dataclasses.replace(KINDS[kind], **NOISY)
    whole, facts = trained(tmp_path / "whole", settings)
    assert facts["steps"] == STEPS

    class Dies(Exception):
        pass

    def dies(text):
        if "768 of" in text:
            raise Dies

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Dies):
            trained(tmp_path / "broken", settings, progress=dies)
        arrays, notes = read_arrays(tmp_path / "broken" / training.CHECKPOINT)
        assert 0 < int(notes["steps"]) < 768 and arrays["memory"].any()
        resumed, _ = trained(tmp_path / "broken", settings)
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    without = trained(tmp_path / "other", KINDS[kind])[0]
    assert any(not np.array_equal(without[name], array) for name, array in whole.items())  # noise matters


@pytest.mark.slow
def test_a_training_killed_by_the_system_ends_in_the_same_network(tmp_path):
    settings = dataclasses.replace(KINDS["lstm"], **NOISY)
    whole, _ = trained(tmp_path / "whole", settings, steps=4 * STEPS)
    program = (
        "import sys; sys.path[:0] = ['tests', 'tests/controllers']\n"
        "import test_memory as t, dataclasses\n"
        "import neurobench_grasp.controllers.training as training; training.CHECKPOINT_SECONDS = 0.0\n"
        f"t.trained({str(tmp_path / 'killed')!r}, dataclasses.replace(t.KINDS['lstm'], **t.NOISY), steps=4 * t.STEPS)\n"
    )
    checkpoint = tmp_path / "killed" / training.CHECKPOINT
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while child.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.01)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
        child.wait()
    resumed, _ = trained(tmp_path / "killed", settings, steps=4 * STEPS)
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
