"""A body that a plugin offers, with one joint and two muscles, goes all the way from file to tracking scores."""

import os
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from courses import minimum_jerk
from movements import grasp_trials
from PIL import Image
from recorded import write_for_test
from typer.testing import CliRunner

from neurobench_grasp import ModelSpec, NgbError, Ragged, Tracking, Trials
from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies import body_of, find_body, linear_kinematics, linear_lookahead
from neurobench_grasp.checks import run_checks
from neurobench_grasp.checks.replay_controller import ReplayController, context_of
from neurobench_grasp.checks.sample_session import sample_trials, write_sample
from neurobench_grasp.cli import app
from neurobench_grasp.data import load_layout, load_session, session_digest, session_from_arrays
from neurobench_grasp.errors import UnknownNameError, UnsupportedError
from neurobench_grasp.plots.trajectory import Trajectory
from neurobench_grasp.plots.trial_figure import figure_png
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.brain_control import protocol as brain_control
from neurobench_grasp.protocols.context import LazyModel
from neurobench_grasp.resources import resource
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.workspace import Workspace

NAME = "one_joint_arm"
ARM = Path(__file__).parent / "distributions" / "arm"
N_CONDITIONS, N_REPEATS = 5, 4


@pytest.fixture
def arm(monkeypatch):
    """The body, from an installed plugin."""
    monkeypatch.syspath_prepend(str(ARM))
    load_registry.cache_clear()
    yield find_body(NAME)
    load_registry.cache_clear()


def reaching():
    """A session in which the elbow turns to five angles, and two units follow it."""
    n, rng = N_CONDITIONS * N_REPEATS, np.random.default_rng(0)
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.02) + 0.01
    course = minimum_jerk((times[:, None] - onset) / 0.6 * (times[:, None] < onset + 1.3))
    turned = 0.2 * (1 + np.arange(n) % N_CONDITIONS) + 0.02 * rng.standard_normal(n)
    elbow = 0.8 + course @ turned
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
        body=NAME,
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


class Elbow(ReplayController):
    """Moves an elbow, and no other body: it is at once where its goal is."""

    untrained = None

    def track(self, trials, *, goal=None):
        angles = self.wanted(trials, goal).values[:, :1]
        points = find_body(NAME).keypoint_positions(angles)
        return Tracking(Ragged(angles, trials.offsets), Ragged(points, trials.offsets))

    def wanted(self, trials, goal):
        return self.embed(trials) if goal is None else goal.values


class StandsStill(Elbow):
    def wanted(self, trials, goal):
        return Ragged(np.ones((int(trials.offsets[-1]), 1)), trials.offsets)


@pytest.mark.parametrize(
    ("made", "body", "check", "advice"),
    [
        (Elbow, NAME, None, ""),
        (Elbow, None, "tracks", "joint_angles of (1,) columns; expected 23"),  # tried on grasps of a hand
        (StandsStill, NAME, "takes_goals", "The body ignores `goal`"),
        (Elbow, "one_joint_am", "names_its_body", "no body 'one_joint_am'. Did you mean 'one_joint_arm'?"),
    ],
)
def test_a_controller_is_checked_on_movements_of_the_body_that_it_names(
    arm, tmp_path, made, body, check, advice
):
    from neurobench_grasp.checks import controller, model
    from neurobench_grasp.checks.audit import Audit
    from neurobench_grasp.checks.catalogue import outcome
    from neurobench_grasp.checks.fixture import ModelCase
    from neurobench_grasp.checks.rules import checks_in

    audit = Audit(set(), allowed=[], traps=tmp_path, watched={})
    case = ModelCase(audit, tmp_path, "fake-arm", sample_trials())
    card = replace(load_registry().model("arm_ppo").spec.card, action_space="postures")
    case.spec = ModelSpec(
        "elbow", build=lambda seed: made(), summary="", card=card, controller=True, body=body
    )
    statuses, messages = {}, {}
    for one in (*checks_in(model), *checks_in(controller)):
        statuses[one.name], messages[one.name] = outcome(one, case, statuses)
    assert [name for name, status in statuses.items() if status == "fail"] == ([check] if check else [])
    assert not check or advice in messages[check]


@pytest.mark.slow
def test_the_whole_plugin_passes_its_checks(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ARM), prepend=os.pathsep)
    rows = run_checks("arm").rows
    assert {row.subject for row in rows} == {"plugin arm", f"body {NAME}", "model arm_ppo"}
    assert {row.check: row.message for row in rows if row.status not in ("pass", "skip")} == {}
    skipped = {row.check for row in rows if row.status == "skip"}
    assert skipped == {"initial_states", "resets_between_calls", "resets_between_trials", "steps_alike"}


def test_movements_of_another_body_are_refused(arm, tmp_path):
    hand = write_sample(tmp_path / "hand.nwb", n_objects=5)
    reached = write_for_test(tmp_path / "reaching.nwb", reaching())
    for model, dataset, trained_on in (
        ("arm_ppo", hand, None),
        ("arm_ppo", reached, str(hand)),
        ("muscle_ppo", reached, str(hand)),  # of any body, and trained to move a hand
    ):
        with pytest.raises(
            UnsupportedError, match=r"^\w+ moves the body '(\w+)', .* are those of '(?!\1)\w+'; choose"
        ):
            Workspace(load_registry()).find(model, dataset, Options(trained_on=trained_on))
    Workspace(load_registry()).find("arm_ppo", reached)
    Workspace(load_registry()).find("linear_kinematic", reached, Options(trained_on=str(hand)))
    pytest.importorskip("torch")
    from neurobench_grasp.run.train import train_network

    with pytest.raises(UnsupportedError, match="arm_ppo moves the body 'one_joint_arm'"):
        train_network("arm_ppo", hand, to=tmp_path)


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
    assert linear_kinematics(trials).values.shape[1] == 2 * 2
    assert linear_lookahead(trials).values.shape[1] == 2 * 2 * 6


def test_a_layout_names_the_body(tmp_path):
    shipped = resource("nwb_schemas") / "hand-reach-to-grasp.yaml"
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"{shipped.read_text()}\nbody: {NAME}\n")
    assert (load_layout(shipped).body, load_layout(mine).body) == ("myohand", NAME)


def test_digests_name_another_body_and_not_the_default_one(arm):
    trials = align(reaching()).trials
    assert replace(trials, body="other").sha256 != trials.sha256
    elsewhere = replace(reaching(), body="other")  # a file from a machine with another plugin
    assert session_digest(elsewhere) != reaching().sha256
    hand = grasp_trials(2)
    assert hand.body == "myohand" and replace(hand, body=None).sha256 == hand.sha256
    with pytest.raises(NgbError, match="different bodies"):
        Trials.join([trials, hand])
    with pytest.raises(
        UnknownNameError, match=r"needs the body 'other', .*There is no body 'other'\. Installed: "
    ):
        align(elsewhere)


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
