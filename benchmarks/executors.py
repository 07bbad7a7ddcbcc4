"""Cost of executors: overhead of a task, planning, status, and what a second core brings.

    python benchmarks/executors.py [--jobs 1000] [--on dask:local local:2] [--seconds 0.2]

Prints JSON. All in one run on an idle machine:

    overhead_s        wall time per simulated job (each sleeps) that workers did not sleep, by executor and
                      number of jobs, on a small synthetic session: with start-up, and from 100 jobs on also
                      without (the difference to a grid of a tenth of the jobs)
    planning_s        of 10,000 jobs by names, and writing their grid
    status_s          `ngb status --json` of that grid
    speedup_local_2   wall time of eight encoding jobs in one worker (`local:1`) over that in two, one thread
                      each, median of alternating pairs
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scaling import Point, write

from neurobench_grasp.demo import demo_files
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.grid import Grid
from neurobench_grasp.run.job import Job
from neurobench_grasp.run.tasks import tasks_of
from neurobench_grasp.threads import usable_cores

PLUGIN = """
import time
from neurobench_grasp import Activations, ModelSpec, ProtocolSpec, Scores, hookimpl

class Nothing:
    def fit(self, train, *, seed): pass
    def activations(self, trials): return Activations({})
    def state(self): return {}
    def restore(self, state): pass

def run(context):
    time.sleep(SECONDS)
    return Scores([{"metric": "n_trials", "split": "test", "value": 1}])

@hookimpl
def ngb_models():
    for k in range(MODELS):
        yield ModelSpec(f"idle_{k}", build=lambda seed: Nothing(), summary="nothing", seeded=False)

@hookimpl
def ngb_protocols():
    yield ProtocolSpec("sleep", version=1, run=run, summary="sleeps")
"""
MODELS, NETWORKS = 20, 500
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--on", nargs="+", default=["local:2", "dask:local"])
    parser.add_argument("--seconds", type=float, default=0.2, help="that a simulated job sleeps")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(install(place, options.seconds))}
        result = {
            "overhead_s": {on: overhead(place, on, options, environment) for on in options.on},
            **planning(place, environment),
            "speedup_local_2": speedup(place, options.pairs, environment),
            "simulated_job_s": options.seconds,
            "cores": usable_cores(),
        }
    print(json.dumps(result, indent=1))


def install(place: Path, seconds: float) -> Path:
    """Write a plugin with models that do nothing and a protocol that sleeps."""
    info = place / "plugin" / "idle-1.0.dist-info"
    info.mkdir(parents=True)
    text = PLUGIN.replace("SECONDS", str(seconds)).replace("MODELS", str(MODELS))
    (info.parent / "idle.py").write_text(text)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: idle\nVersion: 1.0\n")
    (info / "RECORD").write_text("idle.py,,\n")
    (info / "entry_points.txt").write_text("[neurobench_grasp]\nidle = idle\n")
    return info.parent


def overhead(
    place: Path, on: str, options: argparse.Namespace, environment: dict[str, str]
) -> list[dict[str, float]]:
    """Wall time per simulated job that is not sleeping, by number of jobs."""
    workers = int(on.split(":")[1]) if on.startswith("local:") else usable_cores()
    session = place / "session.nwb"
    write(session, Point(units=2, trials=40, hours=0.05))
    rows, walls = [], {}
    for n in options.jobs:
        lines = [Job(f"idle_{k % MODELS}", str(session), "sleep", k // MODELS).to_line() for k in range(n)]
        jobs = place / f"jobs-{n}"
        jobs.write_text("\n".join(lines))
        out = place / f"run-{on.replace(':', '-')}-{n}"
        walls[n] = timed(["score", "--job", jobs, "--on", on, "--out", out], environment)
        row = {"jobs": n, "wall_s": walls[n], "per_job": (walls[n] - n * options.seconds / workers) / n}
        if n // 10 in walls and n >= 100:
            more = n - n // 10
            row["per_job_without_start"] = (walls[n] - walls[n // 10]) / more - options.seconds / workers
        rows.append({key: round(value, 4) for key, value in row.items()})
    return rows


def planning(place: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds to plan 10,000 jobs into a grid, and to show its status."""
    started = time.perf_counter()
    jobs = [Job(f"idle_{m}", "demo", "sleep", seed) for m in range(MODELS) for seed in range(NETWORKS)]
    grid = Grid.open(place / "planned", tasks_of(jobs, load_registry()), ["code"])
    planned = time.perf_counter() - started
    for i in range(len(grid.tasks) // 2):
        attempt = grid.begin(i)
        assert attempt is not None
        attempt.end("done", result={}, seconds=0.2)
    status = timed(["status", place / "planned", "--json"], environment)
    return {"planning_s": round(planned, 3), "status_s": round(status, 3), "planned_jobs": len(jobs)}


def speedup(place: Path, pairs: int, environment: dict[str, str]) -> dict[str, object]:
    """Wall time of eight encoding jobs on one core over that on two."""
    sessions = demo_files()[:2]
    arguments = ["score", "-m", "linear_kinematic", "-p", "encoding", "--seeds", 4, "-d", sessions[0], "-d"]
    ratios = []
    for k in range(pairs):
        walls = []
        for n in (1, 2):
            out = place / f"encoding-{k}-{n}"
            own = {**environment, "NGB_CACHE": str(place / f"cache-{k}-{n}"), "NGB_CORES": "1"}
            walls.append(timed([*arguments, sessions[1], "--on", f"local:{n}", "--out", out], own))
        ratios.append(walls[0] / walls[1])
    return {"median": round(statistics.median(ratios), 3), "pairs": [round(r, 3) for r in ratios]}


def timed(arguments: list[object], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "neurobench_grasp", *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
