"""A warm start: computed muscle control is learned first, then PPO follows; it resumes to the same network."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from lazy import Lazy
from movements import HAND, grasp_trials

from neurobench_grasp.bodies import action_of, computed_muscle_control
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import WARM_START, ControllerSettings
from neurobench_grasp.errors import UnsupportedError

torch = Lazy("torch")
training = Lazy("neurobench_grasp.controllers.training")
environment = Lazy("neurobench_grasp.controllers.environment")
networks = Lazy("neurobench_grasp.controllers.network")

BATCH = 8 * 16
SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0, warm_start_steps=6 * BATCH)
STEPS = 9 * BATCH
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


def trained(folder, steps=STEPS, settings=SMALL, **more):
    network, _ = training.train(
        grasp_trials(), "muscle", 0, steps, Path(folder), settings=settings, threads=1, **more
    )
    return networks.network_state(network)


def made(folder, action="muscle", settings=SMALL, expert=None):
    task = environment.Imitation(Reference.of(grasp_trials()), action, 16, settings, threads=1)
    network = networks.initial_network(action, settings, 0, grasp_trials())
    return training.make_ppo(task, network, 0, settings, folder, expert)


def teacher(task):
    goals = task.reference.joint_angles[np.minimum(task.frame + training.AHEAD, task.end)]
    return action_of(computed_muscle_control(HAND, task.bodies.sensors, goals, training.AHEAD * 0.02))


def test_each_state_is_labelled_with_the_action_of_its_own_moment(tmp_path, monkeypatch):
    """Through ends of episodes, too: actions in the buffer are those for the observations beside them."""
    ppo = made(tmp_path)
    expected, labels = [], []
    step = environment.ImitationVecEnv.step_async

    def spy(env, actions):
        expected.append((env.task.observe().astype(np.float32), teacher(env.task)))
        step(env, actions)

    def targets(self, batch, seen):
        labels.append((seen.observed[0].numpy(), batch.actions.numpy()))
        return batch.actions[None], batch.returns

    monkeypatch.setattr(environment.ImitationVecEnv, "step_async", spy)
    monkeypatch.setattr("neurobench_grasp.controllers.training._WarmStarted._targets", targets)
    ppo.n_epochs = 1
    ppo.learn(3 * BATCH)
    ppo.env.close()
    wanted = {observed.tobytes(): action for pair in expected for observed, action in zip(*pair, strict=True)}
    learned = [(o.tobytes(), a) for pair in labels for o, a in zip(*pair, strict=True)]
    assert len(learned) == 3 * BATCH
    for observed, action in learned:
        np.testing.assert_allclose(action, wanted[observed], atol=1e-5)


def test_its_actions_become_those_of_computed_muscle_control(tmp_path):
    def apart(network):
        task = environment.Imitation(Reference.of(grasp_trials()), "muscle", 64, SMALL, seed=5, threads=1)
        task.begin(np.arange(64))
        for _ in range(5):
            _, terminated, truncated = task.step(teacher(task))
            if (ended := terminated | truncated).any():
                task.begin(np.flatnonzero(ended))
        with torch.no_grad():
            seen = network.one_step(torch.as_tensor(task.observe(), dtype=torch.float32))
            found = network(seen)[0][0].numpy()
        task.bodies.close()
        return np.mean((found - teacher(task)) ** 2)

    settings = dataclasses.replace(SMALL, warm_start_steps=40 * BATCH)
    network = networks.initial_network("muscle", settings, 0, grasp_trials())
    before = apart(network)
    network.load_state_dict(
        {name: torch.as_tensor(array) for name, array in trained(tmp_path, 40 * BATCH, settings).items()}
    )
    assert apart(network) < 0.3 * before


def test_ppo_follows_and_passes_through_the_second_half_of_the_schedules(tmp_path, monkeypatch):
    seen = []
    ppo = made(tmp_path)
    train = type(ppo).train

    def spy(self):
        train(self)
        learned = self.logger.name_to_value
        seen.append((self.warming, learned["train/learning_rate"], float(self.policy.log_std)))
        seen[-1] += ("train/action_error" in learned,)
        learned.clear()

    monkeypatch.setattr(type(ppo), "train", spy)
    ppo.learn(STEPS, log_interval=1000)
    ppo.env.close()
    warming, rates, spreads, supervised = (np.array(each) for each in zip(*seen, strict=True))
    np.testing.assert_array_equal(warming, np.arange(9) < 6)
    np.testing.assert_array_equal(supervised, warming)
    done = np.append(np.arange(7) / 12, 0.5 + np.arange(1, 4) / 6)  # at the ends of iterations, from 0
    expected = SMALL.final_learning_rate + (SMALL.learning_rate - SMALL.final_learning_rate) * (1 - done) ** 3
    np.testing.assert_allclose(rates, expected[1:], rtol=1e-6)
    spread = SMALL.log_std + (SMALL.final_log_std - SMALL.log_std) * done
    np.testing.assert_allclose(spreads, spread[:-1], rtol=1e-6)


@pytest.mark.parametrize("dies_at", [2 * BATCH, 6 * BATCH, 7 * BATCH])
def test_a_training_that_dies_ends_in_the_same_network(dies_at, tmp_path, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)

    class Dies(Exception):
        pass

    def dies(text):
        if text.startswith(f"{dies_at} of"):
            raise Dies

    with pytest.raises(Dies):
        trained(tmp_path / "dies", progress=dies)
    assert int(read_arrays(tmp_path / "dies" / training.CHECKPOINT)[1]["steps"]) == dies_at - BATCH
    resumed, unbroken = trained(tmp_path / "dies"), trained(tmp_path / "unbroken")
    for name, array in unbroken.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_motors_and_experts_have_no_warm_start(tmp_path):
    with pytest.raises(UnsupportedError, match="warm_start_steps to 0"):
        made(tmp_path, "torque")
    with pytest.raises(UnsupportedError, match="warm_start_steps to 0"):
        made(tmp_path, expert=networks.initial_network("muscle", SMALL, 1, grasp_trials()))


@pytest.mark.parametrize("memory", [{"lstm_units": 4}, {"stack_steps": 2}])
def test_a_memory_has_no_warm_start(memory):
    with pytest.raises(ValueError, match="networks without memory"):
        dataclasses.replace(WARM_START, **memory)
