"""Valid NWB in every shape and type that tools write is read alike; what does not fit a type is refused."""

import re

import h5py
import numpy as np
import pytest
from counts import examples
from data_sessions import put, write_foreign
from hypothesis import given, settings
from hypothesis import strategies as st

from neurobench_grasp.data import load_session, validate_file
from neurobench_grasp.data.converters.binned import check_counts
from neurobench_grasp.errors import CorruptFileError, LayoutError, NgbError, UnsafeFileError

TRIALS, ANGLES = "intervals/trials", "processing/behavior/joint_angles"
COLUMNS = (
    "units/spike_times", "units/spike_times_index", "units/id", "units/unit_name", "units/electrodes",
    "units/electrodes_index", f"{TRIALS}/id", f"{TRIALS}/start_time", f"{TRIALS}/stop_time",
    f"{TRIALS}/object_name", f"{TRIALS}/contact_time", "general/extracellular_ephys/electrodes/location",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shapes")


def changed(folder, change):
    path = folder / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


@settings(max_examples=examples(30), deadline=None)
@given(st.sets(st.sampled_from(COLUMNS)), st.sampled_from([(-1, 1), (1, -1)]))
def test_columns_of_matlab_are_read_alike(folder, columns, shape):
    plain = load_session(changed(folder, lambda file: None))

    def reshape(file):
        for column in columns:
            put(file, column, file[column][:].reshape(shape))

    assert load_session(changed(folder, reshape)).sha256 == plain.sha256


@settings(max_examples=examples(30), deadline=None)
@given(
    st.sampled_from([*COLUMNS, f"{ANGLES}/data"]),
    st.lists(st.integers(0, 4), max_size=3),
    st.sampled_from("ifSOb"),
)
def test_any_shape_and_type_is_read_or_refused_with_a_finding(folder, column, shape, kind):
    """No part that is not read is without a finding."""
    values = np.ones(shape, {"i": "i8", "f": "f8", "S": "S3", "O": "S3", "b": "?"}[kind])
    values = values.astype(object).astype(h5py.string_dtype()) if kind == "O" else values
    path = changed(folder, lambda file: put(file, column, values))
    findings = [f for f in validate_file(path, "ngb-grasp-1") if f.severity == "error"]
    try:
        load_session(path, "ngb-grasp-1")
    except CorruptFileError as error:
        assert findings and str(error).startswith(f"f.nwb is refused, because {findings[0]}")
    else:
        assert not findings


@settings(max_examples=examples(60), deadline=None)
@given(
    st.sampled_from(["", "units", "units/id", TRIALS, f"{TRIALS}/object_name", ANGLES, f"{ANGLES}/data"]),
    st.sampled_from(["neurodata_type", "colnames", "unit", "conversion", "nwb_version", "comments", "rate"]),
    st.sampled_from(
        [b"\xff", "", "x", ["x"], ["x", "y"], 1.5, np.nan, [1, 2, 3], [[1], [2]], h5py.Empty("f4")]
    ),
)
def test_an_attribute_of_any_type_is_no_damage(folder, place, name, value):
    """What a file states in another type than text is not stated, or refused by its place."""
    path = changed(folder, lambda file: file[place or "/"].attrs.__setitem__(name, value))
    try:
        load_session(path, "ngb-grasp-1")
    except NgbError as error:
        assert "damaged" not in str(error) and "\n" not in str(error)


def test_a_text_of_one_element_is_that_text(folder):
    """As some tools write attributes."""
    path = changed(folder, lambda file: file[f"{ANGLES}/data"].attrs.__setitem__("unit", ["radians"]))
    assert load_session(path).sha256 == load_session(changed(folder, lambda file: None)).sha256


@pytest.mark.parametrize("there", [None, h5py.Empty("f8")])
@pytest.mark.parametrize("place", ["units", ANGLES])
def test_something_else_in_the_place_of_an_optional_part_is_reported(folder, place, there):
    """Else the session is read as one without neurons, or without behaviour, in silence."""

    def replace(file):
        del file[place]
        if there is None:
            file.create_group(place)
        else:
            file[place] = there

    path = changed(folder, replace)
    said = f"{place}: there is something else than"
    assert any(str(f).startswith(said) for f in validate_file(path, "ngb-grasp-1") if f.severity == "warning")
    assert any(said in note for note in load_session(path, "ngb-grasp-1").notes)


def test_enumerated_columns(folder):
    def enumerate_objects(file):
        labels = file[f"{TRIALS}/object_name"][:]
        elements, codes = np.unique(labels, return_inverse=True)
        put(file, f"{TRIALS}/object_name", codes.astype("u1"), neurodata_type="EnumData")
        file[f"{TRIALS}/object_name_elements"] = elements

    assert (
        load_session(changed(folder, enumerate_objects)).sha256
        == load_session(changed(folder, lambda f: 0)).sha256
    )


def test_units_of_measure_with_blanks_and_capitals(folder):
    path = changed(folder, lambda file: file[f"{ANGLES}/data"].attrs.update(unit="Radians "))
    assert not [f for f in validate_file(path) if f.severity == "error"]


@pytest.mark.parametrize(
    "conversion", [np.array([0.5]), np.float32(0.5), "half", np.array([1.0, 2.0]), np.nan]
)
def test_conversions(folder, conversion):
    path = changed(folder, lambda file: file[f"{ANGLES}/data"].attrs.__setitem__("conversion", conversion))
    wrong = [f.message for f in validate_file(path) if f.severity == "error"]
    good = np.size(conversion) == 1 and not isinstance(conversion, str) and np.isfinite(conversion).all()
    assert bool(wrong) != good and all("its conversion is" in message for message in wrong)


def test_an_index_of_beginnings_is_recognised(folder):
    def begin(file):
        put(file, "units/spike_times_index", np.r_[0, file["units/spike_times_index"][:-1]])

    (error,) = [f for f in validate_file(changed(folder, begin)) if f.severity == "error"]
    assert error.message.endswith("it may state where rows begin, but must state where they end")


def test_compression_that_needs_a_plugin_is_named(folder, monkeypatch):
    path = changed(folder, lambda file: None)
    monkeypatch.setattr("h5py.h5z.filter_avail", lambda number: number != h5py.h5z.FILTER_DEFLATE)
    with pytest.raises(UnsafeFileError) as caught:
        load_session(path)
    assert re.fullmatch(
        r"f\.nwb was not read, because '.*' is compressed by deflate \(HDF5 filter 1\), which needs a plugin, and plugins are not loaded; "
        r"compress it with gzip \(`h5repack -f GZIP=4 IN OUT`\)\.",
        str(caught.value),
    )


def test_a_zarr_store_is_named(tmp_path):
    (tmp_path / "f.nwb.zarr").mkdir()
    (tmp_path / "f.nwb.zarr" / ".zgroup").write_text("{}")
    with pytest.raises(
        CorruptFileError, match=r"f\.nwb\.zarr is a Zarr store, which is not read here; export it"
    ):
        load_session(tmp_path / "f.nwb.zarr")


# -- narrowing --------------------------------------------------------------------------------------------


def counts_file(folder, values, **attributes):
    def change(file):
        del file["units"]
        group = file.require_group("processing/ecephys").create_group("binned_spikes")
        group["data"] = values
        group["data"].attrs.update({"unit": "counts", **attributes})
        group["timestamps"] = np.arange(len(values)) * 0.02

    return changed(folder, change)


@settings(max_examples=examples(30), deadline=None)
@given(st.floats(2**31, 1e300), st.booleans())
def test_counts_that_a_bin_cannot_contain_are_refused(folder, large, by_conversion):
    values = np.ones((3000, 6))
    if by_conversion:
        path = counts_file(folder, values, conversion=float(np.floor(large)))
    else:
        values[7, 2] = np.floor(large)
        path = counts_file(folder, values)
    errors = [f.message for f in validate_file(path) if f.severity == "error"]
    assert errors == [f"counts reach {np.floor(large):g}, more than a bin can contain"]
    with pytest.raises(LayoutError, match="is not a count of spikes"):
        check_counts(np.full((2, 2), np.floor(large)), "field")


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_rows_and_indices_of_any_size_are_checked(folder, number):
    for column in ("units/electrodes", "units/spike_times_index"):

        def change(file, column=column):
            values = file[column][:].astype("u8")
            values[-1] = number
            put(file, column, values)

        path = changed(folder, change)
        try:
            session = load_session(path)
        except NgbError as error:
            assert f"f.nwb is refused, because {column}: " in str(error)
        else:
            assert number <= (5 if column.endswith("electrodes") else len(session.units.spike_times))
