import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from neurobench_grasp.records import provenance as module
from neurobench_grasp.records.provenance import provenance


@pytest.fixture
def checkout(tmp_path):
    """Make a checkout with one committed package file."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    root = tmp_path / "checkout"
    (root / "neurobench_grasp").mkdir(parents=True)
    (root / "neurobench_grasp" / "code.py").write_text("x = 1\n")
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(root), *command], check=True, env=environment)
    return root


def test_it_tells_what_a_reader_needs_and_is_strict_json():
    found = provenance(wall_time_s=1.23456, code={"neurobench-grasp": "ab", "someone": None})
    json.dumps(found, allow_nan=False)
    assert found["wall_time_s"] == 1.235
    assert found["code"] == {"neurobench-grasp": "ab", "someone": None}
    assert {"numpy", "scipy", "h5py", "mujoco"} <= set(found["packages"])
    assert found["date"].endswith("+00:00")
    assert found["peak_memory_bytes"] > 10e6
    assert found["cpu"]["cores"] >= found["cpu"]["usable_cores"] >= 1
    assert any(pool["user_api"] == "blas" for pool in found["blas"])


def test_it_tells_nothing_about_the_user(monkeypatch):
    monkeypatch.setenv("A_SECRET", "do-not-tell-anyone")
    text = json.dumps(provenance(wall_time_s=0.0, code={}))
    assert "do-not-tell-anyone" not in text
    assert str(Path.home()) not in text or Path.home() == Path("/")
    assert os.sep + "site-packages" not in text


def test_git_tells_the_commit_and_whether_the_code_was_edited(checkout):
    before = module._git(checkout)
    assert len(before["commit"]) == 40
    assert before["dirty"] is False
    (checkout / "ngb-runs").mkdir()
    (checkout / "ngb-runs" / "record.json").write_text("{}")
    assert module._git(checkout)["dirty"] is False
    (checkout / "neurobench_grasp" / "code.py").write_text("x = 2\n")
    assert module._git(checkout) == {"commit": before["commit"], "dirty": True}


def test_git_is_of_the_code_and_not_of_the_working_directory(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    wheel = checkout / ".venv" / "site-packages"
    (wheel / "neurobench_grasp").mkdir(parents=True)
    assert module._git(wheel) is None


def test_git_is_not_misled_by_the_environment_of_a_hook(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert module._git(checkout)["dirty"] is False


def test_without_git_there_is_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert module._git(checkout) is None


def test_libraries_are_listed_in_the_same_order_however_they_were_loaded(monkeypatch):
    pools = [
        {"user_api": api, "internal_api": "x", "filepath": "/secret"} for api in ("openmp", "blas", "openmp")
    ]
    found = []
    for order in (pools, pools[::-1]):
        monkeypatch.setattr("threadpoolctl.threadpool_info", lambda order=order: order)
        found.append(provenance(wall_time_s=1.0, code={})["blas"])
    assert found[0] == found[1] and [pool["user_api"] for pool in found[0]] == ["blas", "openmp", "openmp"]
