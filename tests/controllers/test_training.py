"""Training: repeatable, resumable after kill -9, independent of monitored trials, strict about checkpoints."""

import copy
import dataclasses
import json
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

from neurobench_grasp.controllers.files import read_arrays, write_arrays
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsupportedError
from neurobench_grasp.run.train import train_network

torch = Lazy("torch")
buffers = Lazy("stable_baselines3.common.buffers")
training = Lazy("neurobench_grasp.controllers.training")
environment = Lazy("neurobench_grasp.controllers.environment")
networks = Lazy("neurobench_grasp.controllers.network")

SMALL = ControllerSettings(n_envs=16, n_steps=8, batch_size=64, least_movements=0)
STEPS = 8 * 16 * 12
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


def trained(folder, seed=0, action="muscle", steps=STEPS, **kw):
    network, facts = training.train(
        grasp_trials(), action, seed, steps, Path(folder), settings=SMALL, threads=1, **kw
    )
    return networks.network_state(network), facts


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("unbroken"))


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_the_same_seed_gives_the_same_network_whatever_is_monitored(unbroken, tmp_path):
    weights, facts = trained(tmp_path / "again", monitor={"ood": grasp_trials(3, seed=9)})
    assert_equal(weights, unbroken[0])
    assert facts["steps"] == STEPS
    assert [point["steps"] for point in facts["curve"]] == [0, STEPS]
    other, _ = trained(tmp_path / "other", seed=1)
    assert not np.array_equal(other["action.weight"], weights["action.weight"])


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_an_action_is_judged_by_the_parts_that_it_moves(action, tmp_path):
    """Each part's returns as stable-baselines3's own buffer has them; advantages summed by plain loops."""
    trials = grasp_trials()
    task = environment.Imitation(Reference.of(trials), action, 16, SMALL, threads=1)
    ppo = training.make_ppo(task, networks.initial_network(action, SMALL, 0, trials), 0, SMALL, tmp_path)
    ppo.learn(1)
    ours, moved = ppo.rollout_buffer, HAND.moved_parts(action)
    rng = np.random.default_rng(0)
    ours.reset()
    for name in ("rewards", "values"):
        getattr(ours, name)[:] = rng.standard_normal(getattr(ours, name).shape)
    ours.episode_starts[:] = rng.random(ours.episode_starts.shape) < 0.3
    last, dones = rng.standard_normal((16, 6)).astype(np.float32), rng.random(16) < 0.5
    ours.compute_returns_and_advantage(last, dones)
    expected = np.zeros_like(ours.advantages)
    for part in range(6):
        theirs = buffers.RolloutBuffer(
            SMALL.n_steps, ppo.observation_space, ppo.action_space, "cpu", SMALL.gae_lambda, SMALL.gamma, 16
        )
        for name in ("rewards", "values"):
            getattr(theirs, name)[:] = getattr(ours, name)[..., part]
        theirs.episode_starts[:] = ours.episode_starts
        theirs.compute_returns_and_advantage(torch.as_tensor(last[:, part]), dones)
        np.testing.assert_allclose(ours.returns[..., part], theirs.returns, rtol=1e-5, atol=1e-6)
        for i in range(moved.shape[0]):
            expected[..., i] += moved[i, part] * theirs.advantages
    np.testing.assert_allclose(ours.advantages, expected, rtol=1e-5, atol=1e-5)
    ppo.env.close()


def test_each_action_has_its_own_probability(tmp_path):
    trials = grasp_trials()
    task = environment.Imitation(Reference.of(trials), "torque", 16, SMALL, threads=1)
    network = networks.initial_network("torque", SMALL, 0, trials)
    policy = training.make_ppo(task, network, 0, SMALL, tmp_path).policy
    observed = torch.as_tensor(task.observe(), dtype=torch.float32)
    with torch.no_grad():
        actions, values, log_prob = policy(observed)
        mean, again = (out[0] for out in network(network.one_step(observed))[:2])
        normal = torch.distributions.Normal(mean, policy.log_std.exp())
    less = normal.log_prob(actions) - log_prob
    torch.testing.assert_close(less, torch.full_like(less, -0.5 * np.log(2 * np.pi)))
    torch.testing.assert_close(values, again)
    assert values.shape == (16, 6) and log_prob.shape == (16, 23)
    task.bodies.close()


def spy():
    """Callback that keeps what stable-baselines3 had in hand after each step."""
    from stable_baselines3.common.callbacks import BaseCallback

    class Spy(BaseCallback):
        def __init__(self):
            super().__init__()
            self.seen = []

        def _on_step(self):
            kept = ("rewards", "dones", "infos", "values", "log_probs", "actions")
            self.seen.append({name: copy.deepcopy(self.locals[name]) for name in kept})
            return True

    return Spy()


def test_experience_is_kept_as_it_was_and_the_end_of_a_trial_is_no_end_of_rewards(tmp_path):
    settings, trials = dataclasses.replace(SMALL, n_envs=64), grasp_trials()
    task = environment.Imitation(Reference.of(trials), "muscle", 64, settings, threads=1)
    ppo = training.make_ppo(
        task, networks.initial_network("muscle", settings, 0, trials), 0, settings, tmp_path
    )
    buffer, seen = ppo.rollout_buffer, spy()
    _, callback = ppo._setup_learn(1, seen)
    ppo.collect_rollouts(ppo.env, callback, buffer, settings.n_steps)
    truncated = 0
    for t, step in enumerate(seen.seen):
        expected = step["rewards"].copy()
        for i, info in enumerate(step["infos"]):
            if info.get("TimeLimit.truncated"):
                last = torch.as_tensor(info["terminal_observation"][None])
                with torch.no_grad():
                    network = ppo.policy.network
                    expected[i] += settings.gamma * network.values(network.one_step(last))[0, 0].numpy()
                truncated += 1
        np.testing.assert_allclose(buffer.rewards[t], expected, rtol=1e-5, atol=1e-6)
        for name in ("values", "log_probs", "actions"):
            np.testing.assert_array_equal(getattr(buffer, name)[t], step[name])
        if t:
            np.testing.assert_array_equal(buffer.episode_starts[t], seen.seen[t - 1]["dones"])
    assert truncated > 3
    batch = next(buffer.get(100))
    with torch.no_grad():
        values, log_prob, _ = ppo.policy.evaluate_actions(batch.observations, batch.actions)
    torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(values.flatten(), batch.old_values, rtol=1e-4, atol=1e-5)
    gained = (batch.returns - batch.old_values).reshape(-1, 6).numpy()
    np.testing.assert_allclose(gained @ HAND.moved_parts("muscle").T, batch.advantages, rtol=1e-4, atol=1e-5)
    actions, _ = ppo.predict(batch.observations.numpy(), deterministic=True)
    mean = network(network.one_step(batch.observations))[0][0].detach()
    np.testing.assert_allclose(actions, np.clip(mean, -1, 1), atol=1e-6)
    ppo.env.close()


def test_few_movements_are_filled_up_with_mixtures(tmp_path, monkeypatch):
    class Enough(Exception):
        pass

    def task(reference, *arguments, **options):
        assert len(reference.offsets) == 21
        raise Enough

    monkeypatch.setattr("neurobench_grasp.controllers.training.Imitation", task)
    settings = dataclasses.replace(SMALL, least_movements=20)
    with pytest.raises(Enough):
        training.train(grasp_trials(6), "torque", 0, 1, tmp_path, settings=settings)


def test_a_training_stopped_by_the_user_is_saved_and_continues_to_the_same_network(unbroken, tmp_path):
    reported = []

    def progress(text):
        reported.append(text)
        if len(reported) == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, progress=progress)
    _, notes = read_arrays(tmp_path / training.CHECKPOINT)
    assert int(notes["steps"]) == 3 * 8 * 16 and signal.getsignal(signal.SIGINT) is before
    assert_equal(trained(tmp_path)[0], unbroken[0])


class Dead(BaseException):
    """Stands for the end of the process."""


def test_a_training_that_dies_anywhere_ends_in_the_same_network(unbroken, tmp_path, monkeypatch):
    """While the second checkpoint of a run is written, and between two checkpoints."""
    monkeypatch.setattr("neurobench_grasp.controllers.training.CHECKPOINT_SECONDS", 0.0)
    written, done = [], []

    def die(fd, fsync=os.fsync):
        written.append(fd)
        if len(written) == 2:
            raise Dead
        fsync(fd)

    for _ in range(2):
        written.clear()
        with monkeypatch.context() as patch, pytest.raises(Dead):
            patch.setattr(os, "fsync", die)
            trained(tmp_path)
        done.append(int(read_arrays(tmp_path / training.CHECKPOINT)[1]["steps"]))  # whole

    def stop(text):
        raise Dead

    with pytest.raises(Dead):
        trained(tmp_path, progress=stop)
    assert done == [0, 0] or 0 <= done[0] <= done[1] < STEPS
    weights, facts = trained(tmp_path)
    assert_equal(weights, unbroken[0])
    assert facts["steps"] == STEPS


def test_a_training_killed_by_the_system_ends_in_the_same_network(unbroken, tmp_path):
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from neurobench_grasp.controllers import training\n"
        "training.CHECKPOINT_SECONDS = 0.0\n"
        "from controllers.test_training import trained\n"
        f"trained({str(tmp_path / 'killed')!r})\n"
    )
    checkpoint = tmp_path / "killed" / training.CHECKPOINT
    run = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    while run.poll() is None and not checkpoint.exists():
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    assert 0 <= int(read_arrays(checkpoint)[1]["steps"]) < STEPS
    weights, facts = trained(tmp_path / "killed")
    assert_equal(weights, unbroken[0])
    assert facts["steps"] == STEPS


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    trained(tmp_path, steps=128)
    with pytest.raises(NgbError, match="another training"):
        trained(tmp_path, steps=128, seed=1)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    trained(tmp_path, steps=128)
    path = tmp_path / training.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match="not a valid safetensors file"):
        trained(tmp_path, steps=128)


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.float32([1.5]), "c": np.zeros((0, 2), bool)}
    write_arrays(tmp_path / "x.safetensors", arrays, {"note": "é"})
    back, notes = read_arrays(tmp_path / "x.safetensors")
    assert notes == {"note": "é"}
    assert_equal(back, arrays)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_arrays(path, {"a": np.ones(3)}, {})
    old = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NgbError, match="No space left on device"):
        write_arrays(path, {"a": np.zeros(3)}, {})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_default(monkeypatch):
    """Train small networks through the public functions too."""
    from neurobench_grasp.controllers import controller

    monkeypatch.setattr(
        controller, "ControllerSettings", lambda **kw: SMALL if not kw else ControllerSettings(**kw)
    )


def test_only_training_trials_reach_the_network(demo_like, tmp_path, small_default, monkeypatch):
    from neurobench_grasp.plugins import load_registry
    from neurobench_grasp.run.dataset import load_dataset

    seen = []
    real = training.train

    def spy(trials, *args, **kw):
        seen.extend(trials.ids)
        return real(trials, *args, **kw)

    monkeypatch.setattr("neurobench_grasp.controllers.training.train", spy)
    path, card = train_network("muscle_ppo", demo_like, steps=128, threads=1, to=tmp_path)
    data = load_dataset(load_registry(), demo_like)
    assert sorted(seen) == sorted(data.splits.train["grasping"])
    held_out = set(data.splits.test["grasping"]) | set(data.splits.ood["grasping"])
    assert held_out and not held_out & set(seen)
    assert card.dataset["held_out_conditions"] == list(data.splits.held_out)
    assert set(card.errors_mm) == {"train", "test", "ood"}
    assert card.train_sha256 == data.behaviour("train").sha256
    assert json.loads(path.read_text())["settings"] == dataclasses.asdict(SMALL)
    kept = ["muscle_ppo-0.json", "muscle_ppo-0.safetensors", "tensorboard"]
    assert sorted(p.name for p in path.parent.iterdir()) == kept


def test_a_model_without_training_says_so(demo_like):
    with pytest.raises(UnsupportedError, match="fits it when it scores"):
        train_network("linear_kinematic", demo_like)


def test_an_interrupted_training_resumes_with_its_number_of_threads(tmp_path):
    """Another worker may have other cores; the number is part of what a network depends on."""
    assert training.threads_of(tmp_path) is None
    write_arrays(tmp_path / training.CHECKPOINT, {"x": np.zeros(1)}, {"identity": json.dumps({"threads": 3})})
    assert training.threads_of(tmp_path) == 3
