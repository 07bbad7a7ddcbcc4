"""Layouts are data: anyone adds one without code, and a wrong one says where it is wrong."""

import importlib
import shutil

import h5py
import numpy as np
import pytest
import yaml
from data_sessions import JOINTS, put, write_foreign, write_small

from neurobench_grasp.data import inspect_file, layouts, load_layout, load_session
from neurobench_grasp.data.nwb.layout import _shipped
from neurobench_grasp.errors import LayoutError, NgbError, UnknownNameError
from neurobench_grasp.resources import resource

OWN = """
name: our-lab
version: 2
summary: reaching, spike times, EMG
units:
  - kind: spikes
    paths: [units]
    area: {constant: PMd}
signals:
  - {name: angles, role: joint_angle, paths: [nowhere/angles, processing/behavior/joint_angles]}
trials:
  paths: [intervals/trials]
  condition: {column: angle, scale: 57.29577951308232, decimals: 0}
  keep: {column: outcome, values: [good, "2"]}
  events: {go: go_cue_time, contact: contact_time}
  event_order: [go, contact]
window: {start_event: go, stop_event: contact, stop_offset: 0.5, contiguous: trial}
"""


@pytest.fixture
def lab_file(tmp_path):
    """A file that only the layout above fits."""
    path = tmp_path / "lab.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        trials = file["intervals/trials"]
        trials.move("move_onset_time", "go_cue_time")
        del trials["object_name"]
        trials["angle"] = np.tile([0.0, np.pi / 2, -np.pi, -1e-9], 3)
        trials["outcome"] = [b"good", b"bad", b"2"] * 4
        trials.attrs["colnames"] = [n for n in trials if n != "id"]
    return path


def _yaml(tmp_path, **changes):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(OWN) | changes))
    return path


def test_a_layout_of_ones_own_is_a_yaml_file(lab_file, tmp_path):
    session = load_session(lab_file, _yaml(tmp_path))
    assert session.layout == "our-lab@2"
    assert set(session.units.areas) == {"PMd"}
    assert session.trials.condition == ("0", "180", "0", "90", "180", "0", "90", "0")
    assert session.trials.ids == ("0", "2", "3", "5", "6", "8", "9", "11")
    assert set(session.trials.events) == {"go", "contact"}
    assert session.window.stop_offset == 0.5 and session.window.contiguous == "trial"
    assert list(session.signals) == ["angles"]
    assert inspect_file(lab_file, _yaml(tmp_path)).layout == "our-lab"


def test_shipped_layouts_have_the_name_of_their_file():
    files = sorted(p.stem for p in resource("nwb_schemas").glob("*.yaml"))
    assert sorted(layouts()) == files
    assert {"ngb-grasp-1", "m1-center-out", "m1-wrist", "s1-grasp35", "hand-reach-to-grasp"} <= set(files)


def test_unknown_names_are_answered_with_a_suggestion():
    with pytest.raises(
        UnknownNameError, match=r"no layout 'm1-centre-out' \(did you mean 'm1-center-out'\?\)"
    ):
        load_layout("m1-centre-out")


def _without(key):
    content = yaml.safe_load(OWN)
    del content[key]
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            yaml.safe_load(OWN) | {"windw": {}},
            r"top level: there is no field 'windw' \(did you mean 'window'\?\)",
        ),
        (_without("trials"), "top level: the field 'trials' is missing"),
        (yaml.safe_load(OWN) | {"version": "two"}, "wrong at version: expected int, not 'two'"),
        (
            yaml.safe_load(OWN) | {"units": [{"kind": "spike", "paths": ["units"]}]},
            "'spike' is not one of spikes, counts",
        ),
        (
            yaml.safe_load(OWN) | {"units": [{"kind": "spikes", "paths": "units"}]},
            "expected a list, not 'units'",
        ),
        (yaml.safe_load(OWN) | {"joint_map": {"a": ["b", 1]}}, r"joint_map.a: expected 3 values"),
        (
            yaml.safe_load(OWN) | {"window": {"start_event": "go", "stop_event": "grasp"}},
            "uses the event 'grasp', which its trials do not define",
        ),
        (["a list"], "expected fields"),
    ],
)
def test_a_wrong_layout_says_where(tmp_path, content, message):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(LayoutError, match=message) as caught:
        load_layout(path)
    assert "own.yaml" in str(caught.value)


def test_files_that_are_no_layout(tmp_path):
    with pytest.raises(NgbError, match="There is no layout file"):
        load_layout(tmp_path / "missing.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,")
    with pytest.raises(LayoutError, match="is not valid YAML") as caught:
        load_layout(tmp_path / "broken.yaml")
    assert "\n" not in str(caught.value)


def test_a_misfit_says_what_was_looked_for_what_is_there_and_what_fits(tmp_path):
    path = tmp_path / "small.nwb"
    write_small(path)
    with pytest.raises(LayoutError) as caught:
        load_session(path, "m1-center-out")
    message = str(caught.value)
    assert "it lacks the units (looked for at processing/ecephys/binned_spikes; there is" in message
    assert "the layout 'ngb-grasp-1' fits" in message
    assert f"`ngb data inspect {path}`" in message


def test_a_layout_whose_joint_map_names_other_columns_does_not_fit(tmp_path):
    """A canonical file has all else that the glove layout looks for, which would leave its units out."""
    path = tmp_path / "a.nwb"
    write_foreign(path)
    missing = {fit.layout: fit.missing for fit in inspect_file(path).fits}
    assert missing["ngb-grasp-1"] == ()
    assert missing["hand-reach-to-grasp"] == (
        "the column 'thumb_rotation' of joint_angles (looked for at processing/behavior/joint_angles; "
        f"there is {', '.join(JOINTS)})",
    )
    with h5py.File(path, "r+") as file:
        file["intervals/trials"].move("move_onset_time", "movement_on")
    with pytest.raises(LayoutError) as caught:
        load_session(path)
    assert "the nearest, 'ngb-grasp-1', lacks the trials column 'move_onset_time'" in str(caught.value)
    assert "movement_on" in str(caught.value)


def test_a_tie_is_not_decided_silently(tmp_path, monkeypatch):
    folder = tmp_path / "schemas"
    shutil.copytree(resource("nwb_schemas"), folder)
    text = (folder / "ngb-grasp-1.yaml").read_text()
    (folder / "twin.yaml").write_text(text.replace("name: ngb-grasp-1", "name: twin"))
    module = importlib.import_module("neurobench_grasp.data.nwb.layout")  # the name is also a function's
    monkeypatch.setattr(module, "resource", lambda _: folder)
    _shipped.cache_clear()
    try:
        write_foreign(tmp_path / "a.nwb")
        with pytest.raises(LayoutError, match="fits the layouts ngb-grasp-1 and twin equally well"):
            load_session(tmp_path / "a.nwb")
        assert load_session(tmp_path / "a.nwb", "twin").layout == "twin@1"
    finally:
        _shipped.cache_clear()


def test_emg_as_one_series_per_muscle_must_share_a_clock(real_file, tmp_path):
    path = tmp_path / "wrist.nwb"
    shutil.copy(real_file("real/m1_wrist_0817.nwb"), path)
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        clock = "acquisition/preprocessed_emg/FDS/timestamps"
        put(file, clock, file[clock][:] + 0.01)
    with pytest.raises(NgbError, match="preprocessed_emg/FDS: its sample times differ from those of APL"):
        load_session(path)
