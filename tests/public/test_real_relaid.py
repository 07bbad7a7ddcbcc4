"""Real recordings, put where public layouts look for them, score as they do in their own layout: to the last digit.

What is read is the same spikes, trials and behaviour, so nothing may differ; the tolerance is rounding alone.
"""

import shutil

import h5py
import numpy as np
import pytest
import raw_nwb as raw
import yaml

from neurobench_grasp.alignment.align import align
from neurobench_grasp.data import load_session
from neurobench_grasp.resources import resource
from neurobench_grasp.run import evaluate as run
from neurobench_grasp.run.job import Options
from neurobench_grasp.run.stored_activations import write_steps

ROUNDING = 1e-9
METRICS = ("single_trial_ev", "single_trial_r2", "condition_averaged_ev", "object_tuning_ev")


def own_layout(tmp_path, name, **changes):
    """A shipped layout with changes of its top level, and of its trials."""
    content = yaml.safe_load((resource("nwb_schemas") / f"{name}.yaml").read_text())
    content["trials"] |= changes.pop("trials", {})
    path = tmp_path / f"own-{name}.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def layout_part(name, part):
    """A part of a shipped layout."""
    return yaml.safe_load((resource("nwb_schemas") / f"{name}.yaml").read_text())[part]


def read(path):
    """Every dataset of a real file that is needed, by its path."""
    with h5py.File(path) as file:
        found = {}
        file.visititems(
            lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
        )
    return found


def candidate_scores(record):
    """Scores of the candidate, by metric, area and split."""
    return {
        (row["metric"], row.get("area"), row["split"]): row["value"]
        for row in record.scores
        if row["metric"] in METRICS and not any(row.get(label) for label in ("reference", "session", "layer"))
    }


def same_scores(own, relaid, *, split="test"):
    """Whether two records agree in every score of the candidate, some of which are above nothing."""
    one, other = candidate_scores(own), candidate_scores(relaid)
    assert one.keys() == other.keys() and len(one) >= 8
    for key, value in one.items():
        assert (value is None) == (other[key] is None)
        assert value is None or other[key] == pytest.approx(value, abs=ROUNDING), key
    return max(v for (metric, _, s), v in one.items() if metric == "single_trial_ev" and s == split)


def same_input(own, relaid):
    """Whether scores start from the same rates, counts and windows."""
    np.testing.assert_array_equal(own.units.rates.values, relaid.units.rates.values)
    np.testing.assert_array_equal(own.units.observed, relaid.units.observed)
    np.testing.assert_array_equal(own.trials.window, relaid.trials.window)
    assert own.trials.condition == relaid.trials.condition and own.trials.ids == relaid.trials.ids


def activations(tmp_path, session):
    """A layer that knows the phase of the movement, for sessions without behaviour."""
    write_steps(tmp_path / "steps.npz", [session])
    steps = dict(np.load(tmp_path / "steps.npz"))
    length = np.diff(session.trials.window, axis=1)[:, 0]
    starts = np.cumsum(steps["n_steps"]) - steps["n_steps"]
    step = np.arange(steps["n_steps"].sum()) - np.repeat(
        starts + session.trials.window[:, 0], steps["n_steps"]
    )
    phase = step / np.repeat(length, steps["n_steps"])
    layer = np.stack([np.cos(np.pi * k * np.clip(phase, -0.5, 1.5)) for k in range(1, 5)], axis=1)
    np.savez(tmp_path / "phase.npz", **steps, layer_phase=layer)
    return tmp_path / "phase.npz"


def spikes_of(real):
    """Spikes of each unit."""
    ends = real["units/spike_times_index"].astype(int)
    return np.split(real["units/spike_times"], ends[:-1])


def write_grasps(path, real, rows, behaviour):
    """The grasp recording with other trials' columns and made-up behaviour."""
    n_units = len(real["units/id"])
    with raw.nwb_file(path, identifier="relaid", subject="grasp-B",
                      session_id=real["general/session_id"].decode()) as file:  # fmt: skip
        behaviour(file, np.arange(0, real["intervals/trials/stop_time"].max() + 1, 0.05))
        raw.electrodes(file, ["S1"] * n_units, ["array"] * n_units)
        observed = np.split(real["units/obs_intervals"], real["units/obs_intervals_index"].astype(int)[:-1])
        assert all(np.array_equal(o, observed[0]) for o in observed)
        raw.units(file, spikes_of(real), observed=observed[0], electrode_rows=range(n_units))
        trials = raw.trials(file, rows)
        trials["id"][...] = real["intervals/trials/id"]
    return path


def grasp_rows(real):
    return {name: real[f"intervals/trials/{name}"] for name in ("start_time", "stop_time")}


def test_grasps_as_centre_out_reaches_of_perich_and_miller(real_file, tmp_path):
    """Object k lies in the direction of k degrees, event 3 is the go cue, and the trial stops at event 6."""
    path = real_file("real/s1_grasp35_0.nwb")
    real = read(path)
    event = {k: real[f"intervals/trials/event_{k}_time"] for k in (0, 3, 6)}

    def behaviour(file, clock):
        raw.module(file, "behavior")
        for kind, name in (("Position", "cursor_pos"), ("Velocity", "cursor_vel")):
            raw.container(file, f"processing/behavior/{kind}", "BehavioralTimeSeries")
            raw.series(
                file, f"processing/behavior/{kind}/{name}", np.zeros((len(clock), 2)), "cm", times=clock
            )

    relaid = write_grasps(tmp_path / "co.nwb", real, {
        "start_time": real["intervals/trials/start_time"], "stop_time": event[6],
        "target_on_time": event[0], "go_cue_time": event[3],
        "target_dir": np.radians(real["intervals/trials/object_index"].astype(float)),
        "result": np.array(["R"] * len(event[3]), object),
    }, behaviour)  # fmt: skip
    assert load_session(relaid).layout == "perich-miller-co@1"
    one, other = align(load_session(path)), align(load_session(relaid))
    same_input(one, other)
    layer = activations(tmp_path, one)
    records = [
        run.evaluate(
            "phase", file, options=Options(activations=str(layer)), seeds=(0,), out=tmp_path / file.stem
        )[0]
        for file in (path, relaid)
    ]
    assert same_scores(*records) > 0.05


def test_grasps_as_falcon_reach_to_grasp(real_file, tmp_path):
    """Event 3 is movement onset and event 6 contact; all objects lie at 0 degrees."""
    path = shutil.copy(real_file("real/s1_grasp35_2.nwb"), tmp_path / "own.nwb")
    real = read(path)
    place = np.zeros(len(real["intervals/trials/id"]), int)
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["intervals/trials/place"] = place
    own = own_layout(tmp_path, "s1-grasp35", trials={"condition": {"columns": ["object_index", "place"]}})

    def behaviour(file, clock):
        raw.container(file, "acquisition/preprocessed_emg", "BehavioralTimeSeries")
        raw.series(file, "acquisition/preprocessed_emg/FDS", np.zeros(len(clock)), "mV", times=clock)

    event = {k: real[f"intervals/trials/event_{k}_time"] for k in (2, 3, 6, 7)}
    relaid = write_grasps(tmp_path / "m1.nwb", real, grasp_rows(real) | {
        "gocue_time": event[2], "move_onset_time": event[3], "contact_time": event[6], "reward_time": event[7],
        "result": np.array(["R"] * len(place), object), "tgt_loc": place.astype(float),
        "tgt_obj": real["intervals/trials/object_index"].astype(str).astype(object),
    }, behaviour)  # fmt: skip
    assert load_session(relaid).layout == "falcon-m1@1"
    one, other = align(load_session(path, own)), align(load_session(relaid))
    same_input(one, other)
    assert set(other.units.areas) == {
        "M1"
    }  # as FALCON's layout has it; scores are compared by area, so by S1
    layer = activations(tmp_path, one)
    records = [
        run.evaluate("phase", file, options=Options(layout=layout, activations=str(layer)), seeds=(0,), out=tmp_path / file.stem)[0]
        for file, layout in ((path, own), (relaid, own_layout(tmp_path, "falcon-m1", units=layout_part("s1-grasp35", "units"))))
    ]  # fmt: skip
    assert same_scores(*records) > 0.05


def test_reaches_as_finger_movements_of_link(real_file, tmp_path):
    """Counts in 50 ms bins with hand position; its two columns drive the two finger groups in both layouts."""
    n_units, n_trials = 10, 90
    path = shutil.copy(real_file("real/m1_center_out.nwb"), tmp_path / "own.nwb")
    path.chmod(0o644)
    real = read(path)
    counts = real["processing/ecephys/binned_spikes/data"][:, :n_units]
    position, velocity = (real[f"processing/behavior/{s}/data"] for s in ("hand_pos", "hand_vel"))
    low, high = position.min(0), position.max(0)
    position, velocity = (position - low) / (high - low), velocity / (high - low)
    clock = np.arange(len(counts)) * 0.05
    direction = real["intervals/trials/target_dir"][:n_trials]
    target = np.round(np.stack([2 + np.cos(direction), 2 + np.sin(direction)], axis=1)) / 4
    with h5py.File(path, "r+") as file:
        for place, data in (("processing/ecephys/binned_spikes", counts), ("processing/behavior/hand_pos", position),
                            ("processing/behavior/hand_vel", velocity)):  # fmt: skip
            attributes = dict(file[f"{place}/data"].attrs)
            del file[f"{place}/data"]
            file[f"{place}/data"] = data
            file[f"{place}/data"].attrs.update(attributes)
        for table, n in (("intervals/trials", n_trials), ("general/extracellular_ephys/electrodes", n_units)):
            for column in [c for c in file[table] if isinstance(file[table][c], h5py.Dataset)]:
                data = file[table][column][:n]
                kind = file[table][column].dtype
                del file[table][column]
                file[table].create_dataset(column, data=data, dtype=kind)
        trials = file["intervals/trials"]
        trials["first"], trials["second"] = target.T
        start, stop, ids = (trials[c][:] for c in ("start_time", "stop_time", "id"))
    posture = [
        {"signal": "hand_pos", "column": column, "joints": part["joints"]}
        for column, part in zip("xy", layout_part("link", "posture"), strict=True)
    ]
    own = own_layout(
        tmp_path, "m1-center-out", posture=posture, window=layout_part("link", "window"), body="myohand", endpoint=None,
        trials={
            "condition": {"columns": ["first", "second"], "scale": 4.0, "decimals": 0},
            "events": {"start": "start_time", "stop": "stop_time"}, "event_order": ["start", "stop"],
        },
    )  # fmt: skip
    relaid = tmp_path / "link.nwb"
    with raw.nwb_file(relaid, identifier="relaid", subject="reach-1", session_id="m1-center-out") as file:
        for column, group in enumerate(("index", "mrs")):
            for name, data in (("position", position), ("velocity", velocity)):
                raw.series(file, f"analysis/{group}_{name}", data[:, [column]], "flexion units", times=clock)
        raw.series(file, "analysis/ThresholdCrossings", counts, "crossings", times=clock)
        raw.electrodes(file, ["hand area"] * n_units, ["array"] * n_units)
        raw.trials(file, {
            "start_time": start, "stop_time": stop, "trial_number": ids,
            "index_target_position": target[:, 0], "mrs_target_position": target[:, 1],
        })  # fmt: skip
    assert load_session(relaid).layout == "link@1"
    one, other = align(load_session(path, own)), align(load_session(relaid))
    same_input(one, other)
    np.testing.assert_allclose(
        one.trials.joint_angles.values, other.trials.joint_angles.values, atol=ROUNDING
    )
    records = [
        run.evaluate(
            "linear_kinematic", file, options=Options(layout=layout), seeds=(0,), out=tmp_path / file.stem
        )[0]
        for file, layout in ((path, own), (relaid, None))
    ]
    assert same_scores(*records) > 0.0
