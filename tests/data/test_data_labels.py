"""One thing has one label, whatever type, form or unit a file writes it in; near-twins are reported."""

import unicodedata

import h5py
import numpy as np
import pytest
from data_sessions import put, write_foreign
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.data import load_session, session_from_arrays, validate_file
from neurobench_grasp.data.labels import DEGREES_PER_RAD, label_of, near_twins, text_label, twins_of_areas
from neurobench_grasp.errors import LayoutError

TRIALS = "intervals/trials"
ELECTRODES = "general/extracellular_ephys/electrodes"
words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12
)


@given(words)
def test_composed_or_not_is_one_label(word):
    forms = {unicodedata.normalize(form, f" {word}\u00a0") for form in ("NFC", "NFD")}
    assert len({text_label(form) for form in forms}) == 1
    assert text_label(text_label(word)) == text_label(word)


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_exact(number):
    assert label_of(np.int64(number)) == label_of(number) == str(number)


@given(st.decimals(-1000, 1000, places=4, allow_nan=False))
def test_single_and_double_precision_have_one_label(number):
    assert label_of(np.float32(number)) == label_of(np.float64(number)) or abs(number) > 100


@given(st.integers(-180, 360), st.booleans())
def test_half_and_full_turns_have_one_label(degrees, single):
    angle = np.deg2rad(degrees)
    label = label_of(np.float32(angle) if single else angle, DEGREES_PER_RAD, 0)
    assert label == {-180: "180", 360: "0"}.get(degrees, str(degrees))


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from([None, 0, 2]))
def test_every_number_has_a_label_or_none(number, decimals):
    assert bool(label_of(np.float64(number), 1.0, decimals)) == bool(np.isfinite(number))


@pytest.mark.parametrize(
    ("labels", "twins"),
    [
        (["Cup", "cup", "ball"], [("Cup", "cup")]),
        (["power grip", "power_grip", "Power-Grip"], [("Power-Grip", "power grip", "power_grip")]),
        (["1", "1.0", "2"], [("1", "1.0")]),
        (["1.5707964", "1.5707963267948966"], [("1.5707963267948966", "1.5707964")]),
        (["9007199254740993", "9007199254740992", "inf", "nan", "-"], []),
        (["90", "-90", "45"], []),
    ],
)
def test_near_twins(labels, twins):
    assert near_twins(labels) == twins


def test_angles_a_turn_apart_are_near_twins():
    assert near_twins(["-90", "270", "90"], angles=True) == [("-90", "270")]


def test_spellings_of_areas():
    spellings = ["M1", "m1", "Primary motor cortex", "motor cortex left", "S1", "Area 2", "2", "3b", "PMd"]
    assert twins_of_areas(spellings) == [
        ("2", "Area 2"),
        ("M1", "Primary motor cortex", "m1", "motor cortex left"),
    ]


# -- files ------------------------------------------------------------------------------------------------


def labelled(path, labels, dtype=None):
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        put(file, f"{TRIALS}/object_name", np.asarray(labels, dtype) if dtype else labels)
    return path


@pytest.mark.parametrize(
    ("stored", "label"),
    [
        (np.array(["Zürich".encode()] * 12, dtype=h5py.string_dtype("utf-8", 7)), "Zürich"),
        (np.array(["Zürich".encode("latin-1")] * 12), "Zürich"),
        (np.array(["Zu\u0308rich ".encode()] * 12), "Zürich"),
        (np.full(12, 2**53 + 1), "9007199254740993"),
        (np.full((12, 1), 0.1, np.float32), "0.1"),
        (np.full((1, 12), 3.0), "3"),
    ],
)
def test_labels_of_every_kind_are_read(tmp_path, stored, label):
    session = load_session(labelled(tmp_path / "f.nwb", stored))
    assert session.trials.condition == (label,) * 12


def test_infinite_labels_are_none(tmp_path):
    path = labelled(tmp_path / "f.nwb", [1.0] * 11 + [np.inf])
    session = load_session(path)
    assert len(session.trials) == 11
    assert session.notes == (f"{TRIALS}: 1 trials without a condition label were left out",)


def test_near_twins_of_conditions_and_areas_are_reported(tmp_path):
    path = labelled(tmp_path / "f.nwb", ["Cup", "cup"] * 6)
    with h5py.File(path, "r+") as file:
        put(file, f"{ELECTRODES}/location", ["M1", "m1", "S1", "S1", "S1", "S1"])
    messages = [str(f) for f in validate_file(path) if f.severity == "warning"]
    assert messages == [
        "units: the areas 'M1' and 'm1' are scored apart, but may be one; if so, name them alike (in a layout by "
        "units.area.names)",
        f"{TRIALS}: the conditions 'Cup' and 'cup' count as different, but may be one; if so, label them alike (in "
        "a layout by trials.condition.labels)",
    ]


LAYOUT = """
name: mine
version: 1
summary: for a test
units:
  - kind: spikes
    paths: [units]
    ids: [unit_name, id]
    area: {electrodes: location, names: {m1: M1, Primary motor cortex: M1}}
    keep: {column: quality, values: [good, mua]}
joint_map: null
trials:
  paths: [intervals/trials]
  condition: {column: object_name, labels: {object_name: {Cup: cup}}}
  events: {move_onset: move_onset_time, contact: contact_time}
window: {start_event: move_onset, stop_event: contact}
"""


def test_a_layout_maps_areas_and_labels_and_keeps_units(tmp_path):
    path, layout = labelled(tmp_path / "f.nwb", ["Cup", "cup"] * 6), tmp_path / "mine.yaml"
    layout.write_text(LAYOUT)
    with pytest.raises(LayoutError, match="lacks the units column 'quality'"):
        load_session(path, layout)
    with h5py.File(path, "r+") as file:
        put(file, f"{ELECTRODES}/location", ["M1", "m1", "Primary motor cortex", "S1", "S1", "S1"])
        put(file, "units/quality", ["good", "mua", "noise"] * 2)
        file["units"].attrs["colnames"] = ["spike_times", "electrodes", "unit_name", "quality"]
    whole, session = load_session(path), load_session(path, layout)
    assert session.units.ids == ("u0", "u1", "u3", "u4") and session.units.areas == ("M1", "M1", "S1", "S1")
    for mine, unit in enumerate((0, 1, 3, 4)):
        np.testing.assert_array_equal(session.units.train(mine), whole.units.train(unit))
    assert set(session.trials.condition) == {"cup"}
    assert session.notes == ("units/quality: 2 of 6 units are not good or mua, so left out",)
    assert whole.notes[1] == (
        "units/quality: units of different quality are used alike (good 2, mua 2, noise 2); the layout's units.keep "
        "selects"
    )


def test_the_area_may_be_that_of_the_electrode_group(tmp_path):
    path = tmp_path / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        areas = [
            file[f"general/extracellular_ephys/{g.decode()}"].attrs["location"]
            for g in file[f"{ELECTRODES}/group_name"]
        ]
        put(file, f"{ELECTRODES}/location", ["unknown"] * 3 + ["3b"] * 3)
    assert load_session(path).units.areas == (*areas[:3], *["3b"] * 3)
    with h5py.File(path, "r+") as file:
        del file[f"{ELECTRODES}/location"]
    assert load_session(path).units.areas == tuple(areas)
    with h5py.File(path, "r+") as file:
        del file["units/electrodes"], file["units/electrodes_index"]
        groups = [
            file[f"general/extracellular_ephys/{g.decode()}"].ref for g in file[f"{ELECTRODES}/group_name"]
        ]
        file["units"].create_dataset("electrode_group", data=groups, dtype=h5py.ref_dtype)
    assert load_session(path).units.areas == tuple(areas)


def test_trials_in_invalid_times_are_left_out(tmp_path):
    path = tmp_path / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        table = file.create_group("intervals/invalid_times")
        table.attrs["neurodata_type"] = "TimeIntervals"
        for name, values in (("id", [0, 1]), ("start_time", [9.6, 42.0]), ("stop_time", [16.0, np.nan])):
            table[name] = values
    session = load_session(path)
    assert session.trials.ids == ("0", "1", "4", "5", "6", "7")
    assert session.notes == (
        "intervals/invalid_times: 6 of 12 trials (2, 3, 8, 9, 10, …) meet times that the file marks so, and were "
        "left out",
    )


@given(words)
def test_arrays_have_the_same_labels_as_files(word):
    decomposed = unicodedata.normalize("NFD", word)
    if not text_label(word):
        return
    session = session_from_arrays(
        id="s", subject="Ada", spike_times={"u": [1.0, 2.0]}, areas={"u": " M1 "},
        trials={
            "start": [0.0, 2.0], "stop": [1.5, 3.0], "condition": [word, f" {decomposed}"],
            "move_onset": [0.1, 2.1], "contact": [1.0, 2.9],
        },
    )  # fmt: skip
    assert session.trials.condition == (text_label(word),) * 2 and session.units.areas == ("M1",)
