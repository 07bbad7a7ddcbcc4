"""The arm is MyoSuite's: names are pinned, the scapula follows, muscles pull as in anatomy, and it reaches."""

import numpy as np
import pytest
from courses import minimum_jerk
from movements import HAND

from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.myohand import MUSCLES as OF_HAND

ARM = find_body("myoarm")
SHOULDER = ("elv_angle", "shoulder_elv", "shoulder_rot")
FOLLOWERS = {
    "sternoclavicular_r2_r": -0.242,
    "sternoclavicular_r3_r": 0.1025,
    "unrotscap_r3_r": -0.1025,
    "unrotscap_r2_r": 0.242,
    "acromioclavicular_r2_r": -0.049,
    "acromioclavicular_r3_r": 0.396,
    "acromioclavicular_r1_r": 0.178,
    "unrothum_r1_r": -0.178,
    "unrothum_r3_r": -0.396,
    "unrothum_r2_r": 0.049,
}
"""Angle of each per angle of elevation; the last six turn the humerus back."""
EXCURSION = 0.8


def postures(n, seed=0, excursion=EXCURSION):
    """Return random postures in the middle of every joint's range."""
    middle, width = ARM.joint_limits.mean(1), np.diff(ARM.joint_limits).ravel()
    return middle + excursion * width * np.random.default_rng(seed).uniform(-0.5, 0.5, (n, len(ARM.joints)))


def own_angles(qpos):
    return qpos[:, [ARM.model.joint(name).id for name in ARM.joint_names.values()]]


def arm_of(muscle, joint, angles=None):
    """Return the moment arm in mm, positive where the muscle increases the angle."""
    arms = ARM.muscle_capacity(ARM.neutral[None] if angles is None else angles)[0]
    found = -1000 * arms[:, ARM.muscles.index(muscle), ARM.joints.index(joint)]
    return found[0] if angles is None else found


def along(joint, low, high, n=30):
    angles = np.tile(ARM.neutral, (n, 1))
    angles[:, ARM.joints.index(joint)] = np.linspace(low, high, n)
    return angles


def test_names_and_counts():
    assert ARM.joints == (*SHOULDER, "elbow_flexion", "pro_sup", "deviation", "flexion")
    assert (len(ARM.muscles), ARM.keypoints, ARM.endpoint) == (50, ("elbow", "wrist", "hand"), "hand")
    assert set(OF_HAND) - set(ARM.muscles) == {"OP"} | {m for m in OF_HAND if m[:2] in ("RI", "LU", "UI")}
    model = ARM.model
    assert (model.nq, model.nv, model.nu, model.neq, model.ntendon) == (18, 18, 50, 11, 50)
    low, high = ARM.joint_limits.T
    assert ((low <= ARM.neutral) & (ARM.neutral <= high)).all()
    np.testing.assert_allclose(np.degrees(high), [130, 180, 120, 130, 90, 25, 45], atol=0.1)
    np.testing.assert_allclose(np.degrees(low), [-95, 0, -90, 0, -90, -10, -45], atol=0.1)


def test_every_muscle_crosses_a_joint():
    arms = ARM.muscle_capacity(postures(20))[0]
    assert (np.abs(arms).max(axis=(0, 2)) > 5e-3).all()


def test_clavicle_and_scapula_follow_the_elevation():
    angles = postures(50, excursion=1.0)
    qpos = ARM.qpos(angles)
    elv_angle, elevation = angles[:, 0], angles[:, 1]
    for name, slope in FOLLOWERS.items():
        np.testing.assert_allclose(qpos[:, ARM.model.joint(name).id], slope * elevation, atol=1e-12)
    np.testing.assert_array_equal(qpos[:, ARM.model.joint("shoulder1_r2_r").id], -elv_angle)
    np.testing.assert_array_equal(own_angles(qpos), angles)
    raised = along("shoulder_elv", 0.2, 2.0)
    assert np.ptp(ARM.muscle_kinematics(raised, 0.02).length[:, ARM.muscles.index("DELT1")]) > 0.03


def test_axes_point_ahead_up_and_to_the_right():
    hanging, ahead, aside = np.zeros((3, len(ARM.joints)))
    ahead[:2], aside[1] = np.pi / 2, np.pi / 2
    down, forward, right = ARM.keypoint_positions(np.stack([hanging, ahead, aside]))[:, 6:]
    assert down[1] < -0.6 and forward[0] > 0.55 and right[2] > 0.65
    hand = ARM.keypoint_positions(ARM.neutral[None])[0, 6:]
    np.testing.assert_allclose(hand, [0.43, -0.07, 0.08], atol=0.01)


def test_the_hand_is_myohand_at_rest():
    """Tips of the digits in the frame of the wrist."""
    import mujoco

    data = mujoco.MjData(ARM.model)
    data.qpos[:] = ARM.qpos(ARM.neutral[None])[0]
    mujoco.mj_kinematics(ARM.model, data)
    wrist = data.body("lunate_r")
    tips = [data.site(f"{tip}tip_r").xpos - wrist.xpos for tip in ("TH", "IF", "MF", "RF", "LF")]
    of_hand = HAND.keypoint_positions(HAND.neutral[None]).reshape(-1, 3)
    expected = of_hand[[HAND.keypoints.index(tip) for tip in HAND.tips]]
    np.testing.assert_allclose(tips @ wrist.xmat.reshape(3, 3), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("muscle", "joint", "sign"),
    [
        ("BIClong", "elbow_flexion", 1),
        ("BICshort", "elbow_flexion", 1),
        ("BRA", "elbow_flexion", 1),
        ("BRD", "elbow_flexion", 1),
        ("TRIlong", "elbow_flexion", -1),
        ("TRIlat", "elbow_flexion", -1),
        ("TRImed", "elbow_flexion", -1),
        ("BIClong", "pro_sup", -1),
        ("BICshort", "pro_sup", -1),
        ("SUP", "pro_sup", -1),
        ("PT", "pro_sup", 1),
        ("PQ", "pro_sup", 1),
        ("DELT1", "elv_angle", 1),  # the front of the deltoid turns the arm to the front
        ("PECM1", "elv_angle", 1),
        ("PECM2", "elv_angle", 1),
        ("DELT3", "elv_angle", -1),
        ("DELT1", "shoulder_elv", 1),
        ("DELT2", "shoulder_elv", 1),
        ("PECM3", "shoulder_elv", -1),
        ("LAT2", "shoulder_elv", -1),
        ("SUBSC", "shoulder_rot", 1),  # medial rotation
        ("PECM2", "shoulder_rot", 1),
        ("INFSP", "shoulder_rot", -1),
        ("TMIN", "shoulder_rot", -1),
        ("FCR", "flexion", 1),
        ("FCU", "flexion", 1),
        ("ECRL", "flexion", -1),
        ("ECU", "flexion", -1),
        ("ECRL", "deviation", 1),  # radial
        ("ECU", "deviation", -1),
        ("FCU", "deviation", -1),
    ],
)
def test_muscles_turn_joints_as_in_anatomy(muscle, joint, sign):
    assert sign * arm_of(muscle, joint) > 2


def test_moment_arms_at_the_elbow_have_published_sizes():
    """Means of ten specimens: Murray, Buchanan and Delp (2000), Journal of Biomechanics 33:943; triceps of 18
    people from 30 to 110 degrees: Sugisaki and others (2010), Journal of Biomechanics 43:2844."""
    flexed = along("elbow_flexion", *ARM.joint_limits[3])
    assert arm_of("BRD", "elbow_flexion", flexed).max() == pytest.approx(77, rel=0.2)
    assert arm_of("BIClong", "elbow_flexion", flexed).max() == pytest.approx(47, rel=0.2)
    assert -arm_of("TRIlong", "elbow_flexion", flexed).min() == pytest.approx(23, rel=0.2)
    extended, bent = -arm_of("TRIlong", "elbow_flexion", along("elbow_flexion", *np.radians([30, 110]), n=2))
    assert extended == pytest.approx(23.9, rel=0.2) and bent == pytest.approx(17.4, rel=0.35)


def test_moment_arms_are_the_derivatives_of_the_lengths():
    angles, step = postures(30), 1e-6
    arms = ARM.muscle_capacity(angles)[0]
    for j in range(len(ARM.joints)):
        turn = step * (np.arange(len(ARM.joints)) == j)
        after, before = (ARM.muscle_kinematics(angles + s * turn, 1.0).length for s in (1, -1))
        np.testing.assert_allclose(arms[:, :, j], (after - before) / (2 * step), atol=1e-6)


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_a_released_arm_falls_and_its_scapula_follows(action):
    bodies = ARM.simulate(action, 8, threads=1)
    bodies.start(slice(None), postures(8), np.zeros((8, len(ARM.joints))))
    height = bodies.keypoints[:, 7].copy()
    rest = np.full((8, bodies.n_actions), -1.0 if action == "muscle" else 0.0)
    n = ARM.model.nq
    for _ in range(100):
        bodies.step(rest)
        qpos = bodies.state()["state"][:, 1 : 1 + n]
        assert np.isfinite(qpos).all()
        assert np.abs(qpos - ARM.qpos(own_angles(qpos))).max() < 0.02
    assert (bodies.keypoints[:, 7] < height).all()
    low, high = ARM.joint_limits.T
    assert ((bodies.joint_angles > low - 0.05) & (bodies.joint_angles < high + 0.05)).all()
    bodies.close()


@pytest.mark.parametrize("action", ["muscle", "torque"])
def test_results_do_not_depend_on_the_number_of_threads(action):
    actions = np.random.default_rng(0).uniform(-1, 1, (10, 6, ARM.n_actions(action)))
    reached = []
    for threads in (1, 3):
        bodies = ARM.simulate(action, 6, threads=threads)
        bodies.start(slice(None), postures(6), np.zeros((6, len(ARM.joints))))
        for each in actions:
            bodies.step(each)
        reached.append(bodies.sensors.copy())
        bodies.close()
    np.testing.assert_array_equal(*reached)


def test_planted_reaches_are_reproduced():
    course = 0.1 * minimum_jerk(np.linspace(0, 1, 40))[:, None]
    centre = ARM.keypoint_positions(ARM.neutral[None])[0, 6:]
    path = np.concatenate([centre + course * way for way in (*np.eye(3), *-np.eye(3))])
    found = ARM.inverse_kinematics(path, 0.02, 40 * np.arange(7))
    hand = ARM.keypoint_positions(found.joint_angles)[:, 6:]
    assert np.linalg.norm(hand - path, axis=1).max() < 2e-3 and not found.at_limit
    assert np.abs(np.diff(found.joint_angles.reshape(6, 40, -1), axis=1)).max() < 0.1, "nothing jumps"


@pytest.mark.slow
def test_muscles_are_as_long_as_in_the_whole_model():
    import mujoco
    import myo_sim

    from neurobench_grasp.bodies.spec import _quiet

    with _quiet():
        whole = myo_sim.load_spec("myoarm_r").compile()
    data, angles = mujoco.MjData(whole), postures(10)
    for joint, angle in zip(HAND.joints, HAND.neutral, strict=True):
        name = f"{joint}_r" if f"{joint}_r" in names_of(whole) else joint
        data.joint(name).qpos = angle
    lengths = ARM.muscle_kinematics(angles, 0.02).length
    for qpos, expected in zip(ARM.qpos(angles), lengths, strict=True):
        for i, angle in enumerate(qpos):
            data.joint(ARM.model.joint(i).name).qpos = angle
        mujoco.mj_fwdPosition(whole, data)
        found = [data.actuator(muscle).length[0] for muscle in ARM.muscles]
        np.testing.assert_allclose(found, expected, atol=1e-9)


def names_of(model):
    return {model.joint(i).name for i in range(model.njnt)}
