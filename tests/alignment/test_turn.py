"""Recorded axes are turned into a body's by EMG of the training trials of a fold, or as a layout states."""

import json
from dataclasses import replace

import numpy as np
import pytest
from counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import write_for_test
from wrists import BODY, CHANNELS, ENDPOINT, angle_of, apart, rotation, with_emg, wrist_session

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.clock import clock_of
from neurobench_grasp.alignment.turn import aligned_by_muscles, fitted_turn, preferred_directions
from neurobench_grasp.bodies import find_body, pulling_directions
from neurobench_grasp.bodies.isometric_wrist import LEVER
from neurobench_grasp.data import load_session, session_digest
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.plugins import load_registry
from neurobench_grasp.run.dataset import load_dataset

angles = st.floats(-180, 180)
EYE = ((1.0, 0.0), (0.0, 1.0))


def aligned(session, n_train=None, tendons=None):
    """The session, aligned by its first trials (by default all)."""
    made = align(session)
    return aligned_by_muscles(made, made.trials.ids[:n_train], tendons)


def as_tuples(matrix):
    return tuple(map(tuple, np.asarray(matrix).tolist()))


def stated(degrees, **changes):
    return replace(ENDPOINT, turn=as_tuples(rotation(degrees)), **changes)


def without_emg(session):
    return replace(session, signals={"cursor": session.signals["cursor"]})


# --- what is found ----------------------------------------------------------------------------------


@given(angles, st.integers(0, 1000), st.floats(0, 0.3))
@settings(max_examples=examples(100), deadline=None)
def test_a_turned_screen_is_found_within_a_degree(turn, seed, noise):
    """EMG follows the directions in which muscles pull; its noise grows with its size."""
    found = aligned(planted(turn, noise, seed))
    assert apart(angle_of(found.turn), turn) < 1
    assert f"turned by {angle_of(found.turn):.0f} degrees into those of {BODY}" in found.notes[0]


def planted(turn, noise, seed):
    """The session with other noise and a screen that turns; targets and pauses stay, which takes less time."""
    rng = np.random.default_rng(seed)
    made = wrist_session(turn=turn, noise=0.0, n_directions=16, n_repeats=4)
    emg = made.signals["emg"].values
    emg = np.maximum(emg * (1 + noise * rng.standard_normal(emg.shape)), 0) + noise * rng.random(emg.shape)
    return with_emg(made, emg)


@given(angles, st.integers(2, 3), st.integers(0, 2**32 - 1))
def test_directions_that_were_turned_are_turned_back(degrees, n_axes, seed):
    rng = np.random.default_rng(seed)
    pulls = rng.standard_normal((6, n_axes))
    pulls /= np.linalg.norm(pulls, axis=1, keepdims=True)
    turn = np.eye(n_axes)
    turn[:2, :2] = rotation(degrees)
    np.testing.assert_allclose(fitted_turn(pulls @ turn, pulls, rng.random(6) + 0.1), turn, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_a_mirrored_screen_is_never_mirrored_back(seed):
    """A layout states mirrored axes; of rotations, the closest is found."""
    rng = np.random.default_rng(seed)
    recorded, pulls = rng.standard_normal((2, 5, 2))
    weights = rng.random(5)
    found = fitted_turn(recorded, pulls, weights)
    np.testing.assert_allclose(
        [np.linalg.det(found), np.abs(found @ found.T - np.eye(2)).max()], [1, 0], atol=1e-9
    )
    fits = [np.sum(weights[:, None] * pulls * (recorded @ rotation(d).T)) for d in range(360)]
    assert np.sum(weights[:, None] * pulls * (recorded @ found.T)) >= max(fits) - 1e-9


@given(angles, st.floats(0.1, 100), st.integers(0, 2**32 - 1))
def test_preferred_directions_turn_with_the_positions_and_not_with_gains(degrees, gain, seed):
    rng = np.random.default_rng(seed)
    position = rng.standard_normal((400, 2))
    activity = np.maximum(position @ rng.standard_normal((2, 3)) + 0.3 * rng.standard_normal((400, 3)), 0)
    found, share = preferred_directions(activity, position)
    turned, other = preferred_directions(gain * activity, position @ rotation(degrees).T)
    np.testing.assert_allclose(turned, found @ rotation(degrees).T, atol=1e-9)
    np.testing.assert_allclose(other, share, atol=1e-9)
    root = np.sqrt(activity) - np.sqrt(activity).mean(0)
    centred = position - position.mean(0)
    missed = root - centred @ np.linalg.solve(centred.T @ centred, centred.T @ root)
    np.testing.assert_allclose(share, 1 - missed.var(0) / root.var(0), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


def test_groups_of_muscles_pull_as_their_moments_add():
    body = find_body(BODY)
    (arms,), (force,) = body.muscle_capacity(body.neutral[None])
    pair = [body.muscles.index(name) for name in ("FCR", "FCU")]
    moments = arms * force[:, None]  # the handle moves along x by flexion, along y by radial deviation
    own = moments / np.linalg.norm(moments, axis=1, keepdims=True)
    both = moments[pair].sum(0)
    found = pulling_directions(body, [*((i,) for i in range(len(body.muscles))), pair])
    np.testing.assert_allclose(found[:-1], own, atol=1e-5)
    np.testing.assert_allclose(found[-1], both / np.linalg.norm(both), atol=1e-5)


# --- which trials, which tendons --------------------------------------------------------------------


def test_other_tendons_turn_the_recorded_axes_otherwise_wherever_they_are_turned_to():
    session = wrist_session(turn=40)
    own, twin = aligned(session), aligned(session, tendons="permuted-0")
    assert apart(angle_of(own.turn), 40) < 2 < apart(angle_of(twin.turn), angle_of(own.turn))
    assert f"into those of {BODY}/permuted-0" in twin.notes[0]
    # As the protocol does for its null: what a fold has turned already is turned as if it had not been.
    for start in (own, twin):
        for tendons, expected in ((None, own), ("permuted-0", twin)):
            again = aligned_by_muscles(start, session.trials.ids, tendons)
            assert again.turn == expected.turn
            assert again.trials.sha256 == expected.trials.sha256


def test_the_turn_follows_from_training_trials_alone():
    session = wrist_session(turn=25, n_repeats=8)
    n_train = 40
    border = session.trials.start[n_train] - 0.5
    times, emg = session.signals["emg"].times, session.signals["emg"].values
    mirrored = np.roll(emg, 1, axis=1)  # each muscle as active as its neighbour
    before = aligned(session, n_train)
    later = aligned(with_emg(session, np.where(times[:, None] > border, mirrored, emg)), n_train)
    earlier = aligned(with_emg(session, np.where(times[:, None] < border, mirrored, emg)), n_train)
    assert later.turn == before.turn and later.notes == before.notes
    assert apart(angle_of(earlier.turn), angle_of(before.turn)) > 5


def test_networks_of_other_folds_and_tendons_have_other_turns_and_postures(tmp_path):
    data = load_dataset(load_registry(), write_for_test(tmp_path / "wrist.nwb", wrist_session(turn=30)))
    assert not data.has_joint_angles
    networks = {(seed, tendons): data.for_network(seed, tendons)
                for seed in range(5) for tendons in (None, "permuted-{seed}")}  # fmt: skip
    turns = {key: network.sessions[0].turn for key, network in networks.items()}
    assert len(set(turns.values())) == 10
    assert all(apart(angle_of(turns[seed, None]), 30) < 3 for seed in range(5))
    trials = {network.sessions[0].trials.sha256 for network in networks.values()}
    assert len(trials) == 10 and data.sessions[0].trials.sha256 not in trials
    assert {network.sha256 for network in networks.values()} == {data.sha256}
    assert data.for_network(5).sessions[0].turn == turns[0, None]
    own = networks[0, None]
    by_hand = aligned_by_muscles(data.sessions[0], own.splits.train["wrist"], None)
    assert by_hand.turn == turns[0, None]


# --- postures ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [0.02, 0.05, 0.01])
def test_joint_angles_are_those_of_the_turned_handle_on_every_clock(step_s):
    """Within 0.05 mrad, of 16; that is the price of smooth postures."""
    made = aligned(wrist_session(turn=-70))
    trials = clock_of(made, step_s).scored
    assert trials.body == BODY and trials.inferred_from == "cursor"
    handle = trials.signals["cursor"].values @ np.array(made.turn).T / 100
    np.testing.assert_allclose(trials.joint_angles.values, handle / LEVER, atol=5e-5)
    assert np.abs(trials.joint_angles.values).max() > 0.01


def test_only_what_the_turn_changes_changes():
    made = align(wrist_session(turn=50))
    assert made.trials.joint_angles is None and made.turn is None
    found = aligned_by_muscles(made, made.trials.ids, None)
    assert found.trials.signals == made.trials.signals and found.units is made.units
    assert found.recording.session.endpoint.turn == found.turn
    assert found.trials.sha256 != made.trials.sha256 and found.sha256 == made.sha256
    assert all(round(x, 6) == x for row in found.turn for x in row)


# --- without EMG ------------------------------------------------------------------------------------


def test_without_emg_the_axes_are_turned_as_the_layout_states_with_a_note():
    session = wrist_session(turn=20, endpoint=stated(20))
    expected = align(replace(without_emg(session), endpoint=stated(20, aligned_by=""), muscle_map={}))
    found = aligned(without_emg(session))
    assert found.turn == stated(20).turn
    np.testing.assert_allclose(found.trials.joint_angles.values, expected.trials.joint_angles.values)
    assert found.notes[0] == (
        "the axes of cursor are turned as the layout states, since EMG does not show where they point: wrist "
        "has no EMG"
    )


def test_a_turn_that_is_only_stated_needs_no_emg_and_no_fold():
    made = align(wrist_session(turn=20, endpoint=stated(20, aligned_by="")))
    assert aligned_by_muscles(made, made.trials.ids, "permuted-0") is made
    handle = made.trials.signals["cursor"].values @ rotation(20).T / 100
    np.testing.assert_allclose(made.trials.joint_angles.values, handle / LEVER, atol=5e-5)


def test_emg_decides_even_where_the_layout_states_another_turn():
    assert apart(angle_of(aligned(wrist_session(turn=20, endpoint=stated(-60))).turn), 20) < 2


def test_without_emg_and_without_a_turn_the_axes_are_taken_as_they_are_with_a_note():
    found = aligned(without_emg(wrist_session(turn=20)))
    assert found.turn == EYE
    handle = found.trials.signals["cursor"].values / 100
    np.testing.assert_allclose(found.trials.joint_angles.values, handle / LEVER, atol=5e-5)
    assert found.notes[0].startswith(
        f"the axes of cursor are taken for those of {BODY}, since EMG does not show"
    )


def test_channels_without_signal_are_named_and_do_not_count():
    session = wrist_session(turn=20)
    emg, rng = session.signals["emg"].values.copy(), np.random.default_rng(0)
    silent = [list(CHANNELS).index(name) for name in ("ECU", "FDS")]
    emg[:, silent[0]], emg[:, silent[1]] = 0.5, rng.random(len(emg))
    found = aligned(with_emg(session, emg))
    assert apart(angle_of(found.turn), 20) < 2
    assert found.notes[0].endswith("over ECRb, ECRl, EDC, FCR, FCU; without signal: ECU, FDS")


def test_without_any_signal_the_note_says_so():
    session = wrist_session(turn=20)
    found = aligned(with_emg(session, np.full_like(session.signals["emg"].values, 0.5)))
    assert found.turn == EYE
    assert (
        "No EMG of wrist differs reliably from condition to condition in the training trials"
        in found.notes[0]
    )
    assert "the highest reliability is 0.00" in found.notes[0]


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "endpoint", [ENDPOINT, stated(35), stated(35, aligned_by=""), replace(ENDPOINT, aligned_by="")]
)
def test_turn_and_map_survive_a_file_and_are_of_its_digest(tmp_path, endpoint):
    session = wrist_session(turn=35, n_repeats=1, endpoint=endpoint)
    read = load_session(write_for_test(tmp_path / "wrist.nwb", session))
    assert (read.endpoint, read.muscle_map, read.body) == (endpoint, CHANNELS, BODY)
    assert read.sha256 == session_digest(session)
    assert read.signals["emg"].columns == tuple(CHANNELS) and read.signals["emg"].role == "emg"


def test_each_of_them_changes_the_digest_and_where_there_is_none_it_is_as_before():
    session = wrist_session(n_repeats=1, endpoint=replace(ENDPOINT, aligned_by=""))
    plain = replace(session, muscle_map={})
    variants = [
        plain,
        session,
        replace(session, muscle_map=CHANNELS | {"FDS": ("FDS2",)}),
        replace(plain, endpoint=stated(35, aligned_by="")),
        replace(plain, endpoint=stated(36, aligned_by="")),
        replace(plain, endpoint=ENDPOINT),
    ]
    assert len({session_digest(variant) for variant in variants}) == len(variants)
    assert set(plain.endpoint.to_json()) == {"signal", "axes", "scale", "origin"}
    assert json.loads(json.dumps(stated(35).to_json()))["aligned_by"] == "emg"


def test_a_session_that_emg_turns_is_ready_for_tracking_and_its_notes_say_how():
    from neurobench_grasp.alignment.readiness import notes_on_trials, scored_by

    session = wrist_session(turn=30, n_repeats=4)
    assert scored_by(session, {"tracking": "yes", "encoding": "yes"}) == {
        "tracking": "yes, with the body isometric_wrist: its posture follows from cursor",
        "encoding": "yes",
    }
    assert any("are turned by" in note for note in notes_on_trials(session))
    silent = replace(session, endpoint=replace(session.endpoint, signal="nothing"))
    assert (
        scored_by(silent, {"tracking": "yes"})["tracking"] == "no joint angles of isometric_wrist are known"
    )


@pytest.mark.parametrize("axes", [("x", "depth"), ("x",)])
def test_axes_that_were_not_recorded_are_refused_in_a_sentence(axes):
    session = wrist_session(turn=30, n_repeats=4)
    session = replace(session, endpoint=replace(session.endpoint, axes=axes))
    with pytest.raises(
        UnsupportedError, match=f"has the axes {', '.join(axes)}; isometric_wrist needs a column"
    ):
        turned_by(session)


def test_a_body_without_an_endpoint_is_refused_in_a_sentence():
    session = replace(wrist_session(turn=30, n_repeats=4), body="myohand")
    with pytest.raises(UnsupportedError, match="The body myohand of wrist has no endpoint"):
        turned_by(session)


def turned_by(session):
    aligned = align(session)
    return aligned_by_muscles(aligned, aligned.trials.ids, None)
