"""A body from an OpenSim model: the plugin works as it is, names of the file are harmless, errors are one line."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from limbs import SMALL, edited
from typer.testing import CliRunner

from neurobench_grasp.bodies import find_body
from neurobench_grasp.checks import run_checks
from neurobench_grasp.cli import app
from neurobench_grasp.errors import NgbError
from neurobench_grasp.scaffold import new_body_from

ROOT = Path(__file__).parents[2]


def ngb(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_the_plugin_passes_every_check_and_reaches(made):
    made("body", "our_limb", osim=SMALL)
    report = run_checks("our_limb")
    assert [row for row in report.rows if row.status not in ("pass", "skip")] == []
    assert len([row for row in report.rows if row.status == "pass"]) > 10
    body = find_body("our_limb")
    assert body.joints == ("flexion", "turn", "bend", "wave", "tilt")
    assert body.endpoint == "elbow_outside" and body.neutral[2] == 1.0
    assert body.painter(40, 40).paint(body.neutral, (1.0, 0.0, 0.0)).min() < 200, "the view shows it"


def test_the_command_states_errors_and_notes(tmp_path):
    locked = edited(tmp_path, ("<range>-0.7 0.7</range><locked>false", "<range>-0.7 0.7</range><locked>true"))
    done = ngb("new", "body", "our_limb", "--from", locked, "--to", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["length_errors"]["moving"]["replaced"] == ["moving point"]
    assert any("wave is locked" in note for note in found["notes"])
    readme = (tmp_path / "our_limb/README.md").read_text()
    rows = [line.split(" | ") for line in readme.splitlines() if line.startswith("| ")]
    assert {row[0].removeprefix("| ") for row in rows[1:]} == found["length_errors"].keys()
    for note in found["notes"]:
        assert f"- {note}" in readme
    printed = ngb("new", "body", "our_other", "--from", SMALL, "--to", tmp_path).stdout
    assert "largest length error: moving" in printed.replace("\n", " ") and "ngb check our_other" in printed


def test_without_markers_the_last_bodies_are_keypoints(tmp_path):
    plain = edited(tmp_path, ("MarkerSet", "NoMarkerSet"))
    folder, made = new_body_from(plain, "our_limb", tmp_path)
    assert made.keypoints == {"blade": ("body", "blade"), "hand": ("body", "hand")}
    assert '"hand": ("body", "hand"),' in (folder / "ngb_our_limb/__init__.py").read_text()


def test_names_of_the_file_are_data(tmp_path):
    """A name with quotes and braces, and one like a placeholder of the template."""
    hostile = edited(
        tmp_path,
        ('"straight"', '"x&quot;); import os; (&quot;"'),
        ('"backward"', '"my_plugin"'),
        ('"hand_tip"', '"tip|&lt;script&gt;{0}\\"'),
    )
    folder, made = new_body_from(hostile, "our_limb", tmp_path)
    source = (folder / "ngb_our_limb/__init__.py").read_text()
    tree = ast.parse(source)
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign)}
    assert values["MUSCLES"] == made.muscles and "my_plugin" in made.muscles
    assert values["KEYPOINTS"] == made.keypoints
    imported = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not any(isinstance(n, ast.Import) and n.names[0].name == "os" for n in ast.walk(tree))
    assert set(imported) == {
        "pathlib",
        "neurobench_grasp",
        "neurobench_grasp.bodies",
        "neurobench_grasp.contract",
    }
    assert "<script>" not in (folder / "README.md").read_text()


def test_new_code_keeps_the_projects_style(tmp_path):
    new_body_from(SMALL, "a", tmp_path)
    for arguments in (["check"], ["format", "--check"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *arguments,
            "--no-cache",
            "--config",
            ROOT / "pyproject.toml",
            ".",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), ("", "is no XML"), ("<a/>", "is no OpenSim model")]
)
def test_a_bad_file_is_one_line_and_leaves_nothing(tmp_path, content, says):
    path = tmp_path / "bad.osim"
    if content is not None:
        path.write_text(content)
    done = ngb("new", "body", "our_limb", "--from", path, "--to", tmp_path)
    assert done.exit_code == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert says in done.stderr and not (tmp_path / "our_limb").exists()


def test_a_folder_that_exists_is_refused_before_the_conversion(tmp_path):
    (tmp_path / "our_limb").mkdir()
    with pytest.raises(NgbError, match="exists already"):
        new_body_from(tmp_path / "nowhere.osim", "our_limb", tmp_path)
    assert np.size(list(tmp_path.iterdir())) == 1
