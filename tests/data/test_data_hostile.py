"""Files that reach outside themselves or ask for too much are refused before any data is read."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from data_sessions import write_small
from hostile_files import HOSTILE, external_link, huge_chunk, missing_filter, write_secret

from neurobench_grasp.data import inspect_file, load_session, validate_file
from neurobench_grasp.data.nwb.heaps import broken_heap
from neurobench_grasp.data.nwb.scan import Limits, prescan
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsafeFileError


@pytest.fixture
def valid(tmp_path):
    path = tmp_path / "session.nwb"
    write_small(path)
    return path


@pytest.fixture
def reads(monkeypatch):
    """Names of the datasets whose data is read."""
    names = []
    for method in ("__getitem__", "read_direct", "asstr", "astype", "__array__"):
        original = getattr(h5py.Dataset, method)

        def spy(self, *args, _original=original, **kwargs):
            names.append(self.name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(h5py.Dataset, method, spy)
    return names


def test_the_spy_sees_reads(valid, reads):
    load_session(valid)
    assert "/units/spike_times" in reads


@pytest.mark.parametrize(
    ("attack", "function"),
    [
        *((attack, load_session) for attack in HOSTILE),
        (external_link, inspect_file),
        (huge_chunk, validate_file),
    ],
    ids=lambda f: f.__name__,
)
def test_hostile_files_are_refused_before_any_data_is_read(attack, function, valid, tmp_path, reads):
    write_secret(tmp_path)
    with h5py.File(valid, "r+") as file:
        attack(file, tmp_path)
    reads.clear()
    with pytest.raises(UnsafeFileError, match=HOSTILE[attack]) as caught:
        function(valid)
    assert "session.nwb was not read" in str(caught.value)
    assert reads == []


def test_no_other_file_is_opened(valid, tmp_path):
    """The other files are pipes: opening one would block forever."""
    os.mkfifo(tmp_path / "pipe")
    with h5py.File(valid, "r+") as file:
        file.create_dataset("acquisition/x", (8,), "u1", external=[(str(tmp_path / "pipe"), 0, 8)])
        layout = h5py.VirtualLayout((10,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "pipe"), "x", (10,))
        file.create_virtual_dataset("acquisition/y", layout)
        file["acquisition/z"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/x")
    code = f"from neurobench_grasp.data import load_session; load_session({str(valid)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, text=True)
    assert "UnsafeFileError" in done.stderr


def test_soft_links_inside_the_file_are_followed(valid):
    """Tools of the NWB family write them themselves, for shared timestamps and devices."""
    digest = load_session(valid).sha256
    with h5py.File(valid, "r+") as file:
        file.move("units", "analysis/units")
        file["units"] = h5py.SoftLink("/analysis/units")
    assert load_session(valid).sha256 == digest


def test_a_soft_link_through_a_linked_group_is_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["real/inner/x"] = 1
        file["alias"] = h5py.SoftLink("/real")
        file["real/relative"] = h5py.SoftLink("inner/x")
        file["far"] = h5py.SoftLink("/alias/inner/x")
        tree = prescan(file, "a.h5")
    assert tree.resolve("far") == "real/inner/x"
    assert tree.resolve("alias/relative") == "real/inner/x"
    assert tree.resolve("alias/missing") is None


def test_too_many_objects(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(6):
            file.create_group(f"g{i}")
        with pytest.raises(UnsafeFileError, match="one of more than 5 objects"):
            prescan(file, "a.h5", Limits(objects=5))


def test_many_datasets_that_add_up(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i in range(4):
            file[f"x{i}"] = np.zeros(1000)
        file["x0_again"] = file["x0"]
        prescan(file, "a.h5", Limits(total_bytes=32_000))
        with pytest.raises(UnsafeFileError, match="more than can be read"):
            prescan(file, "a.h5", Limits(total_bytes=31_999))


def test_filter_plugins_are_never_searched_for(valid, tmp_path):
    """A plugin is foreign code; the search path is empty while a file is open, and restored afterwards."""
    with h5py.File(valid, "r+") as file:
        missing_filter(file, tmp_path)
    marker = tmp_path / "plugins"
    marker.mkdir()
    (marker / "libevil.so").write_text("not a library")
    code = (
        "import h5py\n"
        "from neurobench_grasp.data import load_session\n"
        "before = [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())]\n"
        "assert any(b'plugins' in p for p in before)\n"
        "try:\n"
        f"    load_session({str(valid)!r})\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
        "assert [h5py.h5pl.get(i) for i in range(h5py.h5pl.size())] == before\n"
    )
    env = {**os.environ, "HDF5_PLUGIN_PATH": str(marker)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.stdout, done.stderr) == ("UnsafeFileError\n", "")


# -- paths that are no NWB file ---------------------------------------------------------------------------


def _empty(path):
    path.touch()


def _html(path):
    path.write_text("<html>404</html>")


def _truncated(path):
    write_small(path)
    os.truncate(path, path.stat().st_size * 2 // 3)


def _plain_hdf5(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _no_identifier(path):
    write_small(path)
    with h5py.File(path, "r+") as file:
        del file["identifier"]


def _nine(path):
    write_small(path)
    with h5py.File(path, "r+") as file:
        file.attrs["nwb_version"] = "9.9.9"


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda p: None, NgbError, "There is no file .*f.nwb"),
        (lambda p: p.mkdir(), NgbError, "is a folder; name one of the NWB files in it"),
        (os.mkfifo, NgbError, "is not a regular file"),
        (_empty, CorruptFileError, "f.nwb is empty"),
        (_html, CorruptFileError, "f.nwb is not an HDF5 file"),
        (_truncated, CorruptFileError, r"f.nwb is truncated: it has \d+ of \d+ bytes"),
        (_plain_hdf5, CorruptFileError, "f.nwb is HDF5 but not NWB"),
        (_no_identifier, CorruptFileError, "f.nwb lacks the identifier"),
        (_nine, CorruptFileError, "f.nwb states the NWB version '9.9.9'; only NWB 2 is supported"),
    ],
)
def test_what_is_no_nwb_file_is_called_by_its_name(tmp_path, make, kind, message):
    path = tmp_path / "f.nwb"
    make(path)
    with pytest.raises(kind, match=message) as caught:
        load_session(path)
    assert "\n" not in str(caught.value)


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = tmp_path / "f.nwb"
    write_small(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser may read everything
    with pytest.raises(NgbError, match="is not readable; ask its owner"):
        load_session(path)


# -- damaged heaps of strings -----------------------------------------------------------------------------


def _heap(*objects):
    """Heap of 4096 bytes from (index, length) pairs, behind some other bytes."""
    heap = bytearray(4096)
    heap[:16] = b"GCOL\x01\0\0\0" + (4096).to_bytes(8, "little")
    at = 16
    for index, length in objects:
        heap[at : at + 16] = index.to_bytes(2, "little") + b"\1\0\0\0\0\0" + length.to_bytes(8, "little")
        at += 16 + (length + 7) // 8 * 8
    return b"x" * 40 + bytes(heap)


@pytest.mark.parametrize(
    ("objects", "sound"),
    [
        ([(1, 5), (2, 100), (0, 4096 - 16 - 24 - 120)], True),
        ([(1, 4064)], True),
        ([(1, 5), (0, 0)], False),
        ([(1, 5), (2, 5000)], False),
        ([(1, 5), (2, 2**64 - 1)], False),
        ([(0, 2**63)], False),
    ],
)
def test_heaps_are_walked_before_the_library_does(tmp_path, objects, sound):
    path = tmp_path / "f"
    path.write_bytes(_heap(*objects))
    assert broken_heap(path) == (None if sound else 40)


@pytest.mark.sandboxed
def test_a_heap_that_would_hang_the_library_is_refused(valid):
    """The free block at a heap's end is given the size 0, which leads HDF5 round for ever."""
    content = bytearray(valid.read_bytes())
    at = content.find(b"GCOL\x01")
    while (free := _free_block(content, at)) is None:
        at = content.find(b"GCOL\x01", at + 1)
    content[free + 8 : free + 16] = bytes(8)
    valid.write_bytes(content)
    with pytest.raises(CorruptFileError, match=rf"its text heap at byte {at} is broken"):
        load_session(valid)


def _free_block(content, at):
    """Place of the free block at the end of the heap at a place, if there is one."""
    end = at + int.from_bytes(content[at + 8 : at + 16], "little")
    place = at + 16
    while place + 16 <= end:
        if not int.from_bytes(content[place : place + 2], "little"):
            return place
        place += 16 + (int.from_bytes(content[place + 8 : place + 16], "little") + 7) // 8 * 8
    return None
