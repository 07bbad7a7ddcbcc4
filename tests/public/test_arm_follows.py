"""An arm follows the recorded hand of public reaching sets and is scored; what it cannot follow is refused."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.planar_arm import LIMITS
from neurobench_grasp.checks.replay_controller import context_of
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Endpoint
from neurobench_grasp.data import load_session
from neurobench_grasp.errors import NgbError, UnknownNameError, UnsupportedError
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.encoding import protocol as encoding
from neurobench_grasp.resources import resource

REACHING = ("nlb-mc-maze", "nlb-mc-rtt", "nlb-area2-bump", "perich-miller-co", "perich-miller-rt")
PLANAR = {"nlb-area2-bump": "nlb-area2-bump-planar-arm"}
"""Layouts that are asked for."""
WITHIN = 2e-3


@pytest.mark.parametrize("name", REACHING)
def test_a_controller_is_scored_on_it(public, name):
    session = align(load_session(public(name), PLANAR.get(name)))
    trials, arm = session.trials, find_body("planar_arm")
    assert trials.body == "planar_arm"
    hand = trials.signals[trials.inferred_from].values[:, :2]
    place = 3 * arm.keypoints.index("hand")
    reached = arm.keypoint_positions(trials.joint_angles.values)[:, place : place + 2]
    metres = 1.0 if name.startswith("nlb-mc") else 0.01  # the files of the other sets are in cm
    moved = metres * (hand - hand.mean(0)) - (reached - reached.mean(0))
    assert np.linalg.norm(moved, axis=1).max() < WITHIN
    assert np.ptp(reached, axis=0).min() > 0.04  # over several centimetres
    low, high = np.array(list(LIMITS.values())).T
    assert np.all((trials.joint_angles.values > low) & (trials.joint_angles.values < high))
    assert any(note.startswith("where the shoulder was is not recorded") for note in session.notes)
    context = context_of(session, 0)
    for protocol, metric in ((tracking, "tracking_error"), (encoding, "single_trial_ev")):
        rows = [r for r in protocol.run(context).rows if r["metric"] == metric and not r.get("reference")]
        assert {row["split"] for row in rows} >= {"test", "ood"}
        assert all(np.isfinite(row["value"]) for row in rows if row["split"] == "test")


def test_recorded_joint_angles_come_before_those_that_follow_from_the_hand(public):
    session = load_session(public("nlb-area2-bump"), PLANAR["nlb-area2-bump"])
    joints = {"shoulder_flexion": ("shoulder", 1.0, 0.0), "elbow_flexion": ("elbow", 1.0, 0.5)}
    trials = align(replace(session, joint_map=joints)).trials
    assert trials.inferred_from == ""
    column = session.signals["joint_ang"].columns.index("elbow_flexion")
    recorded = trials.signals["joint_ang"].values[:, column] + 0.5
    np.testing.assert_allclose(trials.joint_angles.values[:, 1], np.clip(recorded, *LIMITS["elbow"]))


def test_a_mirrored_axis_and_a_known_origin_are_honoured(public):
    session = load_session(public("perich-miller-co"))
    endpoint = Endpoint("cursor_pos", ("-x", "y"), 0.01, origin=(0.0, 0.24))
    aligned = align(replace(session, endpoint=endpoint))
    arm = find_body("planar_arm")
    place = 3 * arm.keypoints.index("hand")
    reached = arm.keypoint_positions(aligned.trials.joint_angles.values)[:, place : place + 2]
    expected = 0.01 * aligned.trials.signals["cursor_pos"].values * [-1, 1] + [0.0, 0.24]
    assert np.linalg.norm(reached - expected, axis=1).max() < WITHIN
    assert not any("is not recorded" in note for note in aligned.notes)


def test_a_hand_that_moved_in_a_plane_drives_an_arm_in_space(public):
    """Along the axis that was not recorded it stays where the neutral posture has it."""
    session = load_session(public("perich-miller-co"))
    arm, endpoint = find_body("myoarm"), Endpoint("cursor_pos", ("y", "held", "x"), 0.01)
    aligned = align(replace(session, body="myoarm", endpoint=endpoint))
    hand = slice(3 * arm.keypoints.index("hand"), None)
    reached = arm.keypoint_positions(aligned.trials.joint_angles.values)[:, hand][:, :3]
    neutral = arm.keypoint_positions(arm.neutral[None])[0, hand][:3]
    assert np.abs(reached[:, 1] - neutral[1]).max() < WITHIN
    recorded = 0.01 * aligned.trials.signals["cursor_pos"].values[:, [1, 0]]
    moved = (recorded - recorded.mean(0)) - (reached[:, [0, 2]] - reached[:, [0, 2]].mean(0))
    assert np.linalg.norm(moved, axis=1).max() < WITHIN
    assert np.ptp(recorded, axis=0).min() > 0.04
    assert "the hand was not recorded along y, and is held at neutral there" in aligned.notes


# -- what cannot be followed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"endpoint": Endpoint("cursor_pos", ("x", "y"), 1.0)},
            UnsupportedError,
            r"The body planar_arm cannot follow cursor_pos of CO-20131003: its hand is \d+ mm away in the median, "
            r"since positions are up to \d+\.\d+ m from its shoulder; correct scale \(metres per unit\) or origin",
        ),
        (
            {"endpoint": Endpoint("cursor_pos", ("x", "y"), 0.01, origin=(2.0, 0.0))},
            UnsupportedError,
            r"cannot follow cursor_pos .* correct scale \(metres per unit\) or origin of the layout's endpoint",
        ),
        (
            {"endpoint": Endpoint("cursor_pos", ("x", "depth"), 0.01)},
            UnsupportedError,
            r"The endpoint of CO-20131003 has the axes x, depth; planar_arm needs a column of cursor_pos "
            r"\(x, y\) for each of x, y",
        ),
        (
            {"endpoint": Endpoint("cursor_pos", ("x",), 0.01)},
            UnsupportedError,
            r"has the axes x; planar_arm needs a column of cursor_pos",
        ),
        (
            {"body": "marmoset_arm"},
            UnknownNameError,
            r"^CO-20131003 needs the body 'marmoset_arm', which its layout perich-miller-co@1 names\. There is no "
            r"body 'marmoset_arm'\. Did you mean 'macaque_arm'\? Installed: .*planar_arm\.$",
        ),
        (
            {"body": "myohand"},
            UnsupportedError,
            r"The body myohand of CO-20131003 has no endpoint that determines its posture; name another body",
        ),
    ],
)
def test_what_no_arm_can_follow_is_refused_in_a_sentence(public, changes, error, message):
    session = replace(load_session(public("perich-miller-co")), **changes)
    with pytest.raises(error, match=message) as caught:
        align(session)
    assert "\n" not in str(caught.value)


def test_a_layout_of_a_body_that_is_not_installed_ends_in_one_line(public, tmp_path):
    layout = yaml.safe_load(resource("nwb_schemas/perich-miller-co.yaml").read_text()) | {
        "body": "marmoset_arm"
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(layout))
    file = str(public("perich-miller-co"))
    scored = CliRunner().invoke(
        app,
        [
            "score",
            "-m",
            "linear_kinematic",
            "-d",
            file,
            "--layout",
            str(path),
            "--out",
            str(tmp_path / "run"),
        ],
    )
    assert scored.exit_code == 1 and scored.stdout == ""
    *_, message = scored.stderr.splitlines()
    assert message.startswith("CO-20131003 needs the body 'marmoset_arm'") and "Installed: " in message


def test_a_unit_that_contradicts_the_scale_is_noted(public):
    session = load_session(public("perich-miller-co"))
    position = replace(session.signals["cursor_pos"], unit="meters")
    notes = align(replace(session, signals=session.signals | {"cursor_pos": position})).notes
    assert "cursor_pos states meters as its unit; its layout takes 0.01 m" in notes


# -- degrees for radians -----------------------------------------------------------------------------------


def angles_of(elbow):
    return find_body("planar_arm").posture(
        np.column_stack([np.full(len(elbow), 0.5), elbow]), ("shoulder", "elbow")
    )


def test_degrees_for_radians_are_refused():
    with pytest.raises(
        NgbError, match=r"'elbow' reaches 110 rad, .* so it is in degrees; state that unit"
    ) as caught:
        angles_of(np.linspace(5, 110, 200))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "elbow",
    [
        np.linspace(-np.pi, np.pi, 200),
        np.linspace(0, 2, 200) + 2 * np.pi,  # not unwrapped
        np.where(np.arange(200) % 20 == 0, 1e4, 1.0),  # one artefact in 20 samples
    ],
)
def test_radians_are_clipped_and_counted_but_not_refused(elbow):
    outside = np.sum((elbow < LIMITS["elbow"][0]) | (elbow > LIMITS["elbow"][1]))
    assert angles_of(elbow).clipped.get("elbow", 0) == outside
