"""The hand is the one we know: names, axes, ranges and order are pinned, and building it is silent."""

import subprocess
import sys

import numpy as np
import pytest
from movements import HAND

# MyoSuite swapped the names of the thumb's two cmc joints between releases; the axes distinguish them.
AXES_AND_RANGES = {
    "pro_sup": ((-0.0172, 0.9927, -0.1197), (-1.5708, 1.5708)),
    "deviation": ((0.0, 0.0, 1.0), (-0.1745, 0.4363)),
    "flexion": ((1.0, 0.0, 0.0), (-0.7854, 0.7854)),
    "cmc_flexion": ((-0.0424, -0.6653, 0.7454), (-0.78, 0.7)),
    "cmc_abduction": ((0.4956, 0.7317, 0.468), (-0.5, 0.78)),
    "mp_flexion": ((-0.0843, -0.2035, 0.9754), (-0.7854, 0.6981)),
    "ip_flexion": ((-0.0501, -0.4796, 0.876), (-1.309, 0.4363)),
    "mcp2_flexion": ((0.995, 0.0997, 0.0), (0.0, 1.5708)),
    "mcp2_abduction": ((-0.055, 0.0859, 0.9948), (-0.2618, 0.2618)),
    "pm2_flexion": ((0.9752, 0.0998, -0.1977), (0.0, 1.5708)),
    "md2_flexion": ((0.995, 0.0998, 0.0), (0.0, 1.5708)),
    "mcp3_flexion": ((0.9801, 0.0, 0.1987), (0.0, 1.5708)),
    "mcp3_abduction": ((-0.1987, 0.0, 0.9801), (-0.2618, 0.2618)),
    "pm3_flexion": ((1.0, 0.0, 0.0), (0.0, 1.5708)),
    "md3_flexion": ((1.0, 0.0, 0.0), (0.0, 1.5708)),
    "mcp4_flexion": ((0.9004, 0.0, 0.435), (0.0, 1.5708)),
    "mcp4_abduction": ((-0.435, 0.0, 0.9004), (-0.2618, 0.2618)),
    "pm4_flexion": ((0.9211, 0.0, 0.3894), (0.0, 1.5708)),
    "md4_flexion": ((0.8253, 0.0, 0.5646), (0.0, 1.5708)),
    "mcp5_flexion": ((0.8253, 0.0, 0.5646), (0.0, 1.5708)),
    "mcp5_abduction": ((-0.5646, 0.0, 0.8253), (-0.2618, 0.2618)),
    "pm5_flexion": ((0.8253, 0.0, 0.5646), (0.0, 1.5708)),
    "md5_flexion": ((0.8677, -0.1494, 0.474), (0.0, 1.5708)),
}
ACTUATORS = [
    *("ECRL", "ECRB", "ECU", "FCR", "FCU", "PL", "PT", "PQ"),
    *("FDS5", "FDS4", "FDS3", "FDS2", "FDP5", "FDP4", "FDP3", "FDP2", "EDC5", "EDC4", "EDC3", "EDC2"),
    *("EDM", "EIP", "EPL", "EPB", "FPL", "APL", "OP", "RI2", "LU_RB2", "UI_UB2", "RI3", "LU_RB3", "UI_UB3"),
    *("RI4", "LU_RB4", "UI_UB4", "RI5", "LU_RB5", "UI_UB5"),
]
DIGITS = {"thumb": ("cmc", "mcp", "ip", "tip")} | dict.fromkeys(
    ("index", "middle", "ring", "little"), ("mcp", "pip", "dip", "tip")
)

SILENT = """
from neurobench_grasp.bodies.myohand import build_myohand
hand = build_myohand()
hand.keypoint_positions(hand.model.qpos0[None])
"""


@pytest.fixture(scope="module")
def model():
    return HAND.model


def test_joints_axes_and_ranges_are_pinned(model):
    assert list(AXES_AND_RANGES) == list(HAND.joints)
    assert [model.joint(i).name for i in range(model.njnt)] == [f"{joint}_r" for joint in HAND.joints]
    axes, ranges = zip(*AXES_AND_RANGES.values(), strict=True)
    np.testing.assert_allclose(model.jnt_axis, axes, atol=6e-5)
    np.testing.assert_allclose(model.jnt_range, ranges, atol=6e-5)
    np.testing.assert_array_equal(HAND.joint_limits, model.jnt_range)
    assert model.nq == model.nv == 23


def test_actuator_order_is_pinned(model):
    assert list(HAND.muscles) == ACTUATORS
    assert [model.actuator(i).name for i in range(model.nu)] == [f"{muscle}_r" for muscle in ACTUATORS]


def test_keypoints_are_pinned():
    assert [f"{digit}_{point}" for digit, points in DIGITS.items() for point in points] == list(
        HAND.keypoints
    )


def test_sensors_are_named(model):
    expected = [f"{m}_{what}" for m in HAND.muscles for what in ("length", "velocity")]
    expected += [f"{j}_{what}" for j in HAND.joints for what in ("position", "velocity")]
    assert [model.sensor(i).name for i in range(model.nsensor)] == [*expected, *HAND.keypoints]


def test_sensors_read_what_their_names_say(model):
    import mujoco

    rng = np.random.default_rng(1)
    data = mujoco.MjData(model)
    data.qpos[:] = model.jnt_range[:, 0] + rng.random(23) * np.diff(model.jnt_range).ravel()
    data.qvel[:] = rng.standard_normal(23)
    mujoco.mj_forward(model, data)
    assert data.sensor("FDS2_length").data == data.actuator("FDS2_r").length
    assert data.sensor("EDM_velocity").data == data.actuator("EDM_r").velocity
    assert data.sensor("mcp2_flexion_position").data == data.joint("mcp2_flexion_r").qpos
    assert data.sensor("flexion_velocity").data == data.joint("flexion_r").qvel
    wrist = data.body("lunate_r")
    tip = wrist.xmat.reshape(3, 3).T @ (data.site("THtip_r").xpos - wrist.xpos)
    np.testing.assert_allclose(data.sensor("thumb_tip").data, tip, atol=1e-12)


def test_building_is_silent_and_leaves_no_file(tmp_path):
    run = subprocess.run([sys.executable, "-c", SILENT], cwd=tmp_path, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_importing_body_does_not_import_mujoco():
    code = "import sys, neurobench_grasp.bodies; assert not {'mujoco', 'myosuite'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
