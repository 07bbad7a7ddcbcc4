"""Public and real recordings on arms in space: joints by name, the plane of the task, recorded lengths, other layouts."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import stand_in_arm
import yaml
from planted_postures import positions
from stand_in_arm import FORE, HAND, UPPER
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.macaque_arm import JOINTS
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Endpoint
from neurobench_grasp.data import load_layout, load_session
from neurobench_grasp.data.nwb.layout import extensions_of, kinds_of_files, layouts
from neurobench_grasp.errors import LayoutError, NgbError, UnsupportedError
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.job import Options

AREA2, MAZE = "nlb-area2-bump", "nlb-mc-maze"


# -- area 2: seven joints by their names -----------------------------------------------------------------


def test_seven_recorded_joints_drive_the_arm_without_inverse_kinematics(public):
    session = load_session(public(AREA2))
    aligned = align(session)
    trials, recorded = aligned.trials, aligned.trials.signals["joint_ang"].values
    assert trials.body == "macaque_arm" and trials.inferred_from == ""
    low, high = find_body("macaque_arm").joint_limits.T
    columns = [session.signals["joint_ang"].columns.index(joint) for joint in JOINTS]
    np.testing.assert_allclose(trials.joint_angles.values, np.clip(recorded[:, columns], low, high))


def test_recorded_lengths_confirm_the_postures(public):
    aligned = align(load_session(public(AREA2)))
    (note,) = [n for n in aligned.notes if n.startswith("muscle_len ")]
    assert note == (
        "muscle_len has lengths of 3 muscles of macaque_arm: they correlate with those in its postures by 1.00 in "
        "the median and 1.00 at least (tricep_lat)"
    ) or note.split(" (")[0].endswith("by 1.00 in the median and 1.00 at least")


def test_recorded_lengths_contradict_a_joint_with_the_wrong_sign(public):
    joints = {joint: (joint, 1.0, 0.0) for joint in JOINTS}
    wrong = joints | {
        "shoulder_flexion": ("shoulder_flexion", -1.0, 0.0),
        "wrist_flexion": ("wrist_flexion", -1.0, 0.0),
    }
    session = replace(load_session(public(AREA2)), joint_map=wrong)
    (note,) = [n for n in align(session).notes if n.startswith("muscle_len ")]
    assert "-1.00 in the median" in note and note.endswith("the postures are not those of the recording")


def test_lengths_named_otherwise_are_said_to_check_nothing(public):
    session = load_session(public(AREA2))
    lengths = replace(session.signals["muscle_len"], columns=("a", "b", "deltoid"))
    notes = align(replace(session, signals=session.signals | {"muscle_len": lengths})).notes
    constant = replace(session.signals["muscle_len"], values=0 * session.signals["muscle_len"].values)
    still = align(replace(session, signals=session.signals | {"muscle_len": constant})).notes
    assert "the lengths in muscle_len do not vary, or have gaps, so they check nothing" in still
    assert "no column of muscle_len is a muscle of macaque_arm, so its lengths check nothing" in notes
    named = replace(session.signals["muscle_len"], columns=("deltoid_ant_len", "b", "c"))
    notes = align(replace(session, signals=session.signals | {"muscle_len": named})).notes
    assert any("lengths of 1 muscles of macaque_arm" in note for note in notes)


def test_where_columns_have_other_names_the_posture_follows_from_the_hand(public):
    session = load_session(public(AREA2))
    other = replace(session.signals["joint_ang"], columns=tuple(f"q{i}" for i in range(7)))
    joint_map = {f"q{i}": (f"q{i}", 1.0, 0.0) for i in range(7)}
    trials = align(
        replace(session, signals=session.signals | {"joint_ang": other}, joint_map=joint_map)
    ).trials
    assert trials.body == "macaque_arm" and trials.inferred_from == "hand_pos"


@pytest.mark.parametrize(("kind", "bumped"), [("active", 0), ("passive", 1)])
def test_active_and_passive_trials_can_be_scored_apart(public, kind, bumped):
    every, some = (load_session(public(AREA2), name) for name in (AREA2, f"{AREA2}-{kind}"))
    wanted = [t for t, c in zip(every.trials.ids, every.trials.condition, strict=True) if c.endswith(kind)]
    assert list(some.trials.ids) == wanted and len(wanted) > 20
    assert any(f"ctr_hold_bump: 32 of 64 trials are not {bumped}" in note for note in some.notes)
    assert some.units.ids == every.units.ids


@pytest.mark.slow
def test_a_muscle_controller_is_scored_on_active_and_passive_trials(public, tmp_path):
    """A short training; the network of all trials is scored on either kind, frozen."""
    options = Options(layout=AREA2, train=True, steps=4096)
    file = public(AREA2)
    (tracking,) = run.evaluate(
        "muscle_ppo", file, protocols=["tracking"], seeds=(0,), out=tmp_path / "run", options=options
    )
    error = {
        r["split"]: r["value"]
        for r in tracking.scores
        if r["metric"] == "tracking_error" and not r.get("reference")
    }
    assert 0 < error["test"] < 1000 * 2 * (UPPER + FORE + HAND)  # hardly trained, it is somewhere in reach
    for kind in ("active", "passive"):
        options = Options(layout=f"{AREA2}-{kind}", train=True, steps=4096)
        (record,) = run.evaluate(
            "muscle_ppo", file, protocols=["encoding"], seeds=(0,), out=tmp_path / kind, options=options
        )
        found = [r["value"] for r in record.scores if r["metric"] == "single_trial_ev" and r["split"] == "test"
                 and not any(r.get(k) for k in ("reference", "layer", "session"))]  # fmt: skip
        assert len(found) == 1 and np.isfinite(found[0])


# -- MC_Maze: a vertical plane ---------------------------------------------------------------------------


def test_the_maze_is_moved_through_in_its_vertical_plane(public):
    session = load_session(public(MAZE), f"{MAZE}-macaque-arm")
    aligned, arm = align(session), find_body("macaque_arm")
    trials = aligned.trials
    place = 3 * arm.keypoints.index("hand")
    hand = arm.keypoint_positions(trials.joint_angles.values)[:, place : place + 3]
    neutral = arm.keypoint_positions(arm.neutral[None])[0, place : place + 3]
    assert np.abs(hand[:, 0] - neutral[0]).max() < 2e-3  # at one depth
    recorded = trials.signals["hand_pos"].values[:, :2]
    moved = hand[:, [2, 1]] - hand[:, [2, 1]].mean(0) - (recorded - recorded.mean(0))
    assert np.linalg.norm(moved, axis=1).max() < 2e-3  # x to the right, y up
    assert any("the hand was not recorded along x" in note for note in aligned.notes)


# -- layouts that extend one -----------------------------------------------------------------------------


def test_extensions_are_never_chosen_and_differ_only_where_they_say_so():
    assert set(extensions_of(AREA2)) == {f"{AREA2}-{kind}" for kind in ("active", "passive", "planar-arm")}
    assert not set(kinds_of_files()) & {name for name, layout in layouts().items() if layout.extends}
    base, other = load_layout(AREA2), load_layout(f"{AREA2}-passive")
    assert other.version == base.version and other.signals == base.signals and other.window == base.window
    assert other.trials.keep != base.trials.keep
    assert replace(other.trials, keep=base.trials.keep) == base.trials


def mine(tmp_path, **content):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_layout_of_ones_own_extends_a_shipped_one(public, tmp_path):
    path = mine(
        tmp_path,
        name="smaller",
        extends=MAZE,
        version=3,
        body="planar_arm@0.8",
        endpoint={"origin": [0, 0.2]},
    )
    session = load_session(public(MAZE), path)
    assert session.layout == "smaller@3" and session.body == "planar_arm@0.8"
    assert session.endpoint == replace(load_layout(MAZE).endpoint, origin=(0, 0.2))
    assert align(session).trials.body == "planar_arm@0.8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "a", "extends": "nothing"}, "extends: expected a shipped layout that extends none, not 'nothing'"),
        ({"name": "a", "extends": f"{AREA2}-active"}, "extends: expected a shipped layout that extends none"),
        ({"name": "a", "extends": 3}, "extends: expected a shipped layout that extends none, not 3"),
        ({"extends": MAZE}, "the field 'name' is missing"),
        ({"name": "a", "extends": MAZE, "trial": {}}, r"there is no field 'trial' \(did you mean 'trials'\?\)"),
        ({"name": "a", "extends": MAZE, "endpoint": {"keypoints": {"elbow": ["x"]}}}, "endpoint.keypoints.elbow: expected a column for each"),
        ({"name": "a", "extends": MAZE, "endpoint": {"keypoints": {"elbow": ["x", "q"]}}}, "endpoint.keypoints: 'q' is not a column of hand_pos"),
    ],
)  # fmt: skip
def test_a_wrong_extension_is_refused_in_one_sentence(tmp_path, content, message):
    with pytest.raises(LayoutError, match=message) as caught:
        load_layout(mine(tmp_path, **content))
    assert "\n" not in str(caught.value)


def test_inspection_names_the_layouts_that_extend_the_one_that_fits(public, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["data", "inspect", str(public(MAZE))]).stdout
    assert f"layout: {MAZE}; others for such files (--layout): {MAZE}-macaque-arm" in shown


def test_without_the_fetched_arm_one_sentence_says_how_to_get_it(public, tmp_path, monkeypatch):
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "empty"))
    stand_in_arm.forget()
    with pytest.raises(
        NgbError, match=r"macaque_arm has not been fetched yet; run `ngb body fetch macaque_arm`"
    ):
        align(load_session(public(AREA2)))
    shown = CliRunner().invoke(app, ["data", "inspect", str(public(AREA2))])
    assert shown.exit_code == 0 and "ngb body fetch macaque_arm" in " ".join(shown.stdout.split())


# -- hand, elbow and wrist -------------------------------------------------------------------------------


def test_a_session_with_hand_elbow_and_wrist_places_the_arm(public):
    """The columns are those of the keypoints; the note says by how much all three are missed."""
    session, arm = load_session(public("perich-miller-co")), find_body("macaque_arm")
    clock = session.signals["cursor_pos"].times
    t = np.linspace(0, 300, len(clock))[:, None]
    angles = arm.neutral + 0.2 * np.sin(t + np.arange(7))
    names = tuple(f"{k}_{axis}" for k in ("hand", "elbow", "wrist") for axis in "xyz")
    markers = replace(
        session.signals["cursor_pos"],
        columns=names,
        values=1000 * positions(arm, angles, ("hand", "elbow", "wrist")),
    )
    endpoint = Endpoint("cursor_pos", names[:3], 0.001, origin=(0.0, 0.0, 0.0),
                        keypoints={"elbow": names[3:6], "wrist": names[6:]})  # fmt: skip
    session = replace(session, body="macaque_arm", endpoint=endpoint, signals={"cursor_pos": markers})
    aligned = align(session)
    (note,) = [n for n in aligned.notes if "by inverse kinematics" in n]
    assert "the hand with elbow, wrist is (root mean square) 0.0" in note
    sampled = aligned.trials.signals["cursor_pos"].values / 1000
    found = positions(arm, aligned.trials.joint_angles.values, ("hand", "elbow", "wrist"))
    assert np.abs(found - sampled).max() < 2e-3


@pytest.mark.parametrize(
    "keypoints", [{"knee": ("x", "y", "x")}, {"hand": ("x", "y", "x")}, {"elbow": ("x", "y")}, {"elbow": ("x", "held", "y")}]
)  # fmt: skip
@pytest.mark.parametrize("axes", [("y", "x", "x"), ("y", "held", "x")])
def test_keypoints_that_the_body_lacks_are_refused(public, keypoints, axes):
    session = load_session(public("perich-miller-co"))
    endpoint = Endpoint("cursor_pos", axes, 0.01, keypoints=keypoints)
    with pytest.raises(
        UnsupportedError, match=r"macaque_arm has the further keypoints elbow, wrist, and all of"
    ):
        align(replace(session, body="macaque_arm", endpoint=endpoint))


def test_a_keypoint_in_the_wrong_place_is_named(public):
    session, arm = load_session(public("perich-miller-co")), find_body("planar_arm")
    t = np.linspace(0, 300, len(session.signals["cursor_pos"].times))[:, None]
    found = arm.keypoint_positions(arm.neutral + 0.2 * np.sin(t + np.arange(2))).reshape(len(t), -1, 3)
    hand, elbow = (found[:, arm.keypoints.index(k), :2] for k in ("hand", "elbow"))
    signal = replace(
        session.signals["cursor_pos"], columns=("x", "y", "ex", "ey"), values=np.hstack([hand, elbow + 0.05])
    )
    endpoint = Endpoint("cursor_pos", ("x", "y"), 1.0, (0.0, 0.0), keypoints={"elbow": ("ex", "ey")})
    with pytest.raises(
        UnsupportedError, match=r"hand with elbow is \(root mean square\) .* columns of keypoints"
    ):
        align(replace(session, endpoint=endpoint, signals={"cursor_pos": signal}))


def test_a_rule_of_the_extended_layout_is_dropped_by_null(public, tmp_path):
    file = public("perich-miller-co")
    path = mine(tmp_path, name="all", extends="perich-miller-co", trials={"keep": None})
    assert len(load_session(file, path).trials) > len(load_session(file).trials)


def test_a_folder_named_like_a_layout_is_none(public, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"{AREA2}-planar-arm"
    (tmp_path / name).mkdir()
    command = ["score", "-m", "linear_kinematic", "-d", str(public(AREA2)), "--layout", name, "--seed", "0"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr


def test_inspection_says_where_a_posture_is_inferred_although_angles_were_recorded(
    public, tmp_path, monkeypatch
):
    """Columns with other names: the hand is followed."""
    monkeypatch.setenv("COLUMNS", "300")
    path = shutil.copy(public(AREA2), tmp_path / "renamed.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/behavior/joint_ang"].attrs["comments"] = "columns=[a,b,c,d,e,f,g]"
    shown = CliRunner().invoke(app, ["data", "inspect", str(path)]).stdout
    assert "scored by tracking: yes, with the body macaque_arm: its posture follows from hand_pos" in shown
    shown = CliRunner().invoke(app, ["data", "inspect", str(public(AREA2))]).stdout
    assert "scored by tracking: yes, with the body macaque_arm\n" in shown
