"""A plugin's own suite gets one item of each check, and other suites get nothing."""

import subprocess
import sys

import pytest

from neurobench_grasp.checks import planned

SUITE = """
import pytest

pytestmark = pytest.mark.ngb_plugin("{name}")


def test_contract(ngb_check):
    ngb_check()
"""


def run_pytest(folder, *arguments):
    """Run a suite as a contributor would, warnings as errors."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--strict-markers",
        *arguments,
    ]
    plugins = [
        argument
        for name in ("dandi", "dandischema", "zarr", "hypothesispytest", "xdist")
        for argument in ("-p", f"no:{name}")
    ]
    done = subprocess.run(
        [*command, *plugins, str(folder)], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_each_check_is_an_item_of_its_own(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITE.format(name="linear_kinematic"))
    said = run_pytest(tmp_path, "-v")
    for subject, check in planned("linear_kinematic"):
        assert f"test_contract[{subject}-{check}]" in said
    assert "29 passed, 11 skipped" in said


def test_a_broken_rule_fails_with_advice_and_without_a_traceback(tmp_path, install):
    install("fake_twofold", "1 / 0", keep=False)
    (tmp_path / "test_mine.py").write_text(SUITE.format(name="twofold"))
    said = run_pytest(tmp_path)
    assert "loads: It cannot be loaded: ZeroDivisionError" in said
    assert "Traceback" not in said
    assert "1 failed, 1 passed, 4 skipped" in said


def test_an_unknown_name_and_a_forgotten_mark_are_reported_as_sentences(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITE.format(name="linear_kinematik"))
    assert "Did you mean 'linear_kinematic'" in run_pytest(tmp_path)
    (tmp_path / "test_mine.py").write_text("def test_contract(ngb_check):\n    ngb_check()\n")
    assert 'add `pytestmark = pytest.mark.ngb_plugin("my_model")`' in run_pytest(tmp_path)


def test_a_suite_that_does_not_use_it_loads_no_checks(tmp_path):
    (tmp_path / "test_other.py").write_text(
        "import sys\n\n\ndef test_nothing():\n    assert 'neurobench_grasp.pytest_plugin' in sys.modules\n"
        "    assert 'neurobench_grasp.checks' not in sys.modules\n"
    )
    assert "1 passed" in run_pytest(tmp_path)
