"""``ngb data`` on real recordings and on files of other laboratories."""

import json
import re

import pytest
from typer.testing import CliRunner

from neurobench_grasp.cli import app


def ngb(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_inspect_shows_what_a_recording_holds(real_file):
    shown = ngb("inspect", real_file("real/m1_center_out.nwb"))
    assert shown.exit_code == 0
    assert "layout: m1-center-out" in shown.stdout
    assert "units: 84 at processing/ecephys/binned_spikes" in shown.stdout
    assert "trials: 286 in 8 conditions (" in shown.stdout
    assert re.search(r"go_cue +286 +0", shown.stdout)
    assert re.search(r"processing/behavior/hand_vel +2 +22263 +20\.00 +cm/s", shown.stdout)


def test_inspect_shows_tuning_grow_from_before_the_movement_to_the_grasp(real_file):
    found = json.loads(ngb("inspect", real_file("real/s1_grasp35_0.nwb"), "--json").stdout)
    tuning = {row["event"]: row["reliability"] for row in found["event_tuning"]}
    assert tuning["event_6"] > 0.5 > 0.2 > tuning["event_1"]
    assert re.search(
        r"S1 +event_6 +0\.\d\d +\d+ +35", ngb("inspect", real_file("real/s1_grasp35_0.nwb")).stdout
    )


def test_inspect_names_the_parts_that_the_asked_for_layout_misses(real_file):
    shown = ngb("inspect", real_file("foreign/mouse_nwb_2_0_2.nwb"), "--layout", "m1-wrist")
    assert shown.exit_code == 0
    assert "m1-wrist misses\n" in shown.stdout
    assert "the signal 'cursor_pos' (looked for at processing/behavior/cursor_pos" in shown.stdout
    assert re.search(r"intervals/trials +340", shown.stdout)


@pytest.mark.parametrize("name", ["nwb_1_0_6", "nwb_2_0b_broken"])
@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_files_that_cannot_be_read_are_one_sentence(real_file, name, command):
    result = ngb(command, real_file(f"foreign/{name}.nwb"))
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert f"{name}.nwb" in result.stderr


def test_validate_lists_findings_and_exits_with_1_on_an_error(real_file):
    assert ngb("validate", real_file("real/m1_center_out.nwb")).exit_code == 0
    bad = ngb("validate", real_file("foreign/mouse_nwb_2_0_2.nwb"))
    assert bad.exit_code == 1
    assert re.search(r"^error +intervals/trials: ", bad.stdout, re.MULTILINE)
    findings = json.loads(ngb("validate", real_file("foreign/mouse_nwb_2_0_2.nwb"), "--json").stdout)
    assert {"severity", "place", "message"} == set(findings[0])
    assert "error" in {f["severity"] for f in findings}


def test_numbers_that_json_cannot_hold_become_null():
    from neurobench_grasp.cli.terminal import _finite

    assert _finite({"a": [float("nan"), 1.0, (float("inf"), "x")]}) == {"a": [None, 1.0, [None, "x"]]}


def test_make_makes_only_built_in_datasets(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "neurobench_grasp.demo.mixed.MixedSet.make", lambda self, folder, progress: [folder / "m.nwb"]
    )
    assert ngb("make", "mixed", "--to", tmp_path).stdout == f"{tmp_path / 'm.nwb'}\n"
    result = ngb("make", "dandi:000128", "--to", tmp_path)
    assert result.exit_code == 1
    assert (
        result.stderr == "'dandi:000128' is not a built-in dataset; choose demo or mixed or mixed_memory.\n"
    )


def test_make_tells_the_paths_it_made(monkeypatch, tmp_path):
    def make_demo(folder, progress):
        progress("making session 1 of 1")
        return [folder / "one.nwb"]

    monkeypatch.setattr("neurobench_grasp.demo.make_demo", make_demo)
    result = ngb("make", "--to", tmp_path)
    assert result.stdout == f"{tmp_path / 'one.nwb'}\n"
    assert result.stderr == "making session 1 of 1\n"
    assert json.loads(ngb("make", "--to", tmp_path, "--json").stdout) == [str(tmp_path / "one.nwb")]
