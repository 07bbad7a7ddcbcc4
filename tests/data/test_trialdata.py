"""Files of the TrialData convention, in both formats, become sessions bin by bin, and can be scored."""

import json

import numpy as np
import pytest
import scipy.io
import stand_in_arm
from mat_files import Cell, StructArray, mat73, write_mat73
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies.macaque_arm import JOINTS
from neurobench_grasp.checks.replay_controller import context_of
from neurobench_grasp.cli import app
from neurobench_grasp.contract import Endpoint
from neurobench_grasp.data import load_session
from neurobench_grasp.data.converters.trialdata import Options, convert
from neurobench_grasp.errors import CorruptFileError, LayoutError
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.encoding import protocol as encoding

WIDTH = 0.02


def trial(rng, i, n_bins=None, **changes):
    """One element of the struct array: two areas, a hand that moves, four targets."""
    n_bins = n_bins or int(rng.integers(70, 90))
    angle = [0.0, np.pi / 2, np.pi, -np.pi / 2][i % 4]
    onset = int(rng.integers(28, 34))
    time = np.arange(n_bins)[:, None]
    speed = np.exp(-(((time - onset - 10) / 6) ** 2))
    heading = np.array([[np.cos(angle), np.sin(angle)]])
    vel = 38.0 * speed * heading  # cm/s, to targets 8 cm away
    drive = 0.3 + 2.0 * np.clip(speed * heading @ rng_mix(), 0, None)
    return {
        "monkey": "Ada",
        "date": "03-13-2015",
        "task": "CO",
        "target_direction": angle,
        "trial_id": float(10 + i),
        "result": "R",
        "bin_size": WIDTH,
        "idx_trial_start": 11.0,
        "idx_goCueTime": float(onset - 8),
        "idx_movement_on": float(onset),
        "idx_trial_end": float(n_bins - 10),
        "pos": np.cumsum(vel, 0) * WIDTH,
        "vel": vel,
        "emg": rng.random((n_bins, 2)),
        "emg_names": ["EMG_FDS", "EMG_EDC"],
        "M1_spikes": rng.poisson(drive[:, :5]),
        "M1_unit_guide": np.array([[12, 1], [12, 2], [40, 1], [41, 1], [96, 3]]),
        "PMd_spikes": rng.poisson(drive[:, 5:]),
        "M1_pca": rng.random((n_bins, 3)),
        **changes,
    }


def rng_mix():
    return np.random.default_rng(5).normal(size=(2, 8))


def trials(n=12, **changes):
    rng = np.random.default_rng(0)
    return [trial(rng, i, **changes) for i in range(n)]


def write_old(path, elements, name="trial_data"):
    """A struct array as ``save`` of MATLAB before 7.3 writes it, by scipy."""
    array = np.zeros((1, len(elements)), [(f, object) for f in elements[0]])
    for i, element in enumerate(elements):
        for field, value in element.items():
            array[0, i][field] = np.array([value], object) if isinstance(value, list) else value
    scipy.io.savemat(path, {name: array}, do_compression=True)


def write_new(path, elements, name="trial_data"):
    def stored(value):
        return (
            Cell(value) if isinstance(value, list) else value if isinstance(value, str) else np.asarray(value)
        )

    rows = [{f: stored(v) for f, v in e.items()} for e in elements]
    write_mat73(path, **{name: StructArray(rows)})


WRITERS = pytest.mark.parametrize("write", [write_old, write_new], ids=["v5", "v7.3"])


def converted(path, **options):
    """Convert a file, write it, and read back what was written."""
    made = convert(path, Options(**options))
    return load_session(made.write(path.parent / "out"))


# -- values -----------------------------------------------------------------------------------------------


@WRITERS
def test_values_come_through_to_the_bin(tmp_path, write):
    elements = trials()
    write(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    assert (session.id, session.subject) == ("ada", "Ada")
    assert session.units.areas == ("M1",) * 5 + ("PMd",) * 3
    assert session.units.ids[:5] == ("M1 12.1", "M1 12.2", "M1 40.1", "M1 41.1", "M1 96.3")
    assert session.units.ids[5:] == ("PMd 1", "PMd 2", "PMd 3")
    assert session.units.bin_width == WIDTH
    assert set(session.signals) == {"pos", "vel", "emg"}
    assert session.signals["emg"].columns == ("EMG_FDS", "EMG_EDC")
    assert session.signals["vel"].columns == ("vx", "vy")
    assert session.trials.ids == tuple(str(10 + i) for i in range(12))
    assert session.trials.condition == ("0", "90", "180", "-90") * 3
    first = np.rint(session.trials.start / WIDTH).astype(int)
    bins = np.rint(session.units.count_times / WIDTH).astype(int).tolist()
    for i, element in enumerate(elements):
        n = len(element["M1_spikes"])
        assert round((session.trials.stop[i] - session.trials.start[i]) / WIDTH) == n
        for k in range(n):
            row = bins.index(first[i] + k)
            assert session.units.counts[row].tolist() == [
                *element["M1_spikes"][k].tolist(), *element["PMd_spikes"][k].tolist(),
            ]  # fmt: skip
            assert abs(session.signals["vel"].times[row] - (first[i] + k + 0.5) * WIDTH) < 1e-9
            np.testing.assert_array_equal(session.signals["vel"].values[row], element["vel"][k])
    assert len(bins) == sum(len(e["M1_spikes"]) for e in elements)


@WRITERS
def test_events_are_at_the_start_of_their_bin_counted_from_1(tmp_path, write):
    elements = trials()
    elements[2]["idx_goCueTime"] = np.nan
    elements[3]["idx_goCueTime"] = np.empty((0, 0))
    elements[4]["idx_goCueTime"] = np.array([[20.0, 41.0]])
    elements[5]["idx_goCueTime"] = 4000.0  # beyond the trial
    write(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    assert set(session.trials.events) == {"trial_start", "go_cue", "move_onset", "trial_end"}
    for i, element in enumerate(elements):
        for event, field in (("move_onset", "idx_movement_on"), ("trial_end", "idx_trial_end")):
            place = (session.trials.events[event][i] - session.trials.start[i]) / WIDTH
            assert abs(place - (element[field] - 1)) < 1e-6
    go = (session.trials.events["go_cue"] - session.trials.start) / WIDTH
    assert np.isnan(go[[2, 3, 5]]).all()
    assert abs(go[4] - 19) < 1e-6
    assert np.isfinite(np.delete(go, [2, 3, 5])).all()
    notes = " ".join(session.notes)
    assert "idx_goCueTime names several bins in 1 trials, of which the first is used" in notes
    assert (
        "the event go_cue lies outside the bins of its trial, and so counts as missing, in 1 of 12" in notes
    )
    assert "unverified: idx_ fields are assumed to count bins from 1" in notes
    assert (session.window.start_event, session.window.stop_event) == ("move_onset", "trial_end")


def test_trials_without_reward_or_condition_are_left_out(tmp_path):
    elements = trials()
    elements[0]["result"] = "A"
    elements[5]["result"] = "F"
    elements[7]["target_direction"] = np.nan
    write_old(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    assert session.trials.ids == tuple(str(10 + i) for i in range(12) if i not in (0, 5, 7))
    notes = " ".join(session.notes)
    assert "2 of 12 trials were not rewarded" in notes
    assert "1 of 12 trials have no condition" in notes


def test_directions_in_degrees_are_not_turned_twice(tmp_path):
    elements = trials()
    for element in elements:
        element["tgtDir"] = round(np.rad2deg(element.pop("target_direction")))
    write_old(tmp_path / "ada.mat", elements)
    assert set(converted(tmp_path / "ada.mat").trials.condition) == {"0", "90", "180", "-90"}


def test_what_the_user_says_of_a_file(tmp_path):
    elements = trials()
    for i, element in enumerate(elements):
        del element["target_direction"], element["idx_movement_on"]
        element |= {"object": f"cup {i % 3}", "idx_grasp": 30.0, "hand": element["vel"] * 2}
    write_new(tmp_path / "ada.mat", elements, name="td")
    session = converted(
        tmp_path / "ada.mat",
        variable="td",
        condition="object",
        stop="grasp",
        signals=("hand",),
        licence="CC0-1.0",
    )
    assert session.trials.condition == ("cup 0", "cup 1", "cup 2") * 4
    assert (session.window.start_event, session.window.stop_event) == ("go_cue", "grasp")
    assert session.signals["hand"].columns == ("hand_1", "hand_2")


def test_the_arm_follows_the_position_of_the_hand(tmp_path):
    write_old(tmp_path / "ada.mat", trials())
    session = converted(tmp_path / "ada.mat")
    assert (session.body, session.endpoint) == ("planar_arm", Endpoint("pos", ("x", "y"), 0.01))
    aligned = align(session)
    assert aligned.trials.body == "planar_arm" and aligned.trials.inferred_from == "pos"
    assert "unverified: pos is taken as the position of a right hand in cm" in " ".join(session.notes)


def test_a_controller_is_scored_on_it(tmp_path):
    write_old(tmp_path / "ada.mat", trials(40))
    context = context_of(align(converted(tmp_path / "ada.mat")), 0)
    for protocol, metric in ((tracking, "tracking_error"), (encoding, "single_trial_ev")):
        rows = [r for r in protocol.run(context).rows if r["metric"] == metric and not r.get("reference")]
        assert {row["split"] for row in rows} >= {"test", "ood"}
        assert all(np.isfinite(row["value"]) for row in rows if row["split"] == "test")


@pytest.mark.parametrize(
    ("unit", "factor", "endpoint"),
    [
        ("mm", 10.0, Endpoint("pos", ("x", "y"), 0.001)),
        ("m", 0.01, Endpoint("pos", ("x", "y"), 1.0)),
        ("none", 1.0, None),
        (None, 10.0, None),  # 1.6 m wide if these were cm
        (None, 0.01, None),
    ],
)
def test_an_unknown_unit_is_asked_for_instead_of_guessed(tmp_path, unit, factor, endpoint):
    elements = trials()
    for element in elements:
        element["pos"] = factor * element["pos"]
    write_old(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat", position_unit=unit)
    assert session.endpoint == endpoint
    assert (align(session).trials.joint_angles is None) == (endpoint is None)
    assert ("state the unit with --position-unit" in " ".join(session.notes)) == (unit is None)


def test_a_unit_that_is_none_is_refused(tmp_path):
    write_old(tmp_path / "ada.mat", trials())
    with pytest.raises(LayoutError, match="'inch' is no unit of a position; use m, cm, mm or none"):
        convert(tmp_path / "ada.mat", Options(position_unit="inch"))


def test_one_trial_is_a_struct_without_references(tmp_path):
    (element,) = trials(1)
    write_mat73(
        tmp_path / "ada.mat",
        trial_data={f: Cell(v) if isinstance(v, list) else v for f, v in element.items()},
    )
    session = converted(tmp_path / "ada.mat")
    np.testing.assert_array_equal(
        session.units.counts, np.hstack([element["M1_spikes"], element["PMd_spikes"]])
    )


# -- an arm model's results -------------------------------------------------------------------------------

MUSCLES = ("deltoid_ant", "tricep_lat")


def with_arm(together, degrees=True):
    """Trials with seven joint angles and the lengths of two muscles, in one field or in two; and the angles, rad."""
    elements, planted = trials(), []
    for element in elements:
        angles = np.array([0, 20, 5, 90, 0, 0, 0]) + element["pos"] @ np.arange(14).reshape(2, 7) / 4
        lengths = 0.1 + np.radians(angles) @ np.outer(np.arange(7), [-0.002, 0.002])
        planted.append(np.radians(angles))
        angles = angles if degrees else np.radians(angles)
        if together:
            element["opensim"] = np.hstack([angles, 0 * angles[:, :1], lengths])
            element["opensim_names"] = [
                *(f"{joint}_ang" for joint in JOINTS), "elbow_flexion_vel", *(f"{m}_len" for m in MUSCLES)
            ]  # fmt: skip
        else:
            element |= {"joint_ang": angles, "joint_names": list(JOINTS), "muscle_len": lengths,
                        "muscle_names": list(MUSCLES)}  # fmt: skip
    return elements, np.concatenate(planted)


@pytest.mark.parametrize("degrees", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_joint_angles_of_an_arm_model_drive_its_body(tmp_path, monkeypatch, together, degrees):
    elements, planted = with_arm(together, degrees)
    write_old(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    assert (
        session.body == "macaque_arm" and session.endpoint is None and set(session.joint_map) == set(JOINTS)
    )
    joints, lengths = session.signals["joint_ang"], session.signals["muscle_len"]
    assert (joints.role, joints.columns, joints.unit) == ("joint_angle", JOINTS, "rad")
    assert (lengths.role, lengths.columns) == ("muscle_length", MUSCLES)
    np.testing.assert_allclose(joints.values, planted, atol=1e-12)
    if together:
        assert session.signals["opensim"].columns == ("elbow_flexion_vel",)
    assert any("joint_ang is taken as the angles of the Miller" in note for note in session.notes)
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    stand_in_arm.install()
    aligned = align(session)
    stand_in_arm.forget()
    assert aligned.trials.body == "macaque_arm" and aligned.trials.inferred_from == ""
    assert any(note.startswith("muscle_len has lengths of 2 muscles") for note in aligned.notes)


def test_the_unit_is_that_of_most_samples_of_the_joints(tmp_path):
    """One artefact in rad, or a column that is no joint, does not make degrees of them."""
    elements, planted = with_arm(together=False, degrees=False)
    elements[0]["joint_ang"][3, 0] = 50.0
    for element in elements:
        element["joint_ang"] = np.hstack([element["joint_ang"], 0 * element["joint_ang"][:, :1] + 100])
        element["joint_names"] = [*JOINTS, "time"]
    write_old(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    joints = session.signals["joint_ang"]
    assert joints.columns == JOINTS and any(note.endswith("in rad, without time") for note in session.notes)
    np.testing.assert_allclose(np.delete(joints.values, 3, axis=0), np.delete(planted, 3, axis=0))


def test_a_unit_that_is_none_is_refused_with_joint_angles_too(tmp_path):
    write_old(tmp_path / "ada.mat", with_arm(together=False)[0])
    with pytest.raises(LayoutError, match="'inch' is no unit of a position"):
        convert(tmp_path / "ada.mat", Options(position_unit="inch"))
    command = ["data", "convert", "trialdata", str(tmp_path / "ada.mat"), "--to", str(tmp_path / "to")]
    assert "body: macaque_arm, whose joint angles were recorded" in CliRunner().invoke(app, command).stdout


def test_names_that_would_be_one_keep_their_endings(tmp_path):
    elements, _ = with_arm(together=False)
    for element in elements:
        element["muscle_names"] = ["deltoid_ant", "deltoid_ant_len"]
    write_old(tmp_path / "ada.mat", elements)
    assert converted(tmp_path / "ada.mat").signals["muscle_len"].columns == ("deltoid_ant", "deltoid_ant_len")


@pytest.mark.parametrize("known", [0, 1, 6])
def test_angles_of_another_model_are_recorded_signals_and_the_hand_is_followed(tmp_path, known):
    elements, _ = with_arm(together=False)
    for element in elements:
        element["joint_names"] = [*JOINTS[:known], *(f"q{i}" for i in range(7 - known))]
    write_old(tmp_path / "ada.mat", elements)
    session = converted(tmp_path / "ada.mat")
    assert session.body == "planar_arm" and session.endpoint.signal == "pos"
    assert session.signals["joint_ang"].role == "other"


# -- faults -----------------------------------------------------------------------------------------------


def without(field):
    def change(elements):
        for element in elements:
            del element[field]

    return change


def smoothed(elements):
    elements[1]["M1_spikes"] = elements[1]["M1_spikes"] + 0.25


def other_units(elements):
    elements[2]["PMd_spikes"] = elements[2]["PMd_spikes"][:, :2]


def other_length(elements):
    elements[2]["PMd_spikes"] = elements[2]["PMd_spikes"][:-1]


def no_spikes(elements):
    for element in elements:
        del element["M1_spikes"], element["PMd_spikes"]


def wide_bins(elements):
    for element in elements:
        element["bin_size"] = 10.0  # milliseconds


def between_bins(elements):
    elements[3]["idx_movement_on"] = 30.5


def text_for_numbers(elements):
    elements[0]["M1_spikes"] = "many"


FAULTS = {
    "bin_size": (without("bin_size"), r"'trial_data' lacks the field 'bin_size'; it has monkey, date, "),
    "condition": (
        without("target_direction"),
        r"has neither 'target_direction' nor 'tgtDir'; name the field .* --condition; it has monkey",
    ),
    "stop": (without("idx_trial_end"), r"no field 'idx_trial_end' or 'idx_endTime'; .* --stop-event; it has idx_"),
    "spikes": (no_spikes, r"one struct array with a field like M1_spikes, but has none; its variables are trial_data"),
    "smoothed": (smoothed, r"'M1_spikes' of trial 2, has .*25 in bin 1 of unit 1, which is not a count"),
    "units": (other_units, r"'PMd_spikes' of trial 3, has 2 units, but the first trial 3"),
    "length": (other_length, r"'PMd_spikes' of trial 3, has \d+ bins, and 'M1_spikes' \d+"),
    "milliseconds": (wide_bins, r"'bin_size' has bins of 10 s; expected 0\.0005 to 0\.2 s"),
    "between": (between_bins, r"'idx_movement_on' of trial 4, is 30\.5, which is not a bin number"),
    "text": (text_for_numbers, r"'M1_spikes' of trial 1, is not a matrix of numbers"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_sentence(tmp_path, fault):
    change, match = FAULTS[fault]
    elements = trials(6)
    change(elements)
    write_old(tmp_path / "ada.mat", elements)
    with pytest.raises(LayoutError, match=match) as caught:
        convert(tmp_path / "ada.mat", Options())
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "out").exists()


def test_two_struct_arrays_need_a_name(tmp_path):
    rows = [{f: np.asarray(v) for f, v in e.items() if not isinstance(v, str | list)} for e in trials(2)]
    write_mat73(tmp_path / "ada.mat", a=StructArray(rows), b=StructArray(rows))
    with pytest.raises(LayoutError, match=r"has 2 \(a, b\); .*--variable"):
        convert(tmp_path / "ada.mat", Options())
    assert len(convert(tmp_path / "ada.mat", Options(variable="b")).session.trials) == 2


def test_a_field_that_leads_to_itself(tmp_path):
    with mat73(tmp_path / "ada.mat") as mat:
        rows = [{"bin_size": np.array([[WIDTH]]), "M1_spikes": Cell([np.ones((5, 2))])} for _ in range(2)]
        mat.variables(trial_data=StructArray(rows))
        cell = mat.file[mat.file["trial_data/M1_spikes"][0, 0]]
        cell[0, 0] = cell.ref
        mat.file["trial_data"]["bin_size"][0, 0] = cell.ref
        mat.file["trial_data"]["bin_size"][1, 0] = cell.ref
    with pytest.raises(CorruptFileError, match="cells nested more than 8 deep"):
        convert(tmp_path / "ada.mat", Options(condition="bin_size"))


# -- the command line, and scores -------------------------------------------------------------------------


def ngb(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_converted_file_is_scored(tmp_path):
    write_new(tmp_path / "ada.mat", trials(40))
    shown = ngb("data", "convert", "trialdata", tmp_path / "ada.mat", "--to", tmp_path / "out")
    assert shown.exit_code == 0, shown.stderr
    assert "5 in M1, 3 in PMd; counts in bins of 20 ms" in shown.stdout
    assert shown.stdout.count("unverified") == 4
    assert "body: planar_arm, which follows pos" in shown.stdout
    inspected = ngb("data", "inspect", tmp_path / "out/ada.nwb")
    assert "description: converted from ada.mat (TrialData convention); unverified" in inspected.stdout
    scored = ngb(
        "score", "--model", "linear_kinematic", "--dataset", tmp_path / "out/ada.nwb", "--out", tmp_path / "run",
        "--seed", 0, "--json",
    )  # fmt: skip
    assert scored.exit_code == 0, scored.stderr
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "run/records").glob("*.json")]
    ev = {
        row["area"]: row["value"]
        for row in record["scores"]
        if row["metric"] == "single_trial_ev" and row["split"] == "test" and not row.get("reference")
    }
    assert ev["M1"] > 0.2
    assert any("unverified: behaviour is placed" in d["reason"] for d in record["dropped"])


def test_a_real_recording_comes_through_as_it_was(tmp_path, real_file):
    """Counts and behaviour in the scored windows of a real session, stored in this convention and back."""
    theirs = load_session(real_file("real/m1_center_out.nwb"))
    bins, width = theirs.units.count_times, theirs.units.bin_width
    elements = []
    for i, onset in enumerate(theirs.trials.events["move_onset"]):
        a, z = np.searchsorted(bins, [theirs.trials.start[i] - 1e-6, theirs.trials.stop[i] - 1e-6])
        edges = [np.floor((onset + t - bins[a]) / width + 1e-6) + 1 for t in (-0.25, 0.75)]
        elements.append(
            {
                "bin_size": width,
                "trial_id": float(theirs.trials.ids[i]),
                "target_direction": np.deg2rad(float(theirs.trials.condition[i])),
                "M1_spikes": theirs.units.counts[a:z],
                "vel": theirs.signals["hand_vel"].values[a:z],
                "idx_begin": edges[0],
                "idx_end": edges[1],
            }
        )
    write_old(tmp_path / "again.mat", elements)
    ours = converted(tmp_path / "again.mat", start="begin", stop="end")
    assert ours.trials.condition == theirs.trials.condition
    mine, original = align(ours), align(theirs)
    assert mine.trials.ids == original.trials.ids
    np.testing.assert_array_equal(mine.units.rates.values, original.units.rates.values)
    hand = [a.trials.signals[n].cut(*a.trials.window.T) for a, n in ((mine, "vel"), (original, "hand_vel"))]
    np.testing.assert_allclose(hand[0].values, hand[1].values, atol=1e-9)


def test_two_files_of_one_name_are_refused(tmp_path):
    shown = ngb("data", "convert", "trialdata", "a/x.mat", "b/x.mat", "--to", tmp_path)
    assert shown.exit_code == 1
    assert "2 of the files are called x" in shown.stderr
