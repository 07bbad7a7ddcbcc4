"""The way in for a user's own data: arrays, CSV files, and the documentation's example as it stands."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from neurobench_grasp.contract import Endpoint, Window
from neurobench_grasp.data import load_layout, load_session, session_from_arrays, session_from_csv
from neurobench_grasp.data.nwb.layout import DetectLayout, DirectionLayout
from neurobench_grasp.errors import NgbError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


# -- the documentation ------------------------------------------------------------------------------------


def test_the_worked_example_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in zip(("units", "angles", "trials"), blocks("your_own_data.md", "csv"), strict=True):
        (tmp_path / f"{name}.csv").write_text(text)
    scope = {}
    for code in blocks("your_own_data.md", "python"):
        exec(code, scope)
    monday, tuesday = load_session("monday.nwb"), load_session("tuesday.nwb")
    assert monday.layout == "ngb-grasp-1@1"
    assert monday.units.areas == ("M1", "M1", "S1")
    assert monday.trials.condition == ("cup", "ball") * 4
    np.testing.assert_allclose(
        monday.signals["joint_angles"].values[:, 0], np.deg2rad(scope["flexion"]["mcp2_flexion"])
    )
    assert tuesday.units.ids == ("unit0", "unit1")
    np.testing.assert_array_equal(tuesday.units.spike_times, [0.4127, 0.9532, 0.2210, 7.0113])
    assert np.isnan(tuesday.trials.events["max_aperture"][1])
    assert monday.notes == tuesday.notes == ()


def test_the_example_of_a_layout_is_a_layout(tmp_path):
    example, extension, posture, endpoint, muscles, direction, detection = (
        yaml.safe_load(b) for b in blocks("layouts.md", "yaml")
    )
    (tmp_path / "our-lab.yaml").write_text(yaml.safe_dump(example))
    layout = load_layout(tmp_path / "our-lab.yaml")
    assert layout.name == example["name"]
    assert [units.kind for units in layout.units] == ["spikes", "counts"]
    assert layout.joint_map == {"index_knuckle": ("mcp2_flexion", -1.0, 0.2)}
    (tmp_path / "arm.yaml").write_text(yaml.safe_dump(extension))
    arm, base = load_layout(tmp_path / "arm.yaml"), load_layout(extension["extends"])
    assert (arm.body, arm.version, arm.endpoint.scale) == ("macaque_arm", base.version, base.endpoint.scale)
    assert arm.trials.keep[0].values == ("R", "F") and arm.trials.condition == base.trials.condition
    (tmp_path / "fingers.yaml").write_text(yaml.safe_dump(example | posture))
    (index,) = load_layout(tmp_path / "fingers.yaml").posture
    assert (index.signal, index.column, len(index.joints)) == ("finger_pos", "index", 2)
    assert endpoint["body"] == "planar_arm"
    assert Endpoint(**endpoint["endpoint"]).in_metres(np.ones((1, 2)), ("x", "y")).tolist() == [[0.01, 0.01]]
    (tmp_path / "muscles.yaml").write_text(yaml.safe_dump(example | muscles))
    assert load_layout(tmp_path / "muscles.yaml").muscle_map == {"FCR": ("FCR",), "EDCr": ("EDC2", "EDC3")}
    stated = DirectionLayout(**direction["trials"]["condition"]["direction"])
    assert stated == DirectionLayout(
        "hand_pos", ["x", "y"], "go_cue", "hold"
    )  # the other fields at their defaults
    assert DetectLayout(**detection["trials"]["detect"]) == DetectLayout("joint_angles")  # the defaults


# -- arrays -----------------------------------------------------------------------------------------------


def arrays(**changes):
    start = np.arange(4) * 5.0
    parts = {
        "id": "s",
        "subject": "Ada",
        "spike_times": {"1": [0.5, 1.5], "2": [2.5, 6.0]},
        "areas": {"1": "M1", "2": "S1"},
        "joint_angles": {"mcp2_flexion": np.zeros(200)},
        "angle_times": np.arange(200) / 10,
        "trials": {
            "start": start,
            "stop": start + 4,
            "condition": ["a", "b", "a", "b"],
            "move_onset": start + 1,
            "contact": start + 2,
        },
    }
    return parts | changes


def test_arrays_become_a_session():
    session = session_from_arrays(**arrays())
    assert session.units.spike_offsets.tolist() == [0, 2, 4]
    assert session.joint_map == {"mcp2_flexion": ("mcp2_flexion", 1.0, 0.0)}
    assert session.trials.ids == ("0", "1", "2", "3")
    assert (session.window.start_event, session.window.stop_event) == ("move_onset", "contact")
    assert not session.synthetic and session.true_rates is None


def test_the_caller_keeps_its_arrays():
    times = np.array([0.5, 1.5])
    session_from_arrays(**arrays(spike_times={"1": times}))
    times[0] = 0.25  # a session's own arrays are read-only, the caller's are not


def test_unsorted_spikes_are_sorted_and_reported():
    session = session_from_arrays(**arrays(spike_times={"1": [1.5, 0.5], "2": [2.5]}))
    assert session.units.spike_times.tolist() == [0.5, 1.5, 2.5]
    assert "out of order and have been sorted" in session.notes[0]


def test_another_window():
    trials = arrays()["trials"]
    trials["go"], trials["reward"] = trials.pop("move_onset"), trials.pop("contact")
    session = session_from_arrays(**arrays(trials=trials, window=Window("go", "reward")))
    assert set(session.trials.events) == {"go", "reward"}


def _trials(**changes):
    return {k: v for k, v in (arrays()["trials"] | changes).items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"trials": _trials(contact=None)},
            "The trial table lacks the column 'contact'; it has 'start', 'stop'",
        ),
        ({"trials": _trials(start=None)}, "lacks the column 'start'"),
        ({"trials": _trials(stop=[1.0])}, "'stop' has 1 rows, but 'start' has 4"),
        ({"trials": _trials(stop=["a"] * 4)}, "Expected numbers in the trial column 'stop'"),
        ({"trials": _trials(stop=[9.0, 14.0, 19.0, 24.0])}, "2 of 4 trials .* overlap others"),
        ({"areas": {"1": "M1"}}, "The area of unit '2' is missing"),
        ({"angle_times": None}, "Joint angles need angle_times"),
        (
            {"joint_map": {"knuckle": ("mcp2_flexion", 1.0, 0.0)}},
            "names the columns 'knuckle', which joint_angles",
        ),
        ({"angle_times": np.arange(100) / 10}, "has 200 samples, but angle_times 100"),
        ({"angle_times": np.zeros(200)}, "sample times do not rise"),
        ({"angle_unit": "degrees"}, "The angle unit 'degrees' is unknown; use 'rad' or 'deg'"),
        ({"joint_angles": {}}, "The joint angles have no columns"),
        ({"spike_times": {"1": [np.nan], "2": []}}, "are NaN or infinite"),
        ({"spike_times": {"1": [[0.5]], "2": []}}, r"Expected one dimension in spike_times\['1'\]"),
    ],
)
def test_what_is_wrong_with_arrays_is_named(changes, message):
    with pytest.raises(NgbError, match=message):
        session_from_arrays(**arrays(**changes))


LABORATORY = {"thumb_CMC_flex": "cmc_flexion", "ring_MCP_abd": "mcp4_abduction", "wrist_flexion": "flexion"}
"""Names of a laboratory → the joint that the message must suggest: the finger decides, not the joint alone."""


def test_columns_that_are_no_joints_are_refused_with_the_nearest_joint():
    angles = dict.fromkeys(["mcp2_flexion", *LABORATORY], np.zeros(200))
    with pytest.raises(NgbError, match=r"3 of 4 columns .* of myohand") as refused:
        session_from_arrays(**arrays(joint_angles=angles))
    suggested = {column: (joint, 1.0, 0.0) for column, joint in LABORATORY.items()}
    assert f"joint_map={suggested}" in str(refused.value)  # can be pasted
    session_from_arrays(**arrays(joint_angles=angles, joint_map=suggested))


def test_a_map_to_a_joint_that_does_not_exist_is_refused():
    with pytest.raises(NgbError, match=r"joint_map=\{'mcp2_flexion': \('mcp2_abduction', 1.0, 0.0\)\}"):
        session_from_arrays(**arrays(joint_map={"mcp2_flexion": ("mcp2_abd", 1.0, 0.0)}))
    with pytest.raises(NgbError, match=r"of planar_arm: .*`ngb bodies planar_arm`"):
        session_from_arrays(**arrays(body="planar_arm"))


def test_a_misspelt_joint_is_quoted_and_keeps_sign_and_offset():
    with pytest.raises(NgbError, match=r"'mcp2_flexion' is mapped to 'mcp3_flexoin'") as refused:
        session_from_arrays(**arrays(joint_map={"mcp2_flexion": ("mcp3_flexoin", -1.0, 0.3)}))
    assert "joint_map={'mcp2_flexion': ('mcp3_flexion', -1.0, 0.3)}" in str(refused.value)


@pytest.mark.parametrize(
    "entry",
    [
        ("mcp2_flexion", 1.0, float("nan")),
        ("mcp2_flexion", 0.0, 0.0),
        ("mcp2_flexion", 1.0),
        ("mcp2_flexion", "minus", 0.0),
        "mcp2_flexion",
        None,
    ],
)
def test_a_malformed_entry_of_the_map_is_refused(entry):
    with pytest.raises(
        NgbError, match=r"for the column 'mcp2_flexion'; write \(joint, sign, offset in rad\)"
    ):
        session_from_arrays(**arrays(joint_map={"mcp2_flexion": entry}))


def test_two_columns_of_one_joint_are_refused():
    angles = {"a": np.zeros(200), "b": np.zeros(200)}
    both = {column: ("mcp2_flexion", 1.0, 0.0) for column in angles}
    with pytest.raises(NgbError, match="Columns 'a' and 'b' map to one joint, 'mcp2_flexion'"):
        session_from_arrays(**arrays(joint_angles=angles, joint_map=both))


def test_columns_left_out_of_the_map_are_signals():
    session = session_from_arrays(**arrays(joint_angles={"camera": np.zeros(200)}, joint_map={}))
    assert session.joint_map == {} and session.signals["joint_angles"].columns == ("camera",)


# -- CSV --------------------------------------------------------------------------------------------------

UNITS = "unit,area,time\n10,M1,1.0\n2,S1,0.5\n10,M1,0.25\n"
ANGLES = "time,mcp2_flexion\n0,1\n1,2\n2,3\n"
TRIALS = "id,start,stop,condition,move_onset,contact\nfirst,0,2,cup,0.5,1\nsecond,3,5,cup,3.5,\n"


def from_csv(folder, units=UNITS, angles=ANGLES, trials=TRIALS, **more):
    for name, text in (("units", units), ("angles", angles), ("trials", trials)):
        (folder / f"{name}.csv").write_text(text)
    files = {
        "units": folder / "units.csv",
        "trials": folder / "trials.csv",
        "joint_angles": folder / "angles.csv",
    }
    return session_from_csv(id="s", subject="Ada", **{**files, **more})


def test_csv_files_become_a_session(tmp_path):
    session = from_csv(tmp_path, angle_unit="deg")
    assert session.units.ids == ("2", "10")
    assert session.units.areas == ("S1", "M1")
    assert session.units.spike_times.tolist() == [0.5, 0.25, 1.0]
    assert session.trials.ids == ("first", "second")
    assert np.isnan(session.trials.events["contact"][1])
    np.testing.assert_allclose(session.signals["joint_angles"].values[:, 0], np.deg2rad([1, 2, 3]))
    assert from_csv(tmp_path, joint_angles=None).signals == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": "unit,time\n1,2\n"}, "units.csv lacks the column 'area'; its header is unit, time"),
        ({"units": ""}, "units.csv lacks the column 'unit'; its header is empty."),
        (
            {"units": "unit;area;time\n1;M1;2\n"},
            "header is unit;area;time (are its cells separated by commas?).",
        ),
        (
            {"units": "unit,area,time\n1,M1,2\n1,M1,soon\n"},
            "units.csv, line 3: 'soon' in column 'time' is not a number",
        ),
        (
            {"units": "unit,area,time\n1,M1,2\n1,S1,3\n"},
            "line 3: unit '1' has the area 'S1' here and 'M1' before",
        ),
        ({"units": "unit,area,time\n1,M1\n"}, "units.csv, line 2: 2 cells for 3 columns"),
        ({"units": "unit,area,time,time\n"}, "two columns of the same name"),
        ({"angles": "t,mcp\n0,1\n"}, "angles.csv lacks the column 'time'"),
        ({"trials": "start,stop,condition\n0,1,a\n"}, "The trial table lacks the column 'move_onset'"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(tmp_path, changes, message):
    with pytest.raises(NgbError, match=re.escape(message)):
        from_csv(tmp_path, **changes)


def test_a_csv_file_in_another_encoding(tmp_path):
    (tmp_path / "excel.csv").write_text("time,mcp2_flexion\n0,1\n", encoding="utf-16")
    with pytest.raises(NgbError, match=r"excel\.csv cannot be read as CSV \(.*; save it as CSV in UTF-8\)\."):
        from_csv(tmp_path, joint_angles=tmp_path / "excel.csv")


def test_a_missing_csv_file(tmp_path):
    with pytest.raises(NgbError, match=r"nowhere\.csv cannot be read as CSV \(No such file or directory\)"):
        from_csv(tmp_path, joint_angles=tmp_path / "nowhere.csv")
