"""Making the demo's files: the same content everywhere, atomically, labelled synthetic."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from neurobench_grasp import NgbError, cache
from neurobench_grasp.builtin import ngb_datasets
from neurobench_grasp.data import load_session, session_digest, validate_file
from neurobench_grasp.demo import DEMO_SHA256, demo_files, files, make_demo, movements, neurons, sessions
from neurobench_grasp.demo import random_stream as draws


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A demo of one small session, in a separate cache."""
    monkeypatch.setattr(movements, "REPEATS", 1)
    session = sessions.make_session("demo_a_1")
    monkeypatch.setattr(sessions, "SESSIONS", (session.id,))
    monkeypatch.setattr(sessions, "make_session", lambda name: session)
    monkeypatch.setattr(files, "DEMO_SHA256", cache.combined_digest({session.id: session.sha256}))
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    return session


@pytest.mark.parametrize("made", ["earlier", pytest.param("here", marks=pytest.mark.slow)])
def test_content_is_the_published_one(made, request):
    paths = demo_files() if made == "earlier" else request.getfixturevalue("demo_paths")
    read = [load_session(path) for path in paths]
    assert {s.id: session_digest(s) for s in read} == {s.id: s.sha256 for s in read}
    assert cache.combined_digest({s.id: s.sha256 for s in read}) == DEMO_SHA256


@pytest.mark.slow
def test_every_file_is_valid_and_says_that_it_is_synthetic(demo_paths):
    assert [path.stem for path in demo_paths] == list(sessions.SESSIONS)
    for path in demo_paths:
        assert [f for f in validate_file(path) if f.severity != "info"] == []
        assert load_session(path).synthetic


def test_rounding_errors_of_another_machine_do_not_show(monkeypatch):
    """Errors a hundred times those of floating point, at every step, leave the digest as it is."""
    rng = np.random.default_rng(0)

    def inexact(function):
        def noisy(*args):
            result = function(*args)
            return result * (1 + 1e-14 * rng.standard_normal(np.shape(result)))

        return noisy

    monkeypatch.setattr(movements, "REPEATS", 3)
    exact = sessions.make_session("demo_b_2").sha256
    for module, name in (
        *((movements, "to_angles"), (movements, "aperture")),
        *((neurons, "_standardise"), (neurons, "_shift"), (neurons, "_gain")),
        *((draws.Stream, "exponential"), (draws.Stream, "normal")),
    ):
        monkeypatch.setattr(module, name, inexact(getattr(module, name)))
    assert sessions.make_session("demo_b_2").sha256 == exact


def test_the_datasets_are_offered_as_synthetic():
    found = [s for s in ngb_datasets() if s.synthetic]
    assert [s.name for s in found] == ["demo", "mixed", "mixed_memory"]
    for spec in found:
        assert (spec.layout, spec.licence) == ("ngb-grasp-1", "CC0-1.0")
        assert "synthetic, a self-test" in spec.summary


def test_offering_the_dataset_is_cheap():
    code = "import sys, neurobench_grasp.builtin as b; list(b.ngb_datasets()); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"mujoco", "myosuite", "pynwb", "h5py", "pandas", "sklearn", "torch"} & set(loaded.split())


def test_files_are_made_at_first_use_and_kept(small, tmp_path):
    (path,) = demo_files()
    assert path.parent.parent == tmp_path / "cache"
    assert session_digest(load_session(path)) == small.sha256
    written = path.stat().st_mtime_ns
    assert demo_files() == [path] and path.stat().st_mtime_ns == written
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [path.parent.name]


def test_a_truncated_file_is_made_again(small):
    (path,) = demo_files()
    path.write_bytes(path.read_bytes()[:1000])
    assert demo_files() == [path]
    assert load_session(path).id == small.id


def test_two_at_once_do_no_harm(small, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(make_demo, [tmp_path / "demo"] * 2)
    assert first == second == [tmp_path / "demo/demo_a_1.nwb"]
    assert load_session(first[0]).id == small.id
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_other_content_than_the_published_is_refused(small, monkeypatch, tmp_path):
    other = replace(small, sha256="f" * 64)
    monkeypatch.setattr(sessions, "make_session", lambda name: other)
    with pytest.raises(NgbError, match=r"differs from the published one .* constraints.txt"):
        make_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for target in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(NgbError, match="is not a folder of the dataset demo"):
            make_demo(target)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_making_that_dies_leaves_nothing(small, monkeypatch, tmp_path):
    """In the second session; `kill -9` is tried on the cache itself, in tests/data/test_data_fetched.py."""

    class Dead(BaseException):
        pass

    def die(name):
        raise Dead

    monkeypatch.setattr(sessions, "SESSIONS", (small.id, "demo_a_2"))
    monkeypatch.setattr(sessions, "make_session", lambda name: small if name == small.id else die(name))
    with pytest.raises(Dead):
        make_demo(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_lists_what_is_there(small, tmp_path):
    (path,) = make_demo(tmp_path / "demo")
    manifest = json.loads((tmp_path / "demo/manifest.json").read_text())
    assert manifest["sessions"] == {small.id: small.sha256}
    assert manifest["sizes"] == {path.name: path.stat().st_size}
