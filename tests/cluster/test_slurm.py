"""The grid on a real SLURM cluster of one node, also when jobs and the scheduler are ended in the middle."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
import slurm_node
from arms import write_reaches
from waiting import wait

from .test_engines import FITS

SITE = """
partition: main
workers: 2
resources:
  score: {memory_gb: 1, minutes: 5}
  network: {cores: 1, memory_gb: 1, minutes: 10}
  train: {cores: 1, memory_gb: 1, minutes: 1}
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    reason = slurm_node.missing()
    if reason and not os.environ.get("CI"):
        pytest.skip(reason)
    with slurm_node.one_node(tmp_path_factory.mktemp("slurm")) as node:
        yield node


@pytest.fixture
def cluster(node, place):
    configure(place, SITE)
    place.more.update({"SLURM_CONF": str(node.conf), "PATH": node.environment["PATH"]})
    yield place
    node.command("scancel", "--full", "--user=root")
    node.wait(lambda: not node.jobs())


def configure(place, text):
    folder = place.folder / "config" / "ngb"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slurm.yaml").write_text(text)


def scored(running):
    output, _ = running.communicate(timeout=280)
    assert running.returncode == 0, output
    return output


def test_slurm_gives_the_records_of_one_process_and_computes_nothing_twice(serial, cluster):
    done = cluster.run(cluster.score("--on", "slurm"))
    assert done.returncode == 0, done.stderr
    assert cluster.records() == serial.records() and sorted(cluster.computed()) == FITS


def test_a_killed_worker_while_the_scheduler_is_away(serial, cluster, node):
    hold = cluster.hold("grid_one-0")
    with cluster.start(cluster.score("--on", "slurm")) as running:
        wait(lambda: {"fit grid_one 0", "fit grid_three 2"} <= set(cluster.computed()))  # both jobs run
        node.stop("slurmctld")
        os.kill(cluster.fitting("grid_one 0"), signal.SIGKILL)
        hold.unlink()
        wait(lambda: cluster.computed().count("fit grid_one 0") == 2)  # by the other job of the array
        node.start("slurmctld")
        scored(running)
    assert cluster.records() == serial.records()
    assert Counter(cluster.computed()) - Counter(FITS) == {"fit grid_one 0": 1}


def test_a_requeued_job_leaves_its_task_to_another(serial, cluster, node):
    hold = cluster.hold("grid_three-1")
    with cluster.start(cluster.score("--on", "slurm")) as running:
        wait(lambda: "fit grid_three 1" in cluster.computed())
        node.command("scontrol", "requeue", cluster.slurm_job(cluster.fitting("grid_three 1")))
        hold.unlink()
        scored(running)
    assert cluster.records() == serial.records()
    assert set(Counter(cluster.computed()) - Counter(FITS)) <= {"fit grid_three 1"}


def test_cancelled_jobs_are_submitted_again(serial, cluster, node):
    hold = cluster.hold("grid_one-0")
    with cluster.start(cluster.score("--on", "slurm")) as running:
        wait(lambda: "fit grid_one 0" in cluster.computed())
        node.command("scancel", "--full", "--user=root")
        hold.unlink()
        scored(running)
    assert cluster.records() == serial.records()


def test_a_node_that_cannot_write_leaves_the_work_to_others(serial, cluster):
    """The first job of the array sees the run folder read-only."""
    if subprocess.run(["unshare", "--mount", "true"]).returncode:
        pytest.skip("no namespace of mounts can be made here")
    out, python = cluster.out, sys.executable
    inside = f"mount --bind {out} {out} && mount -o remount,ro,bind {out} && "
    inside += f"exec {python} -m neurobench_grasp work {out} --kind score"
    line = f"if [ $SLURM_ARRAY_TASK_ID = 0 ]; then exec unshare --mount sh -c {shlex.quote(inside)}; fi"
    configure(cluster, f"{SITE}setup: [{json.dumps(line)}]\n")
    done = cluster.run(cluster.score("--on", "slurm"))
    assert done.returncode == 0, done.stderr
    assert cluster.records() == serial.records() and sorted(cluster.computed()) == FITS
    (log,) = cluster.out.glob("grids/*/slurm/*_0.log")
    assert "Read-only file system" in log.read_text()


@pytest.mark.parametrize("cancel", [False, True])
def test_an_interrupt_leaves_or_cancels_the_jobs_and_the_same_command_follows(serial, cluster, node, cancel):
    hold = cluster.hold("grid_one-0")
    command = cluster.score("--on", "slurm", *(["--cancel"] if cancel else []))
    with cluster.start(command) as running:
        wait(lambda: "fit grid_one 0" in cluster.computed())
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 130 and ("cancelled the SLURM jobs" if cancel else "go on") in output, output
    if cancel:
        node.wait(lambda: not node.jobs())
    else:
        assert node.jobs()
    hold.unlink()
    again = cluster.run(cluster.score("--on", "slurm"))
    assert again.returncode == 0, again.stderr
    assert cluster.records() == serial.records() and len(list(cluster.out.glob("grids/*"))) == 1
    if not cancel:
        assert sorted(cluster.computed()) == FITS


def test_training_that_is_out_of_time_continues_to_the_same_network(cluster, tmp_path):
    """A limit of a minute, the least there is, before which the scheduler asks the worker to end."""
    pytest.importorskip("torch")
    reaches = write_reaches(tmp_path / "reaches.nwb")
    train = ["train", "--model", "muscle_ppo", "--dataset", reaches, "--steps", 250_000, "--threads", 1]
    whole = ["--to", cluster.folder / "whole", "--out", cluster.folder / "other"]
    with (
        cluster.start(cluster.command(*train, "--on", "slurm", "--out", cluster.out)) as limited,
        cluster.start(cluster.command(*train, *whole)) as unlimited,
    ):
        scored(limited)
        scored(unlimited)
    assert list(cluster.out.glob("grids/*/log/*.stopped"))
    (network,) = (cluster.folder / "cache").glob("checkpoints/*/*.safetensors")
    (other,) = (cluster.folder / "whole").glob("*/*.safetensors")
    assert other.read_bytes() == network.read_bytes()


def test_settings_that_the_scheduler_refuses_are_one_sentence(cluster):
    configure(cluster, SITE.replace("partition: main", "partition: nowhere"))
    done = cluster.run(cluster.score("--on", "slurm"))
    assert done.returncode == 1 and "sbatch refused" in done.stderr and "nowhere" in done.stderr


def test_without_slurm_the_sentence_says_where_to_go(place):
    place.more["PATH"] = os.path.dirname(shutil.which("env"))
    if shutil.which("sbatch", path=place.more["PATH"]):
        place.more["PATH"] = str(place.folder)
    done = place.run(place.score("--on", "slurm"))
    assert done.returncode == 1 and "login node" in done.stderr
    assert not place.out.exists()
