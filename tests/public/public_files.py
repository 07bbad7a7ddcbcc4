"""One small file for each public dandiset: its groups, names, types and oddities, from its published listing.

Each has a few units that follow the behaviour, tens of trials, and is written without any of our layouts.
"""

import numpy as np
import raw_nwb as raw
from raw_nwb import Ragged

MUSCLES = ("APL", "BCPs", "DLTa", "DLTp", "ECU", "EDCr", "EDCu", "FCR", "FCU", "FDPr", "FDPu", "FDSi", "PECmaj",
           "TCPlat", "THENAR", "TRI")  # fmt: skip
OBJECTS = ("Coaxial", "Perpendicular", "Sphere", "Button")
NAN = np.nan


def bumps(times, onset, size, width=0.12):
    """A course with one bump after each onset, (n_times,): how a reach and its muscles look."""
    course = np.zeros(len(times))
    for o, s in zip(onset, size, strict=True):
        near = slice(*np.searchsorted(times, [o - 1.0, o + 1.6]))
        course[near] += s * np.exp(-0.5 * ((times[near] - o - 0.2) / width) ** 2)
    return course


def drives(rng, times, drive, n_units, mean=30.0, digits=4):
    """Spikes of units whose rates follow mixtures of the columns of ``drive``, (n_times, n_columns)."""
    drive = (drive - drive.mean(0)) / (drive.std(0) + 1e-9)
    mixture = rng.normal(size=(drive.shape[1], n_units)) / np.sqrt(drive.shape[1])
    rates = mean * np.exp(0.8 * np.clip(drive @ mixture, -2, 2))
    step = np.diff(times, append=2 * times[-1] - times[-2])
    step = np.minimum(step, 2 * np.median(step))
    counts = rng.poisson(rates * step[:, None])
    spikes = []
    for unit in range(n_units):
        when = np.repeat(times, counts[:, unit])
        width = np.repeat(step, counts[:, unit])
        spikes.append(np.sort((when + rng.random(len(when)) * width).round(digits)))
    return spikes


# -- FALCON M1 and M1-B -------------------------------------------------------------------------------------


def reach_to_grasp(seed=0, n_each=3):
    """Trials, EMG and spikes of one day: trials begin 1 s before go and end 1 s after reward, so they overlap."""
    rng = np.random.default_rng(seed)
    conditions = [(o, 45 * place) for o in range(4) for place in range(8)] * n_each
    order = rng.permutation(len(conditions))
    conditions = [conditions[i] for i in order]
    n = len(conditions)
    pause = np.where(rng.random(n) < 0.15, 2.8, 3.9)  # the next trial begins before 3.5 s in one of seven
    go = 2.0 + np.cumsum(pause) + rng.uniform(0, 0.1, n)
    events = {"gocue_time": go, "move_onset_time": go + 0.3, "contact_time": go + rng.uniform(0.56, 0.7, n)}
    events["reward_time"] = events["contact_time"] + 0.9
    events = {name: np.round(times / 0.02) * 0.02 for name, times in events.items()}
    start, stop = events["gocue_time"] - 1.0, events["reward_time"] + 1.0
    clock = np.round(np.arange(int((stop[-1] + 1) * 50)) / 50, 4)
    tuning = rng.normal(size=(4, 8, len(MUSCLES)))
    sizes = np.stack([tuning[o, place // 45] for o, place in conditions])
    emg = np.stack(
        [bumps(clock, events["move_onset_time"], np.exp(0.5 * sizes[:, m])) for m in range(len(MUSCLES))],
        axis=1,
    )
    emg += 0.02 * rng.random(emg.shape)
    spikes = drives(rng, clock, emg[:, :6], 7)
    return {
        "rows": {
            "start_time": start, "stop_time": stop, **events,
            "result": np.array(["R"] * n, object),
            "number": np.arange(n) + 3,
            "tgt_loc": np.array([float(place) for _, place in conditions]),
            "tgt_obj": np.array([OBJECTS[o] for o, _ in conditions], object),
            "obj_id": np.array([o + 1 for o, _ in conditions]),
            "condition_id": np.array([8 * o + place // 45 for o, place in conditions]),
        },
        "clock": clock, "emg": emg, "spikes": [*spikes, np.empty(0)],
    }  # fmt: skip


def falcon_m1(path, day=None, *, split="held-in-calib", monkey="L", groups="HIJK", first=0, stop=None):
    """000941 (and 001209 with other groups): one file per split; a silent electrode; multi-unit ids 0 …."""
    day = reach_to_grasp() if day is None else day
    rows = {name: values[first:stop] for name, values in day["rows"].items()}
    end = float(rows["stop_time"][-1])
    keep = day["clock"] < end
    clock, emg = day["clock"][keep], day["emg"][keep]
    identifier = f"{monkey}_20120924_{split.replace('-', '_')}"
    with raw.nwb_file(
        path, identifier=identifier, subject=f"Monkey{monkey}-{split}", session_id="20120924"
    ) as file:
        raw.container(file, "acquisition/preprocessed_emg", "BehavioralTimeSeries")
        for m, name in enumerate(MUSCLES):
            raw.series(file, f"acquisition/preprocessed_emg/{name}", emg[:, m], "mV", times=clock,
                       comments=f"columns=[{name}]")  # fmt: skip
        mask = np.zeros(len(clock), bool)
        for a, z in zip(rows["start_time"], rows["stop_time"], strict=True):
            mask[np.searchsorted(clock, a) : np.searchsorted(clock, z)] = True
        raw.series(file, "acquisition/eval_mask", mask, "bool", times=clock)
        n = len(day["spikes"])
        raw.electrodes(file, ["M1"] * n, [f"{groups[i % len(groups)]}_electrode_group" for i in range(n)])
        spikes = [s[(s > 0) & (s < end)] for s in day["spikes"]]
        raw.units(file, spikes, observed=[[0.0, end]], electrode_rows=range(n))
        raw.trials(file, rows)
    return path


def falcon_m1_b(path, **how):
    """001209: the second monkey, whose electrodes are of the groups E–J, and of Z where none is known."""
    return falcon_m1(path, reach_to_grasp(8), monkey="N2", groups="EFGHIJZ", **how)


# -- two finger groups: FALCON M2, LINK -----------------------------------------------------------------


def fingers(seed, n_trials=60, seconds=1.5, gap=0.0, dt=0.02):
    """Movements of two finger groups to targets on a grid, each trial from where the last one ended."""
    rng = np.random.default_rng(seed)
    grid = np.array([(a, b) for a in (0.25, 0.5, 0.75) for b in (0.25, 0.5, 0.75)])
    target = grid[
        np.concatenate([rng.permutation(len(grid)) for _ in range(n_trials // len(grid) + 1)])[:n_trials]
    ]
    length = round(seconds / dt)
    times, positions, here = [], [], np.array([0.5, 0.5])
    for i in range(n_trials):
        t = np.arange(length) * dt
        course = 1 / (1 + np.exp(-(t - rng.uniform(0.5, 0.8)) / 0.07))
        positions.append(here + course[:, None] * (target[i] - here))
        times.append(t + i * (seconds + gap))
        here = target[i]
    return rng, target, times, positions


def falcon_m2(path):
    """000953: positions in 0–1 by finger group, times of bin starts, 2 ms missing between trials, no obs_intervals."""
    rng, target, times, positions = fingers(1, gap=0.002)
    clock, pos = np.concatenate(times), np.concatenate(positions)
    vel = np.concatenate([np.gradient(p, axis=0) for p in positions])  # per bin, not per second
    spikes = drives(rng, clock, np.hstack([pos, 5 * vel]), 7, digits=3)
    with raw.nwb_file(path, identifier="MonkeyN_2020-10-19_held-in", subject="MonkeyN-held-in-calib",
                      session_id="2020-10-19-Run1") as file:  # fmt: skip
        for name, data in (("finger_pos", pos), ("finger_vel", vel)):
            raw.container(file, f"acquisition/{name}", "BehavioralTimeSeries")
            for column, group in enumerate(("index", "mrs")):
                raw.series(file, f"acquisition/{name}/{group}", data[:, column], "AU", times=clock,
                           comments=f"columns=[{group}]")  # fmt: skip
        raw.series(file, "acquisition/eval_mask", np.ones(len(clock), bool), "bool", times=clock)
        raw.electrodes(file, ["M1"] * 8, ["M1_array"] * 8)
        raw.units(file, [*spikes, np.empty(0)], electrode_rows=range(8))
        raw.trials(file, {
            "start_time": np.array([t[0] for t in times]),
            "stop_time": np.array([t[-1] + 0.019 for t in times]),
            "tgt_loc": target,
            "trial_num": np.arange(len(times)),
        })  # fmt: skip
    return path


def link(path, *, draft="analysis", second="mrs"):
    """001201: no units but counts, series under /analysis (or, earlier, processing); trials refer to the series."""
    rng, target, times, positions = fingers(2)
    clock, pos = np.concatenate(times), np.concatenate(positions)
    vel = np.concatenate([np.gradient(p, axis=0) for p in positions])
    edges = np.append(clock, clock[-1] + 0.02)
    spikes = drives(rng, clock, np.hstack([pos, 5 * vel]), 8)
    counts = np.stack([np.histogram(s, edges)[0] for s in spikes], axis=1).astype(np.int16)
    neural, behaviour = ("analysis", "analysis")
    with raw.nwb_file(path, identifier="2020-01-27_CO_nwb", subject="Monkey N", session_id="20200127",
                      start="2020-01-27T00:00:00+00:00") as file:  # fmt: skip
        if draft == "processing":
            neural, behaviour = "processing/ecephys", "processing/behavior"
            raw.module(file, "ecephys"), raw.module(file, "behavior")
        made = [
            raw.series(file, f"{behaviour}/{name}", data[:, [column]], unit, times=clock)
            for column, group in enumerate(("index", second))
            for name, data, unit in (
                (f"{group}_position", pos, "flexion units"),
                (f"{group}_velocity", vel, "flexion units per time bin"),
            )
        ]
        power = rng.random(counts.shape).astype(np.float32) * 0.25
        made.append(raw.series(file, f"{neural}/SpikingBandPower", power, "microvolts", times=clock))
        made.append(
            raw.series(
                file, f"{neural}/ThresholdCrossings", counts, "number of threshold crossings", times=clock
            )
        )
        raw.electrodes(file, ["Hand area of primary motor cortex"] * 8, ["Utah Array"] * 8)
        n = len(times)
        group = raw.trials(file, {
            "start_time": np.array([t[0] for t in times]),
            "stop_time": np.array([t[-1] for t in times]),
            "trial_number": np.arange(n) + 7,
            "trial_count": np.arange(n) + 1,
            "run_id": np.array(["Run-002"] * n, object),
            "index_target_position": target[:, 0],
            f"{second}_target_position": target[:, 1],
            "target_style": np.array(["CO"] * n, object),
            "trial_timeout": np.full(n, 10000),
        })  # fmt: skip
        raw.series_column(group, "timeseries", made, n)
    return path


# -- FALCON H1 ---------------------------------------------------------------------------------------------


def falcon_h1(path, *, stated_rate=0.02):
    """000954: no trials table, no electrodes, no obs_intervals; epochs with tags; the rate is stated as a period."""
    rng = np.random.default_rng(3)
    phases = ("Intertrial", "Presentation", "Reach", "Grasp", "Transport", "Release")
    lengths = dict(zip(phases, (50, 20, 60, 40, 60, 40), strict=True))  # bins of 20 ms
    n_trials = 12
    state = np.concatenate([np.full(lengths[p], k) for _ in range(n_trials) for k, p in enumerate(phases)])
    t = np.arange(len(state)) * 0.02
    moving = np.isin(state, [2, 3, 4, 5])
    noise = rng.normal(size=(len(state), 7)) * moving[:, None]
    kernel = np.hanning(25) / np.hanning(25).sum()
    velocity = np.stack([np.convolve(noise[:, j], kernel, "same") for j in range(7)], axis=1)
    velocity += 0.1 * np.stack([np.cos(state + j) for j in range(7)], axis=1)
    position = np.cumsum(velocity, axis=0) * 0.02
    spikes = drives(rng, t - 0.02, velocity, 8)  # a sample stands for the bin that ends at its time
    rows = np.flatnonzero(np.diff(state, prepend=-1) != 0)
    with raw.nwb_file(path, identifier="HumanPitt-held-in-calib_01-01-11:17_set1", species="Homo sapiens",
                      subject="HumanPitt-held-in-calib", start="1925-01-01T11:17:40-05:00") as file:  # fmt: skip
        names = "tx,ty,tz,rx,g1,g2,g3"
        kinematics = raw.series(file, "acquisition/OpenLoopKinematics", position, "arbitrary", rate=stated_rate,
                                description=names)  # fmt: skip
        raw.series(file, "acquisition/OpenLoopKinematicsVelocity", velocity, "arbitrary", rate=stated_rate,
                   description=names)  # fmt: skip
        trial = np.repeat(np.arange(n_trials) + 1.0, sum(lengths.values()))
        raw.series(file, "acquisition/TrialNum", trial, "arbitrary", rate=stated_rate)
        raw.series(file, "acquisition/eval_mask", moving, "bool", rate=stated_rate)
        raw.units(file, [*spikes, np.empty(0)])
        group = raw.trials(file, {
            "start_time": t[rows],
            "stop_time": np.append(t[rows[1:]], t[-1]),
            "tags": Ragged([np.array([phases[state[r]]], object) for r in rows]),
        }, path="intervals/epochs")  # fmt: skip
        raw.series_column(group, "timeseries", [kinematics], len(rows))
    return path


# -- Neural Latents Benchmark ------------------------------------------------------------------------------


def visits(rng, clock, onset, places, width=0.12):
    """Position and velocity of a hand that goes to a place after each onset, (n_times, 2) each, with a tremor."""
    steps = np.diff(places, axis=0, prepend=[[0.0, 0.0]]) / (width * np.sqrt(2 * np.pi))
    velocity = np.stack([bumps(clock, onset, steps[:, axis], width) for axis in (0, 1)], axis=1)
    position = np.cumsum(velocity, axis=0) * np.median(np.diff(clock))
    for rate in (3.0, 5.0, 8.0):  # rad/s
        phase = rate * clock[:, None] + rng.uniform(0, 2 * np.pi, 2)
        size = 0.005 * np.abs(places).max()
        position, velocity = position + size * np.sin(phase), velocity + size * rate * np.cos(phase)
    return position, velocity


def reaches(rng, clock, onset, direction, size):
    """Position and velocity of a hand that reaches from the centre after each onset, and returns 0.9 s later."""
    out = np.asarray(size)[..., None] * np.stack([np.cos(direction), np.sin(direction)], axis=-1)
    places = np.stack([out, np.zeros_like(out)], axis=1).reshape(-1, 2)
    return visits(rng, clock, np.ravel(np.stack([onset, onset + 0.9], axis=1)), places)


def nlb_mc_maze(path):
    """000128: ~1 kHz with gaps, mm, `split`, held-out units, conditions from trial_type and trial_version."""
    rng = np.random.default_rng(4)
    n = 60
    start = 2.2 * np.arange(n)
    move = start + 1.0
    kind, version = rng.permutation(np.arange(n) % 6), np.arange(n) % 2
    clock = np.round(np.arange(int(start[-1] * 1000 + 2200)) / 1000, 3)
    position, velocity = reaches(rng, clock, move, 2 * np.pi * (kind + 6 * version) / 12, 60.0)
    spikes = drives(rng, clock[::10], velocity[::10], 8)
    gap = ((clock >= start[10] + 0.9) & (clock < start[10] + 1.3)) | (
        (clock >= start[30]) & (clock < start[32])
    )
    there = ~gap
    first_gap, second_gap = (start[10] + 0.9, start[10] + 1.3), (start[30], start[32])
    observed = [[0.0, first_gap[0]], [first_gap[1], second_gap[0]], [second_gap[1], float(clock[-1])]]
    split = np.array(["train", "train", "train", "val"] * (n // 4), object)
    split[[5, 25, 45]] = "none"
    with raw.nwb_file(path, identifier="Jenkins-full-train", subject="Jenkins", session_id="full",
                      start="2009-09-25T00:00:00-08:00") as file:  # fmt: skip
        raw.module(file, "behavior")
        for name, data, unit in (
            ("hand_pos", position, "m"), ("hand_vel", velocity, "m/s"),
            ("cursor_pos", position, "m"), ("eye_pos", rng.normal(size=position.shape), "m"),
        ):  # fmt: skip
            raw.series(file, f"processing/behavior/{name}", data[there], unit, times=clock[there],
                       comments="columns=[x,y]", conversion=0.001)  # fmt: skip
        raw.electrodes(
            file, ["PMd"] * 4 + ["M1"] * 4, ["electrode_group_PMd"] * 4 + ["electrode_group_M1"] * 4
        )
        inside = [s[np.any([(s >= a) & (s < z) for a, z in observed], axis=0)] for s in spikes]
        raw.units(file, inside, observed=observed, electrode_rows=range(8),
                  heldout=np.array([False, True] * 4))  # fmt: skip
        raw.trials(file, {
            "start_time": start, "stop_time": start + 2.1,
            "target_on_time": start + 0.2, "go_cue_time": start + 0.7, "move_onset_time": move,
            "rt": np.full(n, 300.0), "delay": np.full(n, 500.0),
            "success": np.ones(n, bool), "trial_type": kind, "trial_version": version, "maze_id": kind + 1,
            "num_targets": np.ones(n, int), "num_barriers": np.full(n, 9), "split": split,
            "target_pos": Ragged([[np.array([80, 60])] for _ in range(n)]),
        })  # fmt: skip
    return path


def nlb_mc_rtt(path):
    """000129: pseudo-trials of 0.6 s that abut, no condition, 1 kHz by rate."""
    rng = np.random.default_rng(5)
    n = 120
    start = np.round(0.6 * np.arange(n), 3)
    clock = np.arange(int(600 * n)) / 1000
    onset = 0.66 * np.arange(int(clock[-1] / 0.66)) + rng.uniform(0, 0.1)
    position, velocity = visits(rng, clock, onset, rng.uniform(-60, 60, (len(onset), 2)))
    spikes = drives(rng, clock[::10], velocity[::10], 7)
    depth = np.zeros((len(clock), 1))
    with raw.nwb_file(path, identifier="Indy-train", subject="Indy",
                      start="2017-07-02T00:00:00-07:00") as file:  # fmt: skip
        raw.module(file, "behavior")
        for name, data, unit, columns in (
            ("finger_pos", np.hstack([position, depth]), "m", "x,y,z"), ("finger_vel", velocity, "m/s", "x,y"),
            ("cursor_pos", position, "m", "x,y"), ("target_pos", np.round(position, -1), "m", "x,y"),
        ):  # fmt: skip
            raw.series(file, f"processing/behavior/{name}", data, unit, rate=1000.0,
                       comments=f"columns=[{columns}]", conversion=0.001)  # fmt: skip
        raw.electrodes(file, ["M1"] * 8, ["electrode_group_M1"] * 8)
        raw.units(file, [*spikes, np.empty(0)], observed=[[0.0, float(clock[-1])]], electrode_rows=range(8),
                  heldout=np.array([False, True] * 4))  # fmt: skip
        raw.trials(file, {
            "start_time": start, "stop_time": np.round(start + 0.6, 3),
            "split": np.array(["train", "train", "train", "val"] * (n // 4), object),
        })  # fmt: skip
    return path


ARM_JOINTS = ("shoulder_adduction", "shoulder_rotation", "shoulder_flexion", "elbow_flexion", "radial_pronation",
              "wrist_flexion", "wrist_abduction")  # fmt: skip


def nlb_area2_bump(path):
    """000127: area 2; joint angles of the arm in degrees, named in comments; bumps, some of them without an onset."""
    rng = np.random.default_rng(6)
    n = 64
    start = 2.0 * np.arange(n)
    bumped = np.arange(n) % 2 == 1
    direction = 45.0 * rng.permutation(np.arange(n) // 2 % 4)
    move = np.where(np.arange(n) % 8 == 7, NAN, start + 0.8)
    clock = np.arange(int(2000 * n)) / 1000
    moves = np.isfinite(move)
    size = np.where(bumped, 3.0, 6.0)  # a bump is shorter than a reach
    position, velocity = reaches(rng, clock, move[moves], np.deg2rad(direction)[moves], size[moves])
    mixing = rng.normal(size=(2, len(ARM_JOINTS)))
    angle, speed = np.array([0, 20, 5, 90, 0, 0, 0]) + position @ mixing, velocity @ mixing
    arms = (
        -20e-3 * np.array([[0, 0, 1, 0, 0, 0, 0], [0, 0, 0, -1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0]]).T
    )  # m/rad
    length, lengthening = 0.1 + np.deg2rad(angle) @ arms, np.deg2rad(speed) @ arms
    spikes = drives(rng, clock[::10], speed[::10], 7)
    split = np.where(moves, np.where(np.arange(n) % 4 == 2, "val", "train"), "none").astype(object)
    with raw.nwb_file(path, identifier="Han-train", subject="Han", start="2017-12-07T00:00:00-06:00") as file:
        raw.module(file, "behavior")
        joints, muscles = ",".join(ARM_JOINTS), "deltoid_ant,tricep_lat,flex_carpi_radialis"
        for name, data, unit, columns in (
            ("joint_ang", angle, "degrees", joints), ("joint_vel", speed, "degrees/s", joints),
            ("muscle_len", length, "m", muscles), ("muscle_vel", lengthening, "m/s", muscles),
            ("hand_pos", position, "cm", "x,y"), ("hand_vel", velocity, "cm/s", "x,y"),
            ("force", np.hstack([velocity] * 3), "unknown", "fx,fy,fz,mx,my,mz"),
        ):  # fmt: skip
            raw.series(
                file, f"processing/behavior/{name}", data, unit, rate=1000.0, comments=f"columns=[{columns}]"
            )
        raw.electrodes(file, ["area 2"] * 8, ["electrode_group"] * 8)
        raw.units(file, [*spikes, np.empty(0)], observed=[[0.0, float(clock[-1])]], electrode_rows=range(8),
                  heldout=np.array([False, True] * 4))  # fmt: skip
        raw.trials(file, {
            "start_time": start, "stop_time": start + 1.9,
            "result": np.array(["R"] * n, object), "ctr_hold": np.full(n, 1.0), "ctr_hold_bump": bumped,
            "bump_dir": np.where(bumped, direction, NAN), "target_on_time": start + 0.3,
            "target_dir": direction, "go_cue_time": start + 0.6, "bump_time": np.where(bumped, start + 0.75, NAN),
            "move_onset_time": move, "cond_dir": direction, "split": split,
        })  # fmt: skip
    return path


# -- Perich and Miller -----------------------------------------------------------------------------------


def perich_miller(path, *, task="CO"):
    """000688: cursor in Position, Velocity, Acceleration; units with waveforms that are indexed twice; results R A F I."""
    rng = np.random.default_rng(7)
    n, length = (64, 2.0) if task == "CO" else (32, 4.6)
    start = length * np.arange(n)
    clock = np.round(np.arange(round(100 * length * n)) / 100, 2)
    direction = rng.permutation(np.arange(n) % 8) * np.pi / 4 - np.pi / 2
    cues = start[:, None] + np.array([0.2, 1.2, 2.2, 3.2])
    if task == "CO":
        position, velocity = reaches(rng, clock, start + 0.7, direction, 8.0)
    else:
        position, velocity = visits(rng, clock, cues.ravel() + 0.1, rng.uniform(-7, 7, (4 * n, 2)))
    acceleration = np.gradient(velocity, 0.01, axis=0)
    spikes = drives(rng, clock, velocity, 8)
    result = np.array(["R"] * n, object)
    result[[9, 19, 29]] = ["A", "F", "I"]
    with raw.nwb_file(path, identifier=f"C-{task}-20131003", subject="C", session_id=f"{task}-20131003",
                      start="2013-10-03T00:00:00-05:00") as file:  # fmt: skip
        raw.module(file, "behavior")
        for kind, name, data, unit in (
            ("Position", "cursor_pos", position, "cm"), ("Velocity", "cursor_vel", velocity, "cm/s"),
            ("Acceleration", "cursor_acc", acceleration, "cm/s^2"),
        ):  # fmt: skip
            container = "Position" if kind == "Position" else "BehavioralTimeSeries"
            raw.container(file, f"processing/behavior/{kind}", container)
            raw.series(file, f"processing/behavior/{kind}/{name}", data, unit, times=clock,
                       kind="SpatialSeries" if kind == "Position" else "TimeSeries")  # fmt: skip
        raw.electrodes(file, ["M1"] * 4 + ["PMd"] * 4, ["M1"] * 4 + ["PMd"] * 4)
        waveforms = Ragged([[np.zeros((1, 48)), np.ones((1, 48))] for _ in range(8)])
        raw.units(file, spikes, observed=[[0.0, float(clock[-1])]], electrode_rows=range(8),
                  unit_name=np.array([f"elec{i}_unit1" for i in range(8)], object), waveforms=waveforms)  # fmt: skip
        rows = {"start_time": start, "stop_time": start + length - 0.5, "result": result}
        if task == "CO":
            lost = np.where(np.arange(n) == 9, NAN, 0.0)  # an aborted trial lacks target and cue
            rows |= {
                "target_id": np.round((direction + np.pi / 2) / (np.pi / 4)) + lost,
                "target_dir": direction + lost,
                "target_on_time": start + 0.2 + lost, "go_cue_time": start + 0.5 + lost,
            }  # fmt: skip
        else:
            cues[19, 2:] = NAN  # failed at the second target
            rows |= {"num_attempted": np.full(n, 4), "go_cue_time_array": cues}
        raw.trials(file, rows)
    return path


FILES = {
    "falcon-m1": falcon_m1,
    "falcon-m1-b": falcon_m1_b,
    "falcon-m2": falcon_m2,
    "falcon-h1": falcon_h1,
    "link": link,
    "link, earlier draft": lambda path: link(path, draft="processing", second="mrp"),
    "nlb-mc-maze": nlb_mc_maze,
    "nlb-mc-rtt": nlb_mc_rtt,
    "nlb-area2-bump": nlb_area2_bump,
    "perich-miller-co": perich_miller,
    "perich-miller-rt": lambda path: perich_miller(path, task="RT"),
}
"""Every fixture, each of which is written by calling it with a path."""

LAYOUTS = {name: name for name in FILES} | {"falcon-m1-b": "falcon-m1", "link, earlier draft": "link"}
