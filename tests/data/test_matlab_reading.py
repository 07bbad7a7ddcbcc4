"""MATLAB files of both formats give the same values, in MATLAB's own shapes; files of MATLAB's own are read."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from mat_files import Cell, StructArray, mat73, write_mat73

from neurobench_grasp.data.converters.matlab import open_mat
from neurobench_grasp.data.converters.matvalues import Cells, Struct
from neurobench_grasp.errors import CorruptFileError, LayoutError

MATRIX = np.arange(6.0).reshape(3, 2)
OWN = Path(scipy.io.__file__).parent / "matlab/tests/data"
"""Files that MATLAB wrote, as scipy brings them along."""


def plain(value):
    """Values as Python's own: dictionaries, lists, text, and numbers with their shape."""
    if isinstance(value, Struct):
        return [{f: plain(value.get(f, i)) for f in value.fields} for i in range(value.n)]
    if isinstance(value, Cells):
        return [plain(value.read(i)) for i in range(value.n)]
    return value if isinstance(value, str) else (value.shape, value.astype(float).tolist())


def read(path):
    with open_mat(path) as file:
        return {name: plain(file.get(name)) for name in file.variables}


def both(tmp_path):
    """Write the same content in both formats."""
    write_mat73(
        tmp_path / "new.mat",
        matrix=MATRIX,
        counts=np.array([[1, 2, 3]], "uint8"),
        yes=np.array([[True]]),
        word="grasp ä",
        nothing=np.empty((0, 3)),
        blank="",
        cells=Cell([MATRIX, "word", np.empty((0, 0)), Cell([MATRIX + 1])]),
        trials=StructArray([{"n": np.array([[1.0]]), "name": "a"}, {"n": np.array([[2.0]]), "name": "b"}]),
        single={"inner": {"x": MATRIX.T}, "list": Cell(["p", "q"])},
    )
    cells = np.empty((1, 4), object)
    cells[0] = [MATRIX, "word", np.empty((0, 0)), np.array([[None]])]
    inner = np.empty((1, 1), object)
    inner[0, 0] = MATRIX + 1
    cells[0, 3] = inner
    trials = np.zeros((1, 2), [("n", object), ("name", object)])
    trials[0, 0], trials[0, 1] = (1.0, "a"), (2.0, "b")
    names = np.empty((1, 2), object)
    names[0] = ["p", "q"]
    content = {
        "matrix": MATRIX, "counts": np.array([[1, 2, 3]], "uint8"), "yes": np.array([[True]]),
        "word": "grasp ä", "nothing": np.empty((0, 3)), "blank": "", "cells": cells, "trials": trials,
        "single": {"inner": {"x": MATRIX.T}, "list": names},
    }  # fmt: skip
    for compressed in (False, True):
        scipy.io.savemat(tmp_path / f"old_{compressed}.mat", content, do_compression=compressed)


def test_both_formats_give_the_same_values(tmp_path):
    both(tmp_path)
    new, old, packed = (read(tmp_path / f"{n}.mat") for n in ("new", "old_False", "old_True"))
    assert set(new) == set(old) == set(packed)
    assert new["matrix"] == ((3, 2), MATRIX.tolist())
    assert new["cells"] == [
        new["matrix"], "word", ((0, 0), []), [((3, 2), (MATRIX + 1).tolist())],
    ]  # fmt: skip
    assert new["trials"] == [{"n": ((1, 1), [[1.0]]), "name": "a"}, {"n": ((1, 1), [[2.0]]), "name": "b"}]
    assert new["single"] == [{"inner": [{"x": ((2, 3), MATRIX.T.tolist())}], "list": ["p", "q"]}]
    assert new == old == packed


def test_cells_go_column_by_column(tmp_path):
    grid = np.empty((2, 2), object)
    grid[0, 0], grid[1, 0], grid[0, 1], grid[1, 1] = "a", "b", "c", "d"
    write_mat73(tmp_path / "grid.mat", grid=Cell(grid))
    scipy.io.savemat(tmp_path / "old.mat", {"grid": grid})
    assert read(tmp_path / "grid.mat") == read(tmp_path / "old.mat") == {"grid": ["a", "b", "c", "d"]}


def by_scipy(value):
    """What scipy makes of the same."""
    if value.dtype.names:
        return [{f: by_scipy(e[f]) for f in value.dtype.names} for e in value.ravel("F")]
    if value.dtype.kind == "O":
        return [by_scipy(v) for v in value.ravel("F")]
    if value.dtype.kind == "U":
        found = [str(line).rstrip() for line in value.ravel("F")] or [""]
        return found[0] if len(found) == 1 else found
    return value.shape, value.astype(float).tolist()


@pytest.mark.skipif(not OWN.is_dir(), reason="scipy comes without MATLAB's files")
def test_files_that_matlab_wrote():
    angles = [i * np.pi / 4 for i in range(9)]
    assert read(OWN / "testhdf5_7.4_GLNX86.mat")["testdouble"] == ((1, 9), [angles])
    kinds = ("structnest", "structarr", "cell", "cellnest", "emptycell", "scalarcell",
             "double", "matrix", "minus", "multi", "onechar", "string", "stringarray", "unicode")  # fmt: skip
    files = [f for kind in kinds for f in sorted(OWN.glob(f"test{kind}_[678]*.mat"))]
    assert len(files) > 30
    for file in [*files, OWN / "big_endian.mat", OWN / "testbool_8_WIN64.mat"]:
        theirs = {k: by_scipy(v) for k, v in scipy.io.loadmat(file).items() if k[:2] != "__"}
        assert read(file) == theirs, file.name


def test_what_is_missing_is_named_with_what_is_there(tmp_path):
    write_mat73(tmp_path / "a.mat", one=MATRIX, two={"x": MATRIX, "y": MATRIX})
    with open_mat(tmp_path / "a.mat") as file:
        with pytest.raises(LayoutError, match=r"a\.mat lacks the variable 'three'; it has one, two\."):
            file.get("three")
        with pytest.raises(LayoutError, match=r"a\.mat: 'two' lacks the field 'z'; it has x, y\."):
            file.get("two").get("z")


def test_numbers_that_are_none_are_named(tmp_path):
    with mat73(tmp_path / "a.mat") as file:
        file.variables(x=MATRIX)
        file.file["z"] = np.array([1 + 2j])
    scipy.io.savemat(tmp_path / "old.mat", {"z": np.array([1 + 2j])})
    for name in ("a", "old"):
        with (
            open_mat(tmp_path / f"{name}.mat") as file,
            pytest.raises(CorruptFileError, match="'z' contains complex numbers"),
        ):
            file.get("z")
