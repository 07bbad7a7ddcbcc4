"""Every kind of damage that pynwb's validator lets pass is a finding with its severity and place."""

import h5py
import numpy as np
import pytest
from data_sessions import put, small_session, write_foreign, write_small

from neurobench_grasp.data import load_session, validate_file
from neurobench_grasp.errors import CorruptFileError

SPIKES, INDEX = "units/spike_times", "units/spike_times_index"
TRIALS = "intervals/trials"
ANGLES = "processing/behavior/joint_angles"


def edit(path, values):
    """A change of one dataset."""

    def change(file):
        new = file[path][:]
        new = values(new)
        put(file, path, new)

    return change


def at(path, where, value):
    """A change of one value of a dataset."""

    def values(old):
        new = np.array(old, dtype=float if isinstance(value, float) else None)
        new[where] = value
        return new

    return edit(path, values)


def remove(path):
    def change(file):
        del file[path]

    return change


def attribute(path, name, value):
    def change(file):
        file[path].attrs[name] = value

    return change


def observe(intervals, ends):
    def change(file):
        put(file, "units/obs_intervals", np.asarray(intervals, float).reshape(-1, 2))
        put(file, "units/obs_intervals_index", np.asarray(ends))

    return change


def timestamps(times):
    def change(file):
        del file[f"{ANGLES}/starting_time"]
        n = len(file[f"{ANGLES}/data"])
        put(file, f"{ANGLES}/timestamps", times(np.arange(n) / 50))

    return change


def swap(i, j):
    def values(old):
        new = np.array(old)
        new[[i, j]] = old[[j, i]]
        return new

    return values


def overflow(file):
    put(file, INDEX, file[INDEX][:].astype(np.uint8))


def text_times(file):
    put(file, f"{TRIALS}/start_time", [f"{t} s".encode() for t in file[f"{TRIALS}/start_time"][:]])


def silence(file):
    n = int(file[INDEX][0])
    put(file, SPIKES, file[SPIKES][n:])
    put(file, INDEX, file[INDEX][:] - n)


ALWAYS = [[0, 100]] * 6
UP_TO_SIX = [1, 2, 3, 4, 5, 6]
ERRORS = {
    "NaN spikes": (at(SPIKES, 5, np.nan), SPIKES, "1 spike times of 1 of 6 units (u0) are NaN or infinite"),
    "NaN in a one-spike unit": (at(SPIKES, 0, np.nan), SPIKES, "are NaN or infinite"),
    "infinite spike": (at(SPIKES, -1, np.inf), SPIKES, "are NaN or infinite"),
    "spikes as text": (edit(SPIKES, lambda s: s.astype("S20")), SPIKES, "it contains text"),
    "spikes on another clock": (
        edit(SPIKES, lambda s: s + 1e5), "units", "spikes lie in only 0 of 12 trials; it spans 1e+05",
    ),
    "spikes in no order": (edit(SPIKES, lambda s: s[::-1]), SPIKES, "or in no order; write them in seconds"),
    "many trials overlap": (
        edit(f"{TRIALS}/stop_time", lambda t: t + 5), TRIALS, "6 of 12 trials (1, 3, 5, 7, 9, …) overlap others;",
    ),
    "index falls": (edit(INDEX, swap(2, 3)), INDEX, "at row 3, so values would go to wrong rows"),
    "index too long": (at(INDEX, 5, 10_000), INDEX, "ends at 10000, but there are"),
    "index too short": (at(INDEX, 5, 700), INDEX, "but there are"),
    "index overflowed": (overflow, INDEX, "its type uint8 ends at 255 and may have overflowed"),
    "index of floats": (edit(INDEX, lambda x: x + 0.5), INDEX, "is not a column of integers"),
    "index of another length": (edit(INDEX, lambda x: x[1:]), INDEX, "has 5 entries for 6 rows"),
    "observed backwards": (
        observe([[5, 1], *ALWAYS[1:]], UP_TO_SIX), "units/obs_intervals", "1 intervals end before they start",
    ),
    "observed twice": (
        observe([[0, 50], [40, 100], *ALWAYS[1:]], [2, 3, 4, 5, 6, 7]),
        "units/obs_intervals", "of 1 of 6 units (u0) overlap",
    ),
    "observed NaN": (observe([[np.nan, 1], *ALWAYS[1:]], UP_TO_SIX), "units/obs_intervals", "NaN"),
    "observed index broken": (
        observe(ALWAYS, [2, 1, 3, 4, 5, 6]), "units/obs_intervals_index", "falls from 2 to 1",
    ),
    "unequal columns": (
        edit("units/unit_name", lambda x: x[:4]), "units/unit_name", "it has 4 rows, the table 6",
    ),
    "electrode row missing": (
        at("units/electrodes", 2, 17), "units/electrodes", "it names electrode row 17 of 6",
    ),
    "times as text": (text_times, f"{TRIALS}/start_time", "it contains text"),
    "double ids": (at(f"{TRIALS}/id", 1, 0), f"{TRIALS}/id", "two rows have the same name"),
    "labels of another length": (
        edit(f"{TRIALS}/object_name", lambda x: x[:7]), f"{TRIALS}/object_name", "one label per trial",
    ),
    "too few timestamps": (
        timestamps(lambda t: t[:-1]), f"{ANGLES}/timestamps", "2999 timestamps for 3000 samples",
    ),
    "transposed": (
        edit(f"{ANGLES}/data", np.transpose), ANGLES, "3 column names for 3000 columns",
    ),
    "timestamps go back": (
        timestamps(swap(10, 11)), f"{ANGLES}/timestamps", "do not rise at 1 places, first after 0.22 s",
    ),
    "timestamps repeat": (
        timestamps(lambda t: np.where(t == t[7], t[6], t)), f"{ANGLES}/timestamps", "do not rise",
    ),
    "NaN timestamps": (timestamps(lambda t: np.where(t == t[7], np.nan, t)), f"{ANGLES}/timestamps", "NaN"),
    "no clock": (remove(f"{ANGLES}/starting_time"), ANGLES, "neither timestamps nor starting_time"),
    "rate of zero": (attribute(f"{ANGLES}/starting_time", "rate", 0.0), f"{ANGLES}/starting_time", "0.0 Hz"),
    "unknown angle unit": (attribute(f"{ANGLES}/data", "unit", "turns"), f"{ANGLES}/data", "'turns'"),
    "infinite angle": (at(f"{ANGLES}/data", (4, 1), np.inf), f"{ANGLES}/data", "1 values are infinite"),
    "column names missing": (
        edit(f"{ANGLES}_columns/joint", lambda x: x[:2]), ANGLES, "2 column names for 3 columns",
    ),
    "no trials table": (remove(TRIALS), TRIALS, "lacks the trials table"),
    "no contact": (remove(f"{TRIALS}/contact_time"), f"{TRIALS}/contact_time", "lacks the trials column"),
    "no index": (remove(INDEX), INDEX, "lacks the units column 'spike_times_index'"),
}  # fmt: skip

WARNINGS = {
    "negative spikes": (at(SPIKES, 0, -3.0), SPIKES, "1 spikes of 1 of 6 units (u0) lie before time 0"),
    "unsorted spikes": (edit(SPIKES, swap(3, 4)), SPIKES, "of 1 of 6 units (u0) were out of order"),
    "double spikes": (
        edit(SPIKES, lambda s: np.where(s == s[4], s[3], s)), SPIKES, "repeat the time of the one before",
    ),
    "spikes while unobserved": (
        observe([[10, 60], *ALWAYS[1:]], UP_TO_SIX), "units/obs_intervals", "of 6 units (u0) lie outside",
    ),
    "column not listed": (
        attribute("units", "colnames", ["spike_times", "electrodes"]), "units/unit_name", "other readers",
    ),
    "listed column missing": (
        attribute("units", "colnames", ["spike_times", "electrodes", "unit_name", "quality"]),
        "units", "'quality'",
    ),
    "event before its trial": (
        at(f"{TRIALS}/max_aperture_time", 2, -1.0), TRIALS, "the event max_aperture lies outside the trial",
    ),
    "events out of order": (
        at(f"{TRIALS}/contact_time", 2, 10.1), TRIALS,
        "the event contact comes before max_aperture in 1 of 12 trials (2)",
    ),
    "trial without label": (
        edit(f"{TRIALS}/object_name", lambda x: np.where(np.arange(12) == 4, b"", x).astype("S10")),
        TRIALS, "1 trials without a condition label were left out",
    ),
    "degrees called rad": (edit(f"{ANGLES}/data", lambda x: x * 57.3), f"{ANGLES}/data", "are they degrees?"),
    "NaN angles": (at(f"{ANGLES}/data", (4, 1), np.nan), f"{ANGLES}/data", "1 values are missing (NaN)"),
    "trial without end": (
        at(f"{TRIALS}/stop_time", 2, np.nan), TRIALS,
        "1 of 12 trial stop times are NaN or infinite, and were left out",
    ),
    "trial that never ends": (
        at(f"{TRIALS}/stop_time", 11, 1e12), TRIALS, "1 of 12 trial stop times are NaN or infinite",
    ),
    "trial inverted": (
        at(f"{TRIALS}/stop_time", 2, 3.0), TRIALS, "1 of 12 trials (2) end before they start, and were left out",
    ),
    "trial of no length": (
        at(f"{TRIALS}/stop_time", 2, 10.0), TRIALS, "1 of 12 trials (2) end before they start",
    ),
    "trials overlap": (
        at(f"{TRIALS}/stop_time", 2, 16.0), TRIALS, "1 of 12 trials (3) overlap others, and were left out",
    ),
    "trial over all others": (
        at(f"{TRIALS}/stop_time", 0, 500.0), TRIALS, "1 of 12 trials (0) overlap others, and were left out",
    ),
    "newer NWB": (attribute("/", "nwb_version", "2.99.0"), "nwb_version", "NWB 2.99 is newer"),
}  # fmt: skip

INFOS = {
    "silent unit": (silence, SPIKES, "1 of 6 units (u0) without any spike"),
    "no electrodes": (remove("units/electrodes"), "units/electrodes", "areas of the units are unknown"),
    "missing event": (lambda file: None, TRIALS, "the event max_aperture is missing in 1 of 12 trials (3)"),
    "gap": (
        timestamps(lambda t: t + (t > 20) * 3.0), f"{ANGLES}/timestamps", "1 gaps between samples, the longest of 3",
    ),
    "no subject": (remove("general/subject/subject_id"), "general/subject/subject_id", "missing or empty"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("severity", "case"),
    [(s, c) for s, cases in (("error", ERRORS), ("warning", WARNINGS), ("info", INFOS)) for c in cases],
)
def test_findings(tmp_path, severity, case):
    change, place, words = {"error": ERRORS, "warning": WARNINGS, "info": INFOS}[severity][case]
    path = tmp_path / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        change(file)
    findings = validate_file(path, "ngb-grasp-1")
    matching = [f for f in findings if f.severity == severity and f.place == place and words in f.message]
    assert matching, [str(f) for f in findings]
    if severity == "warning":
        assert str(matching[0]) in load_session(path, "ngb-grasp-1").notes
    if severity != "error":
        assert not [f for f in findings if f.severity == "error"]


def test_a_clean_file_has_only_infos(tmp_path):
    write_foreign(tmp_path / "f.nwb")
    assert {f.severity for f in validate_file(tmp_path / "f.nwb")} == {"info"}
    assert load_session(tmp_path / "f.nwb").notes == ()


def test_all_findings_come_at_once_and_errors_first(tmp_path):
    path = tmp_path / "f.nwb"
    write_foreign(path)
    chosen = [
        ERRORS["NaN spikes"],
        ERRORS["many trials overlap"],
        ERRORS["infinite angle"],
        WARNINGS["column not listed"],
    ]
    with h5py.File(path, "r+") as file:
        for change, _, _ in chosen:
            change(file)
    findings = validate_file(path)
    assert {place for _, place, _ in chosen} <= {f.place for f in findings}
    severities = [f.severity for f in findings]
    assert severities == sorted(severities, key=("error", "warning", "info").index)
    with pytest.raises(CorruptFileError) as caught:
        load_session(path)
    assert str(caught.value) == (
        f"f.nwb is refused, because {findings[0]}, and 2 more errors; "
        f"`ngb data validate {path}` lists everything."
    )


def test_unsorted_spikes_are_sorted_and_only_those(tmp_path):
    path = tmp_path / "f.nwb"
    session = write_foreign(path)
    with h5py.File(path, "r+") as file:
        swapped = file[SPIKES][:]
        close = np.flatnonzero(np.diff(swapped) < 0.5 * (np.diff(swapped) > 0))[::7]
        swapped[close], swapped[close + 1] = swapped[close + 1], swapped[close].copy()
        put(file, SPIKES, swapped)
    read = load_session(path)
    np.testing.assert_array_equal(read.units.spike_times, session.units.spike_times)
    assert read.sha256 == session.sha256


def test_events_outside_their_trial_count_as_missing(tmp_path):
    path = tmp_path / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        file[f"{TRIALS}/contact_time"][5] = 0.0
    assert np.isnan(load_session(path).trials.events["contact"][5])


@pytest.mark.parametrize("width", [np.uint8, np.uint16, np.int16, np.uint64])
def test_narrow_indices_do_not_overflow_in_arithmetic(tmp_path, width):
    path = tmp_path / "f.nwb"
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        put(file, SPIKES, np.arange(250) * 0.2)
        put(file, INDEX, np.array([200, 200, 210, 249, 249, 250], width))
    units = load_session(path).units
    assert units.spike_offsets.tolist() == [0, 200, 200, 210, 249, 249, 250]
    assert units.spike_offsets.dtype == np.int64


def test_angles_in_degrees_are_converted(tmp_path):
    path = tmp_path / "f.nwb"
    session = write_foreign(path)
    with h5py.File(path, "r+") as file:
        put(file, f"{ANGLES}/data", np.rad2deg(session.signals["joint_angles"].values), unit="degrees")
    angles = load_session(path).signals["joint_angles"]
    assert angles.unit == "rad"
    np.testing.assert_allclose(angles.values, session.signals["joint_angles"].values, atol=1e-12)


def test_conversion_and_offset_are_applied(tmp_path):
    path = tmp_path / "f.nwb"
    session = write_foreign(path)
    with h5py.File(path, "r+") as file:
        file[f"{ANGLES}/data"].attrs.update({"conversion": 0.5, "offset": 0.25})
    angles = load_session(path).signals["joint_angles"].values
    np.testing.assert_allclose(angles, session.signals["joint_angles"].values * 0.5 + 0.25)


def _counts_file(path, times, counts=None):
    """The small session with counts in bins instead of spike times."""
    write_foreign(path)
    with h5py.File(path, "r+") as file:
        del file["units"]
        group = file.require_group("processing/ecephys").create_group("binned_spikes")
        group["data"] = np.ones((len(times), 6), "u1") if counts is None else counts
        group["data"].attrs["unit"] = "counts"
        group["timestamps"] = times


@pytest.mark.parametrize(
    ("times", "counts", "words"),
    [
        (np.arange(50) * 0.02, np.full((50, 6), 0.5), "counts must be non-negative whole numbers"),
        (np.arange(50) * 0.02, np.full((50, 6), -1), "counts must be non-negative whole numbers"),
        (np.arange(50) * 0.02, np.ones((50, 5), "u1"), "6 electrodes do not match 5 columns of counts"),
        (np.r_[np.arange(50) * 0.02, 0.99], np.ones((51, 6), "u1"), "the bin times are not regular"),
        (np.arange(49) * 0.02, np.ones((50, 6), "u1"), "49 timestamps for 50 samples"),
        (np.cumsum(np.linspace(0.0199, 0.0201, 5000)), None, "drift from a regular grid"),
        (np.array([0.0]), None, "1 bins are too few"),
    ],
)
def test_bad_counts_are_refused(tmp_path, times, counts, words):
    path = tmp_path / "f.nwb"
    _counts_file(path, times, counts)
    assert any(words in f.message for f in validate_file(path, "ngb-grasp-1") if f.severity == "error")


def test_gaps_between_bins_are_reported(tmp_path):
    path = tmp_path / "f.nwb"
    _counts_file(path, np.r_[np.arange(50), np.arange(90, 3000)] * 0.02)
    assert any("1 gaps between bins, the longest of 0.820 s" in note for note in load_session(path).notes)


def test_a_stamped_file_with_half_a_stamp_is_refused(tmp_path):
    for name in ("identifier", "scratch/neurobench_grasp"):
        path = tmp_path / "f.nwb"
        write_small(path)
        with h5py.File(path, "r+") as file:
            del file[name]
            file[name] = "gone"
        with pytest.raises(CorruptFileError, match="do not match"):
            load_session(path)


@pytest.mark.parametrize("block", [7, 1 << 18])
def test_places_and_counts_are_right_however_many_spikes(tmp_path, monkeypatch, block):
    """The fast pass, block by block, and a plain loop over units find the same."""
    monkeypatch.setattr("neurobench_grasp.data.nwb.validate.BLOCK", block)
    rng = np.random.default_rng(3)
    session = small_session(n_units=40)
    path = tmp_path / "f.nwb"
    write_foreign(path, session)
    with h5py.File(path, "r+") as file:
        times = file[SPIKES][:]
        for i in rng.choice(
            np.setdiff1d(np.arange(len(times) - 1), session.units.spike_offsets - 1), 60, False
        ):
            times[i + 1] = times[i] if rng.random() < 0.5 else times[i] - 0.3 * rng.random()
        put(file, SPIKES, times)
    trains = np.split(times, session.units.spike_offsets[1:-1])
    disordered = sum(bool((np.diff(t) < 0).any()) for t in trains)
    repeats = sum(int((np.diff(np.sort(t)) == 0).sum()) for t in trains)
    messages = [f.message for f in validate_file(path)]
    assert any(f"{disordered} of 40 units" in m and "out of order" in m for m in messages)
    assert any(m.startswith(f"{repeats} spikes of ") and "repeat" in m for m in messages)
