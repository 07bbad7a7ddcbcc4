"""Time of ``load_session`` (validation included) over raw h5py reading the same arrays.

Prints JSON. The session has 200 units, 10 million spikes, 2000 trials and 24 joint angles at 100 Hz over
one hour (gzip, float32). Two files contain it: as written by ``write_session`` (spikes compressed, with
checksums), and with plain spikes, the harder case, as raw reading then has nothing to decompress.
Both ways of reading alternate, after one unmeasured round; the ratio is the median over the pairs.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from neurobench_grasp.data import load_session, session_from_arrays, write_session

N_UNITS, N_SPIKES, N_TRIALS, N_JOINTS, HOUR, RATE = 200, 10_000_000, 2000, 24, 3600.0, 100
PAIRS = 9


def make(path: Path) -> None:
    rng = np.random.default_rng(0)
    per_unit = N_SPIKES // N_UNITS
    times = np.sort(rng.integers(0, int(HOUR * 30_000), (N_UNITS, per_unit)), axis=1) / 30_000
    start = np.arange(N_TRIALS) * HOUR / N_TRIALS
    n_samples = int(HOUR * RATE)
    angles = np.cumsum(rng.normal(0, 0.01, (N_JOINTS, n_samples)), axis=1).astype(np.float32)
    session = session_from_arrays(
        id="reading",
        subject="none",
        spike_times={str(u): times[u] for u in range(N_UNITS)},
        areas={str(u): "M1" if u % 2 else "S1" for u in range(N_UNITS)},
        joint_angles={f"joint_{j}": np.sin(angles[j]).astype(np.float32) for j in range(N_JOINTS)},
        angle_times=np.arange(n_samples) / RATE,
        trials={
            "start": start,
            "stop": start + 1.7,
            "condition": [f"object_{i % 35}" for i in range(N_TRIALS)],
            "move_onset": start + 0.5,
            "contact": start + 1.2,
        },
    )
    about = {"species": "Macaca mulatta", "sex": "U", "age": "P8Y", "session_start_time": "2024-01-01"}
    write_session(path, session, description="random numbers", **about)


def store_spikes_plainly(path: Path, plain: Path) -> None:
    with h5py.File(path) as old, h5py.File(plain, "w", libver="v110") as new:
        new.attrs["nwb_version"] = old.attrs["nwb_version"]
        for name in old:
            if name != "units":
                old.copy(name, new)
        units = new.create_group("units")
        for name in old["units"]:
            if name == "spike_times":
                units[name] = old["units"][name][:]
            else:
                old["units"].copy(name, units)


def read_raw(path: Path) -> list[np.ndarray]:
    with h5py.File(path) as file:
        units, trials = file["units"], file["intervals/trials"]
        arrays = [units[name][:] for name in ("spike_times", "spike_times_index", "id", "electrodes")]
        arrays += [trials[name][:] for name in trials]
        arrays.append(file["processing/behavior/joint_angles/data"][:])
    return arrays


def seconds(function, path: Path) -> float:
    begin = time.perf_counter()
    function(path)
    return time.perf_counter() - begin


def compare(path: Path) -> dict[str, float]:
    pairs = [(seconds(load_session, path), seconds(read_raw, path)) for _ in range(PAIRS + 1)][1:]
    ours, raw = zip(*pairs, strict=True)
    return {
        "load_session_s": round(statistics.median(ours), 4),
        "raw_h5py_s": round(statistics.median(raw), 4),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3),
        "file_mb": round(path.stat().st_size / 1e6, 1),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reading.nwb"
        make(path)
        written = compare(path)
        store_spikes_plainly(path, Path(folder) / "plain.nwb")
        plain = compare(Path(folder) / "plain.nwb")
    json.dump({"as_written": written, "plain_spikes": plain, "pairs": PAIRS}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
