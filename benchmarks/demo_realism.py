"""Compare the built-in dataset quantitatively with recordings: hand movements and neurons.

    python benchmarks/demo_realism.py DATA_FOLDER

DATA_FOLDER/real has human reaching to grasp with a glove (``hand_reach_to_grasp_sub*.nwb``; West and Hogan,
doi:10.5281/zenodo.14532969), macaque S1 during grasping (``s1_grasp35_*.nwb``) and macaque M1 during reaching
(``m1_center_out.nwb``); DATA_FOLDER/myodm contains MyoDM clips of hands and objects. Prints JSON.

All movements are processed alike (50 Hz, 100 ms boxcar, one movement at a time), and so are all neurons.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurobench_grasp.bodies.myohand import JOINTS, KEYPOINTS, build_myohand
from neurobench_grasp.contract import Session
from neurobench_grasp.data import load_session
from neurobench_grasp.demo import demo_files
from neurobench_grasp.demo.movements import make_movements
from neurobench_grasp.demo.neurons import AREAS, make_population

DT = 0.02
FANO_WINDOW = 0.2  # s
LAGS = np.arange(-10, 11)  # steps of 20 ms

# Signs of the glove's angles, inferred from hands that open and close; those of the thumb are approximate.
GLOVE = {
    f"{finger}_{glove}": (f"{joint}{i}_flexion", -1.0, 0.0)
    for i, finger in zip((2, 3, 4, 5), ("index", "middle", "ring", "little"), strict=True)
    for glove, joint in (("mcp", "mcp"), ("pip", "pm"), ("dip", "md"))
} | {
    "thumb_mcp": ("mp_flexion", 1.0, 0.0),
    "thumb_ip": ("ip_flexion", 1.0, -0.3),
    "thumb_rotation": ("cmc_flexion", 0.4, 0.5),
    "thumb_abduction": ("cmc_abduction", 1.0, 0.2),
}


@dataclass
class Movement:
    """One movement, from its onset to contact."""

    hand: str
    condition: str
    angles: np.ndarray  # (n_steps, n_joints) as recorded, rad
    aperture: np.ndarray  # (n_steps,) thumb tip to index tip, mm


def glove_movements(folder: Path) -> Iterator[Movement]:
    """From where the speed of all joints together passes 20 % of its peak until it stays below for 0.2 s."""
    for file in sorted((folder / "real").glob("hand_reach_to_grasp_sub*.nwb")):
        session = load_session(file)
        signal, trials = session.signals["joint_angles"], session.trials
        for start, stop, name in zip(trials.start, trials.stop, trials.condition, strict=True):
            inside = (signal.times >= start) & (signal.times < stop)
            angles = resample(signal.times[inside], signal.values[inside], start, stop)
            speed = np.linalg.norm(np.gradient(angles, DT, axis=0), axis=1)
            moving = speed > 0.2 * speed.max()
            first = int(np.argmax(moving))
            quiet = np.convolve(moving[first:], np.ones(10), "valid") == 0
            last = first + min(int(np.argmax(quiet)) if quiet.any() else len(quiet), 100)
            if last - first >= 15:
                part = angles[first:last]
                hand = build_myohand().posture(part, signal.columns, GLOVE).joint_angles
                yield Movement(file.stem, name, part, aperture(hand))


def myodm_movements(folder: Path) -> Iterator[Movement]:
    """From the clip's start until the object has moved 5 mm; clips that start moving are out."""
    for file in sorted((folder / "myodm").glob("*.npz")):
        clip = np.load(file)
        place = clip["object"][:, :3]
        last = int(np.argmax(np.linalg.norm(place - place[0], axis=1) > 0.005))
        if last >= 8:
            # by position: the clips have the same order of joints, but swap two names
            recorded = build_myohand().posture(clip["robot"][:, 6:].astype(float), JOINTS)
            angles = smooth(recorded.joint_angles)[:last]
            yield Movement("all", file.stem.split("_")[1], angles, aperture(angles))


def demo_movements() -> Iterator[Movement]:
    for file in demo_files():
        session = load_session(file)
        signal, trials = session.signals["joint_angles"], session.trials
        spans = zip(trials.condition, trials.events["move_onset"], trials.events["contact"], strict=True)
        for condition, onset, contact in spans:
            angles = resample(signal.times, signal.values, onset - 5 * DT, contact + 5 * DT)[5:-5]
            yield Movement(session.id, condition, angles, aperture(angles))


def resample(times: np.ndarray, values: np.ndarray, start: float, stop: float) -> np.ndarray:
    grid = np.arange(start, stop, DT)
    return smooth(np.stack([np.interp(grid, times, column) for column in values.T], axis=1))


def smooth(values: np.ndarray) -> np.ndarray:
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, np.full(5, 0.2), "valid")


def aperture(joint_angles: np.ndarray) -> np.ndarray:
    points = build_myohand().keypoint_positions(joint_angles).reshape(len(joint_angles), -1, 3)
    thumb, index = (points[:, KEYPOINTS.index(name)] for name in ("thumb_tip", "index_tip"))
    return 1000 * np.linalg.norm(thumb - index, axis=1)


def describe_movements(movements: list[Movement]) -> dict[str, object]:
    speeds = np.array([np.abs(np.gradient(m.angles, DT, axis=0)).max(axis=0) for m in movements])
    largest = np.array([m.aperture.max() for m in movements])
    final = np.array([m.aperture[-1] for m in movements])
    members = [[m.condition == c for m in movements] for c in sorted({m.condition for m in movements})]
    by_object = np.array([[final[rows].mean(), largest[rows].mean()] for rows in members])
    return {
        "movements": len(movements),
        "objects": len(members),
        "duration_s": spread([len(m.angles) * DT for m in movements]),
        "variance_explained_pc1_to_6": variance_explained(movements),
        "peak_speed_fastest_joint_rad_s": spread(speeds.max(axis=1)),
        "peak_speed_median_joint_rad_s": spread(np.median(speeds, axis=1)),
        "time_of_max_aperture": spread([np.argmax(m.aperture) / len(m.aperture) for m in movements]),
        "max_aperture_mm": spread(largest),
        "max_over_final_aperture": spread(largest / final),
        "max_aperture_per_final_aperture": round(float(np.polyfit(*by_object.T, 1)[0]), 2),
    }


def variance_explained(movements: list[Movement]) -> list[float]:
    """Cumulative, of the postures of one hand, averaged over hands."""
    curves = []
    for hand in sorted({m.hand for m in movements}):
        angles = np.concatenate([m.angles for m in movements if m.hand == hand])
        variances = np.linalg.svd(angles - angles.mean(axis=0), compute_uv=False) ** 2
        curves.append(np.cumsum(variances)[:6] / variances.sum())
    return [round(float(v), 2) for v in np.mean(curves, axis=0)]


def spread(values: object) -> list[float]:
    """10th, 50th and 90th percentile."""
    return [round(float(v), 2) for v in np.percentile(values, [10, 50, 90])]


def describe_neurons(session: Session, area: str, event: str, from_event: float) -> dict[str, object]:
    """Rates over the whole session, and Fano factors in a window that starts some time from an event."""
    start = session.trials.events[event] + from_event
    conditions = np.array(session.trials.condition)
    rates, fanos = [], []
    for unit in np.flatnonzero(np.array(session.units.areas) == area):
        counts, seen, rate = count(session, unit, start)
        rates.append(rate)
        groups = [counts[seen & (conditions == c)] for c in np.unique(conditions)]
        groups = [group for group in groups if len(group) >= 3]
        mean = np.sum([group.mean() for group in groups])
        if groups and mean / len(groups) >= 0.5:
            fanos.append(np.sum([group.var(ddof=1) for group in groups]) / mean)
    return {
        "units": len(rates),
        "rate_per_s": spread(rates),
        "fano": spread(fanos),
        "units_for_fano": len(fanos),
    }


def count(session: Session, unit: int, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Spikes of a unit in each trial's window, which trials it was observed in, and its mean rate."""
    units, stop = session.units, start + FANO_WINDOW
    seen = np.isfinite(start)
    if units.counts is not None:
        first = np.searchsorted(units.count_times, start)
        steps = round(FANO_WINDOW / units.bin_width)
        counts = np.array([units.counts[a : a + steps, unit].sum() for a in first])
        return counts, seen, units.counts[:, unit].mean() / units.bin_width
    spikes = units.spike_times[units.spike_offsets[unit] : units.spike_offsets[unit + 1]]
    counts = np.searchsorted(spikes, stop) - np.searchsorted(spikes, start)
    if units.observed is None:
        return counts, seen, len(spikes) / (session.trials.stop[-1] - session.trials.start[0])
    spans = units.observed[unit]
    inside = (spans[:, :1] <= start) & (stop <= spans[:, 1:])
    return counts, seen & inside.any(axis=0), len(spikes) / np.diff(spans, axis=1).sum()


def describe_drives(session: Session) -> dict[str, object]:
    """Return the EV of a linear model of muscles or goal at its best lag, and planted and estimated leads.

    Explained variance of rates in 20 ms bins under a 3-bin boxcar, on every fifth object, from a ridge
    regression on the other objects.
    """
    movements = make_movements(session.subject, session.id)
    population = make_population(session.id, movements)
    muscles = build_myohand().muscle_kinematics(movements.joint_angles, DT)
    features = {"muscle": np.concatenate([muscles.length, muscles.velocity], axis=1), "goal": movements.goal}
    edges = np.arange(len(movements.times) + 1) * DT
    spikes = np.split(session.units.spike_times, session.units.spike_offsets[1:-1])
    rates = np.stack([np.histogram(s, edges)[0] / DT for s in spikes], axis=1)
    rates = (np.roll(rates, 1, axis=0) + rates + np.roll(rates, -1, axis=0)) / 3
    held_out = sorted(set(session.trials.condition))[::5]
    test = [condition in held_out for condition in session.trials.condition]
    events = session.trials.events
    explained = {
        name: np.array([ridge_ev(values, rates, lag, events, np.array(test)) for lag in LAGS])
        for name, values in features.items()
    }
    result: dict[str, object] = {}
    for area in AREAS:
        units = np.array(population.areas) == area
        best = {name: ev[:, units].mean(axis=1).max() for name, ev in explained.items()}
        found = 1000 * DT * LAGS[explained["muscle"][:, units].argmax(axis=0)]
        result[area] = {
            "ev_of_muscles": round(float(best["muscle"]), 2),
            "ev_of_goal": round(float(best["goal"]), 2),
            "lead_planted_ms": spread(1000 * population.leads[units]),
            "lead_found_ms": spread(found),
        }
    return result


def ridge_ev(
    features: np.ndarray, rates: np.ndarray, lag: int, events: dict[str, np.ndarray], test: np.ndarray
) -> np.ndarray:
    """EV of each unit on the test trials' windows, from features that many steps later."""
    steps = [
        np.arange(np.ceil(a / DT), b // DT, dtype=int)
        for a, b in zip(events["move_onset"], events["contact"], strict=True)
    ]
    fit, held = (
        np.concatenate([s for s, t in zip(steps, test, strict=True) if t == part]) for part in (False, True)
    )
    mean, scale = features[fit + lag].mean(axis=0), features[fit + lag].std(axis=0)
    x, held_x = ((features[rows + lag] - mean) / scale for rows in (fit, held))
    y = rates[fit] - rates[fit].mean(axis=0)
    weights = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1]), x.T @ y)
    return 1 - (rates[held] - held_x @ weights).var(axis=0) / rates[held].var(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data_folder", type=Path)
    folder = parser.parse_args().data_folder
    sets = {"glove": glove_movements(folder), "myodm": myodm_movements(folder), "demo": demo_movements()}
    movements = {name: describe_movements(list(found)) for name, found in sets.items()}
    demo = load_session(demo_files()[0])
    neurons = {
        "m1_center_out M1": describe_neurons(
            load_session(folder / "real/m1_center_out.nwb"), "M1", "move_onset", 0.1
        ),
        **{
            f"{f.stem} S1": describe_neurons(load_session(f), "S1", "event_6", -0.3)
            for f in sorted((folder / "real").glob("s1_grasp35*.nwb"))
        },
        **{f"{demo.id} {area}": describe_neurons(demo, area, "contact", -0.3) for area in AREAS},
    }
    print(json.dumps({"movements": movements, "neurons": neurons, "drives": describe_drives(demo)}, indent=1))


if __name__ == "__main__":
    main()
