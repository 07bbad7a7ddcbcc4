"""``ngb score --isolated`` at the command line."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from arms import write_reaches
from plugin_folders import write_plugin
from recorded import write_planted
from test_isolated_models import children, soon
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.isolation import isolated_models
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.evaluate import evaluate

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(scope="module")
def planted_file(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data") / "planted.nwb")


def score(*arguments):
    return [
        sys.executable,
        "-c",
        "from neurobench_grasp.cli import app; app()",
        "score",
        *map(str, arguments),
    ]


def packages():
    """What pip lists, and every file of the environment's packages with its size and time, but caches of code."""
    listed = subprocess.run([sys.executable, "-m", "pip", "list", "--format=freeze"], capture_output=True)
    digest = hashlib.sha256(listed.stdout)
    for folder, subfolders, names in os.walk(Path(np.__file__).parents[1]):
        subfolders[:] = sorted(s for s in subfolders if s != "__pycache__")
        for name in sorted(names):
            found = os.lstat(os.path.join(folder, name))
            digest.update(f"{folder}/{name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return listed.stdout, digest.hexdigest()


@pytest.mark.slow  # installs numpy twice
def test_plugins_that_contradict_each_other_score_in_one_command(pinned, planted_file, tmp_path):
    before = packages()
    run = subprocess.run(
        score(
            *(a for f in pinned for a in ("--isolated", f)),
            "-d",
            planted_file,
            "-o",
            tmp_path,
            "--seed",
            0,
            "--json",
        ),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    records = json.loads(run.stdout)
    assert {r["model"]: r["provenance"]["isolated"]["packages"] for r in records} == {
        "pinned_old": {"numpy": "2.0.2"},
        "pinned_new": {"numpy": "2.2.6"},
    }
    kept = [np.load(p)["numpy"] for p in tmp_path.glob("stages/fit-*/arrays.npz")]
    assert sorted(map(str, kept)) == ["2.0.2", "2.2.6"]
    assert packages() == before


def test_scores_are_those_of_the_installed_model(cache, planted_file, tmp_path):
    code = (PLUGINS / "linear_kinematic" / "ngb_linear_kinematic.py").read_text()
    folder = write_plugin(tmp_path / "plugin", "neurobench-grasp-linear-kinematic", code, version="0.2")
    (installed,) = evaluate("linear_kinematic", planted_file, seeds=(0,), out=tmp_path / "installed")
    with isolated_models([str(folder)]) as models:
        registry = load_registry().with_isolated(models)
        (isolated,) = evaluate(
            "linear_kinematic", planted_file, registry=registry, seeds=(0,), out=tmp_path / "isolated"
        )
    assert installed.provenance.get("isolated") is None
    assert isolated.provenance["isolated"] == {"packages": {}}
    assert isolated.provenance["code"]["neurobench-grasp-linear-kinematic"] == models[0].isolated.code
    for one, other in zip(installed.scores, isolated.scores, strict=True):
        a, b = (np.array([r["value"], *(r.get("ci") or ())], float) for r in (one, other))
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        assert one.keys() == other.keys()


@pytest.mark.parametrize(("model", "trained"), [("torque_ppo", "torque_ppo"), ("untrained", "muscle_ppo")])
def test_a_network_that_is_missing_is_trained(model, trained, tmp_path, monkeypatch):
    """In the isolated process, or in this one if it is of an installed model."""
    pytest.importorskip("torch")
    monkeypatch.setenv("NGB_CACHE", str(tmp_path / "cache"))
    code = (PLUGINS / model / f"ngb_{model}.py").read_text()
    folder = write_plugin(tmp_path / "plugin", f"neurobench-grasp-{model.replace('_', '-')}", code)
    reaches = write_reaches(tmp_path / "reaches.nwb")
    arguments = ["score", "--isolated", str(folder), "-d", str(reaches), "-p", "tracking",
                 "-o", str(tmp_path / "run")]  # fmt: skip
    refused = CliRunner().invoke(app, [*arguments, "--no-train"])
    assert refused.exit_code == 1 and f"`ngb train --model {trained} --seed 0`" in refused.stderr
    run = CliRunner().invoke(app, [*arguments, "--steps", "600"])
    assert run.exit_code == 0, run.stderr
    (card,) = (tmp_path / "cache" / "checkpoints" / "reaches").glob("*.json")
    assert card.name == f"{trained}-0.json" and f"network: {card} (1,024 steps" in run.stdout
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "is trained now" not in again.stderr


def test_one_model_that_fails_does_not_keep_the_others_from_being_scored(odd, planted_file, tmp_path):
    """Exit code 1, and a sentence for each that failed; what was scored is printed."""
    arguments = ["score", "--isolated", str(odd), "-m", "odd", "-m", "echo", "-p", "encoding",
                 "-d", str(planted_file), "-o", str(tmp_path), "--json"]  # fmt: skip
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert [r["model"] for r in json.loads(result.stdout)] == ["echo"]
    failed = "odd (seed 0) by encoding on planted.nwb was not scored: odd: state failed in the plugin"
    assert failed in result.stderr


def test_a_model_alone_that_fails_is_one_sentence(odd, planted_file, tmp_path):
    arguments = ["score", "--isolated", str(odd), "-m", "odd", "-d", str(planted_file), "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(
        "odd: state failed in the plugin (test-odd 1.0, isolated)"
    )


def test_ctrl_c_leaves_no_process(odd, planted_file, tmp_path):
    process = subprocess.Popen(
        score("--isolated", odd, "-m", "slow", "-d", planted_file, "-o", tmp_path / "run"),
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 120
    while "fitting slow" not in process.stderr.readline() and time.monotonic() < end:
        pass
    assert soon(lambda: children(process.pid), 60)
    time.sleep(0.3)
    (child,) = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and "Stopped" in said
    assert not Path(f"/proc/{child}").exists()
