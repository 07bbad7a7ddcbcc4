"""Movements that are found by their speed: planted ones with a closed form, and what is none."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from data_sessions import ABOUT, small_session

from neurobench_grasp.alignment.align import align
from neurobench_grasp.contract import Signal, TrialTable
from neurobench_grasp.data import load_layout, load_session, validate_file, write_session
from neurobench_grasp.data.nwb.detection import RATE, detect_movements
from neurobench_grasp.data.nwb.layout import DetectLayout
from neurobench_grasp.errors import LayoutError

HOW = DetectLayout("angles", least_peak=0.5)
ONSET, DURATION = 2.0, 1.0

# A minimum-jerk movement has the speed 30 τ²(1 − τ)² · amplitude / duration, at most 30/16 of the last.
PASSED = (1 - np.sqrt(1 - 4 * np.sqrt(HOW.threshold / 16))) / 2
"""τ at which its speed passes the threshold; it falls below it at 1 − τ."""


def minimum_jerk(times, onset=ONSET, duration=DURATION):
    tau = np.clip((times - onset) / duration, 0, 1)
    return 10 * tau**3 - 15 * tau**4 + 6 * tau**5


def irregular_clock(seed=0, seconds=6.0):
    """Like the glove's: from 1 to 35 ms apart."""
    return np.cumsum(np.random.default_rng(seed).uniform(0.001, 0.035, 2000)).clip(max=seconds)[
        : int(seconds / 0.018)
    ]


def recorded(course, times=None):
    """Three joints on one course, of different amplitude and sign, on an irregular clock."""
    times = np.unique(irregular_clock()) if times is None else times
    values = course(times)[:, None] * np.array([1.0, -0.4, 0.1])
    return Signal("angles", "joint_angle", ("a", "b", "c"), "rad", times, values)


def one_trial(start=0.0, stop=6.0):
    return TrialTable(("0",), np.array([start]), np.array([stop]), ("x",), {})


def found(signal, how=HOW, **trial):
    events = detect_movements(signal, one_trial(**trial), how)
    return float(events["move_onset"][0]), float(events["move_stop"][0])


@pytest.mark.parametrize("duration", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_planted_movement_is_found_within_two_samples_of_its_closed_form(duration, seed):
    times = np.unique(irregular_clock(seed))
    onset, stop = found(recorded(lambda t: minimum_jerk(t, duration=duration), times))
    assert abs(onset - (ONSET + PASSED * duration)) <= 2 / RATE + 1e-9
    assert abs(stop - (ONSET + (1 - PASSED) * duration)) <= 2 / RATE + 1e-9


def test_neither_size_nor_place_nor_other_trials_matter():
    signal = recorded(minimum_jerk)
    alone = found(signal)
    assert found(replace(signal, values=3 * signal.values + 1)) == alone
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    assert found(replace(signal, values=signal.values @ turned)) == pytest.approx(alone)
    later = replace(signal, times=signal.times + 64)  # exact in floating point
    assert np.subtract(found(later, start=64.0, stop=70.0), 64) == pytest.approx(alone)


def test_a_short_pause_belongs_to_the_movement_and_a_long_one_ends_it():
    def twice(gap):
        return recorded(lambda t: minimum_jerk(t, 1.0, 0.8) + 2 * minimum_jerk(t, 1.8 + gap, 0.8))

    assert found(twice(0.05))[0] == pytest.approx(1.0 + PASSED * 0.8, abs=0.05)
    larger = found(twice(0.6))
    assert larger[0] == pytest.approx(2.4 + PASSED * 0.8, abs=0.03)
    assert larger[1] == pytest.approx(3.2 - PASSED * 0.8, abs=0.03)


def test_a_movement_under_way_begins_with_its_trial_and_ends_with_it():
    assert found(recorded(minimum_jerk), start=2.4)[0] == 2.4
    assert found(recorded(minimum_jerk), stop=2.55)[1] == 2.55


@pytest.mark.parametrize(
    "course",
    [
        lambda t: 0 * t,
        lambda t: 0.05 * minimum_jerk(t),
        lambda t: np.where(t > 2, np.nan, minimum_jerk(t)),
        lambda t: 0.5 * np.exp(-(((t - 2) / 0.03) ** 2)),
    ],
    ids=["still", "slow", "missing samples", "twitch"],
)
def test_what_is_no_movement(course):
    assert np.isnan(found(recorded(course))).all()


@pytest.mark.parametrize(
    "trial", [(7.0, 9.0), (1.0, 1.05), (3.0, 1.0), (0.0, np.inf), (np.nan, 6.0), (0.0, 1e15)]
)
def test_trials_without_samples_too_short_or_absurd(trial):
    assert np.isnan(found(recorded(minimum_jerk), start=trial[0], stop=trial[1])).all()


def own_layout(path, **detect):
    content = {
        "name": "own",
        "version": 1,
        "summary": "own",
        "signals": [
            {"name": "angles", "role": "joint_angle", "paths": ["processing/behavior/joint_angles"]},
            {"name": "perhaps", "role": "other", "paths": ["processing/behavior/x"], "optional": True},
        ],
        "trials": {
            "paths": ["intervals/trials"],
            "condition": {"column": "object_name"},
            "events": {},
            "detect": {"signal": "angles", **detect},
        },
        "window": {"start_event": "move_onset", "stop_event": "move_stop", "contiguous": "trial"},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_layout_finds_events_and_a_trial_without_movement_is_dropped_with_its_reason(tmp_path):
    session = small_session(n_units=1, n_trials=4)  # one every 15 s
    times = session.signals["joint_angles"].times
    course = minimum_jerk(times, 1.0) + minimum_jerk(times, 31.5) + minimum_jerk(times, 46.0)
    signal = replace(session.signals["joint_angles"], columns=("mcp2_flexion",), values=course[:, None])
    written = replace(session, signals={"joint_angles": signal})
    write_session(tmp_path / "a.nwb", written, **ABOUT)
    layout = own_layout(tmp_path / "own.yaml", least_peak=0.5)
    read = load_session(tmp_path / "a.nwb", layout)
    onset = [t + PASSED if t else np.nan for t in (1.0, None, 31.5, 46.0)]
    assert read.trials.events["move_onset"] == pytest.approx(onset, abs=0.02, nan_ok=True)
    assert "detected from the speed of this signal, and none in 1 of 4 trials" in " ".join(read.notes)
    assert not [f for f in validate_file(tmp_path / "a.nwb", layout) if f.severity == "error"]
    aligned = align(read)
    assert aligned.trials.ids == ("0", "2", "3")
    assert aligned.dropped == (("1", "lacks the event move_onset"),)


@pytest.mark.parametrize(
    ("detect", "message"),
    [
        ({"signal": "cursor"}, "trials.detect.signal: 'cursor' is not one of its required signals"),
        ({"signal": "perhaps"}, "is not one of its required signals"),
        ({"cutoff": 60.0}, "cutoff must lie between 0 and 50"),
        ({"threshold": 5.0}, "threshold between 0 and 1"),
        ({"stop": "contact"}, "uses the event 'move_stop', which its trials do not define"),
        ({"limit": 1.0}, "there is no field 'limit'"),
    ],
)
def test_a_wrong_detection_says_where(tmp_path, detect, message):
    with pytest.raises(LayoutError, match=message):
        load_layout(own_layout(tmp_path / "own.yaml", **detect))


def test_the_glove_layout_is_the_documented_rule():
    how = load_layout("hand-reach-to-grasp").trials.detect
    assert how == DetectLayout("joint_angles", "move_onset", "move_stop", 6.0, 0.05, 0.2, 0.3, 1.0)
