"""Cost of reading, aligning and encoding a session as the work grows; prints JSON.

Sessions are synthetic NWB files: Poisson units that follow a position in a plane, recorded at 100 Hz, and
trials of 20 conditions. Along each axis one size grows and the others keep those of ``BASE``. Every point
runs in a fresh process on one core, with empty caches, and reads its file in quarantine as ``ngb score``
does. Seconds are those of the processor (process and quarantine), the least of the repeats, and nothing is
subtracted; wall time stands beside them. The exponent is the slope of log seconds on log size by least
squares over the largest three sizes. Memory is the peak resident set of the process, and of the quarantine.

    python benchmarks/scaling.py [--axes units trials] [--only 300 1000] [--repeats 3] > POINTS.json
    python benchmarks/scaling.py --from POINTS.json [MORE.json …] --table TABLE.md --figure FIGURE.svg
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

HOUR, RATE_HZ, SAMPLES_HZ, N_CONDITIONS = 3600.0, 8.0, 100, 20
UPPER = 3  # sizes, the largest ones, over which an exponent is fitted
GIB = 1 << 30


@dataclass(frozen=True)
class Point:
    """Sizes of one measurement; trials of ``window_s`` seconds are spread evenly over the session."""

    units: int = 100
    trials: int = 200
    hours: float = 1 / 6
    window_s: float = 3.0
    layers: int = 0  # 0: linear kinematics, which have one
    networks: int = 1


BASE = Point()
LONG = Point(trials=2880, hours=4.0, window_s=5.0)  # windows without gaps
AXES = {
    "units": [replace(BASE, units=n) for n in (10, 30, 100, 300, 1000, 3000)],
    "trials": [replace(BASE, trials=n, hours=1.0, window_s=1.0) for n in (200, 400, 800, 1600, 3200)],
    "layers": [replace(BASE, layers=n) for n in (1, 2, 4, 8, 16)],
    "networks": [replace(BASE, layers=1, networks=n) for n in (5, 10, 20)],
    "hours": [replace(LONG, trials=round(720 * h), hours=h) for h in (0.25, 0.5, 1.0, 2.0, 4.0)],
    "largest": [replace(LONG, units=1000)],
}


# --- sessions -------------------------------------------------------------------------------------


def write(path: Path, point: Point) -> None:
    """Write the session of a point."""
    from neurobench_grasp.contract import Session, Signal, TrialTable, Units, Window
    from neurobench_grasp.data import write_session

    rng, seconds = np.random.default_rng(0), point.hours * HOUR
    times = np.arange(0, seconds, 1 / SAMPLES_HZ)
    kernel = np.ones(20) / 20**0.5
    position = np.stack([np.convolve(rng.standard_normal(len(times)), kernel, "same") for _ in range(2)], 1)
    trains = [poisson_train(rng, seconds, times, position) for _ in range(point.units)]
    start = np.arange(point.trials) * seconds / point.trials
    session = Session(
        id="scaling",
        subject="none",
        layout="",
        sha256="",
        synthetic=True,
        units=Units(
            ids=tuple(map(str, range(point.units))),
            areas=tuple("M1" if u % 2 else "S1" for u in range(point.units)),
            spike_times=np.concatenate(trains),
            spike_offsets=np.cumsum([0, *map(len, trains)]),
        ),
        trials=TrialTable(
            ids=tuple(map(str, range(point.trials))),
            start=start,
            stop=start + point.window_s,
            condition=tuple(f"object_{i % N_CONDITIONS}" for i in range(point.trials)),
            events={"move_onset": start, "contact": start + point.window_s},
        ),
        signals={"position": Signal("position", "position", ("x", "y"), "m", times, position)},
        window=Window("move_onset", "contact"),
    )
    about = {"species": "Macaca mulatta", "sex": "U", "age": "P8Y", "session_start_time": "2024-01-01"}
    write_session(path, session, description="random numbers", **about)


def poisson_train(rng, seconds, times, position):
    """Spike times with a rate that follows the position, by thinning."""
    drive = position @ rng.standard_normal(2)
    candidates = np.sort(rng.uniform(0, seconds, rng.poisson(2 * RATE_HZ * seconds)))
    sample = np.minimum((candidates * SAMPLES_HZ).astype(int), len(times) - 1)
    return candidates[rng.random(len(candidates)) < 1 / (1 + np.exp(-drive[sample]))]


class Layers:
    """A model with layers of 64 random features of the position."""

    def __init__(self, n_layers, seed):
        self.n_layers, self.seed = n_layers, seed

    def fit(self, train, *, seed):
        """Do nothing."""

    def activations(self, trials):
        """Return the layers."""
        from neurobench_grasp.contract import Activations, Ragged

        x, layers = trials.signals["position"].values, {}
        for k in range(self.n_layers):
            weights = np.random.default_rng([self.seed, k]).standard_normal((x.shape[1], 64))
            layers[f"layer_{k:02d}"] = Ragged(np.tanh(x @ weights), trials.offsets)
        return Activations(layers)

    def state(self):
        """Return no arrays."""
        return {}

    def restore(self, state):
        """Do nothing."""


# --- one point, in a fresh process ----------------------------------------------------------------


def measure(path: Path, point: Point, out: Path) -> dict[str, float]:
    """Read and encode a session on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from neurobench_grasp.contract import ModelSpec
    from neurobench_grasp.plugins import CORE, Provided, load_registry
    from neurobench_grasp.run.evaluate import score
    from neurobench_grasp.run.plan import plan
    from neurobench_grasp.run.workspace import Workspace

    registry, model = load_registry(), "linear_kinematic"
    if point.layers:
        model = "layers"
        spec = ModelSpec(model, build=lambda seed: Layers(point.layers, seed), summary="random layers")
        registry = registry.with_isolated([Provided(spec, CORE, "0")])
    workspace = Workspace(registry, out)
    begun, busy = time.perf_counter(), cpu_seconds()
    workspace.find(model, str(path.resolve()))
    read, read_busy = time.perf_counter(), cpu_seconds()
    of_quarantine = peak_gib(
        resource.RUSAGE_CHILDREN
    )  # now: later subprocesses count as large as their parent
    for job in plan(workspace, model, path, ["encoding"], range(point.networks)):
        score(job, workspace)
    return {
        "read_s": read_busy - busy,
        "encode_s": cpu_seconds() - read_busy,
        "read_wall_s": read - begun,
        "encode_wall_s": time.perf_counter() - read,
        "peak_gib": peak_gib(resource.RUSAGE_SELF),
        "quarantine_peak_gib": of_quarantine,
    }


def peak_gib(who: int) -> float:
    """Largest resident set so far."""
    return resource.getrusage(who).ru_maxrss * 1024 / GIB


def cpu_seconds() -> float:
    """Processor time of this process and of its subprocesses that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def in_process(*arguments: str, cache: Path) -> str:
    """Run this script on one thread; return what it prints."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"NGB_CACHE": str(cache)}
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout


def measured(point: Point, repeats: int, folder: Path) -> dict[str, float]:
    """Return sizes and costs of a point, each the least of the repeats."""
    path, given = folder / "scaling.nwb", json.dumps(asdict(point))
    in_process("--write", given, str(path), cache=folder)
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            runs.append(json.loads(in_process("--point", given, str(path), cache=Path(fresh))))
    print(point, runs, file=sys.stderr)
    return {
        **asdict(point),
        "file_gib": path.stat().st_size / GIB,
        **{key: min(run[key] for run in runs) for key in runs[0]},
    }


# --- report ---------------------------------------------------------------------------------------


def exponent(axis: str, points: list[dict[str, float]], cost: str) -> float:
    """Slope of log cost on log size over the largest sizes."""
    last = points[-UPPER:]
    return float(np.polyfit(np.log([p[axis] for p in last]), np.log([p[cost] for p in last]), 1)[0])


def report(found: dict[str, list[dict[str, float]]]) -> dict:
    """Add exponents of time, and of the memory of an hour."""
    exponents = {
        axis: {cost: round(exponent(axis, points, cost), 3) for cost in ("read_s", "encode_s")}
        for axis, points in found.items()
        if len(points) >= UPPER
    }
    rounded = {a: [{k: float(f"{v:.4g}") for k, v in p.items()} for p in ps] for a, ps in found.items()}
    return {"exponents": exponents, "points": rounded}


def points_of(path: Path):
    """Return the axes of an earlier result, and their points."""
    return json.loads(path.read_text())["points"].items()


def table(result: dict) -> str:
    """Return the points as a Markdown table."""
    rows = [
        "| axis | size | read, s | encode, s | peak, GiB | quarantine, GiB |",
        "|---|---|---|---|---|---|",
    ]
    for axis, points in result["points"].items():
        for p in points:
            size = "1,000 units × 4 h" if axis == "largest" else f"{p[axis]:g}"
            costs = (f"{p[k]:.3g}" for k in ("read_s", "encode_s", "peak_gib", "quarantine_peak_gib"))
            rows.append(f"| {axis} | {size} | {' | '.join(costs)} |")
    return "\n".join(rows) + "\n"


def draw(result: dict, path: Path) -> None:
    """Draw processor time and memory along each axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = [axis for axis in result["points"] if axis in result["exponents"]]
    figure, panels = plt.subplots(2, len(axes), figsize=(2.4 * len(axes), 4.4), sharey="row", squeeze=False)
    for (time_panel, memory_panel), axis in zip(panels.T, axes, strict=True):
        points = result["points"][axis]
        sizes = [p[axis] for p in points]
        slope = result["exponents"][axis]["encode_s"]
        time_panel.loglog(sizes, [p["encode_s"] for p in points], "o-", label="encoding")
        time_panel.loglog(sizes, [p["read_s"] for p in points], "s-", label="reading")
        time_panel.set_title(f"{axis}: exponent {slope:.2f}", fontsize=9)
        memory_panel.loglog(sizes, [p["peak_gib"] for p in points], "o-", label="process")
        memory_panel.loglog(sizes, [p["quarantine_peak_gib"] for p in points], "s-", label="quarantine")
        memory_panel.set_xlabel(axis)
        for panel in (time_panel, memory_panel):
            panel.minorticks_off()
            panel.set_xticks(sizes, [f"{size:,g}" for size in sizes], fontsize=8)
    panels[0, 0].set_ylabel("processor time (s)")
    panels[1, 0].set_ylabel("peak memory (GiB)")
    for row in panels:
        row[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axes", nargs="*", default=list(AXES), choices=list(AXES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=float, nargs="*", help="these sizes of the axes alone")
    parser.add_argument("--table", type=Path, help="Markdown file to write")
    parser.add_argument("--figure", type=Path, help="SVG or PNG file to write")
    parser.add_argument("--from", dest="known", type=Path, nargs="*", help="what earlier calls printed")
    for step in ("--write", "--point"):
        parser.add_argument(step, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        write(Path(given.write[1]), Point(**json.loads(given.write[0])))
        return
    if given.point:
        point, path = Point(**json.loads(given.point[0])), Path(given.point[1])
        print(json.dumps(measure(path, point, Path(os.environ["NGB_CACHE"]) / "out")))
        return
    found: dict[str, list[dict[str, float]]] = {}
    if given.known:
        for axis, points in ((a, p) for path in given.known for a, p in points_of(path)):
            found[axis] = sorted([*found.get(axis, []), *points], key=lambda p: p.get(axis, 0))
        result = report(found)
    else:
        for axis in given.axes:
            points = [p for p in AXES[axis] if given.only is None or getattr(p, axis, 0) in given.only]
            with tempfile.TemporaryDirectory() as folder:
                found[axis] = [measured(p, given.repeats, Path(folder)) for p in points]
        result = report(found)
        print(json.dumps(result, indent=1))
    if given.table:
        given.table.write_text(table(result))
    if given.figure:
        draw(result, given.figure)


if __name__ == "__main__":
    main()
