"""The demo's movements: 35 objects, in order, within the joint limits, and as wide as the objects ask for."""

import numpy as np
import pytest
from movements import HAND

from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.demo import movements, objects
from neurobench_grasp.demo.movements import TICK_RATE
from neurobench_grasp.demo.random_stream import Stream

PINNED_DRAWS = [0.6742734057218339, 0.4323112443308639]


@pytest.fixture(scope="module")
def made():
    return movements.make_movements("demo_a", "demo_a_1")


def test_streams_are_pinned():
    """First draws of each kind; another version of NumPy must not change them."""
    np.testing.assert_array_equal(Stream("a").uniform(0, 1, 2), Stream("a").uniform(0, 1, 2))
    assert Stream("a").uniform(0, 1, 2).tolist() == PINNED_DRAWS
    assert Stream("a").uniform(0, 1) != Stream("b").uniform(0, 1)


def test_draws_have_the_moments_they_should():
    normal, waiting = Stream("moments").normal(200_000), Stream("moments").exponential(200_000)
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=0.01)
    np.testing.assert_allclose([waiting.mean(), waiting.std()], [1, 1], atol=0.01)
    assert sorted(Stream("moments").order(50)) == list(range(50))


def test_every_object_is_grasped_fifteen_times_in_blocks(made):
    blocks = np.array(made.objects).reshape(15, 35)
    assert len(set(made.objects)) == 35
    assert all(len(set(block)) == 35 for block in blocks)
    assert {"sphere_20mm", "cylinder_30mm_upright", "box_45mm_lying"} <= set(made.objects)


def test_angles_are_quantised_and_within_the_limits(made):
    result = HAND.posture(made.joint_angles, JOINTS)
    assert (result.clipped, result.missing) == ({}, ())
    whole = np.rint(made.joint_angles / 1e-4)
    np.testing.assert_array_equal(whole * 1e-4, made.joint_angles)
    assert np.abs(whole).max() < 2**15


def test_squashing_stays_inside_the_limits_and_can_be_undone():
    low, high = HAND.joint_limits.T
    wild = objects.to_angles(Stream("wild").uniform(-50, 50, 100, 23))
    assert np.all((low < wild) & (wild < high))
    free = Stream("free").uniform(-1.5, 1.5, 100, 23)
    np.testing.assert_allclose(objects.to_free(objects.to_angles(free)), free, atol=1e-9)


def test_events_are_in_order_with_enough_recording_around(made):
    names = ("start", "go_cue", "move_onset", "max_aperture", "contact", "reward", "stop")
    ticks = np.stack([made.ticks[name] for name in names], axis=1)
    assert ticks.dtype == np.int64
    assert np.all(np.diff(ticks, axis=1) > 0)
    assert np.all(ticks[1:, 0] > ticks[:-1, -1])
    duration = (made.ticks["contact"] - made.ticks["move_onset"]) / TICK_RATE
    assert 0.4 <= duration.min() < 0.45 and 0.8 < duration.max() <= 1.0
    assert ticks[0, 2] / TICK_RATE > 0.6 and made.times[-1] - ticks[-1, 4] / TICK_RATE > 0.6


def test_the_hand_opens_wider_than_the_object_and_closes_to_it():
    for grasp in objects.grasps("demo_b"):
        opened, closed = objects.aperture(objects.to_angles(np.stack([grasp.opened, grasp.closed])))
        size = float(grasp.name.split("_")[1].removesuffix("mm"))
        assert opened == pytest.approx(45 + 0.8 * size, abs=1)
        assert closed < opened
        if size >= 10:
            assert closed == pytest.approx(12 + size, abs=5)


def test_the_hand_rests_until_onset_and_grasps_at_contact(made):
    speed = np.abs(np.gradient(made.joint_angles, 0.02, axis=0)).max(axis=1)
    at = {
        name: np.searchsorted(made.times, made.ticks[name] / TICK_RATE) for name in ("move_onset", "contact")
    }
    before = speed[at["move_onset"] - 2]
    middle = speed[(at["move_onset"] + at["contact"]) // 2]
    after = speed[at["contact"] + 2]
    assert np.median(before) < 0.01 and np.median(after) < 0.01 < 0.5 < np.median(middle)


def test_animals_differ_more_than_sessions(made):
    def postures(animal):
        return np.stack([grasp.closed for grasp in objects.grasps(animal)])

    np.testing.assert_array_equal(postures("demo_a"), postures("demo_a"))
    assert np.abs(postures("demo_a") - postures("demo_b")).max() > 0.2
    other_day = movements.make_movements("demo_a", "demo_a_2")
    assert other_day.objects != made.objects
