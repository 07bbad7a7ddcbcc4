"""Files and folders are written atomically, also where eight processes write the same one."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from neurobench_grasp.atomic import move_folder, new_file, new_folder, write_atomically
from neurobench_grasp.claims import claimed
from neurobench_grasp.errors import NgbError

WRITE = """
import hashlib, sys
from pathlib import Path
import numpy as np
from neurobench_grasp.atomic import write_atomically
from neurobench_grasp.run.stages import StageFolder, DONE
folder, me, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
stages = StageFolder(folder / "stages")
for k in range(rounds):
    write_atomically(folder / "splits" / "a.json", (chr(97 + me) * 50_000).encode())
    read = (folder / "splits" / "a.json").read_text()
    assert len(read) == 50_000 and len(set(read)) == 1, "torn"
    found = stages.keep("fit", {"round": k // 4}, lambda: {"x": np.full(1000, k // 4)})
    assert (found["x"] == k // 4).all()
    if (k + me) % 5 == 0:
        for done in (folder / "stages").glob(f"fit-*/{DONE}"):
            try:
                done.write_text("damaged")
            except FileNotFoundError:
                pass
"""


def test_eight_processes_on_one_run_folder_neither_fail_nor_read_half_a_file(tmp_path):
    def run(me):
        command = [sys.executable, "-c", WRITE, str(tmp_path), str(me), "25"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    with ThreadPoolExecutor(8) as pool:
        ended = list(pool.map(run, range(8)))
    assert [(done.returncode, done.stderr) for done in ended] == [(0, "")] * 8
    left = [path.name for path in (*(tmp_path / "splits").iterdir(), *(tmp_path / "stages").iterdir())]
    assert all(not name.startswith(".") for name in left), left


@pytest.mark.parametrize("there", ["nothing", "a file", "a folder", "a link", "a dead link"])
def test_a_folder_replaces_whatever_was_in_its_place_and_never_a_links_target(tmp_path, there):
    place, other = tmp_path / "place", tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    if there == "a file":
        place.write_text("x")
    elif there == "a folder":
        place.mkdir()
        (place / "old").touch()
    elif "link" in there:
        place.symlink_to(other if there == "a link" else tmp_path / "nothing")
    with new_folder(place) as new:
        (new / "new").touch()
        move_folder(new, place)
    assert [p.name for p in place.iterdir()] == ["new"] and not place.is_symlink()
    assert (other / "kept").exists() and sorted(p.name for p in tmp_path.iterdir()) == ["other", "place"]


def test_a_folder_that_another_process_has_just_finished_is_not_replaced(tmp_path):
    """Else it is gone for a moment, in which a third process finds nothing and fails."""
    place = tmp_path / "place"
    with new_folder(place) as new, ThreadPoolExecutor(1) as pool:
        with claimed(tmp_path / "place.move"):
            moving = pool.submit(move_folder, new, place, unless=lambda: (place / "done").exists())
            time.sleep(0.2)
            assert not moving.done()
            place.mkdir()
            (place / "done").touch()
        moving.result()
        assert new.exists() and (place / "done").exists()


def test_what_fails_leaves_the_old_and_nothing_else(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    (place / "old").touch()
    (tmp_path / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), new_folder(place) as new:
        (new / "half").touch()
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError):
        move_folder(tmp_path / "absent", place)
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "file") as new:
        new.write_text("half")
        raise ZeroDivisionError
    (tmp_path / "folder").mkdir()
    with pytest.raises(NgbError, match=r"^Cannot write the table .*folder \(Is a directory\); look\.$"):
        write_atomically(tmp_path / "folder", b"x", what="the table", advice="look")
    assert (place / "old").exists() and (tmp_path / "file").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "place"]
