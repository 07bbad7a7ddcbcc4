"""Every public dandiset's file finds its layout, is read and is scored, and its oddities do what they should."""

import shutil
from dataclasses import replace

import h5py
import numpy as np
import public_files
import pytest
import yaml
from lazy import Lazy
from movements import HAND
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.bodies.myohand import JOINTS, NEUTRAL
from neurobench_grasp.cli import app
from neurobench_grasp.data import inspect_file, load_layout, load_session, validate_file
from neurobench_grasp.errors import LayoutError, NgbError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.resources import resource
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.dataset import load_dataset
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.stored_activations import write_steps

pynwb = Lazy("pynwb")


@pytest.fixture
def edited(public, tmp_path):
    """A copy of a file that a test changes."""

    def copy(name):
        return shutil.copy(public(name), tmp_path / "edited.nwb")

    return copy


def with_window(tmp_path, layout, **window):
    """A layout with another window."""
    content = yaml.safe_load((resource("nwb_schemas") / f"{layout}.yaml").read_text())
    path = tmp_path / f"{layout}.yaml"
    path.write_text(yaml.safe_dump(content | {"window": window}))
    return path


def with_emg(session):
    """The session with EMG as a signal like any other, so that it is sampled at the steps too."""
    return replace(session, signals={n: replace(s, role="other") for n, s in session.signals.items()})


@pytest.mark.parametrize("name", public_files.FILES)
def test_its_own_layout_is_found_and_it_scores_above_nothing(public, name, tmp_path):
    """By its behaviour, or where that is EMG, which no model sees, by the EMG as own activations, without lags."""
    model, options, least = "linear_kinematic", Options(), 0.2
    if public_files.LAYOUTS[name] == "falcon-m1":
        aligned = align(with_emg(load_session(public(name))))
        write_steps(tmp_path / "steps.npz", [aligned])
        emg = aligned.trials.signals["emg"].values
        np.savez(tmp_path / "emg.npz", **np.load(tmp_path / "steps.npz"), layer_emg=emg)
        model, options, least = "emg", Options(activations=str(tmp_path / "emg.npz")), 0.15
    (record,) = run.evaluate(model, public(name), options=options, seeds=(0,), out=tmp_path / "run")
    layout = load_layout(public_files.LAYOUTS[name])
    assert load_session(public(name)).layout == f"{layout.name}@{layout.version}"
    found = [
        row["value"]
        for row in record.scores
        if row["metric"] == "single_trial_ev" and row["split"] == "test"
        and not any(row.get(label) for label in ("reference", "layer", "session"))
    ]  # fmt: skip
    assert found and all(value > least for value in found)
    assert not [f for f in validate_file(public(name)) if f.severity == "error"]


@pytest.mark.parametrize("name", public_files.FILES)
def test_the_files_are_nwb_to_its_own_library(public, name):
    with pynwb.NWBHDF5IO(public(name), "r") as io:
        nwb = io.read()
        assert nwb.subject.species in ("Macaca mulatta", "Homo sapiens")
        assert len(nwb.intervals["epochs"] if name == "falcon-h1" else nwb.trials) >= 32
        assert (nwb.units is None) == name.startswith("link")


@pytest.mark.parametrize("name", public_files.FILES)
def test_other_layouts_do_not_fit_as_well(public, name):
    fits = [f.layout for f in inspect_file(public(name)).fits if not f.missing]
    assert set(fits) == {public_files.LAYOUTS[name]}


# -- FALCON M1 -------------------------------------------------------------------------------------------


def test_reach_to_grasp_has_objects_at_places_and_a_silent_electrode(public):
    path = public("falcon-m1")
    session = load_session(path)
    assert session.subject == "MonkeyL"  # the file says MonkeyL-held-in-calib
    assert set(session.trials.condition) == {
        f"{o} / {45 * k}" for o in public_files.OBJECTS for k in range(8)
    }
    assert session.signals["emg"].columns == public_files.MUSCLES
    assert set(session.trials.events) == {"go_cue", "move_onset", "contact", "reward"}
    silent = [f for f in validate_file(path) if "without any spike" in f.message]
    assert "1 of 8 units (7)" in silent[0].message and silent[0].severity == "info"


def test_trials_that_overlap_outside_their_windows_are_reported_and_not_tied(public):
    aligned = align(load_session(public("falcon-m1")))
    note = next(n for n in aligned.notes if "begin before an earlier one ends" in n)
    assert 5 < int(note.split()[0]) < 40 and note.endswith("but share nothing that is scored")
    assert aligned.groups == {}


def test_trials_that_share_scored_time_are_in_one_split(public, tmp_path):
    """The whole trial as the window: some windows overlap, some of them with those of held-out objects."""
    layout = with_window(
        tmp_path, "falcon-m1", start_event="go_cue", start_offset=-1.0, stop_event="reward", stop_offset=1.0
    )
    data = load_dataset(load_registry(), public("falcon-m1"), layout)
    (session,) = data.sessions
    table = load_session(public("falcon-m1"), layout).trials
    pairs = [
        (table.ids[i], table.ids[i + 1])
        for i in range(len(table) - 1)
        if table.start[i + 1] < table.stop[i] - 0.02
    ]
    assert len(pairs) > 5
    split = {t: s for s in ("train", "test", "ood") for t in getattr(data.splits, s)[session.id]}
    for one, other in pairs:
        assert session.groups[one] == session.groups[other]
        placed = {split.get(one), split.get(other)}
        assert len(placed) == 1 or placed == {"ood", None}
    in_none = [t for t, why in data.dropped(session) if "held-out condition" in why]
    assert in_none and set(in_none) == set(session.trials.ids) - set(split)
    assert any(n.startswith(f"{len(session.groups)} of 96 trials share scored time") for n in session.notes)


# -- what the times of bins mean ---------------------------------------------------------------------------


def _counts_as_the_challenge_does(path, times, *, starts):
    """Spikes of all units in the 20 ms after (starts) or before each time."""
    with h5py.File(path) as file:
        spikes = np.sort(file["units/spike_times"][:])
    edges = np.stack([times, times + 0.02] if starts else [times - 0.02, times])
    low, high = np.searchsorted(spikes, edges - 1e-7)  # half open, like numpy.histogram
    return (high - low).astype(float)


@pytest.mark.parametrize(
    ("name", "series", "starts"),
    [
        ("falcon-m1", "acquisition/preprocessed_emg/APL", False),
        ("falcon-m2", "acquisition/finger_pos/index", True),
        ("falcon-h1", "acquisition/OpenLoopKinematics", False),
    ],
)
def test_binned_behaviour_lies_over_the_spikes_it_belongs_to(edited, name, series, starts):
    """With the challenge's own counts in the place of behaviour, behaviour and counts agree in every step."""
    path = edited(name)
    with h5py.File(path, "r+") as file:
        data = file[f"{series}/data"]
        stamped = "timestamps" in file[series]
        times = file[f"{series}/timestamps"][:] if stamped else 0.02 * np.arange(len(data))
        counts = _counts_as_the_challenge_does(path, times, starts=starts)
        data[...] = counts if data.ndim == 1 else np.tile(counts[:, None], data.shape[1])
    aligned = align(with_emg(load_session(path)))
    column = next(s for s in aligned.trials.signals if s != "partial_posture")
    same, steps = 0, 0
    for i in range(len(aligned.trials)):
        a, z = aligned.trials.window[i]
        behaviour = aligned.trials.signals[column][i][a:z, 0]
        ours = aligned.units.counts[i][-(z - a) :].sum(1)
        if name != "falcon-m2" or i == 0:  # later trials of M2 lie off the grid of 20 ms
            same, steps = same + int(np.isclose(behaviour, ours, atol=1e-6).sum()), steps + len(ours)
        lags = [np.corrcoef(behaviour[2 + k : len(ours) - 2 + k], ours[2:-2])[0, 1] for k in (-1, 0, 1)]
        assert np.argmax(lags) == 1
    assert same == steps


def test_behaviour_that_is_stored_with_the_counts_is_sampled_in_their_bins(public):
    aligned = align(load_session(public("link")))
    with h5py.File(public("link")) as file:
        position, clock = (
            file["analysis/index_position/data"][:, 0],
            file["analysis/index_position/timestamps"][:],
        )
        counts = file["analysis/ThresholdCrossings/data"][:]
    for i in (0, 17, 59):
        a, z = aligned.trials.window[i]
        first = int(np.argmin(np.abs(clock - aligned.start[i])))
        np.testing.assert_allclose(
            aligned.trials.signals["finger_pos"][i][a:z, 0], position[first : first + z - a], atol=1e-9
        )
        np.testing.assert_array_equal(aligned.units.counts[i][-(z - a) :], counts[first : first + z - a])


# -- FALCON H1 -------------------------------------------------------------------------------------------


def test_phases_of_trials_come_from_epochs_with_tags(public):
    session = load_session(public("falcon-h1"))
    assert set(session.trials.condition) == {"Presentation", "Reach", "Grasp", "Transport", "Release"}
    assert "intervals/epochs/tags: 12 of 72 trials are Intertrial or FailSafe or" in " ".join(session.notes)
    assert set(session.units.areas) == {"M1"} and session.units.observed is None
    assert session.signals["kinematics"].columns == ("tx", "ty", "tz", "rx", "g1", "g2", "g3")
    assert session.subject == "HumanPitt"


def test_a_period_that_is_stated_as_the_rate_does_no_harm(public, tmp_path):
    right = public_files.falcon_h1(tmp_path / "right.nwb", stated_rate=50.0)
    one, other = load_session(public("falcon-h1")), load_session(right)
    np.testing.assert_array_equal(one.signals["kinematics"].times, other.signals["kinematics"].times)
    assert one.sha256 == other.sha256


# -- LINK and M2 -----------------------------------------------------------------------------------------


def test_both_drafts_of_link_hold_the_same_session(public):
    now, before = load_session(public("link")), load_session(public("link, earlier draft"))
    assert now.sha256 == before.sha256
    assert now.trials.ids[0] == "7"  # trial_number
    assert set(now.trials.condition) == {f"{a} / {b}" for a in "123" for b in "123"}  # quarters of the range


@pytest.mark.parametrize(("name", "second"), [("falcon-m2", "mrs"), ("link", "mrs_position")])
def test_finger_groups_drive_the_joints_of_their_fingers(public, name, second):
    session = load_session(public(name))
    aligned = align(session)
    position = session.signals["finger_pos"]
    assert position.columns[1] == second
    a, z = aligned.trials.window[5]
    hand = aligned.trials.joint_angles[5][a:z]
    limits = dict(zip(JOINTS, HAND.joint_limits, strict=True))
    for column, digits in enumerate(("2", "345")):
        share = aligned.trials.signals["finger_pos"][5][a:z, column]
        for joint in (f"{bone}{d}_flexion" for bone in ("mcp", "pm", "md") for d in digits):
            low, high = limits[joint]
            np.testing.assert_allclose(hand[:, JOINTS.index(joint)], low + share * (high - low), atol=1e-9)
    still = [j for j in JOINTS if not any(d in j for d in "2345") or "abduction" in j]
    for joint in still:
        np.testing.assert_allclose(hand[:, JOINTS.index(joint)], NEUTRAL[joint])
    assert any(
        n.startswith("partial_posture: a partial posture of the body, not recorded") for n in aligned.notes
    )
    held = next(n for n in aligned.notes if n.startswith("joints not recorded, held at neutral: "))
    assert set(held.partition(": ")[2].split(", ")) == set(still)


def test_a_posture_beyond_full_flexion_is_clipped_and_reported(edited):
    path = edited("falcon-m2")
    with h5py.File(path, "r+") as file:
        file["acquisition/finger_pos/index/data"][:100] = 1.2
    aligned = align(load_session(path))
    assert any("beyond the limits of myohand were clipped (mcp2_flexion" in n for n in aligned.notes)
    assert aligned.trials.joint_angles.values.max() <= 1.5708


# -- Neural Latents Benchmark -------------------------------------------------------------------------------


def test_trials_in_gaps_are_dropped_and_so_are_those_of_no_condition(public):
    session = load_session(public("nlb-mc-maze"))
    aligned = align(session)
    assert set(aligned.dropped) == {(t, "has a gap in the signal hand_pos") for t in ("10", "30", "31")}
    assert "intervals/trials/split: 3 of 60 trials are not train or val, so left out" in session.notes
    assert not {"5", "25", "45"} & set(session.trials.ids)
    assert session.signals["hand_pos"].columns == ("x", "y") and session.signals["hand_pos"].unit == "m"
    assert len(session.units) == 8  # held-out units too


def test_the_file_without_behaviour_says_so(edited):
    path = edited("nlb-mc-maze")
    with h5py.File(path, "r+") as file:
        del file["processing/behavior"]
    with pytest.raises(LayoutError, match="lacks the signal 'hand_pos'"):
        load_session(path, "nlb-mc-maze")
    assert inspect_file(path, "nlb-mc-maze").scores["encoding"] == "no layout fits"


def test_units_without_behaviour_are_no_session_for_a_model(edited, tmp_path):
    path = edited("nlb-mc-maze")
    layout = yaml.safe_load(resource("nwb_schemas/nlb-mc-maze.yaml").read_text())
    for signal in layout["signals"]:
        signal["optional"] = True
    optional = tmp_path / "optional.yaml"
    optional.write_text(yaml.safe_dump(layout))
    assert inspect_file(path, optional).scores["encoding"] == "yes"
    with h5py.File(path, "r+") as file:
        del file["processing/behavior"]
    assert "no behaviour" in inspect_file(path, optional).scores["encoding"]


def test_pseudo_trials_of_one_block_stay_together(public, tmp_path):
    layout = yaml.safe_load(resource("nwb_schemas/nlb-mc-rtt.yaml").read_text())
    layout["trials"] |= {"block": 6.0, "condition": {"constant": "reach"}}
    blocks = tmp_path / "blocks.yaml"
    blocks.write_text(yaml.safe_dump(layout))
    data = load_dataset(load_registry(), public("nlb-mc-rtt"), blocks)
    (session,) = data.sessions
    assert len(set(session.groups.values())) == 12 and len(session.groups) == 120
    split = {t: s for s in ("train", "test") for t in getattr(data.splits, s)[session.id]}
    for block in range(12):
        assert len({split[str(t)] for t in range(10 * block, 10 * block + 10)}) == 1
    assert set(split.values()) == {"train", "test"} and data.splits.held_out == ()


def test_active_and_passive_trials_are_conditions_apart(public):
    session = load_session(public("nlb-area2-bump"))
    with h5py.File(public("nlb-area2-bump")) as file:
        degrees = file["processing/behavior/joint_ang/data"][:]
        bumped = dict(enumerate(file["intervals/trials/ctr_hold_bump"][:]))
    joints = session.signals["joint_ang"]
    assert joints.columns == public_files.ARM_JOINTS and joints.unit == "rad"
    np.testing.assert_allclose(joints.values, np.radians(degrees))
    assert set(session.trials.condition) == {
        f"{d} / {how}" for d in (0, 45, 90, 135) for how in ("active", "passive")
    }
    for trial, condition in zip(session.trials.ids, session.trials.condition, strict=True):
        assert condition.endswith("passive") == bumped[int(trial)]
    assert set(session.units.areas) == {"2"}
    assert not np.isnan(
        session.trials.events["move_onset"]
    ).any()  # trials without an onset are of split none


# -- Perich and Miller -------------------------------------------------------------------------------------


def test_waveforms_are_left_alone_and_only_rewarded_trials_are_used(public, monkeypatch):
    from neurobench_grasp.data.nwb.file import NwbFile

    read = []
    known = NwbFile.read
    monkeypatch.setattr(NwbFile, "read", lambda self, path: (read.append(path), known(self, path))[1])
    session = load_session(public("perich-miller-co"))
    assert "units/spike_times" in read and not [p for p in read if "waveforms" in p]
    assert "intervals/trials/result: 3 of 64 trials are not R, so left out" in session.notes
    assert set(session.trials.condition) == {str(k) for k in range(-90, 270, 45)}
    assert sorted(set(session.units.areas)) == ["M1", "PMd"]


# -- what a file can be scored on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "encoding", "tracking", "brain_control"),
    [
        (
            "falcon-m1",
            "with activations of your own only, because it contains no behaviour but EMG, which no model may see",
            "no joint angles of a body were recorded",
            "no joint angles of a body were recorded",
        ),
        (
            "nlb-area2-bump",
            "yes",
            "yes, with the body macaque_arm",
            "yes, with the body macaque_arm",
        ),
        (
            "nlb-mc-maze",
            "yes",
            "yes, with the body planar_arm: its posture follows from hand_pos",
            "yes, with the body planar_arm",
        ),
        (
            "falcon-m2",
            "yes",
            "yes, as a partial posture: index drives mcp2_flexion",
            "yes, as a partial posture",
        ),
    ],
)
def test_inspection_says_what_can_be_scored_and_why_not(public, name, encoding, tracking, brain_control):
    scores = inspect_file(public(name)).scores
    assert scores["encoding"] == encoding
    assert scores["tracking"].startswith(tracking) and scores["brain-control"].startswith(brain_control)
    shown = " ".join(CliRunner().invoke(app, ["data", "inspect", str(public(name))]).stdout.split())
    assert f"scored by tracking: {tracking}" in shown


def test_series_under_analysis_are_shown(public):
    paths = {s.path for s in inspect_file(public("link")).signals}
    assert {"analysis/ThresholdCrossings", "analysis/mrs_position"} <= paths


def test_a_dataset_unfit_for_controllers_is_reported(public, tmp_path):
    with pytest.raises(NgbError, match="imitates movements, and this session has no joint angles"):
        run.evaluate(
            "muscle_ppo", public("falcon-m1"), protocols=["tracking"], seeds=(0,), out=tmp_path / "run"
        )
