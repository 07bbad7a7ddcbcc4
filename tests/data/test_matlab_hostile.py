"""MATLAB files that are no such files, are damaged, or want harm: one sentence, and nothing is read."""

import struct

import h5py
import numpy as np
import pytest
import scipy.io
from mat_files import Cell, mat73, write_mat73

from neurobench_grasp.data.converters.matlab import open_mat
from neurobench_grasp.data.converters.matvalues import Cells
from neurobench_grasp.data.converters.sandboxed import convert
from neurobench_grasp.data.converters.trialdata import Options
from neurobench_grasp.errors import CorruptFileError, NgbError, UnsafeFileError


def read(path):
    with open_mat(path) as file:
        for name in file.variables:
            value = file.get(name)
            if isinstance(value, Cells):
                list(value.flat())


def refused(path, error, match):
    with pytest.raises(error, match=match) as caught:
        read(path)
    assert caught.type is error
    assert str(caught.value).count("\n") == 0


# -- no such files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"hello, this is text" * 30, b"\x89PNG\r\n" + bytes(300), bytes(300)])
def test_a_file_that_is_not_mat(tmp_path, content):
    (tmp_path / "a.mat").write_bytes(content)
    refused(tmp_path / "a.mat", CorruptFileError, r"a\.mat is not a MATLAB file of version 5 or later")


def test_nothing_a_folder_and_an_empty_file(tmp_path):
    refused(tmp_path / "none.mat", NgbError, "There is no file")
    refused(tmp_path, NgbError, "is a folder; name one of the MATLAB files in it")
    (tmp_path / "a.mat").touch()
    refused(tmp_path / "a.mat", CorruptFileError, "is empty")


@pytest.mark.parametrize("part", [0.3, 0.9])
@pytest.mark.parametrize("kind", ["new", "old", "packed"])
def test_a_truncated_file(tmp_path, kind, part):
    path = tmp_path / "a.mat"
    content = {"x": np.random.default_rng(0).random((60, 50)), "y": np.ones((30, 30))}
    if kind == "new":
        write_mat73(path, **content)
    else:
        scipy.io.savemat(path, content, do_compression=kind == "packed")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    refused(path, CorruptFileError, "is truncated")


# -- MAT v7.3 ---------------------------------------------------------------------------------------------


def external_link(mat, folder):
    mat.file["x"] = h5py.ExternalLink(str(folder / "secret.h5"), "/x")


def external_storage(mat, folder):
    mat.refs.create_dataset("x", (100,), "u1", external=[("/etc/passwd", 0, 100)])


def virtual_dataset(mat, folder):
    layout = h5py.VirtualLayout((10,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (10,))
    mat.file.create_virtual_dataset("x", layout)


def group_twice(mat, folder):
    mat.variables(x={"y": np.ones((1, 1))})
    mat.file["x/again"] = mat.file["x"]


def terabyte(mat, folder):
    mat.file.create_dataset("x", (1 << 37,), "f8", chunks=(1 << 20,))


def empty_gigabyte(mat, folder):
    mat.file.create_dataset("x", (1 << 27,), "f8", chunks=(1 << 17,))


def too_many_cells(mat, folder):
    mat.file.create_dataset("x", (3_000_000, 1), h5py.ref_dtype, chunks=(100_000, 1))


UNSAFE = {
    external_link: r"'x' is an external link to another file",
    external_storage: r"'#refs#/x' keeps its data outside the file",
    virtual_dataset: r"'x' is a virtual dataset",
    group_twice: r"occurs twice \(a link cycle\)",
    terabyte: r"'x' brings the total to 1024 GiB",
    empty_gigabyte: r"'x' declares 1073741824 bytes but stores only 0",
    too_many_cells: r"'x' has 3000000 cells, more than 1000000",
}


@pytest.mark.parametrize("make", UNSAFE, ids=lambda f: f.__name__)
def test_unsafe_files_are_refused(tmp_path, make):
    with mat73(tmp_path / "a.mat") as mat:
        make(mat, tmp_path)
    refused(tmp_path / "a.mat", UnsafeFileError, UNSAFE[make])


def test_a_cell_that_contains_itself(tmp_path):
    with mat73(tmp_path / "a.mat") as mat:
        mat.variables(x=Cell([np.ones((1, 1))]))
        mat.file["x"][0, 0] = mat.file["x"].ref
    refused(tmp_path / "a.mat", CorruptFileError, "cells nested more than 8 deep")


@pytest.mark.parametrize("content", [np.ones((1, 1)), Cell([])], ids=["numbers", "nothing"])
def test_cells_that_multiply(tmp_path, content):
    with mat73(tmp_path / "a.mat") as mat:
        inside = mat.reference(content)
        for level in range(7):  # 20 ** 7 numbers in a few kilobytes
            made = mat.refs.create_dataset(f"level{level}", data=np.full((20, 1), inside, h5py.ref_dtype))
            made.attrs["MATLAB_class"] = np.bytes_("cell")
            inside = made.ref
        mat.file["x"] = mat.file["#refs#/level6"]
    with open_mat(tmp_path / "a.mat") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("neurobench_grasp.data.converters.matvalues.MAX_CELLS", 300)
        with pytest.raises(CorruptFileError, match="more than 300 cells"):
            list(file.get("x").flat())


def test_one_array_that_many_cells_name(tmp_path, monkeypatch):
    with mat73(tmp_path / "a.mat") as mat:
        ref = mat.reference(np.random.default_rng(0).random((100, 100)))
        made = mat.file.create_dataset("x", data=np.full((50, 1), ref, h5py.ref_dtype))
        made.attrs["MATLAB_class"] = np.bytes_("cell")
    read(tmp_path / "a.mat")
    monkeypatch.setattr("neurobench_grasp.data.converters.mat73.READ_LIMIT", 40 * 80_000)
    refused(tmp_path / "a.mat", UnsafeFileError, "parts need more than")


@pytest.mark.parametrize("address", [0, 8, 12345, 1 << 60])
def test_references_that_lead_nowhere(tmp_path, address):
    path = tmp_path / "a.mat"
    with mat73(path) as mat:
        ref = mat.reference(np.ones((1, 1)))
        made = mat.file.create_dataset("x", data=np.full((7, 1), ref, h5py.ref_dtype))
        made.attrs["MATLAB_class"] = np.bytes_("cell")
        stored = made[0, 0]
    whole = path.read_bytes()
    true = struct.pack("<Q", h5py_address(path, stored)) * 7
    assert whole.count(true) == 1
    path.write_bytes(whole.replace(true, struct.pack("<Q", address) * 7))
    refused(path, CorruptFileError, r"a reference to no object of the file|is damaged and cannot be read")


def h5py_address(path, reference):
    """Byte of the HDF5 file at which the object of the only cell lies."""
    with h5py.File(path) as file:
        return h5py.h5o.get_info(h5py.h5r.dereference(file["x"][0, 0], file.id)).addr


def test_a_reference_to_what_has_not_been_looked_over(tmp_path):
    with mat73(tmp_path / "a.mat") as mat:
        mat.variables(x=Cell([np.ones((1, 1))]))
        mat.file["t"] = np.dtype("f8")  # a named type is neither group nor dataset
        mat.file["x"][0, 0] = h5py.h5r.create(mat.file.id, b"t", h5py.h5r.OBJECT)
    refused(tmp_path / "a.mat", CorruptFileError, "'x' has a reference to no object of the file")


# -- MAT v5 -----------------------------------------------------------------------------------------------


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind, dims, content, name=b""):
    flags = element(6, struct.pack("<II", kind, 0))
    shape = element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, flags + shape + element(1, name) + content)


def write_mat5(path, *elements):
    head = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\x00\x01IM"
    path.write_bytes(head + b"".join(elements))


ONE = element(9, struct.pack("<d", 1.0))


def refused_in_sandbox(path, error, match):
    """What a conversion in the subprocess says of a file."""
    with pytest.raises(error, match=match) as caught:
        convert(path, Options())
    assert str(caught.value).count("\n") == 0


def test_the_smallest_file_is_read(tmp_path):
    write_mat5(tmp_path / "a.mat", matrix(6, (1, 1), ONE, b"x"))
    with open_mat(tmp_path / "a.mat") as file:
        assert file.get("x") == 1.0


def test_nesting_that_scipy_does_not_survive(tmp_path):
    """It ends the process that reads the file, and nothing else."""
    head = matrix(1, (1, 1), b"")[8:]
    parts = [matrix(6, (1, 1), ONE)]
    size = len(parts[0])
    for _ in range(100_000):
        size += len(head)
        parts.append(struct.pack("<II", 14, size) + head)
        size += 8
    write_mat5(tmp_path / "a.mat", matrix(1, (1, 1), b"".join(reversed(parts)), b"x"))
    crashed = r"a\.mat was not read, because the quarantine process crashed \(SIGSEGV\); do not use the file"
    refused_in_sandbox(tmp_path / "a.mat", UnsafeFileError, crashed)


@pytest.mark.parametrize(
    "content",
    [
        matrix(6, (1 << 15, 1 << 15), ONE, b"x"),
        matrix(1, (1 << 15, 1 << 15), matrix(6, (1, 1), ONE), b"x"),
        matrix(1, (1, 9), matrix(6, (1, 1), ONE), b"x"),
    ],
    ids=["numbers", "cells", "missing cells"],
)
def test_sizes_that_lie(tmp_path, content):
    write_mat5(tmp_path / "a.mat", content)
    refused_in_sandbox(tmp_path / "a.mat", NgbError, r"a\.mat (is damaged|is truncated|was not read)")


def test_objects_are_named(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": scipy.sparse.eye(3)})
    refused(tmp_path / "a.mat", CorruptFileError, "'x' contains a sparse matrix or an object")


@pytest.mark.slow
def test_any_byte_may_be_wrong(tmp_path):
    """Whatever a byte is changed to, a conversion ends in one sentence: here is no session."""
    inner = np.empty((1, 2), object)
    inner[0] = [np.arange(4.0), "word"]
    scipy.io.savemat(tmp_path / "a.mat", {"s": {"x": np.arange(3.0), "c": inner}})
    whole = (tmp_path / "a.mat").read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(128, len(whole), 60):
        changed = bytearray(whole)
        changed[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "b.mat").write_bytes(changed)
        refused_in_sandbox(tmp_path / "b.mat", NgbError, r"^b\.mat .*\.")
