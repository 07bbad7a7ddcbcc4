"""Hostile files are refused by whichever way they come, and the command line has the options for it."""

import json
import re
import shutil

import h5py
import pytest
from dandi_server import PUBLISHED, SET, SIGNATURE, File
from hostile_files import HOSTILE, external_storage, write_secret
from recorded import write_planted
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.data import inspect_file, load_session
from neurobench_grasp.data.remote_inspection import inspect_remote
from neurobench_grasp.errors import UnsafeFileError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset

PATH = "sub-N/sub-N_ses-1.nwb"
ADDRESS = f"dandi:{SET}@{PUBLISHED}/{PATH}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "small.nwb"
    return write_planted(path)


@pytest.fixture
def valid(made, tmp_path):
    return shutil.copy(made, tmp_path / "session.nwb")


@pytest.fixture
def ngb(monkeypatch, server, tmp_path):
    monkeypatch.setenv("NGB_DANDI_INSTANCE", server.api)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def by_cache(path, server):
    server.add(SET, PUBLISHED, File(PATH, path.read_bytes()))
    return load_dataset(load_registry(), ADDRESS)


def by_stream(path, server):
    server.add(SET, PUBLISHED, File(PATH, path.read_bytes()))
    return inspect_remote(ADDRESS)


def apart(path, server):
    return load_session(path)


pytestmark = pytest.mark.sandboxed
WAYS = (by_cache, by_stream, apart)


@pytest.mark.parametrize(
    ("attack", "way"), [(a, WAYS[i % len(WAYS)]) for i, a in enumerate(HOSTILE)], ids=lambda f: f.__name__
)
def test_hostile_files_are_refused_by_every_way(attack, way, valid, tmp_path, server, monkeypatch):
    """Directly, each of them is refused in tests/data/test_data_hostile.py."""
    monkeypatch.setenv("NGB_DANDI_INSTANCE", server.api)
    write_secret(tmp_path)
    with h5py.File(valid, "r+") as file:
        attack(file, tmp_path)
    with pytest.raises(UnsafeFileError, match=HOSTILE[attack]) as caught:
        way(valid, server)
    assert ".nwb was not read, because" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS, ids=lambda f: f.__name__)
def test_a_broken_cached_spec_is_never_parsed(way, made, valid, server, monkeypatch):
    monkeypatch.setenv("NGB_DANDI_INSTANCE", server.api)
    with h5py.File(valid, "r+") as file:
        for specs in file["specifications/core"].values():
            specs["namespace"][()] = "{ no JSON"
    found = way(valid, server)
    if way is by_stream:
        assert (found.n_units, found.conditions) == (6, inspect_file(made).conditions)
    else:
        (session,) = found.sessions if way is by_cache else [found]
        assert session.sha256 == load_session(made).sha256


# -- commands ---------------------------------------------------------------------------------------------


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_quarantine_changes_no_result(ngb, valid):
    for command in (
        ["data", "inspect"],
        ["data", "validate"],
        ["data", "inspect", "--layout", "ngb-grasp-1"],
    ):
        assert answer(ngb(*command, valid, "--json")) == answer(
            ngb(*command, valid, "--no-quarantine", "--json")
        )
    (apart,), (direct,) = (
        answer(ngb("score", "-m", "linear_kinematic", "-d", valid, "-o", out, "--seed", "0", "--json", *more))
        for out, more in (("apart", []), ("direct", ["--no-quarantine"]))
    )
    assert apart["scores"] == direct["scores"] and apart["dataset"] == direct["dataset"]


@pytest.mark.parametrize(
    "command", [["data", "inspect"], ["data", "validate"], ["score", "-m", "untrained", "-d"]]
)
def test_a_hostile_file_ends_a_command_in_one_line(ngb, valid, tmp_path, command):
    with h5py.File(valid, "r+") as file:
        external_storage(file, tmp_path)
    result = ngb(*command, valid)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "keeps its data outside the file (in /etc/passwd)" in result.stderr.splitlines()[-1]


def test_inspect_looks_into_an_archive(ngb, server, valid):
    file = server.add(SET, PUBLISHED, File(PATH, valid.read_bytes()))
    direct = answer(ngb("data", "inspect", valid, "--json"))
    for name in (ADDRESS, f"{server.blob_root}/blobs/{file.id}?{SIGNATURE}"):
        found = answer(ngb("data", "inspect", name, "--json"))
        assert found["event_tuning"] == []
        same = ("layout", "signals", "conditions", "events", "session", "n_units", "scores")
        assert {k: found[k] for k in same} == {k: direct[k] for k in same}
        shown = ngb("data", "inspect", name)
        assert shown.stdout.startswith(name.partition("?")[0])
        assert "MB transferred" in shown.stderr
    assert not any(headers.get("Range") is None for port, _, _, headers in server.seen if port == "blob")


def test_an_archive_is_not_an_option_of_local_files(ngb, valid):
    assert ngb("data", "inspect", valid, "--instance", "https://example.org/api").exit_code == 2


def test_what_a_file_says_cannot_steer_the_terminal(ngb, valid, server):
    with h5py.File(valid, "r+") as file:
        del file["session_description"], file["scratch"], file["identifier"]
        file["identifier"] = "x"
        file["session_description"] = "\x1b[2J\x1b]0;title\x07 and \x9b1A"
        file.create_dataset("acquisition/\x1b[31mred/data", data=[1.0, 2.0])
    server.add(SET, PUBLISHED, File(PATH, valid.read_bytes()))
    for command in ([valid], [valid, "--no-quarantine"], [ADDRESS]):
        result = ngb("data", "inspect", *command)
        assert result.exit_code == 0 and "[31mred" in result.stdout
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", result.output)
