"""What every bad input ends in: exit code 1 and one line, or 2 with the option named; nothing on standard output.

Other tests look for the class of the error and for what it names; the wording of messages is tested here.
"""

import re

import pytest
from typer.testing import CliRunner

from neurobench_grasp import NgbError
from neurobench_grasp.cli import app

USAGE = [
    ("score", r"a model, or activations in a file"),
    ("score --model x --unknown", r"No such option: --unknown"),
    ("score --model x --seeds 0", r"greater than or equal to 1"),
    ("score --model x --seeds 2 --seed 1", r"one of --seeds and --seed, not both"),
    ("score --activations a.npz -m a -m b", r"goes with one --model"),
    ("score --activations a.npz --isolated x", r"goes with one --model"),
    ("data inspect", r"Missing argument 'FILE'"),
    ("modles", r"No such command 'modles'"),
]

INPUT = [
    ("score -m linear_kinematik", r"no model 'linear_kinematik'.*'linear_kinematic'"),
    ("score -m linear_kinematic -d no/such.nwb", r"such\.nwb"),
    ("score -m linear_kinematic -p encodin", r"'encodin'.*'encoding'"),
    ("data inspect absent.nwb", r"no file .*absent\.nwb"),
    ("data inspect empty.nwb", r"empty\.nwb is empty"),
    ("data inspect text.nwb", r"text\.nwb is not an HDF5 file"),
    ("data inspect .", r"is a folder; name one of the NWB files"),
    ("data validate absent.nwb", r"no file .*absent\.nwb"),
    ("data validate empty.nwb", r"empty\.nwb is empty"),
    ("data validate text.nwb", r"text\.nwb is not an HDF5 file"),
    ("data validate .", r"is a folder; name one of the NWB files"),
]

FAILURES = [
    (NgbError("The file a.nwb is empty; copy it again."), r"The file a\.nwb is empty; copy it again\.", 1),
    (OSError(28, "No space left on device", "x/y"), r"x/y: No space left on device; free some space", 1),
    (PermissionError(13, "Permission denied", "x"), r"x: Permission denied; choose", 1),
    (OSError(30, "Read-only file system", "x"), r"x: Read-only file system; choose", 1),
    (KeyboardInterrupt(), r"Stopped; .*same command resumes", 130),
    (MemoryError(), r".*not enough memory", 1),
    (SystemExit(0), r"Unexpected SystemExit: 0\. .*report it", 1),
    (ValueError("shapes\ndiffer"), r"Unexpected ValueError: shapes differ\. .*report it.*--debug", 1),
]


@pytest.fixture
def ngb(tmp_path, monkeypatch):
    """Run the command line in a folder with bad files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.nwb").touch()
    (tmp_path / "text.nwb").write_text("this is no NWB file" * 100)
    return lambda command: CliRunner().invoke(app, command.split())


@pytest.mark.parametrize(("command", "says"), USAGE)
def test_wrong_usage_exits_with_2_and_names_the_option(ngb, command, says):
    result = ngb(command)
    assert result.exit_code == 2 and result.stdout == ""
    assert re.search(says, " ".join(result.stderr.replace("│", " ").split()))


@pytest.mark.parametrize(("command", "says"), INPUT)
def test_bad_input_exits_with_1_and_is_one_line(ngb, command, says):
    result = ngb(command)
    assert result.exit_code == 1 and result.stdout == ""
    *progress, message = result.stderr.splitlines()
    assert re.search(says, message) and "Unexpected" not in message
    assert len(progress) == command.count("such.nwb")


@pytest.mark.parametrize(("error", "says", "exit_code"), FAILURES, ids=lambda x: type(x).__name__)
def test_every_failure_is_one_line(ngb, monkeypatch, error, says, exit_code):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("neurobench_grasp.run.plan.plan", fails)
    for extra in ("", " --json"):
        result = ngb(f"score --model x{extra}")
        assert result.exit_code == exit_code and result.stdout == ""
        assert result.stderr.count("\n") == 1 and re.match(says, result.stderr)
    debug = ngb("--debug score --model x")
    assert ("Traceback" in debug.stderr) == (exit_code == 1)
