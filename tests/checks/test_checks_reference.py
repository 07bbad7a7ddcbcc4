"""The reference plugins keep the contract, and the documentation names every check."""

import json
import resource
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neurobench_grasp import checks, plugins
from neurobench_grasp.checks import run_checks
from neurobench_grasp.checks.catalogue import KINDS, checks_of
from neurobench_grasp.cli import app

ROOT = Path(__file__).parents[2]


def failing(report):
    return {row.check: row.message for row in report.rows if row.status not in ("pass", "skip")}


def ngb_check(*arguments):
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "80"})


def test_the_command_shows_a_table_of_80_columns_and_exits_with_0():
    done = ngb_check("kalman_decoder")
    assert done.exit_code == 0
    assert "15 pass" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for kind, subject in (("plugin", "kalman_decoder"), ("decoder", "kalman")):
        assert f"{kind} {subject}" in done.stdout
        for check in checks_of(kind):
            assert f"\n{check.name} " in done.stdout


def test_the_command_exits_with_1_on_a_broken_plugin_and_reports_it_as_json(install):
    install("fake_broken", "raise ImportError('no luck')", keep=False)
    done = ngb_check("broken", "--json")
    assert done.exit_code == 1
    reported = json.loads(done.stdout)
    assert reported["passed"] is False
    assert "no luck" in next(row["message"] for row in reported["checks"] if row["check"] == "loads")
    assert "Traceback" not in done.stderr


def test_plugins_are_loaded_in_subprocesses_only(monkeypatch):
    loaded = []
    monkeypatch.setattr(plugins, "specs_of", lambda entry_point: loaded.append(entry_point) or [])
    plugins.load_registry.cache_clear()
    checks._sample.cache_clear()  # it needs a body, which plugins offer
    try:
        assert failing(run_checks("kalman_decoder")) == {}
    finally:
        plugins.load_registry.cache_clear()
    assert loaded == []


def test_static_optimisation_passes():
    report = run_checks("static_optimisation")
    assert failing(report) == {}
    assert sum(row.status == "pass" for row in report.rows) == 29


@pytest.mark.slow
@pytest.mark.parametrize("name", ["muscle_ppo", "fixed_muscles", "permuted_muscles"])
def test_a_controller_of_muscles_passes_within_a_minute(name):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = run_checks(name)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert failing(report) == {}
    skipped = {row.check for row in report.rows if row.status != "pass"}
    assert skipped == {"initial_states", "resets_between_calls", "resets_between_trials", "steps_alike"}
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60  # whatever else runs here


def test_every_check_is_in_the_documentation():
    text = (ROOT / "docs" / "checks.md").read_text()
    for kind in KINDS:
        for check in checks_of(kind):
            assert f"| `{check.name}` | {check.rule} |" in text, check.name
