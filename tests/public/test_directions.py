"""Conditions from the direction of a movement, and trials cut at several cues: laws, and what is left out."""

import shutil
from collections import Counter

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from neurobench_grasp.alignment.align import align
from neurobench_grasp.contract import Signal, TrialTable
from neurobench_grasp.data import inspect_file, load_session
from neurobench_grasp.data.nwb.layout import DirectionLayout
from neurobench_grasp.data.nwb.reaches import cut_trials, label_directions
from neurobench_grasp.errors import CorruptFileError, UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.resources import resource
from neurobench_grasp.run.dataset import load_dataset

OCTANTS = [str(45 * k) for k in range(8)]
HOW = DirectionLayout("hand", ("x", "y"))


def table(begin, end, **events):
    """A table of trials without labels."""
    ids = tuple(map(str, range(len(begin))))
    return TrialTable(ids, np.array(begin), np.array(end), ("",) * len(ids), events)


def moved(seed, n=40):
    """A hand at random places at the whole seconds, and one trial from each second to the next."""
    places = np.random.default_rng(seed).normal(size=(n + 1, 2))
    return places, table(np.arange(n, dtype=float), np.arange(n) + 1.0)


def hand(places):
    return Signal("hand", "position", ("x", "y"), "cm", np.arange(len(places), dtype=float), places)


def turned(places, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return places @ np.array([[c, s], [-s, c]])


@given(st.integers(0, 10**6), st.integers(0, 7), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_turning_all_positions_turns_the_labels_and_scale_and_origin_do_not_matter(seed, k, scale, shift):
    places, trials = moved(seed)
    before, distance = label_directions(hand(places), trials, HOW)
    after, scaled = label_directions(hand(shift + scale * turned(places, 45 * k)), trials, HOW)
    expected = [label and OCTANTS[(OCTANTS.index(label) + k) % 8] for label in before]
    assert after == expected
    np.testing.assert_allclose(scaled, scale * distance, rtol=1e-6, atol=1e-9 * abs(shift))


def test_a_label_is_the_middle_of_its_sector():
    angles = np.deg2rad([0, 22, 23, 90, 180, -22, -23, -90])
    ends = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.concatenate([[start, end] for start, end in zip(np.zeros((8, 2)), ends, strict=True)])
    labels, _ = label_directions(hand(places), table(2.0 * np.arange(8), 2.0 * np.arange(8) + 1), HOW)
    assert labels == ["0", "0", "45", "90", "180", "0", "315", "270"]


def test_short_movements_and_unknown_positions_have_no_direction():
    places = np.array([[0.0, 0], [1, 0], [1.2, 0], [2.2, 0], [np.nan, 0], [3, 0], [4, 0]])
    labels, distance = label_directions(hand(places), table(np.arange(6.0), np.arange(6) + 1.0), HOW)
    assert labels == ["0", "", "0", "", "", "0"]
    assert np.isnan(distance).tolist() == [False, False, False, True, True, False]
    none, _ = label_directions(hand(np.zeros((7, 2))), table(np.arange(6.0), np.arange(6) + 1.0), HOW)
    assert none == [""] * 6


def test_a_direction_is_taken_between_the_events_that_are_named():
    places = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    trials = table([0.0], [3.0], go=np.array([1.0]), hold=np.array([2.0]))
    assert label_directions(hand(places), trials, HOW)[0] == ["90"]
    between = DirectionLayout("hand", ("x", "y"), start="go", stop="hold", sectors=4)
    oblique = hand(np.array([[0.0, 0], [1, 0], [1.5, 1], [0, 1]]))
    assert label_directions(oblique, trials, between)[0] == ["90"]


def test_trials_are_cut_at_their_cues():
    rows = table(
        [0.0, 10, 20, 30, 40], [5.0, 15, 25, 35, 45], start=np.arange(0, 50, 10.0), seen=np.full(5, 1.5)
    )
    nan = np.nan
    cues = [np.array(c) for c in ([1.0, 2, 4], [11.0, nan, 13], [nan], [29.0, 31], [41.0, 41])]
    cut, unusable = cut_trials(rows, cues, {"start": "start", "stop": "stop"})
    assert cut.ids == ("0.1", "0.2", "0.3", "1.1", "1.3") and unusable == ["2", "3", "4"]
    assert cut.start.tolist() == [1, 2, 4, 11, 13] and cut.stop.tolist() == [2, 4, 5, 13, 15]
    np.testing.assert_array_equal(cut.events["start"], cut.start)
    np.testing.assert_array_equal(cut.events["stop"], cut.stop)
    assert cut.events["seen"][0] == 1.5 and np.isnan(cut.events["seen"][1:]).all()


# -- in files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "path"), [
    ("nlb-mc-rtt", "processing/behavior/finger_pos"),
    ("perich-miller-rt", "processing/behavior/Position/cursor_pos"),
])  # fmt: skip
def test_random_targets_have_octants_and_an_ood_split(public, tmp_path, name, path):
    data = load_dataset(load_registry(), public(name))
    (session,) = data.sessions
    assert set(session.conditions.values()) == set(OCTANTS)
    assert len(data.splits.held_out) == 2
    assert all(len(getattr(data.splits, s)[session.id]) >= 15 for s in ("train", "test", "ood"))
    assert any(
        "were left out, in which it moves less than 0.25 of the median distance" in n for n in session.notes
    )
    turned_file = shutil.copy(public(name), tmp_path / "turned.nwb")
    with h5py.File(turned_file, "r+") as file:
        positions = file[f"{path}/data"]
        positions[:, :2] = turned(positions[:, :2], 45)
    after = load_session(turned_file).trials
    expected = {t: OCTANTS[(OCTANTS.index(c) + 1) % 8] for t, c in session.conditions.items()}
    assert dict(zip(after.ids, after.condition, strict=True)) == expected


@pytest.mark.parametrize(
    ("file", "layout", "events"),
    [
        ("m1_center_out", "m1-center-out", {"start": "move_onset"}),
        ("m1_reach_n1", "limblab-reach", {"start": "move_onset"}),
        ("m1_reach_c", "myow-reach", {}),
    ],
)
def test_hands_of_real_recordings_move_towards_their_targets(tmp_path, real_file, file, layout, events):
    """What the file states as the target, and where the hand is at the end of the trial."""
    content = yaml.safe_load((resource("nwb_schemas") / f"{layout}.yaml").read_text())
    content["trials"]["condition"] = {"direction": {"signal": "hand_pos", "axes": ["x", "y"], **events}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    stated = load_session(real_file(f"real/{file}.nwb"), layout).trials
    seen = load_session(real_file(f"real/{file}.nwb"), path).trials
    target = dict(zip(stated.ids, stated.condition, strict=True))
    pairs = Counter((target[trial], octant) for trial, octant in zip(seen.ids, seen.condition, strict=True))
    usual = pairs.most_common(8)
    assert sum(n for _, n in usual) >= 0.98 * len(stated)
    assert len({direction for (direction, _), _ in usual}) == len({octant for (_, octant), _ in usual}) == 8
    if layout == "m1-center-out":  # its targets are angles
        assert all(int(direction) % 360 == int(octant) for (direction, octant), _ in usual)


def test_reaches_of_a_row_are_trials(public):
    session = load_session(public("perich-miller-rt"))
    with h5py.File(public("perich-miller-rt")) as file:
        cues, stop = file["intervals/trials/go_cue_time_array"][:], file["intervals/trials/stop_time"][:]
    for name, start, end in zip(session.trials.ids, session.trials.start, session.trials.stop, strict=True):
        row, reach = (int(part) for part in name.split("."))
        assert start == cues[row, reach - 1] and end == [*cues[row], stop[row]][reach]
    assert "go_cue_time_array: 29 trials were cut at these times into 116" in " ".join(session.notes)
    assert inspect_file(public("perich-miller-rt")).conditions.keys() == set(OCTANTS)


def test_an_unknown_position_leaves_a_trial_out(public, tmp_path):
    path = shutil.copy(public("nlb-mc-rtt"), tmp_path / "gap.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/behavior/finger_pos/data"][5900:6150] = np.nan  # around the begin of trial 10
    session = load_session(path)
    assert not {"9", "10"} & set(session.trials.ids)
    assert (
        "finger_pos: 2 of 120 trials were left out, in which it is not known between begin and end"
        in session.notes
    )


def test_a_hand_that_rests_has_no_trials(public, tmp_path):
    path = shutil.copy(public("perich-miller-rt"), tmp_path / "rest.nwb")
    with h5py.File(path, "r+") as file:
        file["processing/behavior/Position/cursor_pos/data"][...] = 1.0
        file["intervals/trials/go_cue_time_array"][3] = np.nan
    session = load_session(path)
    assert len(session.trials) == 0
    assert "1 of 29 trials have no times here, or none that rise within the trial" in " ".join(session.notes)
    with pytest.raises(UnsupportedError, match="has no trials"):
        align(session)
    with h5py.File(path, "r+") as file:
        file["intervals/trials/go_cue_time_array"][...] = np.nan
    assert len(load_session(path).trials) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": []},
            "finger_pos: it has no column 'north', of which the layout takes directions of movement",
        ),
        ({}, "intervals/trials/split: expected times for each trial, not object"),
    ],
)
def test_a_file_without_what_directions_need_is_refused(public, tmp_path, change, message):
    layout = yaml.safe_load(resource("nwb_schemas/nlb-mc-rtt.yaml").read_text())
    if change:
        layout["signals"][0] |= change
        layout["trials"]["condition"]["direction"]["axes"] = ["north", "y"]
    else:
        layout["trials"]["cut_at"] = "split"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(layout))
    with pytest.raises(CorruptFileError, match=message) as caught:
        load_session(public("nlb-mc-rtt"), path)
    assert "\n" not in str(caught.value)
