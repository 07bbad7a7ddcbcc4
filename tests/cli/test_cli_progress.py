"""The line of progress on a terminal, and lines of a log."""

import os
import pty
import re
import subprocess
import sys

from neurobench_grasp.run.grid import Grid, Task
from neurobench_grasp.run.how_far import summary

SAY = """
import time
from neurobench_grasp.cli import terminal
from neurobench_grasp.run.how_far import HowFar
with terminal.progress() as status:
    status(HowFar("1 of 4 tasks done; about 3 min left", "25%, about 3 min left"))
    time.sleep(0.3)
    status("encoding day1: references" + " of a long session" * 9)
    time.sleep(0.3)
"""


def on_a_terminal(code):
    """What a script writes to standard error, a terminal of 80 columns, without its control sequences."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env=environment) as process:
        os.close(theirs)
        raw = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the end, on Linux
                break
            if not part:
                break
            raw += part
    os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", raw.decode())


def test_percentage_and_time_left_stay_beside_the_stages_that_follow():
    text = on_a_terminal(SAY)
    assert "1 of 4 tasks done" in text
    lines = [line for line in re.split(r"[\r\n]+", text) if "encoding day1" in line]
    assert lines
    for line in lines:
        assert re.match(r". 0:00:0\d 25%, about 3 min left encoding day1: .*…\s*$", line) and len(line) <= 80


def test_a_log_has_a_line_for_each_message():
    done = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True)
    first, second = done.stderr.splitlines()
    assert first == "1 of 4 tasks done; about 3 min left"
    assert second == "encoding day1: references" + " of a long session" * 9


def test_how_far_a_grid_is_has_a_percentage_and_a_beginning(tmp_path):
    grid = Grid.open(tmp_path, [Task("add", {"x": x}) for x in range(4)], ["code"])
    assert summary(grid).brief == "0%"
    attempt = grid.begin(0)
    attempt.end("done", result={}, seconds=60.0)
    running = grid.begin(1)
    grid.read_log()
    found = summary(grid, "next: begins; ")
    assert found == "next: begins; 1 of 4 tasks done, 1 running, 2 waiting; about 3 min left"
    assert found.brief == "25%, about 3 min left"
    running.end("done", result={}, seconds=1.0)
