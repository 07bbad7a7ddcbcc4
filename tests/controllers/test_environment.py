"""The imitation task: reward in closed form, ends of episodes, and the interfaces others rely on."""

import dataclasses

import numpy as np
import pytest
from lazy import Lazy
from movements import HAND, grasp_trials

from neurobench_grasp.bodies.myohand import JOINTS, KEYPOINTS, MUSCLES
from neurobench_grasp.contract import Ragged
from neurobench_grasp.controllers.reference import Reference, mixtures
from neurobench_grasp.controllers.settings import ControllerSettings
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset

gymnasium = Lazy("gymnasium")
env_checker = Lazy("gymnasium.utils.env_checker")
environment = Lazy("neurobench_grasp.controllers.environment")
networks = Lazy("neurobench_grasp.controllers.network")
environments = Lazy("neurobench_grasp.run.environments")

SETTINGS = ControllerSettings()


@pytest.fixture(scope="module")
def reference():
    return Reference.of(grasp_trials(), SETTINGS.margin_steps)


def task_of(reference, action="muscle", n=4, **changes):
    return environment.Imitation(
        reference, action, n, dataclasses.replace(SETTINGS, **changes), seed=1, threads=1
    )


def test_the_margin_crops_the_padding():
    trials = grasp_trials()
    cropped = Reference.of(trials, 5)
    for i, (first, stop) in enumerate(trials.window):
        rows = cropped.joint_angles[cropped.offsets[i] : cropped.offsets[i + 1]]
        np.testing.assert_array_equal(rows, trials.joint_angles[i][first - 5 : stop + 5])


def test_a_movement_in_steps_of_another_length_is_refused():
    slow = dataclasses.replace(grasp_trials(), dt=0.05)
    with pytest.raises(UnsupportedError, match="steps of 50 ms, and controllers move in steps of 20 ms"):
        Reference.of(slow)


def test_an_episode_begins_in_the_reference_and_its_goal_is_the_frames_to_come(reference):
    task = task_of(reference, n=64)
    task.begin(np.arange(64))
    np.testing.assert_allclose(task.bodies.joint_angles, reference.joint_angles[task.frame], atol=1e-12)
    np.testing.assert_allclose(task.bodies.keypoints, reference.keypoints[task.frame], atol=1e-12)
    goals = task.observe()[:, : 5 * 23].reshape(64, 5, 23)
    for i in range(64):
        for k in range(5):
            wanted = reference.joint_angles[min(task.frame[i] + 1 + k, task.end[i])]
            np.testing.assert_array_equal(goals[i, k], wanted)
    assert np.all(task.frame < task.end)


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_an_observation_is_trajectory_proprioception_and_efference(reference, action):
    task = task_of(reference, action)
    task.begin(np.arange(4))
    rng = np.random.default_rng(0)
    values = rng.uniform(-0.5, 0.5, (4, task.bodies.n_actions))
    task.step(values)
    sizes = networks.stream_sizes(HAND, action, SETTINGS)
    _, proprioception, efference = np.split(task.observe(), np.cumsum(list(sizes.values()))[:-1], axis=1)
    np.testing.assert_array_equal(proprioception, task.bodies.muscles)
    np.testing.assert_array_equal(efference[:, : values.shape[1]], values)
    np.testing.assert_array_equal(efference[:, values.shape[1] :], task.bodies.activation)
    assert sum(sizes.values()) == task.n_observed


def test_the_reward_of_each_part_is_its_formula(reference):
    task = task_of(reference)
    task.begin(np.arange(4))
    reward, _, _ = task.step(np.full((4, 39), 0.2))
    for i in range(4):
        frame, hand = task.frame[i], task.bodies
        apart = (hand.keypoints[i] - reference.keypoints[frame]).reshape(20, 3)
        distance = dict(zip(KEYPOINTS, np.linalg.norm(apart, axis=1), strict=True))
        off = dict(zip(JOINTS, hand.joint_angles[i] - reference.joint_angles[frame], strict=True))
        active = dict(zip(MUSCLES, hand.activation[i], strict=True))

        def expected(joints, digit, muscles, off=off, distance=distance, active=active):
            joint = np.mean([angle**2 for name, angle in off.items() if name in joints])
            points = [d for name, d in distance.items() if digit and name.startswith(digit)]
            keypoint = np.exp(-np.mean(points) / 0.015) if points else 0.0
            effort = np.mean([active[muscle] ** 2 for muscle in muscles])
            return 0.4 * np.exp(-joint / 0.3**2) + 0.6 * keypoint - 0.05 * effort

        thumb = expected(
            ("cmc_flexion", "cmc_abduction", "mp_flexion", "ip_flexion"),
            "thumb",
            ("EPL", "EPB", "FPL", "APL", "OP"),
        )
        middle = expected(
            ("mcp3_flexion", "mcp3_abduction", "pm3_flexion", "md3_flexion"),
            "middle",
            ("FDS3", "FDP3", "EDC3", "RI3", "LU_RB3", "UI_UB3"),
        )
        intrinsic = {"OP"} | {muscle for muscle in MUSCLES if muscle.startswith(("RI", "LU_RB", "UI_UB"))}
        wrist = expected(JOINTS[:3], "", set(MUSCLES) - intrinsic)
        assert reward[i, [0, 1, 3]] == pytest.approx([wrist, thumb, middle], abs=1e-12)
        assert task.error[i] == pytest.approx(np.mean(list(distance.values())))


def test_the_reward_of_the_task_is_the_mean_over_the_parts(reference):
    parts, whole = task_of(reference), environment.ImitationVecEnv(task_of(reference))
    parts.begin(np.arange(4))
    whole.reset()
    actions = np.full((4, 39), 0.2, np.float32)
    expected = parts.step(actions.astype(np.float64))[0].mean(axis=1)
    np.testing.assert_allclose(whole.step(actions)[1], expected, rtol=1e-6)
    whole.close()


def test_episodes_end_by_error_or_with_the_trial(reference):
    strict = task_of(reference, max_error=1e-6)
    strict.begin(np.arange(4))
    _, terminated, truncated = strict.step(np.ones((4, 39)))
    assert terminated.all() and not truncated.any()
    patient = task_of(reference, max_error=10.0)
    patient.begin(np.arange(4))
    for _ in range(200):
        left = patient.end - patient.frame
        if np.any(left == 1):
            break
        patient.step(np.zeros((4, 39)))
    _, terminated, truncated = patient.step(np.zeros((4, 39)))
    np.testing.assert_array_equal(truncated, left == 1)
    assert truncated.any() and not terminated.any()


def test_the_vector_environment_begins_again_and_hands_over_the_last_observation(reference):
    env = environment.ImitationVecEnv(task_of(reference, n=8, max_error=1e-6))
    first = env.reset()
    assert first.shape == (8, *env.observation_space.shape) and first.dtype == np.float32
    observed, reward, done, infos = env.step(np.ones((8, 39), np.float32))
    assert done.all() and np.isfinite(reward).all()
    for i, info in enumerate(infos):
        assert not info["TimeLimit.truncated"]
        assert not np.array_equal(info["terminal_observation"], observed[i])
    np.testing.assert_allclose(
        env.task.bodies.joint_angles, reference.joint_angles[env.task.frame], atol=1e-12
    )
    env.close()


@pytest.mark.filterwarnings("ignore:.*observation space m.* value is -?infinity")  # angles have no bound
@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_gymnasium_accepts_the_environment(reference, action):
    env = environment.ImitationEnv(reference, action)
    env_checker.check_env(env, skip_render_check=True)
    env.close()


def test_equal_seeds_give_equal_episodes(reference):
    runs = []
    for _ in range(2):
        env = environment.ImitationEnv(reference)
        observed, _ = env.reset(seed=5)
        steps = [env.step(np.full(39, 0.1, np.float32))[0] for _ in range(3)]
        runs.append(np.stack([observed, *steps]))
        env.close()
    np.testing.assert_array_equal(*runs)


@pytest.mark.filterwarnings("ignore:.*observation space m.* value is -?infinity")
def test_the_environment_is_registered_and_takes_a_dataset(demo_like):
    env = gymnasium.make(
        "neurobench_grasp.run.environments:neurobench_grasp/HandImitation-v0",
        dataset=demo_like,
        action="torque",
    )
    observed, _ = env.reset(seed=0)
    assert env.observation_space.contains(observed)
    _, reward, _, _, info = env.step(env.action_space.sample())
    assert np.isfinite(reward) and info["keypoint_error"] > 0
    env.close()


@pytest.mark.parametrize("split", ["train", "ood"])
def test_only_training_movements_are_filled_up(demo_like, split):
    env = environments.make_imitation(demo_like, split=split, least_movements=50)
    recorded = load_dataset(load_registry(), demo_like).behaviour(split)
    assert len(recorded) < 50
    assert len(env.task.reference.offsets) - 1 == (50 if split == "train" else len(recorded))
    env.close()


def test_mixtures_lie_between_their_two_movements_and_fill_up_few_ones():
    trials = grasp_trials(4)
    alone = Reference.of(trials, 5)
    filled = Reference.of(trials, 5, at_least=30, seed=3)
    n = len(alone.joint_angles)
    np.testing.assert_array_equal(filled.joint_angles[:n], alone.joint_angles)
    assert len(filled.offsets) == 31
    low, high = alone.joint_angles.min(axis=0), alone.joint_angles.max(axis=0)
    mixed = filled.joint_angles[n:]
    assert (mixed >= low - 1e-12).all() and (mixed <= high + 1e-12).all()
    again = Reference.of(trials, 5, at_least=30, seed=3)
    np.testing.assert_array_equal(again.joint_angles, filled.joint_angles)
    assert len(Reference.of(trials, 5, at_least=4).offsets) == 5
    lengths = np.diff(filled.offsets)
    assert set(lengths[4:]) <= set(lengths[:4])


def test_a_mixture_is_the_weighted_mean_at_equal_phase():
    ramp = [np.linspace(0, 1, n)[:, None] * np.ones(23) for n in (11, 21)]
    mixed = mixtures(Ragged.of([ramp[0], 3 * ramp[1]]), 8, seed=0)
    for movement in mixed:
        assert len(movement) in (11, 21)
        slope = movement[-1, 0]
        assert 1 <= slope <= 3
        np.testing.assert_allclose(movement, slope * np.linspace(0, 1, len(movement))[:, None] * np.ones(23))
    slopes = [movement[-1, 0] for movement in mixed]
    assert sum(1.05 < slope < 2.95 for slope in slopes) > 4 and np.ptp(slopes) > 0.5
