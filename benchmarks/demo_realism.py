"""Compare the hand movements of the built-in dataset with human recordings, in numbers.

    python benchmarks/demo_realism.py DATA_FOLDER

DATA_FOLDER holds ``real/hand_reach_to_grasp_sub*.nwb`` (glove recordings of reaching to grasp; West and
Hogan, doi:10.5281/zenodo.14532969) and ``myodm/MyoHand_*.npz`` (MyoDM clips of grasped objects). Prints JSON.
All three sets go through the same path: 50 Hz, 100 ms boxcar, one movement at a time.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobench_grasp.body import JOINTS, KEYPOINTS, keypoints, posture

DT = 0.02
SMOOTH = 5  # bins

# Signs of the glove's angles, read off from its opening and closing hands; the thumb's are approximate.
GLOVE = {
    f"{finger}_{joint}": (name.format(i), sign, 0.0)
    for i, finger in zip((2, 3, 4, 5), ("index", "middle", "ring", "little"), strict=True)
    for joint, name, sign in (("mcp", "mcp{}_flexion", -1.0), ("pip", "pm{}_flexion", -1.0), ("dip", "md{}_flexion", -1.0))
} | {
    "thumb_mcp": ("mp_flexion", 1.0, 0.0),
    "thumb_ip": ("ip_flexion", 1.0, -0.3),
    "thumb_rotation": ("cmc_flexion", 0.4, 0.5),
    "thumb_abduction": ("cmc_abduction", 1.0, 0.2),
}  # fmt: skip


@dataclass
class Movement:
    """One movement from onset to contact."""

    group: str  # whose hand
    condition: str
    angles: np.ndarray  # (n_steps, n_joints) as recorded, rad
    aperture: np.ndarray  # (n_steps,) thumb tip to index tip, mm


def smooth(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((SMOOTH // 2, SMOOTH // 2), (0, 0)), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, np.full(SMOOTH, 1 / SMOOTH), "valid")


def aperture(joint_angles: np.ndarray) -> np.ndarray:
    points = keypoints(joint_angles).reshape(len(joint_angles), -1, 3)
    thumb, index = (points[:, KEYPOINTS.index(name)] for name in ("thumb_tip", "index_tip"))
    return 1000 * np.linalg.norm(thumb - index, axis=1)


def glove_movements(folder: Path) -> Iterator[Movement]:
    """Onset and end: where the speed over all joints first passes 20 % of its peak, and 0.2 s stays below."""
    import h5py

    for file in sorted((folder / "real").glob("hand_reach_to_grasp_sub*.nwb")):
        with h5py.File(file) as nwb:
            series = nwb["processing/behavior/joint_angles"]
            times, values = series["timestamps"][:], series["data"][:].astype(float)
            columns = nwb["processing/behavior/joint_angles_columns/joint"].asstr()[:].tolist()
            trials = nwb["intervals/trials"]
            rows = zip(trials["start_time"][:], trials["stop_time"][:], trials["object_name"].asstr()[:], strict=True)
            rows = list(rows)
        for start, stop, name in rows:
            grid = np.arange(start, stop, DT)
            inside = (times >= start) & (times < stop)
            angles = smooth(np.stack([np.interp(grid, times[inside], v[inside]) for v in values.T], axis=1))
            speed = np.linalg.norm(np.gradient(angles, DT, axis=0), axis=1)
            moving = speed > 0.2 * speed.max()
            first = int(np.argmax(moving))
            still = np.convolve(moving[first:], np.ones(10), "full")[9:] == 0
            last = min(first + int(np.argmax(still)) if still.any() else len(speed), first + 100)
            if last - first >= 15:
                part = angles[first:last]
                yield Movement(file.stem, name, part, aperture(posture(part, columns, GLOVE).joint_angles))


def myodm_movements(folder: Path) -> Iterator[Movement]:
    """From the clip's start to the moment the object has moved 5 mm; clips that start later are left out."""
    for file in sorted((folder / "myodm").glob("*.npz")):
        clip = np.load(file)
        moved = np.linalg.norm(clip["object"][:, :3] - clip["object"][0, :3], axis=1) > 0.005
        last = int(np.argmax(moved))
        if last < 8:
            continue
        angles = smooth(posture(clip["robot"][:, 6:].astype(float), JOINTS).joint_angles)[:last]
        yield Movement("all", file.stem.split("_")[1], angles, aperture(angles))


def demo_movements() -> Iterator[Movement]:
    from neurobench_grasp.data import read_session
    from neurobench_grasp.demo import demo_files

    for file in demo_files():
        session = read_session(file)
        signal, table = session.signals["joint_angles"], session.trials
        for i, condition in enumerate(table.condition):
            onset, contact = table.events["move_onset"][i], table.events["contact"][i]
            grid = np.arange(onset - 0.1, contact + 0.1, DT)
            angles = smooth(np.stack([np.interp(grid, signal.times, v) for v in signal.values.T], axis=1))[5:-5]
            yield Movement(session.id, condition, angles, aperture(angles))


def summary(movements: list[Movement]) -> dict[str, object]:
    speeds = np.array([np.abs(np.gradient(m.angles, DT, axis=0)).max(axis=0) for m in movements])
    largest = np.array([m.aperture.max() for m in movements])
    final = np.array([m.aperture[-1] for m in movements])
    conditions = sorted({m.condition for m in movements})
    by_condition = [[m.condition == c for m in movements] for c in conditions]
    scale = np.polyfit(*(np.array([x[rows].mean() for rows in by_condition]) for x in (final, largest)), 1)
    return {
        "movements": len(movements),
        "conditions": len(conditions),
        "duration_s": spread([len(m.angles) * DT for m in movements]),
        "variance_explained_pc1_to_6": variance_explained(movements),
        "peak_speed_fastest_joint_rad_s": spread(speeds.max(axis=1)),
        "peak_speed_median_joint_rad_s": spread(np.median(speeds, axis=1)),
        "time_of_max_aperture": spread([np.argmax(m.aperture) / len(m.aperture) for m in movements]),
        "max_aperture_mm": spread(largest),
        "max_over_final_aperture": spread(largest / final),
        "max_aperture_per_final_aperture": round(float(scale[0]), 2),
    }


def spread(values: object) -> list[float]:
    """10th, 50th and 90th percentile."""
    return [round(float(v), 2) for v in np.percentile(values, [10, 50, 90])]


def variance_explained(movements: list[Movement]) -> list[float]:
    """Cumulative, of the postures of one hand, averaged over hands."""
    curves = []
    for group in sorted({m.group for m in movements}):
        angles = np.concatenate([m.angles for m in movements if m.group == group])
        variances = np.linalg.svd(angles - angles.mean(axis=0), compute_uv=False) ** 2
        curves.append(np.cumsum(variances)[:6] / variances.sum())
    return [round(float(v), 3) for v in np.mean(curves, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_folder", type=Path)
    folder = parser.parse_args().data_folder
    sets = {"glove": glove_movements(folder), "myodm": myodm_movements(folder), "demo": demo_movements()}
    print(json.dumps({name: summary(list(movements)) for name, movements in sets.items()}, indent=1))


if __name__ == "__main__":
    main()
