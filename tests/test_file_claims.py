"""Claims between processes: one owner at a time, none forgotten, also where clocks differ or links fail."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from neurobench_grasp import claims
from neurobench_grasp.claims import claimed, clock, create, expired, owner
from neurobench_grasp.errors import NgbError

COUNT = """
import sys, time
from pathlib import Path
from neurobench_grasp.claims import claimed
folder = Path(sys.argv[1])
for _ in range(20):
    with claimed(folder / "work"):
        (folder / "busy").mkdir()  # fails if another process is inside
        n = int((folder / "count").read_text())
        time.sleep(0.002)
        (folder / "count").write_text(str(n + 1))
        (folder / "busy").rmdir()
"""


def holder(path):
    code = "import time; from neurobench_grasp.claims import claimed; from pathlib import Path\n"
    code += f"with claimed(Path({str(path)!r})): print('held', flush=True); time.sleep(99)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_processes_are_inside_one_at_a_time(tmp_path):
    (tmp_path / "count").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(4)))
    assert [(d.returncode, d.stderr) for d in done] == [(0, "")] * 4
    assert (tmp_path / "count").read_text() == "80"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]


def test_the_claim_of_a_killed_process_is_free_at_once_on_its_machine(tmp_path):
    with holder(tmp_path / "x") as process:
        reported = []

        def kill():
            reported.append("waiting")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

        with claimed(tmp_path / "x", kill):
            assert reported == ["waiting"]
    assert list(tmp_path.iterdir()) == []


def test_a_claim_of_another_machine_expires_only_when_it_is_no_longer_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "EXPIRES_S", 0.4)
    theirs = tmp_path / ".x.claim-1"
    assert create(theirs, owner() | {"kernel": "elsewhere", "pid": 1})
    with ThreadPoolExecutor(1) as pool:
        inside = pool.submit(_enter, tmp_path / "x")
        for _ in range(4):
            time.sleep(0.2)
            os.utime(theirs)
            assert not inside.done()
        inside.result(timeout=10)
    assert list(tmp_path.iterdir()) == []


def _enter(place):
    with claimed(place):
        pass


def test_a_held_claim_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr(claims._Heart, "_one", None)
    with claimed(tmp_path / "x"):
        (path,) = tmp_path.iterdir()
        os.utime(path, (1, 1))
        time.sleep(0.5)
        assert path.stat().st_mtime > 1


def test_a_number_that_is_reused_by_another_process_is_not_its_owner(tmp_path):
    now = clock(tmp_path)
    assert create(tmp_path / "mine", owner()) and not expired(tmp_path / "mine", now)
    assert create(tmp_path / "old", owner() | {"started": "1"}) and expired(tmp_path / "old", now)
    (tmp_path / "damaged").write_text("{")
    assert not expired(tmp_path / "damaged", now)
    assert expired(tmp_path / "damaged", now + claims.EXPIRES_S + 1)
    assert not expired(tmp_path / "removed", now)


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_threads_creates_a_file(tmp_path, monkeypatch, links):
    if not links:

        def refused(*paths):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refused)
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda i: create(tmp_path / "one", {"i": i}), range(64)))
    assert sum(made) == 1 and [p.name for p in tmp_path.iterdir()] == ["one"]


def test_a_link_whose_answer_was_lost_counts(tmp_path, monkeypatch):
    """A client of NFS repeats a request without an answer, and is informed that the file exists."""
    real = os.link

    def twice(new, path):
        real(new, path)
        real(new, path)

    monkeypatch.setattr(os, "link", twice)
    assert create(tmp_path / "one", {}) and not create(tmp_path / "one", {})


def test_an_unknown_error_is_raised_and_not_taken_for_a_claim_of_another(tmp_path, monkeypatch):
    def refused(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(OSError, match="No space"):
        create(tmp_path / "one", {})
    with pytest.raises(NgbError, match="No space"), claimed(tmp_path / "x"):
        pytest.fail("inside")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NgbError, match=r"Cannot write to .*file"), claimed(tmp_path / "file" / "x"):
        pytest.fail("inside")
