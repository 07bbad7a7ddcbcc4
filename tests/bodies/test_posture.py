"""Recorded angles become postures within the limits, and what was changed is counted."""

import numpy as np
import pytest
from movements import HAND

from neurobench_grasp import NgbError
from neurobench_grasp.bodies.myohand import JOINTS, NEUTRAL


def test_columns_called_like_joints_map_by_name_in_any_order():
    rng = np.random.default_rng(0)
    low, high = HAND.joint_limits.T
    angles = low + (high - low) * rng.random((7, 23))
    order = rng.permutation(23)
    result = HAND.posture(angles[:, order], [JOINTS[i] for i in order])
    np.testing.assert_array_equal(result.joint_angles, angles)
    assert (result.clipped, result.missing, result.unused) == ({}, (), ())


def test_joint_map_gives_sign_and_offset_and_reports_the_rest():
    values = np.array([[0.2, 9.0], [0.4, 9.0]])
    result = HAND.posture(values, ["index_mcp", "palm_arch"], {"index_mcp": ("mcp2_flexion", -1.0, 1.0)})
    np.testing.assert_allclose(result.joint_angles[:, JOINTS.index("mcp2_flexion")], [0.8, 0.6])
    assert result.unused == ("palm_arch",)
    assert len(result.missing) == 22 and "mcp2_flexion" not in result.missing
    held = [i for i, joint in enumerate(JOINTS) if joint in result.missing]
    np.testing.assert_array_equal(
        result.joint_angles[:, held], np.tile([NEUTRAL[JOINTS[i]] for i in held], (2, 1))
    )


def test_the_neutral_posture_is_within_the_limits():
    low, high = HAND.joint_limits.T
    neutral = np.array([NEUTRAL[joint] for joint in JOINTS])
    assert np.all((low <= neutral) & (neutral <= high))


def test_clipping_is_counted_per_joint():
    result = HAND.posture(np.array([[-0.1], [0.5], [3.0]]), ["pm2_flexion"])
    assert result.clipped == {"pm2_flexion": 2}
    low, high = HAND.joint_limits[JOINTS.index("pm2_flexion")]
    np.testing.assert_array_equal(result.joint_angles[:, JOINTS.index("pm2_flexion")], [low, 0.5, high])


@pytest.mark.parametrize(
    ("columns", "joint_map", "named"),
    [
        (["a"], {"a": ("mcp2_flexon", 1.0, 0.0)}, ["'a'", "'mcp2_flexon'", "did you mean 'mcp2_flexion'?"]),
        (["index"], {"indx": ("mcp2_flexion", 1.0, 0.0)}, ["'indx'", "did you mean 'index'?"]),
        (["index"], {"zzz": ("mcp2_flexion", 1.0, 0.0)}, ["'zzz'", "known: index"]),
        (["flexion", "b"], {"b": ("flexion", 1.0, 0.0)}, ["'flexion' and 'b'", "map only one"]),
        (["palm_arch"], {}, ["palm_arch", "joint_map"]),
    ],
)
def test_a_wrong_map_is_named(columns, joint_map, named):
    with pytest.raises(NgbError) as error:
        HAND.posture(np.zeros((3, len(columns))), columns, joint_map)
    assert all(word in str(error.value) for word in named), str(error.value)


def test_gaps_and_shapes_are_named():
    with pytest.raises(NgbError, match="'flexion' has 1 values that are not finite"):
        HAND.posture(np.array([[0.0], [np.nan]]), ["flexion"])
    with pytest.raises(NgbError, match=r"shape \(3, 2\) but 1 column"):
        HAND.posture(np.zeros((3, 2)), ["flexion"])
