import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from counts import examples
from data_sessions import ABOUT, small_session, write_small
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neurobench_grasp.contract import Ragged, Session, Signal, TrialTable, Units, Window
from neurobench_grasp.data import inspect_file, load_session, session_digest, validate_file, write_session
from neurobench_grasp.data.digest import BLOCK, Hashes
from neurobench_grasp.data.labels import text_label
from neurobench_grasp.errors import NgbError

# -- equality ---------------------------------------------------------------------------------------------


def same(a, b):
    """Whether two values are equal, arrays bit by bit."""
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


# -- arbitrary sessions -----------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=8).map(
    text_label
)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,7}", fullmatch=True).filter(
    lambda w: not w.endswith("_columns") and w not in ("start", "stop", "true_rates", "joint_angles")
)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def clocks(draw, n):
    """Sample times, regular or not."""
    if draw(st.booleans()):
        return draw(st.floats(0, 10)) + np.arange(n) / draw(st.sampled_from([20.0, 50.0, 100.0, 33.3]))
    return np.cumsum(np.random.default_rng(draw(seeds)).uniform(0.001, 1, n))


@st.composite
def unit_tables(draw):
    ids = draw(st.one_of(st.just([str(i) for i in range(4)]), st.lists(names, max_size=5, unique=True)))
    n = len(ids)
    areas = tuple(draw(st.sampled_from(["M1", "S1", "unknown"])) for _ in range(n))
    rng = np.random.default_rng(draw(seeds))
    if n and draw(st.booleans()):
        n_bins, width = draw(st.integers(2, 40)), draw(st.sampled_from([0.02, 0.05]))
        times = draw(st.floats(0, 5)) + np.arange(n_bins) * width
        counts = rng.poisson(draw(st.sampled_from([0.5, 300])), (n_bins, n))
        counts = counts.astype(np.min_scalar_type(int(counts.max(initial=0))))  # as they are read
        return Units(tuple(ids), areas, counts=counts, count_times=times, bin_width=width)
    trains = [np.unique(rng.uniform(0, 100, draw(st.integers(0, 20)))) for _ in range(n)]
    ends = np.cumsum([0, *map(len, trains)]).astype(np.int64)
    observed = None
    if n and draw(st.booleans()):
        observed = Ragged.of(
            [np.sort(rng.uniform(0, 100, 2 * draw(st.integers(1, 3)))).reshape(-1, 2) for _ in range(n)]
        )
    times = np.concatenate([np.empty(0), *trains])
    return Units(tuple(ids), areas, spike_times=times, spike_offsets=ends, observed=observed)


@st.composite
def signals(draw, name, role):
    n, columns = draw(st.integers(1, 30)), draw(st.lists(names, min_size=1, max_size=4, unique=True))
    rng = np.random.default_rng(draw(seeds))
    values = rng.uniform(-1, 1, (n, len(columns)))
    if draw(st.booleans()):
        values = values.astype(np.float32).astype(np.float64)
    if draw(st.booleans()):
        values[rng.random(values.shape) < 0.1] = np.nan
    unit = "rad" if role == "joint_angle" else draw(st.sampled_from(["m", "a.u.", "°/s"]))
    return Signal(name, role, tuple(columns), unit, draw(clocks(n)), values)


@st.composite
def trial_tables(draw):
    n = draw(st.integers(1, 8))
    start = np.arange(n) * 10.0 + draw(st.floats(0, 3))
    stop = start + draw(st.floats(1, 7))
    rng = np.random.default_rng(draw(seeds))
    events = {}
    for event in ["move_onset", "contact", *draw(st.lists(words, max_size=3, unique=True))]:
        times = start + rng.random() * (stop - start) * 0.99
        events[event] = np.where(rng.random(n) < 0.2, np.nan, times)
    if draw(st.booleans()):
        ids = tuple(map(str, rng.permutation(n)))
    else:
        ids = tuple(draw(st.lists(names, min_size=n, max_size=n, unique=True)))
    return TrialTable(ids, start, stop, tuple(draw(names) for _ in range(n)), events)


@st.composite
def arbitrary_sessions(draw):
    found = {"joint_angles": draw(signals("joint_angles", "joint_angle"))} if draw(st.booleans()) else {}
    for name in draw(st.lists(words, max_size=2, unique_by=str.lower)):
        found[name] = draw(signals(name, draw(st.sampled_from(["emg", "position", "other"]))))
    units = draw(unit_tables())
    rates = None
    if len(units) and draw(st.booleans()):
        times = draw(clocks(7))
        values = np.random.default_rng(draw(seeds)).uniform(0, 80, (7, len(units)))
        rates = Signal("true_rates", "other", units.ids, "Hz", times, values)
    window = Window("move_onset", "contact", draw(st.floats(-1, 0)), pad_after=draw(st.floats(0, 1)))
    return Session(
        id=draw(names),
        subject=draw(names),
        layout="ngb-grasp-1@1",
        sha256="",
        synthetic=draw(st.booleans()),
        units=units,
        trials=draw(trial_tables()),
        signals=found,
        window=draw(st.sampled_from([Window("move_onset", "contact", contiguous="trial"), window])),
        joint_map={"a": ("mcp2_flexion", -1.0, 0.1)} if draw(st.booleans()) else {},
        true_rates=rates,
    )


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(session=arbitrary_sessions())
def test_what_is_written_comes_back_bit_by_bit(session, tmp_path_factory):
    path = tmp_path_factory.mktemp("roundtrip") / "session.nwb"
    write_session(path, session, **ABOUT)
    back = load_session(path)
    assert same(dataclasses.replace(back, sha256="", notes=()), session)
    assert back.sha256 == session_digest(session)
    assert not [f for f in validate_file(path) if f.severity == "error"]


@settings(max_examples=examples(8), deadline=None, suppress_health_check=list(HealthCheck))
@given(session=arbitrary_sessions())
def test_pynwb_finds_nothing_to_complain_about(session, tmp_path_factory):
    import pynwb

    path = tmp_path_factory.mktemp("pynwb") / "session.nwb"
    write_session(path, session, **ABOUT)
    assert pynwb.validate(path=str(path)) == []


def test_pynwb_reads_the_same_spikes_and_trials(tmp_path):
    from pynwb import NWBHDF5IO

    session = write_small(tmp_path / "a.nwb", institution="A laboratory", licence="CC0-1.0")
    with NWBHDF5IO(tmp_path / "a.nwb", "r") as io:
        nwb = io.read()
        for i in range(len(session.units)):
            o = session.units.spike_offsets
            np.testing.assert_array_equal(
                nwb.units.get_unit_spike_times(i), session.units.spike_times[o[i] : o[i + 1]]
            )
        locations = [nwb.units["electrodes"][i]["location"].item() for i in range(len(session.units))]
        assert tuple(locations) == session.units.areas
        assert tuple(nwb.trials["object_name"][:]) == session.trials.condition
        assert nwb.institution == "A laboratory"
        assert nwb.subject.species == "Macaca mulatta"


# -- the digest -------------------------------------------------------------------------------------------


def test_the_digest_ignores_chunks_filters_and_number_types(tmp_path):
    session = write_small(tmp_path / "a.nwb")
    with h5py.File(tmp_path / "a.nwb", "r+") as file:
        for path in ("units/spike_times", "processing/behavior/joint_angles/data"):
            old = file[path]
            values, attributes = old[:], dict(old.attrs)
            del file[path]
            file.create_dataset(path, data=values.astype("f8"), chunks=(7, *values.shape[1:]))
            file[path].attrs.update(attributes)
    assert load_session(tmp_path / "a.nwb").sha256 == session.sha256


def test_the_digest_notices_every_part():
    session = small_session()
    changed = [
        {"id": "other"},
        {"subject": "Bea"},
        {"synthetic": True},
        {"window": Window("move_onset", "contact", pad_before=0.25)},
        {"joint_map": {"a": ("b", 1.0, 0.0)}},
        {"units": dataclasses.replace(session.units, areas=("M1",) * 6)},
        {"units": dataclasses.replace(session.units, spike_times=session.units.spike_times + 1e-9)},
        {"trials": dataclasses.replace(session.trials, condition=("cup",) * 12)},
        {"trials": dataclasses.replace(session.trials, stop=session.trials.stop + 1e-9)},
        {"signals": {}},
        {"true_rates": session.signals["joint_angles"]},
    ]
    digests = {session_digest(dataclasses.replace(session, **change)) for change in changed}
    assert len(digests | {session.sha256}) == len(changed) + 1


def test_the_digest_ignores_layout_and_notes():
    session = small_session()
    other = dataclasses.replace(session, layout="mine@3", notes=("sorted",), sha256="?")
    assert session_digest(other) == session.sha256


def test_the_digest_is_pinned():
    """Records refer to it, so it must not change between versions or machines."""
    session = dataclasses.replace(small_session(), signals={}, joint_map={})
    times = np.arange(4.0)
    session = dataclasses.replace(
        session,
        units=Units(("1",), ("M1",), spike_times=times, spike_offsets=np.array([0, 4])),
        trials=TrialTable(("0",), np.zeros(1), np.ones(1), ("cup",), {"contact": np.full(1, 0.5)}),
    )
    assert session_digest(session) == "da07bc2d864533f041f82f8e80b6fb0c7d9301051a62ca760efcef6693e84726"


# -- the file ---------------------------------------------------------------------------------------------


def test_numbers_carry_checksums(tmp_path):
    write_small(tmp_path / "a.nwb")
    with h5py.File(tmp_path / "a.nwb") as file:
        for path in (
            "units/spike_times",
            "intervals/trials/contact_time",
            "processing/behavior/joint_angles/data",
        ):
            assert file[path].fletcher32 and file[path].compression == "gzip" and file[path].shuffle


def test_angles_on_a_grid_are_stored_as_small_integers(tmp_path):
    session = small_session()
    write_small(tmp_path / "a.nwb", session)
    write_small(tmp_path / "b.nwb", session, resolution={"joint_angles": 1e-4})
    with h5py.File(tmp_path / "b.nwb") as file:
        assert file["processing/behavior/joint_angles/data"].dtype == np.int16
    assert same(load_session(tmp_path / "a.nwb"), load_session(tmp_path / "b.nwb"))
    with pytest.raises(NgbError, match="'joint_angles' are not whole multiples of the resolution"):
        write_small(tmp_path / "c.nwb", session, resolution={"joint_angles": 3e-4})
    with pytest.raises(NgbError, match="no such signal"):
        write_small(tmp_path / "c.nwb", session, resolution={"angles": 1e-4})


def test_synthetic_sessions_say_so_in_the_file(tmp_path):
    synthetic = dataclasses.replace(small_session(), synthetic=True)
    write_small(tmp_path / "a.nwb", synthetic, licence="CC0-1.0")
    assert load_session(tmp_path / "a.nwb").synthetic
    found = inspect_file(tmp_path / "a.nwb")
    assert found.label == "synthetic, a self-test"
    assert found.licence == "CC0-1.0"
    assert found.description.startswith("synthetic, a self-test: ")
    assert not load_session_of(tmp_path / "b.nwb", small_session()).synthetic


def load_session_of(path, session):
    write_small(path, session)
    return load_session(path)


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.nwb"
    write_small(path)
    before = path.read_bytes()
    monkeypatch.setattr(
        os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(NgbError, match=r"a\.nwb cannot be written \(No space left on device\)"):
        write_small(path, small_session(seed=1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.nwb"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(NgbError, match=r"The folder .*nowhere does not exist; create it first"):
        write_small(tmp_path / "nowhere" / "a.nwb")
    with pytest.raises(NgbError, match=r"is a folder; name a file in it, such as .*monday\.nwb"):
        write_small(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"species": "monkey"},
            "The species 'monkey' does not follow NWB's rules; write it like 'Macaca mulatta'",
        ),
        ({"sex": "female"}, "The sex 'female'"),
        ({"age": "8"}, "The age '8'"),
        ({"session_start_time": "yesterday"}, "'yesterday' is not ISO 8601"),
    ],
)
def test_metadata_is_checked(tmp_path, change, message):
    with pytest.raises(NgbError, match=message):
        write_small(tmp_path / "a.nwb", **change)
    assert not list(tmp_path.iterdir())


def _with(session, **parts):
    return dataclasses.replace(session, **parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"units": _with(s.units, spike_times=s.units.spike_times[::-1].copy())}, "in no order"),
        (lambda s: {"units": _with(s.units, spike_times=s.units.spike_times * np.nan)}, "are NaN"),
        (lambda s: {"units": _with(s.units, ids=("u",) * 6)}, "two units have the same name"),
        (lambda s: {"trials": _with(s.trials, stop=s.trials.start)}, "end before they start"),
        (
            lambda s: {"trials": _with(s.trials, stop=s.trials.stop + 5)},
            "overlap others",
        ),
        (lambda s: {"trials": _with(s.trials, events={})}, "no event 'move_onset'"),
        (lambda s: {"trials": _with(s.trials, condition=("",) * 12)}, "cannot be the name"),
        (lambda s: {"signals": {"x": s.signals["joint_angles"]}}, "cannot be the name of a signal"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, change, message):
    session = small_session()
    with pytest.raises(NgbError, match=message) as caught:
        write_small(tmp_path / "a.nwb", dataclasses.replace(session, **change(session)))
    assert str(caught.value).startswith("The session 'small' cannot be written, because ")
    assert not list(tmp_path.iterdir())


def test_an_edited_file_is_refused(tmp_path):
    """Not only damage: a changed trial label in an intact file does not pass either."""
    write_small(tmp_path / "a.nwb")
    with h5py.File(tmp_path / "a.nwb", "r+") as file:
        file["intervals/trials/object_name"][0] = "object 3"
    with pytest.raises(NgbError, match="does not match its digest"):
        load_session(tmp_path / "a.nwb")


def test_importing_data_is_light():
    code = "import sys, json, neurobench_grasp.data; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert not {"pynwb", "hdmf", "pandas", "torch", "mujoco", "sklearn", "scipy"} & set(loaded)


def test_the_digest_of_counts_does_not_depend_on_how_small_their_type_is():
    """Of more than one block: blocks are those of four bytes for each count."""
    counts = np.random.default_rng(0).integers(0, 200, (BLOCK // 4 + 9, 1))
    with Hashes() as hashes:
        found = [hashes.of(counts.astype(dtype), "<i4") for dtype in (np.uint8, np.uint16, np.int32, ">i4")]
    raw = counts.astype("<i4").tobytes()
    parts = b"".join(hashlib.sha256(raw[a : a + BLOCK]).digest() for a in range(0, len(raw), BLOCK))
    assert found == [[list(counts.shape), hashlib.sha256(parts).hexdigest()]] * 4
