"""A grid of 24 jobs in a separate folder, and what a serial run makes of it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from recorded import write_planted

from neurobench_grasp.records import read_records

PLUGIN = Path(__file__).parent / "plugin"
MODELS, SEEDS, PROTOCOLS = ("grid_one", "grid_three"), 3, ("encoding", "nap")


@dataclass
class Place:
    """A user's files: data, plugin, cache, configuration and run folder, apart from those of other tests."""

    folder: Path
    more: dict = field(default_factory=dict)

    @property
    def out(self):
        return self.folder / "run"

    @property
    def plugin(self):
        return self.folder / "plugin"

    @property
    def environment(self):
        own = {
            "NGB_CACHE": str(self.folder / "cache"),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "PYTHONPATH": os.pathsep.join([str(self.plugin), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        return {
            **os.environ,
            **own,
            **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")},
            **self.more,
        }

    @property
    def datasets(self):
        return [str(self.folder / f"{name}.nwb") for name in "ab"]

    def command(self, *arguments):
        return [sys.executable, "-m", "neurobench_grasp", *map(str, arguments)]

    def score(self, *arguments, models=MODELS, datasets=None, protocols=PROTOCOLS, seeds=SEEDS):
        parts = [
            *(part for model in models for part in ("--model", model)),
            *(part for dataset in datasets or self.datasets for part in ("--dataset", dataset)),
            *(part for protocol in protocols for part in ("--protocol", protocol)),
        ]
        return self.command("score", *parts, "--seeds", seeds, "--out", self.out, *arguments)

    def run(self, command, **options):
        options = {"capture_output": True, "text": True, "timeout": 300} | options
        return subprocess.run(command, env=self.environment, **options)

    @contextmanager
    def start(self, command):
        """Yield a running command, which does not outlive the block."""
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def status(self):
        done = self.run(self.command("status", self.out, "--json"))
        return json.loads(done.stdout) if done.stdout else {}

    def records(self):
        """All records, without their provenance: times, memory, processor, packages."""
        found, _ = read_records([self.out])
        kept = [replace(record, provenance={}) for record in found]
        return sorted(kept, key=lambda r: (r.model, r.seed, r.dataset["id"], r.protocol["name"]))

    def computed(self):
        """What was computed, without the process that did."""
        path = self.plugin / "computed"
        return [line.split(" by ")[0] for line in path.read_text().splitlines()] if path.exists() else []

    def hold(self, name):
        (self.plugin / f"hold-{name}").touch()
        return self.plugin / f"hold-{name}"

    def slurm_output(self):
        """What jobs have printed."""
        return "".join(log.read_text() for log in self.out.glob("grids/*/slurm/*.log"))

    @staticmethod
    def slurm_job(pid):
        """Job of an array that a process belongs to."""
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        known = dict(variable.split("=", 1) for variable in environment if "=" in variable)
        return f"{known['SLURM_ARRAY_JOB_ID']}_{known['SLURM_ARRAY_TASK_ID']}"

    def fitting(self, what):
        """Process that began the last fit of a model and seed."""
        lines = (self.plugin / "computed").read_text().splitlines()
        return int([line for line in lines if line.startswith(f"fit {what} ")][-1].split(" by ")[1])


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grid-data")
    for seed, name in enumerate("ab"):
        write_planted(folder / f"{name}.nwb", seed=seed)
    return folder


@pytest.fixture
def place(data, tmp_path):
    return make_place(data, tmp_path)


@pytest.fixture(scope="session")
def serial(data, tmp_path_factory):
    """What one process makes of the grid."""
    place = make_place(data, tmp_path_factory.mktemp("serial"))
    done = place.run(place.score())
    assert done.returncode == 0, done.stderr
    return place


def make_place(data, folder):
    shutil.copytree(PLUGIN, folder / "plugin", ignore=shutil.ignore_patterns("__pycache__"))
    for file in data.iterdir():
        shutil.copy2(file, folder / file.name)
    return Place(folder)
