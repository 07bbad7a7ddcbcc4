"""Supervised training: an expert's actions are learned, and reward plays no part in it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from lazy import Lazy
from movements import grasp_trials

from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import MissingNetworkError, UnsupportedError

torch = Lazy("torch")
training = Lazy("neurobench_grasp.controllers.training")
controllers = Lazy("neurobench_grasp.controllers.controller")
networks = Lazy("neurobench_grasp.controllers.network")

SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0)
STEPS = 8 * 16 * 12
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


@pytest.fixture(scope="module")
def trials():
    return grasp_trials()


@pytest.fixture(scope="module")
def expert(trials):
    """A network whose actions are far from those of a network before training."""
    network = networks.initial_network("muscle", SMALL, 77, trials)
    with torch.no_grad():
        network.action.weight.mul_(20)
    return network.requires_grad_(False)


def trained(folder, expert, steps=STEPS, settings=SMALL, **more):
    network, facts = training.train(
        grasp_trials(), "muscle", 0, steps, Path(folder), settings=settings, expert=expert, threads=1, **more
    )
    return networks.network_state(network), facts


def apart(weights, expert, trials):
    """Mean squared difference of actions and of values, as shares of the expert's, where the expert moves."""
    observed = observed_by(expert, trials)
    one, other = networks.Network(hand(), "muscle", SMALL), networks.Network(hand(), "muscle", SMALL)
    one.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    other.load_state_dict(expert.state_dict())
    with torch.no_grad():
        mine, its = ((network(network.one_step(observed))[:2]) for network in (one, other))
        wanted = torch.clamp(its[0], -1, 1), its[1]
        return [float(((a - b) ** 2).mean() / (b**2).mean()) for a, b in zip(mine, wanted, strict=True)]


def hand():
    from neurobench_grasp.bodies import find_body

    return find_body("myohand")


def observed_by(expert, trials):
    made = controllers.NetworkController("planted", "muscle", SMALL)
    made.restore(
        networks.network_state(expert) | {f"settings.{k}": np.array(v) for k, v in vars(SMALL).items()}
    )
    return torch.tensor(made.observe(trials).values, dtype=torch.float32)


@pytest.fixture(scope="module")
def pupil(tmp_path_factory, expert):
    return trained(tmp_path_factory.mktemp("pupil"), expert)


def test_actions_and_values_become_those_of_the_expert(pupil, expert, trials):
    before = networks.network_state(networks.initial_network("muscle", SMALL, 0, trials))
    for start, end in zip(apart(before, expert, trials), apart(pupil[0], expert, trials), strict=True):
        assert start > 0.8 and end < 0.35 * start


def test_reward_plays_no_part(pupil, expert, tmp_path, monkeypatch):
    """Without any reward the same network is learned, bit for bit; by PPO it is another one."""
    by_reward = trained(tmp_path / "reward", None)[0]
    monkeypatch.setattr(
        "neurobench_grasp.controllers.environment.Reward.__call__",
        lambda self, joint_error, distances, effort, exp: np.zeros((len(distances), len(hand().parts))),
    )
    without = trained(tmp_path / "none", expert)[0]
    for name, array in pupil[0].items():
        np.testing.assert_array_equal(without[name], array, err_msg=name)
    nothing = trained(tmp_path / "nothing", None)[0]
    assert not np.array_equal(nothing["action.weight"], by_reward["action.weight"])


def test_it_begins_as_the_network_that_learns_from_reward_and_has_its_size(pupil, trials):
    before = networks.network_state(networks.initial_network("muscle", SMALL, 0, trials))
    assert {k: v.shape for k, v in pupil[0].items()} == {k: v.shape for k, v in before.items()}
    for name in ("towers.centre", "towers.scale"):
        np.testing.assert_array_equal(pupil[0][name], before[name])


def test_a_training_that_dies_ends_in_the_same_network_and_another_expert_is_refused(
    pupil, expert, tmp_path, monkeypatch
):
    monkeypatch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)

    class Dies(Exception):
        pass

    def dies(text):
        if text.startswith("768 of"):
            raise Dies

    with pytest.raises(Dies):
        trained(tmp_path, expert, progress=dies)
    assert 0 < int(read_arrays(tmp_path / training.CHECKPOINT)[1]["steps"]) < 768
    with pytest.raises(Exception, match="belongs to another training"):
        trained(tmp_path, networks.initial_network("muscle", SMALL, 78, grasp_trials()))
    resumed, facts = trained(tmp_path, expert)
    assert facts["expert"] == pupil[1]["expert"] and len(facts["expert"]) == 64
    for name, array in pupil[0].items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)


def test_without_a_network_of_the_expert_nothing_is_trained(trials, tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path))
    pupil = controllers.NetworkController("muscle_sl", "muscle", SMALL, expert="muscle_ppo")
    with pytest.raises(MissingNetworkError, match=r"No network of muscle_ppo \(seed 3\)"):
        pupil.train(trials, seed=3, steps=STEPS, folder=tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    "other", [{"look_ahead": 4}, {"proprioception_delay": 1}, {"stack_steps": 2}, {"lstm_units": 4}]
)
def test_an_expert_with_other_inputs_or_a_memory_is_refused(other, trials, tmp_path, monkeypatch):
    def fit(self, train, *, seed):
        self.settings = dataclasses.replace(SMALL, **other)

    monkeypatch.setattr(controllers.NetworkController, "fit", fit)
    pupil = controllers.NetworkController("muscle_sl", "muscle", SMALL, expert="muscle_ppo")
    with pytest.raises(UnsupportedError, match="muscle_ppo cannot be the expert of muscle_sl"):
        pupil.train(trials, seed=0, steps=STEPS, folder=tmp_path)
