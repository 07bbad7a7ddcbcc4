"""What `inspect` promises and `validate` notes is what a score finds when it makes the trials of a session."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from data_sessions import ABOUT, put, small_session
from typer.testing import CliRunner

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.readiness import scored_by
from neurobench_grasp.cli import app
from neurobench_grasp.data import load_session, write_session
from neurobench_grasp.errors import UnsupportedError

STATED = {"encoding": "yes", "tracking": "yes", "brain-control": "yes"}
TRIALS, ANGLES = "intervals/trials", "processing/behavior/joint_angles"


def session(columns):
    made = small_session()
    angles = replace(made.signals["joint_angles"], columns=columns)
    joint_map = {c: (c, 1.0, 0.0) for c in columns}
    return replace(made, signals={"joint_angles": angles}, joint_map=joint_map)


def test_joints_of_a_laboratory_are_recorded_signals():
    aligned = align(session(("index_mcp", "mcp2_flex", "thumb")))
    assert aligned.trials.joint_angles is None and list(aligned.trials.signals) == ["joint_angles"]
    assert aligned.notes[-1] == (
        "index_mcp, mcp2_flex, thumb of joint_angles drive no joint of myohand, and are used as recorded signals "
        "only; a layout's joint_map names their joints (`ngb bodies myohand` lists them; similar: mcp2_flex and "
        "mcp2_flexion)"
    )
    assert scored_by(session(("a", "b", "c")), STATED) == {
        "encoding": "yes",
        "tracking": "no joint angles of myohand are known",
        "brain-control": "no joint angles of myohand are known",
    }


def test_a_partial_map_names_the_columns_that_it_drops():
    aligned = align(session(("mcp2_flexion", "palm", "mcp3_flexion")))
    assert aligned.trials.joint_angles is not None
    assert any(note.startswith("palm of joint_angles drive no joint of myohand") for note in aligned.notes)
    assert scored_by(session(("mcp2_flexion", "palm", "mcp3_flexion")), STATED) == STATED


@pytest.mark.parametrize("column", [0, 1])
def test_missing_samples_of_a_joint_drop_their_trial_only(column):
    """In the padding after a window, which models see, too."""
    made = session(("mcp2_flexion", "mcp3_flexion", "palm"))
    angles = made.signals["joint_angles"]
    values = angles.values.copy()
    values[(angles.times > 12.1) & (angles.times < 12.2), column] = np.nan
    whole = align(made)
    one_less = align(replace(made, signals={"joint_angles": replace(angles, values=values)}))
    assert one_less.dropped == (*whole.dropped, ("2", "has missing samples in the signal joint_angles"))
    kept = [i for i, trial in enumerate(whole.trials.ids) if trial != "2"]
    assert one_less.trials.sha256 == whole.trials.select(kept).sha256


# -- the command line -------------------------------------------------------------------------------------


def ngb(*arguments):
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def file(tmp_path):
    write_session(tmp_path / "f.nwb", session(("mcp2_flexion", "mcp3_flexion", "pm2_flexion")), **ABOUT)
    with h5py.File(tmp_path / "f.nwb", "r+") as h5:
        del h5["scratch"], h5["identifier"]
        h5["identifier"] = "made elsewhere"
    return tmp_path / "f.nwb"


def test_a_file_that_is_scored_is_promised(file):
    assert json.loads(ngb("inspect", file, "--json").stdout)["scores"] == STATED
    assert ngb("validate", file).exit_code == 0


def relative(h5):
    for event in ("move_onset_time", "contact_time"):
        put(h5, f"{TRIALS}/{event}", h5[f"{TRIALS}/{event}"][:] - h5[f"{TRIALS}/start_time"][:])
    put(h5, f"{TRIALS}/start_time", np.maximum(h5[f"{TRIALS}/start_time"][:], 3.0))


def in_degrees(h5):
    h5[f"{ANGLES}/data"].attrs["unit"] = "turns"


def in_ms(h5):
    put(h5, "units/spike_times", h5["units/spike_times"][:] * 1000 + 0.5)


@pytest.mark.parametrize("change", [relative, in_degrees, in_ms])
def test_what_a_score_refuses_is_not_promised_and_explained(file, change):
    with h5py.File(file, "r+") as h5:
        change(h5)
    with pytest.raises(Exception) as refused:
        align(load_session(file))
    shown = ngb("inspect", file)
    assert shown.exit_code == 0
    promise = f"no: {refused.value}"
    assert set(json.loads(ngb("inspect", file, "--json").stdout)["scores"].values()) == {promise}
    assert shown.stdout.count("scored by ") == 1
    assert ngb("validate", file).exit_code == 1
    if change is relative:
        assert isinstance(refused.value, UnsupportedError)
        assert (
            "the first one lacks the event move_onset; the reader noted: intervals/trials: the event move_onset "
            in str(refused.value)
        )
        assert str(refused.value).endswith("so they probably count from the start of their trial.")
