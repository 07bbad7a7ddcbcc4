"""``ngb train`` and scoring controllers, as a user does it, with networks that have hardly been trained."""

import json

import pytest
from movements import write_grasp_session
from typer.testing import CliRunner

from neurobench_grasp.cli import app

STEPS = "600"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorBoard's own


def ngb(*arguments, cache):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"NGB_CACHE": str(cache)})


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a session, one without units, and a network trained for each."""
    folder = tmp_path_factory.mktemp("train")
    write_grasp_session(folder / "grasping.nwb")
    write_grasp_session(folder / "silent.nwb", units=False)
    return folder


@pytest.fixture(scope="module")
def trained(work):
    """What ``ngb train`` printed for the session with units."""
    run = ngb("train", "--model", "muscle_ppo", "--dataset", work / "grasping.nwb", "--steps", STEPS,
              "--threads", "1", "--json", cache=work / "cache")  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert "steps/s" in run.stderr and "mm while exploring" in run.stderr
    return json.loads(run.stdout)


def test_training_prints_the_card_and_where_it_is(trained, work):
    assert trained["model"] == "muscle_ppo" and trained["steps"] >= int(STEPS)
    assert trained["card"].startswith(str(work / "cache"))
    assert set(trained["errors_mm"]) == {"train", "test", "ood"}


def test_a_trained_controller_is_scored_by_all_protocols_and_again_at_once(trained, work):
    arguments = ("score", "--model", "muscle_ppo", "--dataset", work / "grasping.nwb", "--out", work / "runs")
    run = ngb(*arguments, "--json", cache=work / "cache")
    assert run.exit_code == 0, run.stderr
    records = json.loads(run.stdout)
    assert [r["protocol"]["name"] for r in records] == ["tracking", "encoding", "brain-control"]
    tracking, encoding, brain = records
    error = next(r for r in tracking["scores"] if r["metric"] == "tracking_error" and r["split"] == "ood")
    assert error["value"] == pytest.approx(trained["errors_mm"]["ood"], rel=0.05)
    assert any(r["metric"] == "brain_control_error" and r["value"] for r in brain["scores"])
    layers = {r["layer"] for r in encoding["scores"] if "layer" in r}
    assert {"actor/integration", "critic/value"} <= layers
    again = ngb(*arguments, "--full", cache=work / "cache")
    assert again.exit_code == 0 and "closed loop" not in again.stderr
    assert "tracking error" in again.stdout and "average_trajectory" in again.stdout


def test_the_log_of_a_training_is_kept_and_named(work, tmp_path):
    run = ngb("train", "--model", "torque_ppo", "--dataset", work / "grasping.nwb", "--steps", "600",
              "--threads", "1", "--to", tmp_path / "nets", cache=work / "cache")  # fmt: skip
    assert run.exit_code == 0, run.stderr
    log = tmp_path / "nets" / "grasping" / "tensorboard"
    assert f"tensorboard --logdir {log}" in run.stdout and list(log.rglob("events*"))
    assert f"copy {log.parent} there" in run.stdout and str(work / "cache") in run.stdout


def test_the_untrained_twin_cannot_be_trained(work):
    run = ngb("train", "--model", "untrained", "--dataset", work / "grasping.nwb", cache=work / "cache")
    assert run.exit_code == 1 and "the network before training" in run.stderr


def test_untrained_is_scored_with_its_trained_twin(trained, work):
    run = ngb("score", "--model", "untrained", "--dataset", work / "grasping.nwb", "--out", work / "runs",
              "--protocol", "tracking", "--json", cache=work / "cache")  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert json.loads(run.stdout)[0]["model"] == "untrained"


def test_a_session_without_units_is_scored_by_tracking_alone(work):
    cache = work / "cache"
    run = ngb("train", "--model", "torque_ppo", "--dataset", work / "silent.nwb", "--steps", STEPS,
              "--threads", "1", cache=cache)  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert "tracking error (mm)" in run.stdout
    run = ngb("score", "--model", "torque_ppo", "--dataset", work / "silent.nwb", "--out", work / "runs",
              "--json", cache=cache)  # fmt: skip
    assert run.exit_code == 0, run.stderr
    assert [r["protocol"]["name"] for r in json.loads(run.stdout)] == ["tracking"]


def test_without_a_network_one_sentence_names_the_command(work, tmp_path):
    run = ngb("score", "--model", "torque_ppo", "--dataset", work / "grasping.nwb", "--out", tmp_path,
              "--no-train", cache=tmp_path / "empty")  # fmt: skip
    assert run.exit_code == 1 and run.stdout == ""
    last = run.stderr.strip().splitlines()[-1]
    assert "`ngb train --model torque_ppo" in last and "Traceback" not in run.stderr


def test_a_recording_without_joint_angles_says_so(real_file, tmp_path):
    run = ngb("score", "--model", "muscle_ppo", "--dataset", real_file("real/s1_grasp35_0.nwb"),
              "--out", tmp_path, "--no-train", cache=tmp_path)  # fmt: skip
    assert run.exit_code == 1 and "no joint angles of a body" in run.stderr
    assert "Traceback" not in run.stderr
