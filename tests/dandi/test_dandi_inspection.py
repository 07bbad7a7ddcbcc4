"""What is inside a file on a server shows after few bytes; what is hostile or fails ends in one sentence."""

import itertools
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from dandi_server import PUBLISHED, SET, SIGNATURE, Fault, File, archive
from data_sessions import write_foreign, write_small

from neurobench_grasp.data import inspect_file
from neurobench_grasp.data.dandi import fetch_files
from neurobench_grasp.data.remote_inspection import inspect_remote, is_remote
from neurobench_grasp.errors import CorruptFileError, NgbError

PATH = "sub-N/sub-N_ses-1.nwb"
ADDRESS = f"dandi:{SET}@{PUBLISHED}/{PATH}"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.nwb"
    write_small(path)
    return path


@pytest.fixture
def there(server, small):
    """Put the small session into the archive."""
    return server.add(SET, PUBLISHED, File(PATH, small.read_bytes()))


def inspect(server, quick, name=ADDRESS, **more):
    return inspect_remote(name, instance=server.api, retry=quick, **{"quarantine": False, **more})


def url_of(server, file):
    return f"{server.blob_root}/blobs/{file.id}?{SIGNATURE}"


def without_rates(found):
    areas = tuple(replace(a, min_rate=0.0, median_rate=0.0, max_rate=0.0) for a in found.areas)
    return replace(found, areas=areas, path="")


def test_it_shows_what_a_direct_look_shows(server, quick, there, small):
    direct = inspect_file(small)
    for name, quarantine in itertools.product((ADDRESS, url_of(server, there)), (True, False)):
        messages = []
        found = inspect(server, quick, name, progress=messages.append, quarantine=quarantine)
        assert without_rates(found) == without_rates(direct)
        for one, other in zip(found.areas, direct.areas, strict=True):
            assert one.median_rate == pytest.approx(other.median_rate, rel=0.05)
        assert found.path == name.partition("?")[0]
        assert messages == [
            "0.3 of 0.3 MB transferred; rates are approximate, and tuning requires the whole file"
        ]


def test_counts_have_no_rates_from_afar(server, quick, real_file):
    path = real_file("real/m1_center_out.nwb")
    server.add(SET, PUBLISHED, File(PATH, path.read_bytes()))
    found = inspect(server, quick)
    assert [a.median_rate for a in found.areas] == [None]
    assert found.n_units == inspect_file(path).n_units == 84


@pytest.mark.parametrize("chunks", [None, True])
def test_little_of_a_large_file_is_transferred(server, quick, tmp_path, chunks):
    """About 105 MB: spikes, and a signal with timestamps whose chunks are many."""
    path = tmp_path / "large.nwb"
    write_foreign(path)
    n_units, n_spikes = 6, 9_000_000
    times = np.tile(np.linspace(0, 60, n_spikes // n_units), n_units)
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
        file.create_dataset("units/spike_times", data=times, chunks=chunks)
        file["units/spike_times_index"][:] = np.arange(1, n_units + 1) * (n_spikes // n_units)
        lfp = file.create_group("acquisition/lfp")
        noise = np.random.default_rng(0).standard_normal((500_000, 12), dtype=np.float32)
        lfp.create_dataset("data", data=noise, chunks=(10_000, 1), compression="gzip", compression_opts=1)
        lfp.create_dataset("timestamps", data=np.arange(500_000) / 1000, chunks=chunks)
    assert 95e6 < path.stat().st_size < 125e6
    server.add(SET, PUBLISHED, File(PATH, path.read_bytes()))
    found = inspect(server, quick)
    assert server.n_sent < 5e6
    assert server.count("blob") < 40
    direct = inspect_file(path)
    assert [s.path for s in found.signals] == [s.path for s in direct.signals]
    for one, other in zip(found.signals, direct.signals, strict=True):
        assert (one.start, one.stop, one.rate) == pytest.approx((other.start, other.stop, other.rate))
    for one, other in zip(found.areas, direct.areas, strict=True):
        assert one.max_rate == pytest.approx(other.max_rate) == pytest.approx(25_000)


def test_the_token_goes_to_the_api_alone(quick, small, monkeypatch):
    monkeypatch.setenv("NGB_DANDI_TOKEN", "5ecret")
    messages = []
    with archive(token="5ecret") as closed:
        file = closed.add(SET, PUBLISHED, File(PATH, small.read_bytes()))
        found = inspect(closed, quick, progress=messages.append)
        inspect(closed, quick, url_of(closed, file))
        headers = {port: [h for p, _, _, h in closed.seen if p == port] for port in ("api", "blob")}
    assert all(h["Authorization"] == "token 5ecret" for h in headers["api"])
    assert headers["blob"] and not any("Authorization" in h for h in headers["blob"])
    assert "5ecret" not in f"{found} {messages}" and SIGNATURE not in f"{found} {messages}"


def test_the_api_is_asked_for_the_signed_address_once(server, quick, there):
    inspect(server, quick)
    assert sum("/download/" in path for _, _, path, _ in server.seen) == 1


def test_a_file_in_the_cache_makes_no_request(server, quick, there, small):
    fetch_files(ADDRESS, instance=server.api)
    server.seen.clear()
    messages = []
    assert replace(inspect(server, quick, progress=messages.append), path="") == replace(
        inspect_file(small), path=""
    )
    assert server.seen == [] and messages == [f"{ADDRESS} is read from the cache"]


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("stall", 0, "no data arrived for 0.3 s"),
        ("stall", 100, "the response broke off"),
        ("end", 100, "the response broke off"),
        ("reset", 100, "the response broke off"),
        ("status", 403, "the server answers 403"),
        ("status", 500, "it answers 500"),
        ("status", 404, "returns other bytes than requested"),
        ("whole", 0, "returns other bytes than requested"),
        ("redirect", "http://example.org/x", "not an https address, so it was not contacted"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_sentence(server, quick, there, kind, value, says):
    """From the second request to the store on, every one fails."""
    server.blob_faults.extend([Fault("none"), Fault(kind, value, times=1e9)])
    with pytest.raises(NgbError, match=says) as caught:
        inspect(server, quick)
    assert "\n" not in str(caught.value) and SIGNATURE not in str(caught.value)
    assert server.count("blob") < 8  # remfile would try nine times more


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("whole", times=1e9), r"does not support range requests \(it answers 200\)"),
        (Fault("status", 404, times=1e9), r"does not support range requests \(it answers 404\)"),
        (Fault("redirect", "/loop", times=1e9), "The request to .* failed"),
    ],
)
def test_a_store_that_cannot_be_used(server, quick, there, fault, says):
    server.blob_faults.append(fault)
    with pytest.raises(NgbError, match=says):
        inspect(server, quick)


def test_a_size_that_lies(server, quick, there):
    there.size += 1
    with pytest.raises(CorruptFileError, match=r"has \d+ bytes instead of the announced \d+"):
        inspect(server, quick)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda d: b"<html>" + bytes(5000), "is not an HDF5 file"),
        (lambda d: d[: len(d) * 2 // 3], "is truncated: it has"),
        (lambda d: b"", "does not support range requests"),
    ],
)
def test_what_is_no_nwb_file(server, quick, small, edit, says):
    server.add(SET, PUBLISHED, File(PATH, edit(small.read_bytes())))
    with pytest.raises(NgbError, match=says):
        inspect(server, quick)


def test_a_heap_that_would_hang_the_library_is_refused(server, quick, small):
    """All heaps of the file are given a first object that leads to itself."""
    data = bytearray(small.read_bytes())
    at = -1
    while (at := data.find(b"GCOL\x01", at + 1)) >= 0:
        data[at + 16 : at + 18], data[at + 24 : at + 32] = bytes(2), bytes(8)
    server.add(SET, PUBLISHED, File(PATH, bytes(data)))
    with pytest.raises(CorruptFileError, match=r"its text heap at byte \d+ is broken"):
        inspect(server, quick)


def test_one_file_is_looked_into_at_a_time(server, quick):
    with pytest.raises(
        NgbError, match=r"matches 2 files, but only one can be inspected at a time; `ngb data files"
    ):
        inspect(server, quick, f"dandi:{SET}@{PUBLISHED}/sub-A/*")


def test_a_file_that_would_need_too_much_is_given_up(server, quick, there, monkeypatch):
    monkeypatch.setattr("neurobench_grasp.data.remote.MOST_BYTES", 150_000)
    with pytest.raises(NgbError, match="download the file"):
        inspect(server, quick)
    assert server.n_sent <= 150_000


@pytest.mark.parametrize("name", ["http://example.org/a.nwb?key=5ecret", "http://user:5ecret@10.0.0.1/a.nwb"])
def test_an_address_must_be_encrypted(name, quick):
    with pytest.raises(NgbError, match="is not encrypted") as caught:
        inspect_remote(name, retry=quick)
    assert "5ecret" not in str(caught.value)


def test_an_address_that_is_not_there(server, quick):
    with pytest.raises(NgbError, match=r"answers 403 .*check the address, and that the file is public"):
        inspect(server, quick, f"{server.blob_root}/blobs/nothing")


def test_without_remfile_it_is_said_what_to_install(server, quick, monkeypatch):
    monkeypatch.setitem(sys.modules, "remfile", None)
    with pytest.raises(NgbError, match=r"pip install 'neurobench-grasp\[stream\]'"):
        inspect(server, quick)
    assert server.seen == []


def test_what_is_remote():
    assert is_remote(ADDRESS) and is_remote("https://a/b.nwb") and is_remote("HTTP://a/b.nwb")
    assert not is_remote("a.nwb") and not is_remote("https") and not is_remote("folder/dandi.nwb")
