"""The recordings that others made, each by the layout it deserves."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from neurobench_grasp.bodies.myohand import JOINTS
from neurobench_grasp.data import inspect_file, load_session, validate_file
from neurobench_grasp.errors import CorruptFileError, LayoutError

GLOVE = [f"real/hand_reach_to_grasp_sub{i}.nwb" for i in range(1, 6)]
GRASP = ["real/s1_grasp35_0.nwb", "real/s1_grasp35_2.nwb", "real/s1_grasp35_4.nwb"]
WRIST = ["real/m1_wrist_0719.nwb", "real/m1_wrist_0817.nwb"]


def test_centre_out_reaching(real_file):
    path = real_file("real/m1_center_out.nwb")
    session = load_session(path)
    assert session.layout == "m1-center-out@1"
    assert session.subject == "reach-1"
    assert len(session.units) == 84 and set(session.units.areas) == {"M1"}
    assert len(session.trials) == 286
    assert set(session.trials.condition) == {"-135", "-90", "-45", "0", "45", "90", "135", "180"}
    assert session.units.bin_width == 0.05
    assert session.window.contiguous == "trial"
    with h5py.File(path) as file:
        np.testing.assert_array_equal(session.units.counts, file["processing/ecephys/binned_spikes/data"])
        np.testing.assert_array_equal(
            session.signals["hand_pos"].values, file["processing/behavior/hand_pos/data"]
        )
    np.testing.assert_allclose(session.units.count_times, np.arange(22263) * 0.05, atol=1e-9)
    centre = session.units.count_times + 0.025
    np.testing.assert_allclose(session.signals["hand_vel"].times, centre, atol=1e-9)
    assert session.notes == ()


@pytest.mark.parametrize(("name", "n_trials", "n_muscles"), [(WRIST[0], 214, 16), (WRIST[1], 247, 14)])
def test_wrist_task(real_file, name, n_trials, n_muscles):
    path = real_file(name)
    session = load_session(path)
    assert session.layout == "m1-wrist@1"
    assert len(session.units) == 96
    assert session.signals["emg"].values.shape == (24000, n_muscles)
    assert {"FDS", "FCR", "ECU"} <= set(session.signals["emg"].columns)
    assert session.signals["cursor_pos"].columns == ("x", "y")
    assert len(session.trials) == n_trials
    assert set(session.trials.condition) <= set("12345678")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            session.signals["emg"].values[:, session.signals["emg"].columns.index("FDS")],
            file["acquisition/preprocessed_emg/FDS/data"][:],
        )
    assert session.units.bin_width == 0.05
    np.testing.assert_allclose(np.diff(session.units.count_times), 0.05, atol=1e-9)
    assert any("snapped to the 0.05 s grid" in note for note in session.notes)


def test_wrist_trials_that_were_not_rewarded_are_left_out_and_said(real_file):
    notes = load_session(real_file(WRIST[0])).notes
    assert "intervals/trials/result: 8 of 222 trials are not R, so left out" in notes
    assert any("event go_cue lies outside the trial" in n and "1 of 214 trials" in n for n in notes)


@pytest.mark.parametrize(
    ("name", "n_units", "n_trials"), [(GRASP[0], 5, 336), (GRASP[1], 3, 372), (GRASP[2], 2, 363)]
)
def test_grasp_of_35_objects(real_file, name, n_units, n_trials):
    path = real_file(name)
    session = load_session(path)
    assert session.layout == "s1-grasp35@1"
    assert len(session.units) == n_units and set(session.units.areas) == {"S1"}
    assert len(session.trials) == n_trials
    assert set(session.trials.condition) == {str(i) for i in range(1, 36)}
    assert session.signals == {}
    assert list(session.units.observed.lengths) == [n_trials] * n_units
    with h5py.File(path) as file:
        np.testing.assert_array_equal(session.units.spike_times, file["units/spike_times"])
        ends = file["units/spike_times_index"][:].astype(int)
    np.testing.assert_array_equal(session.units.spike_offsets, [0, *ends])
    assert (session.trials.events["event_3"] < session.trials.events["event_6"]).all()


@pytest.mark.parametrize("name", GLOVE)
def test_glove(real_file, name):
    session = load_session(real_file(name))
    assert session.layout == "hand-reach-to-grasp@2"
    assert len(session.units) == 0
    assert len(session.units.spike_times) == 0
    assert len(session.trials) == 20
    assert sorted(session.trials.condition.count(c) for c in set(session.trials.condition)) == [4] * 5
    angles = session.signals["joint_angles"]
    assert angles.values.shape[1] == 23 and angles.columns[:2] == ("thumb_rotation", "thumb_mcp")
    assert angles.unit == "rad"
    assert (np.diff(angles.times) > 0).all()
    assert set(session.joint_map) == set(angles.columns) - {"palm_arch"}
    assert sorted(joint for joint, _, _ in session.joint_map.values()) == sorted(set(JOINTS) - {"pro_sup"})
    onset, stop = session.trials.events["move_onset"], session.trials.events["move_stop"]
    assert ((session.trials.start <= onset) & (onset < stop) & (stop <= session.trials.stop)).all()


@pytest.mark.parametrize("name", ["real/m1_center_out.nwb", *WRIST, *GRASP, *GLOVE])
def test_no_real_recording_has_errors_and_inspection_agrees(real_file, name):
    path = real_file(name)
    session, found = load_session(path), inspect_file(path)
    assert not [f for f in validate_file(path) if f.severity == "error"]
    assert found.layout == session.layout.split("@")[0]
    assert found.n_units == len(session.units)
    assert sum(area.n_units for area in found.areas) == found.n_units
    assert found.n_trials == len(session.trials) == sum(found.conditions.values())
    assert {e.name for e in found.events} == set(session.trials.events)
    json.dumps(dataclasses.asdict(found), allow_nan=False)


# -- files of other laboratories --------------------------------------------------------------------------


def _misfit(path):
    """What the canonical layout lacks in a file, as load_session says it."""
    with pytest.raises(LayoutError) as caught:
        load_session(path, "ngb-grasp-1")
    message = str(caught.value)
    assert path.name in message and "does not fit the layout 'ngb-grasp-1'" in message
    assert "\n" not in message
    return message


def test_human_units_without_a_trials_table(real_file):
    path = real_file("foreign/human_units_no_trials_table.nwb")
    found = inspect_file(path)
    assert found.n_units == 35
    assert {a.area for a in found.areas} == {"amygdala_right", "hippocampus_right"}
    tables = {t.path: t.n_rows for t in found.tables}
    assert tables["intervals/encoding_table"] == 90 and tables["intervals/recognition_table"] == 180
    message = _misfit(path)
    assert "the trials table (looked for at intervals/trials; there is intervals/encoding_table" in message
    assert "no shipped layout fits" in message


def test_mouse_of_schema_2_0_2(real_file):
    path = real_file("foreign/mouse_nwb_2_0_2.nwb")
    found = inspect_file(path)
    assert found.n_units == 1 and found.nwb_version == "2.0.2"
    (trials,) = found.tables
    assert trials.n_rows == 340
    stop = next(t for t in trials.times if t.name == "stop_time")
    assert (stop.count, stop.missing) == (0, 340)
    assert "trials column 'contact_time'" in _misfit(path)
    findings = validate_file(path, "ngb-grasp-1")
    errors = [f for f in findings if f.severity == "error"]
    assert any(f.message == "340 of 340 trial stop times are NaN or infinite" for f in errors)
    assert any(f.place == "intervals/trials/object_name" for f in errors)


def test_units_with_epochs_only(real_file):
    path = real_file("foreign/units_epochs_no_trials.nwb")
    found = inspect_file(path)
    assert found.n_units == 3 and [t.path for t in found.tables] == ["intervals/epochs"]
    assert "there is intervals/epochs" in _misfit(path)


def test_units_stored_under_acquisition(real_file):
    path = real_file("foreign/units_in_acquisition_2_0b.nwb")
    found = inspect_file(path)
    assert found.nwb_version == "2.0b"
    assert found.units_looked_for == ("units", "processing/ecephys/binned_spikes")
    assert found.units_found == ("acquisition/UnitsTest",)
    assert found.n_units == 2
    assert (
        "the units (looked for at units or processing/ecephys/binned_spikes; there is acquisition/UnitsTest)"
        in (_misfit(path))
    )


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("foreign/minimal_2_1_0.nwb", []),
        ("foreign/unknown_extension_cached.nwb", ["acquisition/test_ts"]),
        (
            "foreign/ndx_pose.nwb",
            [f"processing/behavior/PoseEstimation/front_{side}_paw" for side in ("left", "right")],
        ),
    ],
)
def test_files_with_little_inside_open_and_name_what_is_missing(real_file, name, signals):
    path = real_file(name)
    found = inspect_file(path)
    assert [s.path for s in found.signals] == signals
    assert found.layout is None and found.n_units == 0
    assert all(fit.missing for fit in found.fits)
    assert "the trials table" in _misfit(path)


@pytest.mark.parametrize("function", [load_session, inspect_file, validate_file])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("foreign/nwb_1_0_6.nwb", "is NWB 1, a format from before 2018"),
        (
            "foreign/nwb_2_0b_broken.nwb",
            "NWB 2.0 beta and cannot be read: 'acquisition/ECoG/electrodes' has the type",
        ),
    ],
)
def test_outdated_files_fail_with_one_sentence(real_file, function, name, reason):
    path = real_file(name)
    with pytest.raises(CorruptFileError) as caught:
        function(path)
    assert str(caught.value).startswith(path.name) and reason in str(caught.value)
    assert "\n" not in str(caught.value)
