"""The reference plugins keep the contract, and the documentation names every check."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from neurobench_grasp.checks import run_checks
from neurobench_grasp.checks.catalogue import KINDS, checks_of

ROOT = Path(__file__).parents[2]


def failing(report):
    return {row.check: row.message for row in report.rows if row.status not in ("pass", "skip")}


def test_the_command_tells_the_same_as_json_and_as_a_table_and_exits_with_0():
    command = [sys.executable, "-m", "neurobench_grasp", "check", "kalman_decoder"]
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["passed"]) == (0, True)
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    for row in told["checks"]:
        assert row["status"] == "pass", row
        assert row["check"] in shown
        assert row["subject"] in shown


def test_the_command_exits_with_1_on_a_broken_plugin(install):
    install("fake_broken", "raise ImportError('no luck')", keep=False)
    command = [sys.executable, "-m", "neurobench_grasp", "check", "broken"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no luck" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_the_controller_of_muscles_passes_within_a_minute():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = run_checks("muscle_ppo")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert failing(report) == {}
    assert {row.status for row in report.rows} == {"pass"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60  # whatever else runs here


def test_every_check_is_in_the_documentation():
    text = (ROOT / "docs" / "checks.md").read_text()
    for kind in KINDS:
        for check in checks_of(kind):
            assert f"| `{check.name}` | {check.rule} |" in text, check.name
