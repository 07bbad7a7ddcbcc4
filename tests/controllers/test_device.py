"""Training on a device, on Warp's CPU backend: the task of MuJoCo C, the PPO of stable-baselines3."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from arms import write_reaches
from lazy import Lazy
from movements import HAND, grasp_trials
from typer.testing import CliRunner

from neurobench_grasp.bodies import device_simulation
from neurobench_grasp.cli import app
from neurobench_grasp.controllers.files import read_arrays
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.train import train_network

torch = Lazy("torch")
buffers = Lazy("stable_baselines3.common.buffers")
devices = Lazy("neurobench_grasp.controllers.device")
training = Lazy("neurobench_grasp.controllers.training")
environment = Lazy("neurobench_grasp.controllers.environment")
networks = Lazy("neurobench_grasp.controllers.network")

SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0)
KINDS = {"no memory": SMALL, "lstm": dataclasses.replace(SMALL, lstm_units=8)}
WARP = "cpu-warp"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


@pytest.fixture(scope="module")
def reaches(tmp_path_factory):
    """Training trials of a planar arm."""
    return arm_trials(tmp_path_factory.mktemp("arm"))


def arm_trials(folder):
    data = load_dataset(load_registry(), str(write_reaches(folder / "reaches.nwb")))
    return data.for_network(0, None).behaviour("train", 0.02)


def task_of(trials, action="muscle", settings=SMALL):
    device = devices.torch_device(WARP)
    return devices.DeviceImitation(Reference.of(trials), action, settings.n_envs, settings, device)


def ppo_of(trials, folder, settings=SMALL, action="muscle", task=None):
    network = networks.initial_network(action, settings, 0, trials)
    return training.make_ppo(task or task_of(trials, action, settings), network, 0, settings, folder)


def follow(c, task, which):
    """Begin the same episodes in MuJoCo C as on the device."""
    c.frame[which], c.end[which] = task.frame[which].numpy(), task.end[which].numpy()
    at = c.frame[which]
    c.bodies.start(which, c.reference.joint_angles[at], c.reference.joint_velocity[at])
    c.last_action[which] = 0.0
    c.senses.start(which, c._sense()[which])


@pytest.mark.slow
@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_observations_rewards_and_ends_are_those_of_the_task_in_mujoco_c(action):
    settings = dataclasses.replace(SMALL, proprioception_delay=2, efference_delay=1, max_error=0.02)
    reference = Reference.of(grasp_trials())
    c = environment.Imitation(reference, action, settings.n_envs, settings, threads=1)
    task = task_of(grasp_trials(), action, settings)
    torch.manual_seed(0)
    task.begin(torch.ones(settings.n_envs, dtype=torch.bool))
    follow(c, task, np.arange(settings.n_envs))
    rng, ended = np.random.default_rng(0), np.zeros(2, int)
    scale = networks.normalisation(action, settings, reference)[1]
    for _ in range(30):
        values = rng.uniform(-1, 1, (settings.n_envs, c.bodies.n_actions))
        expected = c.step(values)
        found = task.step(torch.as_tensor(values, dtype=torch.float32))
        np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
        np.testing.assert_allclose(task.error, c.error, atol=1e-6)
        for mine, theirs in zip(found[1:], expected[1:], strict=True):
            np.testing.assert_array_equal(mine, theirs)
        np.testing.assert_allclose(task.observe() / scale, c.observe() / scale, rtol=1e-5, atol=1e-3)
        done = np.flatnonzero(expected[1] | expected[2])
        ended += [expected[1].sum(), expected[2].sum()]
        task.begin(found[1] | found[2])
        assert set(np.flatnonzero(task.begins)) == set(done)
        if len(done):
            follow(c, task, done)
        np.testing.assert_allclose(task.observe() / scale, c.observe() / scale, rtol=1e-5, atol=1e-3)
    assert ended.min() > 3 and np.ptp(c.frame) > 0
    c.bodies.close()


@pytest.mark.slow
def test_episodes_begin_at_all_frames_but_the_last_of_a_trial(reaches):
    settings = dataclasses.replace(SMALL, n_envs=4000)
    task = task_of(reaches, settings=settings)
    task.begin(torch.ones(settings.n_envs, dtype=torch.bool))
    last = task.reference.offsets[1:] - 1
    every = np.setdiff1d(np.arange(len(task.reference.joint_angles)), last)
    found = np.unique(task.frame)
    assert np.isin(found, every).all() and len(found) > 0.95 * len(every)
    np.testing.assert_array_equal(task.end, last[np.searchsorted(last, task.frame.numpy())])


@pytest.mark.slow
def test_noise_is_that_of_the_settings(reaches):
    """On proprioception alone, a share of its spread; and on controls, a share of each."""
    settings = dataclasses.replace(SMALL, n_envs=1000, sensor_noise=0.2, motor_noise=0.1)
    task = task_of(reaches, settings=settings)
    task.begin(torch.ones(1000, dtype=torch.bool))
    noisy, task._noise = task.observe(), None
    difference = (noisy - task._sense()).numpy()
    sizes = networks.stream_sizes(task.reference.body, "muscle", settings)
    first, n = sizes["trajectory"], sizes["proprioception"]
    scale = networks.normalisation("muscle", settings, task.reference)[1][first : first + n]
    np.testing.assert_allclose(difference[:, first : first + n].std(0) / scale, 0.2, rtol=0.1)
    assert not difference[:, :first].any() and not difference[:, first + n :].any()
    task.step(torch.zeros(1000, task.bodies.n_actions))
    gain = task.bodies.arrays["gain"].numpy()
    np.testing.assert_allclose([gain.mean(), gain.std()], [1.0, 0.1], rtol=0.05)


def filled(rng, n_steps=8, n=16, features=5, actions=3, memory=0):
    """Random experience, as columns of numpy."""
    moved = np.array([[1, 0], [1, 1], [0, 1]], bool)
    experience = devices.Experience(device=torch.device("cpu"), gamma=0.8, gae_lambda=0.9, moved_parts=moved)
    shapes = {"observed": features, "actions": actions, "rewards": 2, "values": 2, "log_probs": actions}
    columns = {k: rng.standard_normal((n_steps, n, v)).astype(np.float32) for k, v in shapes.items()}
    columns["starts"] = (rng.random((n_steps, n)) < 0.3).astype(np.float32)
    experience.reset(torch.arange(n * memory, dtype=torch.float32).reshape(n, memory))
    order = ("observed", "actions", "rewards", "starts", "values", "log_probs")
    for t in range(n_steps):
        experience.add(*(torch.as_tensor(columns[name][t]) for name in order))
    last, starts = rng.standard_normal((n, 2)).astype(np.float32), (rng.random(n) < 0.5).astype(np.float32)
    experience.finish(torch.as_tensor(last), torch.as_tensor(starts))
    return experience, columns, last, starts, moved


def test_advantages_and_returns_are_those_of_stable_baselines3():
    from gymnasium import spaces

    rng = np.random.default_rng(0)
    experience, columns, last, starts, moved = filled(rng)
    expected, box = 0.0, spaces.Box(-1, 1, (1,))
    for part in range(2):
        theirs = buffers.RolloutBuffer(8, box, box, "cpu", 0.9, 0.8, 16)
        theirs.rewards[:], theirs.values[:] = columns["rewards"][..., part], columns["values"][..., part]
        theirs.episode_starts[:] = columns["starts"]
        theirs.compute_returns_and_advantage(torch.as_tensor(last[:, part]), starts)
        np.testing.assert_allclose(experience.returns[..., part], theirs.returns, rtol=1e-5, atol=1e-6)
        expected = expected + moved[:, part] * theirs.advantages[..., None]
    whole = next(experience.get(8 * 16))
    key = np.lexsort(whole.actions.numpy().T)
    wanted = np.lexsort(columns["actions"].reshape(-1, 3).T)
    np.testing.assert_allclose(whole.advantages[key], expected.reshape(-1, 3)[wanted], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("memory", [0, 4])
def test_batches_contain_all_experience_once_and_sequences_stay_together(memory):
    experience, columns, *_ = filled(np.random.default_rng(1), memory=memory)
    batches = list(experience.get(32))
    assert len(batches) == 4 and len({len(batch.old_values) for batch in batches}) == 1
    seen = [batch.observations.observed if memory else batch.observations for batch in batches]
    found = torch.cat(seen, dim=1 if memory else 0).reshape(-1, 5).numpy()
    every = columns["observed"].reshape(-1, 5)
    np.testing.assert_array_equal(found[np.lexsort(found.T)], every[np.lexsort(every.T)])
    assert not np.array_equal(found, every)
    for batch in batches if memory else ():
        bodies = (batch.observations.memory[:, 0] / memory).long()
        np.testing.assert_array_equal(batch.observations.observed, columns["observed"][:, bodies])
        np.testing.assert_array_equal(batch.observations.first[..., 0], columns["starts"][:, bodies])
        np.testing.assert_array_equal(batch.actions, columns["actions"][:, bodies])


class Spy:
    """A task that keeps what it returned."""

    def __init__(self, task):
        self.task, self.seen = task, []

    def __getattr__(self, name):
        return getattr(self.task, name)

    def step(self, action):
        out = self.task.step(action)
        self.seen.append((*out, self.task.observe(), action))
        return out


def collect(ppo, settings=SMALL, iterations=1):
    """Iterations of experience; returns what the task did in the last, step by step."""
    from stable_baselines3.common.callbacks import CallbackList

    _, callback = ppo._setup_learn(1, CallbackList([]))
    ppo.env.task = Spy(ppo.env.task)
    for _ in range(iterations):
        ppo.env.task.seen.clear()
        ppo.collect_rollouts(ppo.env, callback, ppo.rollout_buffer, settings.n_steps)
    return ppo.env.task.seen


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_experience_is_kept_as_it_was_and_the_end_of_a_trial_is_no_end_of_rewards(kind, reaches, tmp_path):
    settings = dataclasses.replace(KINDS[kind], n_envs=64)
    ppo = ppo_of(reaches, tmp_path, settings)
    steps = collect(ppo, settings, iterations=2)  # the second begins amid episodes
    buffer, network = ppo.rollout_buffer, ppo.policy.network
    _, kept, rewards, starts, *_ = (torch.stack(column) for column in zip(*buffer._steps, strict=True))
    truncated, memory = 0, buffer._memory
    assert not starts[0].all() and bool(memory.any()) == settings.has_memory
    with torch.no_grad():
        for t, (reward, terminated, cut, observed, action) in enumerate(steps):
            seen = networks.Sequences(buffer._steps[t][0][None], memory, starts[t][None, :, None])
            memory = network(seen)[2]
            onwards = network.values(network.one_step(observed, memory))[0]
            expected = reward + settings.gamma * torch.where(cut[:, None], onwards, 0.0)
            torch.testing.assert_close(rewards[t], expected)
            torch.testing.assert_close(action, kept[t].clamp(-1, 1))
            if t + 1 < len(steps):
                torch.testing.assert_close(starts[t + 1], (terminated | cut).float())
            truncated += int(cut.sum())
        assert truncated
        for batch in buffer.get(128):
            values, log_prob, _ = ppo.policy.evaluate_actions(batch.observations, batch.actions)
            torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(values.flatten(), batch.old_values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_an_update_is_that_of_the_training_on_the_cpu(reaches, tmp_path):
    """Both algorithms take one batch of the same experience from the same network."""
    settings = dataclasses.replace(SMALL, batch_size=SMALL.n_envs * SMALL.n_steps, n_epochs=3)
    here = ppo_of(reaches, tmp_path / "device", settings)
    task = environment.Imitation(Reference.of(reaches), "muscle", settings.n_envs, settings, threads=1)
    there = ppo_of(reaches, tmp_path / "cpu", settings, task=task)
    there._setup_learn(1)
    collect(here, settings)
    before = copy.deepcopy(networks.network_state(there.policy.network))
    columns = [torch.stack(column).numpy() for column in zip(*here.rollout_buffer._steps, strict=True)]
    buffer = there.rollout_buffer
    buffer.reset()
    names = ("observations", "actions", "rewards", "episode_starts", "values", "log_probs")
    for name, column in zip(names, columns, strict=True):
        getattr(buffer, name)[:] = column
    buffer.full = True
    seen = here._now(here.env.task)
    with torch.no_grad():
        last = here.policy.network.values(seen)[0].numpy()
    buffer.compute_returns_and_advantage(last, here.env.task.begins.numpy())
    for ppo in (here, there):
        ppo.train()
    moved = networks.network_state(here.policy.network)
    for name, weights in networks.network_state(there.policy.network).items():
        np.testing.assert_allclose(moved[name], weights, atol=2e-6, err_msg=name)
    assert np.abs(moved["action.weight"] - before["action.weight"]).max() > 1e-4
    task.bodies.close()


def trained(trials, folder, settings=SMALL, steps=16 * 8 * 12, **more):
    network, facts = training.train(
        trials, "muscle", 0, steps, Path(folder), settings=settings, threads=1, device=WARP, **more
    )
    return networks.network_state(network), facts


@pytest.mark.slow
def test_training_on_a_device_improves_the_tracking_in_mujoco_c(reaches, tmp_path):
    settings = ControllerSettings(least_movements=0)
    _, facts = trained(reaches, tmp_path, settings, 20_000, monitor={"train": reaches})
    first, last = (point["train"] for point in facts["curve"])
    assert last < 0.5 * first, facts["curve"]
    assert facts["device"] == WARP and facts["body"] == "planar_arm"


@pytest.mark.slow
def test_a_network_imitates_an_expert_on_a_device(reaches, tmp_path):
    expert = networks.random_network(
        Reference.of(reaches).body, "muscle", SMALL, 7,
        *networks.normalisation("muscle", SMALL, Reference.of(reaches)),
    )  # fmt: skip
    with torch.no_grad():
        expert.action.weight.mul_(30)
    ppo = training.make_ppo(
        task_of(reaches), networks.initial_network("muscle", SMALL, 0, reaches), 0, SMALL, tmp_path, expert
    )
    errors = []
    for _ in range(6):
        collect(ppo)
        ppo.env.task = ppo.env.task.task
        ppo.train()
        errors.append(ppo.logger.name_to_value["train/action_error"])
    assert errors[-1] < 0.5 * errors[0], errors


class Dead(BaseException):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_training_continues_to_the_same_network(kind, reaches, tmp_path, monkeypatch):
    settings = dataclasses.replace(KINDS[kind], sensor_noise=0.1, motor_noise=0.1, proprioception_delay=2)
    whole, _ = trained(reaches, tmp_path / "whole", settings)
    monkeypatch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)
    reports = []

    def die(text):
        reports.append(text)
        if len(reports) == 6:
            raise Dead

    with pytest.raises(Dead):
        trained(reaches, tmp_path / "dead", settings, progress=die)
    assert 0 < int(read_arrays(tmp_path / "dead" / training.CHECKPOINT)[1]["steps"]) < 16 * 8 * 12
    resumed, facts = trained(reaches, tmp_path / "dead", settings)
    assert facts["steps"] == 16 * 8 * 12
    for name, weights in whole.items():
        np.testing.assert_array_equal(resumed[name], weights, err_msg=name)


@pytest.mark.slow
def test_a_training_killed_by_the_system_continues(reaches, tmp_path):
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from neurobench_grasp.controllers import training\n"
        "training.CHECKPOINT_SECONDS = 0.0\n"
        "from controllers.test_device import arm_trials, trained\n"
        f"trained(arm_trials(Path({str(tmp_path)!r})), {str(tmp_path / 'killed')!r}, steps=10**7)\n"
    )
    checkpoint = tmp_path / "killed" / training.CHECKPOINT
    run = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    while run.poll() is None and not (checkpoint.exists() and int(read_arrays(checkpoint)[1]["steps"])):
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    steps = int(read_arrays(checkpoint)[1]["steps"])
    reports = []

    def stop(text):
        reports.append(text)
        if len(reports) == 3:
            raise Dead

    with pytest.raises(Dead):
        trained(arm_trials(tmp_path), tmp_path / "killed", steps=10**7, progress=stop)
    done = int(reports[1].split(" of ")[0].replace(",", ""))
    assert done == steps + 16 * 8, (steps, reports)


@pytest.mark.slow
def test_an_unstable_simulation_ends_the_training(reaches, tmp_path):
    ppo = ppo_of(reaches, tmp_path)
    begin = ppo.env.task.begin

    def broken(which):
        begin(which)
        state = ppo.env.task.state()
        state["qvel"][3] = np.nan
        ppo.env.task.restore(state)

    ppo.env.task.begin = broken
    with pytest.raises(NgbError, match="planar_arm became unstable"):
        collect(ppo)


@pytest.mark.slow
def test_the_command_trains_on_a_device_and_the_card_states_it(tmp_path):
    file = write_reaches(tmp_path / "reaches.nwb")
    arguments = ("train", "--model", "muscle_ppo", "--dataset", file, "--steps", 600, "--threads", 1,
                 "--device", WARP, "--bodies", 24, "--to", tmp_path / "networks", "--json")  # fmt: skip
    run = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.stderr
    card = json.loads(run.stdout)
    assert card["device"] == WARP and card["settings"]["n_envs"] == 24 and card["steps"] >= 600
    assert {"mujoco-warp", "warp-lang"} <= set(card["versions"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("tpu", "no device 'tpu'"), ("cuda:x", "no device 'cuda:x'"), ("cuda:99", "finds no device cuda:99")],
)
def test_a_device_that_is_not_there_is_named_with_what_to_do(name, message, tmp_path):
    with pytest.raises(NgbError, match=message):
        training.train(grasp_trials(), "muscle", 0, 1, tmp_path, settings=SMALL, device=name)


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "neurobench_grasp.bodies.warp_simulator", None)
    with pytest.raises(NgbError, match=r"pip install 'neurobench-grasp\[gpu\]'"):
        device_simulation(HAND, "muscle", 1, "cpu")


def test_a_body_with_another_simulator_is_refused():
    with pytest.raises(UnsupportedError, match="marionette has its own simulator"):
        device_simulation(SimpleNamespace(name="marionette"), "muscle", 1, "cpu")


@pytest.mark.parametrize("option", [{"device": "cuda"}, {"bodies": 4}])
def test_a_model_with_another_training_is_refused(option, tmp_path):
    class Other:
        def fit(self): ...
        def activations(self): ...
        def state(self): ...
        def restore(self): ...
        def train(self, train, *, seed, steps, folder, monitor, threads, progress): ...

    spec = SimpleNamespace(build=lambda seed: Other(), name="other", tendons=None)
    registry = SimpleNamespace(model=lambda name: SimpleNamespace(spec=spec))
    (name,) = option
    with pytest.raises(UnsupportedError, match=f"training of other has no choice of {name}.*--{name}"):
        train_network("other", tmp_path / "none.nwb", registry=registry, **option)
