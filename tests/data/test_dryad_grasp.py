"""The grasp set of Dryad: files built as its published readers expect them become sessions bin by bin."""

import json

import numpy as np
import pytest
from mat_files import Cell, write_mat73
from typer.testing import CliRunner

from neurobench_grasp.cli import app
from neurobench_grasp.data import load_session
from neurobench_grasp.data.converters.dryad_grasp import convert
from neurobench_grasp.errors import CorruptFileError, LayoutError, UnsupportedError

SIMULTANEOUS = "Dataset3_Monkey3_Session1_GraspDataSimultaneousRecording.mat"
SEQUENTIAL = "Dataset2_Monkey2_Session7_GraspDataSequentialRecording.mat"
STEP = 0.01


def content(n_trials=6, seed=0):
    """Variables of one file: two areas, trials of unequal length on one clock, an event that is missing."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(60, 90, n_trials)
    starts = 7.25 + 12.0 * np.arange(n_trials)
    events = {
        name: (starts + 0.1 * (k + 1) + rng.uniform(0, 0.09, n_trials))[:, None]
        for k, name in enumerate(("WristStartMove", "MaxApp", "FingerGrasp"))
    }
    events["MaxApp"][2] = np.nan
    return {
        "SpikeCounts": {
            "M1": [rng.poisson(0.3, (n, 4)).astype(float) for n in lengths],
            "SCx": [rng.poisson(0.5, (n, 3)).astype(float) for n in lengths],
        },
        "TimeBins": [(t + STEP * np.arange(n))[None, :] for t, n in zip(starts, lengths, strict=True)],
        "ObjectInd": rng.integers(1, 36, n_trials).astype(float)[:, None],
        "EventTimes": events,
    }


def write(path, variables, nested=False):
    """Write the variables; cells may be nested in cells, as published readers find them in dataset 3."""

    def cells(values):
        return Cell([Cell([v]) for v in values] if nested else values)

    stored = dict(variables)
    stored["SpikeCounts"] = {a: cells(v) for a, v in variables["SpikeCounts"].items()}
    stored["TimeBins"] = cells(variables["TimeBins"])
    write_mat73(path, **stored)


def converted(path):
    return load_session(convert(path).write(path.parent / "out"))


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["seconds", "milliseconds"])
def test_values_come_through_to_the_bin(tmp_path, nested, scale):
    made = content()
    scaled = {
        **made,
        "TimeBins": [t * scale for t in made["TimeBins"]],
        "EventTimes": {e: t * scale for e, t in made["EventTimes"].items()},
    }
    write(tmp_path / SIMULTANEOUS, scaled, nested)
    session = converted(tmp_path / SIMULTANEOUS)
    assert (session.id, session.subject) == ("dataset3_monkey3_session1", "monkey3")
    assert session.units.areas == ("M1",) * 4 + ("S1",) * 3
    assert session.units.bin_width == STEP
    assert session.signals == {}
    assert session.trials.condition == tuple(f"object {int(k)}" for k in made["ObjectInd"].ravel())
    assert (session.window.start_event, session.window.stop_event) == ("move_onset", "contact")
    times = np.rint(session.units.count_times / STEP).astype(int).tolist()
    for i, clock in enumerate(made["TimeBins"]):
        first = round(session.trials.start[i] / STEP)
        for k in range(clock.size):
            expected = [made["SpikeCounts"][a][i][k, u] for a, n in (("M1", 4), ("SCx", 3)) for u in range(n)]
            assert session.units.counts[times.index(first + k)].tolist() == expected
        for field, event in (("WristStartMove", "move_onset"), ("FingerGrasp", "contact")):
            within = session.trials.events[event][i] - session.trials.start[i]
            assert abs(within - (made["EventTimes"][field][i, 0] - clock[0, 0])) < 1e-9
    assert np.flatnonzero(np.isnan(session.trials.events["max_aperture"])).tolist() == [2]
    assert len(times) == sum(c.size for c in made["TimeBins"])
    assert f"TimeBins is assumed to be in {'milliseconds' if scale > 1 else 'seconds'}" in " ".join(
        session.notes
    )


def test_what_is_unverified_is_said(tmp_path):
    write(tmp_path / SEQUENTIAL, content())
    session = converted(tmp_path / SEQUENTIAL)
    assert (session.id, session.subject) == ("dataset2_monkey2_session7", "monkey2")
    notes = " ".join(session.notes)
    for what in ("unverified: no file of this set was available", "unverified: no kinematics are read",
                 "unverified: files of units recorded sequentially"):  # fmt: skip
        assert what in notes
    write(tmp_path / SIMULTANEOUS, content())
    assert "recorded sequentially" not in " ".join(converted(tmp_path / SIMULTANEOUS).notes)


def test_trials_without_counts_are_left_out(tmp_path):
    made = content()
    made["SpikeCounts"]["M1"][1] = made["SpikeCounts"]["SCx"][1] = np.empty((0, 0))
    made["TimeBins"][1] = np.empty((0, 0))
    write(tmp_path / SIMULTANEOUS, made)
    session = converted(tmp_path / SIMULTANEOUS)
    assert session.trials.ids == ("1", "3", "4", "5", "6")
    assert "1 of 6 trials have no counts" in " ".join(session.notes)


def test_an_area_without_units_is_left_out(tmp_path):
    made = content()
    made["SpikeCounts"]["SCx"] = [np.empty((0, 0))] * 6
    write(tmp_path / SEQUENTIAL, made)
    session = converted(tmp_path / SEQUENTIAL)
    assert set(session.units.areas) == {"M1"}
    assert "SCx has no units" in " ".join(session.notes)


def test_a_file_without_maximal_aperture(tmp_path):
    made = content()
    del made["EventTimes"]["MaxApp"]
    write(tmp_path / SIMULTANEOUS, made)
    session = converted(tmp_path / SIMULTANEOUS)
    assert set(session.trials.events) == {"move_onset", "contact"}
    assert "MaxApp is not in the file" in " ".join(session.notes)


def drop(*path):
    def change(made):
        for key in path[:-1]:
            made = made[key]
        del made[path[-1]]

    return change


def put(value, *path):
    def change(made):
        for key in path[:-1]:
            made = made[key]
        made[path[-1]] = value

    return change


FAULTS = {
    "variable": (drop("ObjectInd"), r"lacks the variable 'ObjectInd'; it has EventTimes, SpikeCounts, TimeBins\."),
    "event": (
        drop("EventTimes", "FingerGrasp"),
        r"'EventTimes' lacks the field 'FingerGrasp'; it has MaxApp, WristStartMove\.",
    ),
    "object": (put(36.0, "ObjectInd", (3, 0)), r"'ObjectInd' is 36 in trial 4; expected objects 1 to 35"),
    "trials": (drop("TimeBins", 5), r"'TimeBins' has 5 trials, but 'ObjectInd' has 6"),
    "events": (put(np.ones((2, 1)), "EventTimes", "MaxApp"), r"'MaxApp' has 2 trials, but 'ObjectInd' has 6"),
    "smoothed": (
        lambda made: put(made["SpikeCounts"]["M1"][2] + 0.5, "SpikeCounts", "M1", 2)(made),
        r"'M1' of trial 3 has .*\.5 in bin 1 of unit 1, which is not a count",
    ),
    "transposed": (
        lambda made: put(made["SpikeCounts"]["M1"][2].T, "SpikeCounts", "M1", 2)(made),
        r"'M1' has 4 bins in trial 3, but 'TimeBins' has \d+; expected bins × units",
    ),
    "units": (
        lambda made: put(made["SpikeCounts"]["M1"][2][:, :3], "SpikeCounts", "M1", 2)(made),
        r"'M1' has 3 units in one trial and 4 in another",
    ),
    "irregular": (
        lambda made: put(made["TimeBins"][2] ** 2, "TimeBins", 2)(made),
        r"'TimeBins' has bins of different widths",
    ),
    "wide": (
        lambda made: made.update(TimeBins=[t * 35 for t in made["TimeBins"]]),
        r"'TimeBins' has bins of 0\.35 s; expected 0\.0005 to 0\.2 s",
    ),
    "struct": (put(np.ones((2, 2)), "EventTimes"), r"'EventTimes' is not a struct"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_one_sentence(tmp_path, fault):
    change, match = FAULTS[fault]
    made = content()
    change(made)
    write(tmp_path / SIMULTANEOUS, made)
    with pytest.raises(LayoutError, match=match) as caught:
        convert(tmp_path / SIMULTANEOUS)
    assert str(caught.value).count("\n") == 0


def test_reaching_is_not_converted(tmp_path):
    name = "Dataset6_Monkey5_Session1_ReachDataSimultaneousRecording.mat"
    write(tmp_path / name, content())
    with pytest.raises(UnsupportedError, match="is a reaching dataset"):
        convert(tmp_path / name)


def test_a_truncated_download(tmp_path):
    write(tmp_path / SIMULTANEOUS, content())
    whole = (tmp_path / SIMULTANEOUS).read_bytes()
    (tmp_path / SIMULTANEOUS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match="is truncated"):
        convert(tmp_path / SIMULTANEOUS)


# -- the command line, and what can be scored --------------------------------------------------------------


def ngb(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_without_kinematics_models_give_the_reason_and_own_activations_are_scored(tmp_path):
    write(tmp_path / SIMULTANEOUS, content(60))
    shown = ngb("data", "convert", "dryad-grasp", tmp_path / SIMULTANEOUS, "--to", tmp_path / "out", "--json")
    (made,) = json.loads(shown.stdout)
    assert made["n_units"] == {"M1": 4, "S1": 3}
    assert made["signals"] == []
    assert len(made["unverified"]) == 4
    refused = ngb(
        "score", "--model", "linear_kinematic", "--dataset", made["file"], "--out", tmp_path / "run"
    )
    assert refused.exit_code == 1
    assert "has neither joint angles nor other behavioural signals" in refused.stderr
    assert "--activations" in refused.stderr
    ngb("data", "export", made["file"], "--to", tmp_path / "steps.npz")
    steps = dict(np.load(tmp_path / "steps.npz"))
    time = np.concatenate([np.linspace(0, 1, n) for n in steps["n_steps"]])
    kept = {k: steps[k] for k in ("session", "trial", "n_steps", "time")}
    np.savez(tmp_path / "mine.npz", **kept, layer_time=np.stack([time, time**2], axis=1))
    scored = ngb(
        "score", "--activations", tmp_path / "mine.npz", "--model", "mine", "--dataset", made["file"],
        "--seed", 0, "--out", tmp_path / "run",
    )  # fmt: skip
    assert scored.exit_code == 0, scored.stderr
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "run/records").glob("*.json")]
    assert {row.get("reference") for row in record["scores"]} >= {"phase_mean", "psth"}
