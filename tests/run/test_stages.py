import json

import numpy as np
import pytest

from neurobench_grasp.errors import NgbError
from neurobench_grasp.run.stages import Stages, content_key


def counter(value=1.0):
    calls = []

    def make():
        calls.append(1)
        return {"x": np.array([value])}

    return make, calls


def test_a_stage_is_made_once_and_again_when_its_inputs_change(tmp_path):
    stages = Stages(tmp_path)
    make, calls = counter()
    for parts in ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}):
        assert stages("fit", parts, make)["x"] == 1.0
    assert len(calls) == 2


def test_what_cannot_be_identified_is_not_kept(tmp_path):
    make, calls = counter()
    Stages(tmp_path)("fit", None, make)
    Stages(tmp_path)("fit", None, make)
    assert len(calls) == 2 and not list(tmp_path.iterdir())


def test_a_damaged_stage_is_made_anew(tmp_path):
    make, calls = counter()
    Stages(tmp_path)("fit", {"a": 1}, make)
    (arrays,) = tmp_path.glob("*/arrays.npz")
    raw = bytearray(arrays.read_bytes())
    raw[len(raw) // 2] ^= 1
    arrays.write_bytes(raw)
    assert Stages(tmp_path)("fit", {"a": 1}, make)["x"] == 1.0
    assert len(calls) == 2


def test_a_pickle_in_a_stage_is_never_loaded(tmp_path):
    make, calls = counter()
    Stages(tmp_path)("fit", {"a": 1}, make)
    (arrays,) = tmp_path.glob("*/arrays.npz")
    np.savez(arrays, x=np.array([object()], dtype=object))
    import hashlib

    done = arrays.with_name("done.json")
    done.write_text(json.dumps({"sha256": hashlib.sha256(arrays.read_bytes()).hexdigest(), "inputs": {}}))
    assert Stages(tmp_path)("fit", {"a": 1}, make)["x"] == 1.0
    assert len(calls) == 2


def test_a_state_of_python_objects_is_refused_and_not_pickled(tmp_path):
    with pytest.raises(NgbError, match="'x' of the stage fit is not an array of numbers"):
        Stages(tmp_path)("fit", {"a": 1}, lambda: {"x": np.array([{}], dtype=object)})
    assert not list(tmp_path.iterdir())


def test_a_stage_gives_the_same_bits_when_made_and_when_read(tmp_path):
    made = {"x": np.random.default_rng(0).standard_normal(7), "name": np.array(["a", "bc"]), "n": np.array(3)}
    first = Stages(tmp_path)("map", {"a": 1}, lambda: made)
    again = Stages(tmp_path)("map", {"a": 1}, lambda: pytest.fail("made again"))
    for arrays in (first, again):
        for name, array in made.items():
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].dtype == array.dtype


def test_a_failing_computation_leaves_nothing(tmp_path):
    def make():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        Stages(tmp_path)("fit", {"a": 1}, make)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(NgbError, match=r"Cannot write to the output folder .*choose another with --out"):
        Stages(blocked / "stages")


def test_the_key_is_a_function_of_content_alone():
    assert (
        content_key({"a": 1, "b": [1, 2]})
        == content_key({"b": [1, 2], "a": 1})
        != content_key({"a": 1, "b": [2, 1]})
    )
