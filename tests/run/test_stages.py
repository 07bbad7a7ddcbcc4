"""Stages: made once, read bit for bit, and made again whatever is wrong with them."""

import hashlib
import json
import os
import shutil
import threading

import numpy as np
import pytest
from planted import population

from neurobench_grasp import claims
from neurobench_grasp.cache import content_key
from neurobench_grasp.errors import NgbError
from neurobench_grasp.protocols.context import Stage
from neurobench_grasp.run.stages import ARRAYS, DONE, StageFolder, Stages, find_stage


def counter(value=1.0):
    calls = []

    def make():
        calls.append(1)
        return {"x": np.array([value])}

    return make, calls


def test_a_stage_is_made_once_and_again_when_its_inputs_change(tmp_path):
    stages = StageFolder(tmp_path)
    make, calls = counter()
    for inputs in ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}):
        assert stages.keep("fit", inputs, make)["x"] == 1.0
    assert len(calls) == 2


def test_what_cannot_be_identified_is_not_kept(tmp_path):
    make, calls = counter()
    for _ in range(2):
        StageFolder(tmp_path).keep("fit", None, make)
    assert len(calls) == 2 and not list(tmp_path.iterdir())


# --- damage -----------------------------------------------------------------------------------------


def rewrite(place, **changes):
    """Change entries of the stage's own description."""
    done = json.loads((place / DONE).read_text()) | changes
    (place / DONE).write_text(json.dumps(done))


def sealed(place, arrays):
    """Put an archive in place, with its right digest."""
    np.savez(place / ARRAYS, **arrays)
    rewrite(place, sha256=hashlib.sha256((place / ARRAYS).read_bytes()).hexdigest())


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def no_archive(place):
    (place / ARRAYS).write_bytes(b"PK\x03\x04 but nothing else")
    rewrite(place, sha256=hashlib.sha256((place / ARRAYS).read_bytes()).hexdigest())


def elsewhere(place):
    """Put the whole stage somewhere else, and a link in its place."""
    shutil.move(place, place.parent / "elsewhere")
    place.symlink_to(place.parent / "elsewhere")


def file_link(place):
    (place / ARRAYS).rename(place / "other.npz")
    (place / ARRAYS).symlink_to(place / "other.npz")


def a_file(place):
    shutil.rmtree(place)
    place.write_text("not a folder")


def a_pipe(place):
    (place / DONE).unlink()
    os.mkfifo(place / DONE)


DAMAGE = {
    "a bit of the arrays": lambda p: flip(p / ARRAYS),
    "arrays cut short": lambda p: os.truncate(p / ARRAYS, 40),
    "arrays empty": lambda p: (p / ARRAYS).write_bytes(b""),
    "arrays absent": lambda p: (p / ARRAYS).unlink(),
    "arrays a folder": lambda p: ((p / ARRAYS).unlink(), (p / ARRAYS).mkdir()),
    "arrays a link": file_link,
    "no archive, but its right digest": no_archive,
    "a pickle with its right digest": lambda p: sealed(p, {"x": np.array([object()], dtype=object)}),
    "description absent": lambda p: (p / DONE).unlink(),
    "description empty": lambda p: (p / DONE).write_text(""),
    "description not JSON": lambda p: (p / DONE).write_text("{"),
    "description not text": lambda p: (p / DONE).write_bytes(b"\xff\xfe\x00"),
    "description a list": lambda p: (p / DONE).write_text("[1, 2]"),
    "description without end": lambda p: (p / DONE).write_text("[" * 100_000),
    "description a pipe": a_pipe,
    "digest a number": lambda p: rewrite(p, sha256=7),
    "inputs of another stage": lambda p: rewrite(p, inputs={"a": 2}),
    "arrays a pipe": lambda p: ((p / ARRAYS).unlink(), os.mkfifo(p / ARRAYS)),
    "arrays of another stage": lambda p: np.savez(p / ARRAYS, x=np.array([2.0])),
    "description a folder": lambda p: ((p / DONE).unlink(), (p / DONE).mkdir()),
    "inputs without end": lambda p: (p / DONE).write_text('{"inputs": ' + '{"a": ' * 900 + "1" + "}" * 901),
    "nothing in it": lambda p: (shutil.rmtree(p), p.mkdir()),
    "a pipe in its place": lambda p: (shutil.rmtree(p), os.mkfifo(p)),
    "a link to nothing in its place": lambda p: (shutil.rmtree(p), p.symlink_to(p.parent / "nothing")),
    "a link to itself in its place": lambda p: (shutil.rmtree(p), p.symlink_to(p)),
    "a file in its place": a_file,
    "a link in its place": elsewhere,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_stage_is_made_again(tmp_path, damage):
    make, calls = counter()
    stages = StageFolder(tmp_path)
    stages.keep("fit", {"a": 1}, make)
    (place,) = tmp_path.iterdir()
    damage(place)
    found = []
    worker = threading.Thread(target=lambda: found.append(stages.keep("fit", {"a": 1}, make)), daemon=True)
    worker.start()
    worker.join(20)  # never a run that is stuck
    assert [x["x"].tolist() for x in found] == [[1.0]] and len(calls) == 2
    assert stages.keep("fit", {"a": 1}, make)["x"] == 1.0
    assert len(calls) == 2, "what was made again is kept"


def test_stages_that_were_swapped_are_made_again(tmp_path):
    stages = StageFolder(tmp_path)
    for a in (1, 2):
        stages.keep("fit", {"a": a}, counter(float(a))[0])
    first, second = sorted(tmp_path.iterdir())
    first.rename(tmp_path / "aside"), second.rename(first), (tmp_path / "aside").rename(second)
    for a in (1, 2):
        make, calls = counter(float(a))
        assert stages.keep("fit", {"a": a}, make)["x"] == float(a) and len(calls) == 1
        assert find_stage(tmp_path, "fit", {"a": a})["x"] == float(a)


def test_a_stage_copied_from_other_inputs_is_made_again(tmp_path):
    stages = StageFolder(tmp_path)
    stages.keep("fit", {"a": 1}, counter(1.0)[0])
    (one,) = tmp_path.iterdir()
    stages.keep("fit", {"a": 2}, counter(2.0)[0])
    (other,) = set(tmp_path.iterdir()) - {one}
    shutil.rmtree(other)
    shutil.copytree(one, other)
    assert stages.keep("fit", {"a": 2}, counter(2.0)[0])["x"] == 2.0
    assert find_stage(tmp_path, "fit", {"a": 2})["x"] == 2.0
    assert find_stage(tmp_path, "fit", {"a": 3}) is None


def test_what_lies_behind_a_link_is_not_touched(tmp_path):
    stages = StageFolder(tmp_path / "stages")
    stages.keep("fit", {"a": 1}, counter()[0])
    (place,) = (tmp_path / "stages").iterdir()
    shutil.rmtree(place)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("mine")
    place.symlink_to(tmp_path / "precious")
    stages.keep("fit", {"a": 1}, counter()[0])
    assert (tmp_path / "precious" / "file").read_text() == "mine" and not place.is_symlink()


def test_a_faster_process_wins_and_its_stage_stays(tmp_path, monkeypatch):
    """One that took over the claim, since this process was suspended for long."""
    stages = StageFolder(tmp_path)

    def make():
        with monkeypatch.context() as patched:
            patched.setattr(claims, "EXPIRES_S", -1.0)
            stages.keep("fit", {"a": 1}, counter(1.0)[0])  # the other process finishes first
        (place,) = tmp_path.glob("fit-*")
        make.written = place.stat().st_ino
        return {"x": np.array([1.0])}

    stages.keep("fit", {"a": 1}, make)
    (place,) = tmp_path.glob("fit-*")
    assert place.stat().st_ino == make.written and len(list(tmp_path.iterdir())) == 1


# --- what is kept -----------------------------------------------------------------------------------


def test_a_state_of_python_objects_is_refused_and_not_pickled(tmp_path):
    with pytest.raises(NgbError, match="'x' of the stage fit is not an array of numbers"):
        StageFolder(tmp_path).keep("fit", {"a": 1}, lambda: {"x": np.array([{}], dtype=object)})
    assert not list(tmp_path.iterdir())


def test_a_stage_has_the_same_bits_when_made_and_when_read(tmp_path):
    made = {"x": np.random.default_rng(0).standard_normal(7), "name": np.array(["a", "bc"]), "n": np.array(3)}
    first = StageFolder(tmp_path).keep("map", {"a": 1}, lambda: made)
    again = StageFolder(tmp_path).keep("map", {"a": 1}, lambda: pytest.fail("made again"))
    for arrays in (first, again):
        for name, array in made.items():
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].dtype == array.dtype


def test_a_failing_computation_leaves_nothing(tmp_path):
    def make():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        StageFolder(tmp_path).keep("fit", {"a": 1}, make)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(NgbError, match=r"Cannot write to the output folder .*choose another with --out"):
        StageFolder(blocked / "stages")


def test_the_key_is_a_function_of_content_alone():
    assert (
        content_key({"a": 1, "b": [1, 2]})
        == content_key({"b": [1, 2], "a": 1})
        != content_key({"a": 1, "b": [2, 1]})
    )


# --- keys of protocols ------------------------------------------------------------------------------

PARTS = {"splits": "s", "core": "c", "model": {"m": 1}, "decoder": {"d": 1}, "protocol": ""}


@pytest.fixture(scope="module")
def session():
    return population(np.random.default_rng(0), n_objects=3, n_repeats=2, n_units=1)[0]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("decoder", [False, True])
def test_a_stage_is_made_again_when_anything_it_depends_on_changes(tmp_path, session, part, decoder):
    """And is not when something changes on which it does not depend."""
    make, calls = counter()
    stage = Stage("map", {"n": 1}, decoder=decoder)
    own, shared = StageFolder(tmp_path / "own"), StageFolder(tmp_path / "shared")
    for parts in (PARTS, PARTS, PARTS | {part: "other"}):
        Stages(own, shared, **parts)(stage, session, make)
    assert len(calls) == (1 if part == "decoder" and not decoder else 2)
    assert not list((tmp_path / "shared").iterdir())


def test_settings_session_and_further_inputs_are_part_of_the_key(tmp_path, session):
    import dataclasses

    make, calls = counter()
    folder = StageFolder(tmp_path)
    stages = Stages(folder, folder, **PARTS)
    stages(Stage("map", {"n": 1}), session, make)
    stages(Stage("map", {"n": 2}), session, make)
    stages(Stage("map", {"n": 1}), dataclasses.replace(session, sha256="other"), make)
    stages(Stage("map", {"n": 1}), session, make, area="M1")
    stages(Stage("map", {"n": 1}), session, make)
    assert len(calls) == 4


def test_a_stage_without_a_model_is_shared_by_models_and_run_folders(tmp_path, session):
    make, calls = counter()
    shared = StageFolder(tmp_path / "shared")
    for name in ("one", "two"):
        own = StageFolder(tmp_path / name)
        Stages(own, shared, **PARTS | {"model": {"m": name}})(Stage("noise", model=False), session, make)
    assert len(calls) == 1


@pytest.mark.parametrize("core", [False, True])
def test_protocols_of_plugins_share_only_what_the_package_makes_alone(tmp_path, session, core):
    make, calls = counter()
    folder = StageFolder(tmp_path)
    for protocol in ("", "one plugin", "another", None):
        Stages(folder, folder, **PARTS | {"protocol": protocol})(Stage("map", core=core), session, make)
    assert len(calls) == (1 if core else 4)


@pytest.mark.parametrize("part", ["core", "model", "protocol"])
def test_nothing_is_kept_of_what_cannot_be_identified(tmp_path, session, part):
    make, calls = counter()
    folder = StageFolder(tmp_path)
    for _ in range(2):
        Stages(folder, folder, **PARTS | {part: None})(Stage("map"), session, make)
    assert len(calls) == 2 and not list(tmp_path.iterdir())
