"""A body that a plugin offers, with one joint and two muscles, goes all the way from file to tracking scores."""

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from movements import grasp_trials
from PIL import Image
from recorded import write_for_test
from typer.testing import CliRunner

from neurobench_grasp import NgbError, Ragged, Trials
from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies import body_of, find_body, recorded_kinematics
from neurobench_grasp.checks.replay_controller import ReplayController, context_of
from neurobench_grasp.cli import app
from neurobench_grasp.data import load_session, session_from_arrays
from neurobench_grasp.errors import UnknownNameError
from neurobench_grasp.plots.trajectory import Trajectory
from neurobench_grasp.plots.trial_figure import figure_png
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.brain_control import protocol as brain_control
from neurobench_grasp.protocols.context import LazyModel

NAME = "one_joint_arm"
N_CONDITIONS, N_REPEATS = 5, 4


@pytest.fixture
def arm(monkeypatch):
    """The body, from an installed plugin."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "distributions" / "arm"))
    load_registry.cache_clear()
    yield find_body(NAME)
    load_registry.cache_clear()


def reaching(body=NAME):
    """A session in which the elbow turns to five angles, and two units follow it."""
    n, rng = N_CONDITIONS * N_REPEATS, np.random.default_rng(0)
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.02) + 0.01
    phase = np.clip((times[:, None] - onset) / 0.6, 0, 1) * (times[:, None] < onset + 1.3)
    course = 10 * phase**3 - 15 * phase**4 + 6 * phase**5
    turned = 0.2 * (1 + np.arange(n) % N_CONDITIONS) + 0.02 * rng.standard_normal(n)
    elbow = 1.2 + course @ turned - 0.6 * course.any(axis=1)
    elbow = np.clip(elbow, 0.05, 2.35)
    rates = 10 + 30 * (elbow - elbow.min())
    spikes = {str(u): times[rng.random(len(times)) < 0.02 * rates] + 0.005 for u in range(6)}
    return session_from_arrays(
        id="reaching",
        subject="planted",
        spike_times=spikes,
        areas=dict.fromkeys(spikes, "M1"),
        trials={
            "start": onset - 0.6,
            "stop": onset + 1.2,
            "condition": [f"to_{i % N_CONDITIONS}" for i in range(n)],
            "move_onset": onset,
            "contact": onset + 0.6,
        },
        joint_angles={"elbow_deg": np.degrees(elbow), "camera": np.zeros(len(times))},
        angle_unit="deg",
        angle_times=times,
        joint_map={"elbow_deg": ("elbow", 1.0, 0.0)},
        body=body,
    )


def test_it_is_listed_and_a_name_nearby_is_suggested(arm):
    listed = CliRunner().invoke(app, ["bodies"])
    assert listed.exit_code == 0
    assert all(word in listed.stdout for word in ("myohand", NAME, "CC0-1.0", "made for a test"))
    with pytest.raises(UnknownNameError, match="Did you mean 'one_joint_arm'"):
        find_body("one_joint_am")


def test_it_fulfils_the_contract(arm):
    from neurobench_grasp.checks import body as checks
    from neurobench_grasp.checks.audit import Audit
    from neurobench_grasp.checks.catalogue import checks_of, outcome

    case = checks.BodyCase(Audit(set(), allowed=[], traps=Path("none"), watched={}))
    case.spec = load_registry().body(NAME).spec
    found = {
        one.name: outcome(one, case, {n.name: "pass" for n in checks_of("body")}) for one in checks_of("body")
    }
    assert set(found.values()) == {("pass", "")}, found


def test_its_sizes_are_those_of_its_names(arm):
    assert (arm.n_actions("muscle"), arm.n_actions("torque")) == (2, 1)
    np.testing.assert_array_equal(arm.joint_limits, [[0.0, 2.4]])
    np.testing.assert_array_equal(arm.moved_parts("muscle"), [[True], [True]])
    points = arm.keypoint_positions(np.array([[0.0], [np.pi / 2]])).reshape(2, 2, 3)
    np.testing.assert_allclose(points[:, 1], [[0.55, 0, 0], [0.3, 0.25, 0]], atol=1e-12)


def test_each_muscle_pulls_its_way(arm):
    reached = []
    for action in ([1.0, -1.0], [-1.0, 1.0]):
        bodies = arm.simulate("muscle", 1)
        bodies.start(slice(None), arm.neutral[None], np.zeros((1, 1)))
        for _ in range(20):
            bodies.step(np.array([action]))
        reached.append(float(bodies.joint_angles[0, 0]))
        bodies.close()
    assert reached[0] > arm.neutral[0] + 0.3 and reached[1] < arm.neutral[0] - 0.3


def test_a_recorded_angle_becomes_its_posture(arm, tmp_path):
    session = reaching()
    trials = align(load_session(write_for_test(tmp_path / "reaching.nwb", session))).trials
    assert trials.body == NAME and body_of(trials) is arm
    assert trials.joint_angles.values.shape[1] == 1
    np.testing.assert_allclose(
        trials.joint_angles.values[:, 0], trials.signals["joint_angles"].values[:, 0], atol=1e-12
    )
    name, features = recorded_kinematics(trials)
    assert (name, features.values.shape[1]) == ("muscle_kinematics", 2 * 2 * 6)


def test_digests_name_another_body_and_not_the_default_one(arm):
    trials = align(reaching()).trials
    assert replace(trials, body="other").sha256 != trials.sha256
    assert reaching("other").sha256 != reaching().sha256
    hand = grasp_trials(2)
    assert hand.body == "myohand" and replace(hand, body=None).sha256 == hand.sha256
    with pytest.raises(NgbError, match="different bodies"):
        Trials.join([trials, hand])
    with pytest.raises(UnknownNameError, match="no body 'other'"):
        align(reaching("other"))


def test_tracking_and_brain_control_score_it(arm):
    session = align(reaching())
    context = context_of(session, 0)
    rows = tracking.run(context).rows
    errors = {
        r["split"]: r["value"] for r in rows if r["metric"] == "tracking_error" and "reference" not in r
    }
    assert errors["test"] == pytest.approx(0, abs=1e-9)
    decoded = [r for r in brain_control.run(context).rows if r["metric"] == "decoding_ev_joint_angles"]
    assert {r.get("dimension") for r in decoded} == {None, "elbow"}


def test_a_trial_is_drawn(arm):
    trial = align(reaching()).trials.select([0])
    replayed = ReplayController().track(trial)
    active = Ragged(np.full((len(replayed.keypoints.values), 2), 0.1), trial.offsets)
    trajectory = Trajectory.of(trial, replace(replayed, muscle_activation=active), arm.neutral)
    table = trajectory.table()
    assert {"recorded_elbow_deg", "simulated_elbow_deg", "activation_triceps"} <= set(table)
    assert table["error_mm"].max() < 1e-9
    with Image.open(BytesIO(figure_png(table, arm, "an elbow", ["simulated"]))) as picture:
        assert picture.width == 1420


def test_its_painter_draws_it_where_its_keypoints_are(arm):
    try:
        painter = arm.painter(120, 90)
    except NgbError as reason:
        pytest.skip(str(reason))
    straight, bent = (painter.paint(np.array([angle]), (1, 0, 0)).astype(int) for angle in (0.0, 1.5))
    columns, rows = painter.project(arm.keypoint_positions(np.array([[1.5]]))[0]).round().astype(int).T
    painter.close()
    assert np.all(bent[rows, columns].min(1) < 250) and np.all(straight[rows, columns].min(1) > 250)


def test_a_network_learns_to_move_it_and_comes_back_from_its_state(arm):
    pytest.importorskip("torch")
    from neurobench_grasp.controllers.controller import NetworkController
    from neurobench_grasp.controllers.settings import ControllerSettings

    session = align(reaching())
    settings = ControllerSettings(n_envs=16, n_steps=4, batch_size=64, max_error=0.3, least_movements=0)
    model = NetworkController("arm_ppo", "muscle", settings, fit_steps=256)
    model.fit(session.trials, seed=0)
    again = NetworkController("arm_ppo", "muscle")
    again.restore(model.state())
    some = session.trials.select([0, 1])
    movement, same = model.track(some), again.track(some)
    assert movement.joint_angles.values.shape[1] == 1 and movement.muscle_activation.values.shape[1] == 2
    np.testing.assert_array_equal(movement.keypoints.values, same.keypoints.values)

    context = replace(context_of(session, 0), model=LazyModel(lambda: model, moves_body=True, seed=0))
    rows = tracking.run(context).rows
    assert all(np.isfinite(r["value"]) for r in rows if r["metric"] == "tracking_error")
