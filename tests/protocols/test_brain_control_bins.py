"""Brain control of an arm from counts in bins that are wider or narrower than the controller's steps."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from courses import minimum_jerk
from hypothesis import given
from hypothesis import strategies as st
from planted import context_of

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.rates import bin_spikes
from neurobench_grasp.alignment.session import bins_before
from neurobench_grasp.bodies import body_of, find_body
from neurobench_grasp.checks.replay_controller import ReplayController
from neurobench_grasp.contract import Ragged, Tracking, Units
from neurobench_grasp.data import session_from_arrays
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols import tracking
from neurobench_grasp.protocols.brain_control import curves as brain_curves
from neurobench_grasp.protocols.brain_control import protocol as brain_control
from neurobench_grasp.protocols.brain_control.command_clock import CommandClock
from neurobench_grasp.protocols.brain_control.decoders import decode
from neurobench_grasp.protocols.brain_control.trial import drive_trial
from neurobench_grasp.protocols.brain_control.trials import KINDS, DecodingTrials, postures_ahead
from neurobench_grasp.protocols.settings import CurvesSettings

STEP = 0.02
ARM = find_body("planar_arm")
N_TARGETS, N_REPEATS, N_UNITS = 8, 6, 24
WIDTHS = (0.01, 0.05, 0.1)


# --- which bin drives which step ------------------------------------------------------------------

widths = st.integers(1, 40).map(lambda n: 5000 * n)


@given(widths, widths, st.integers(-50, 50))
def test_a_step_is_driven_by_the_newest_bin_that_is_complete_when_it_ends(width, step, at):
    clock = CommandClock(width, step)
    newest = int(clock.newest_bin(np.array([at]))[0])
    assert (newest + 1) * width <= (at + 1) * step < (newest + 2) * width  # complete; the next one is not
    assert at in clock.steps_of(np.array([newest]))[0]  # and it has a command for this step


@given(widths, widths, st.integers(-50, 50))
def test_the_first_command_of_a_bin_waits_for_no_step(width, step, at):
    clock = CommandClock(width, step)
    first = int(clock.first_step(np.array([at]))[0])
    assert first * step < (at + 1) * width <= (first + 1) * step


@given(widths, st.integers(-50, 50))
def test_bins_as_wide_as_steps_drive_the_step_of_the_same_number(width, at):
    clock, bins = CommandClock(width, width), np.arange(at, at + 5)
    assert clock.n_commands == 1
    for same in (clock.first_step(bins), clock.newest_bin(bins), clock.first_bin(bins)):
        assert same.tolist() == bins.tolist()
    commands = np.random.default_rng(0).standard_normal((5, 3))
    assert np.array_equal(clock.on_steps(commands, bins, bins), commands)


@given(widths, widths, st.integers(0, 60))
def test_the_first_bin_of_a_trial_drives_no_step_before_it(width, step, before):
    clock = CommandClock(width, step)
    bins = clock.first_bin(np.array([-before])) + np.array([-1, 0])
    earlier, first = clock.first_step(bins).tolist()
    assert earlier < -before <= first


# --- an arm whose reaches units encode --------------------------------------------------------------


class DelayedArm(ReplayController):
    """An arm that takes the commanded posture one step later; its embedding is the rotated goal."""

    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((10, 10)))[0]

    def embed(self, trials):
        goals = postures_ahead(trials.joint_angles, 5)
        return Ragged(goals.values @ self.turn, goals.offsets)

    def track(self, trials, *, goal=None):
        body = body_of(trials)
        if goal is None:
            return moved(body, trials.joint_angles)
        goals = goal.values.values @ self.turn.T if goal.kind == "embedding" else goal.values.values
        commands = Ragged(goals[:, : len(body.joints)], goal.values.offsets)
        first = [trial[:1] for trial in trials.joint_angles]
        reached = [np.concatenate([a, b[:-1]]) for a, b in zip(first, commands, strict=True)]
        return moved(body, Ragged.of(reached))


def moved(body, angles):
    return Tracking(angles, Ragged(body.keypoint_positions(angles.values), angles.offsets))


@cache
def reaches(informative=True):
    """Reaches to targets around a centre, and back; rates follow the posture 60 ms later."""
    rng = np.random.default_rng(4)
    n = N_TARGETS * N_REPEATS
    onset = 1.0 + 2.0 * np.arange(n)
    times = np.arange(0, onset[-1] + 2, 0.005) + 0.0025
    angle = 2 * np.pi * (np.arange(n) % N_TARGETS) / N_TARGETS + 0.15 * rng.standard_normal(n)
    reach = 0.35 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    reach *= 1 + 0.15 * rng.standard_normal((n, 1))
    out = minimum_jerk((times[:, None] - onset) / 0.6) - minimum_jerk((times[:, None] - onset - 0.8) / 0.6)
    angles = ARM.neutral + out @ reach
    velocity = np.gradient(angles, 0.005, axis=0)
    seen = np.hstack([angles - ARM.neutral, 0.2 * velocity])
    seen = np.roll(seen if informative else np.zeros_like(seen), -12, axis=0)
    rates = np.maximum(60 + 200 * seen @ rng.standard_normal((4, N_UNITS)), 0)
    fired = rng.poisson(0.005 * rates)
    spikes = {f"u{k:02d}": np.repeat(times, f) for k, f in enumerate(fired.T)}
    spikes = {unit: np.sort(t + 0.005 * (rng.random(len(t)) - 0.5)) for unit, t in spikes.items()}
    return session_from_arrays(
        id="reaches",
        subject="planted",
        spike_times=spikes,
        areas=dict.fromkeys(spikes, "M1"),
        trials={
            "start": onset - 0.9,
            "stop": onset + 1.1,
            "condition": [f"target_{i % N_TARGETS}" for i in range(n)],
            "move_onset": onset,
            "contact": onset + 0.9,
        },
        joint_angles={joint: angles[:, i] for i, joint in enumerate(ARM.joints)},
        angle_times=times,
        body="planar_arm",
    )


@cache
def binned(width, informative=True):
    """The session with counts in bins of this many seconds."""
    session = reaches(informative)
    u = session.units
    n = int(session.trials.stop[-1] / width)
    counts = bin_spikes(u.spike_times, u.spike_offsets, np.arange(n), width)
    units = Units(u.ids, u.areas, counts=counts, count_times=np.arange(n) * width, bin_width=width)
    return align(replace(session, units=units))


def context(session):
    made = context_of(session)
    return replace(made, model=replace(made.model, fit=DelayedArm, moves_body=True, step_s=STEP))


def with_counts(session, values):
    counts = Ragged(values, session.units.counts.offsets)
    return replace(session, units=replace(session.units, counts=counts))


def scores(rows, metric="brain_control_error"):
    """Rows on held-out targets by reference (or what is decoded) and keypoint."""
    return {
        (r.get("reference", r["decoded"]), r.get("dimension", "")): r
        for r in rows
        if r["metric"].startswith(metric) and r["split"] == "ood" and "session" not in r
    }


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1])
def test_planted_units_drive_the_arm_and_shifted_spikes_do_not(width):
    session = binned(width)
    rows = scores(brain_control.run(context(session)).rows)
    error = {key: row["value"] for key, row in rows.items()}
    for keypoint in ("", "elbow", "hand"):
        average = error["average_trajectory", keypoint]
        for kind in KINDS:
            assert error[kind, keypoint] < 0.5 * average
        assert error["decoded_posture", keypoint] < 0.5 * average
        assert error["shifted_spikes", keypoint] > average
        assert error["intact", keypoint] < 1e-6
    assert error["embedding", "hand"] > error["embedding", ""] > error["embedding", "elbow"]


def test_units_that_encode_nothing_leave_the_arm_at_its_average():
    rows = scores(brain_control.run(context(binned(0.05, False))).rows)
    average = rows["average_trajectory", ""]["value"]
    assert rows["embedding", ""]["value"] > 0.9 * average


def test_an_error_hardly_depends_on_the_width_of_bins():
    """Wider bins lose what happens within them, and nothing else: commands do not come late."""
    error = {}
    for width in (STEP, 0.05, 0.1):
        rows = scores(brain_control.run(context(binned(width))).rows)
        error[width] = rows["embedding", ""]["value"]
    average = rows["average_trajectory", ""]["value"]
    assert error[0.05] - error[STEP] < 0.1 * average
    assert error[0.1] - error[STEP] < 0.2 * average


def commands(session, kind, values=None):
    """Commands on the steps of every trial, by a decoder that was fitted on the session's own counts."""
    scored = context(session)
    moves = DecodingTrials.of(scored, session)
    decoder = brain_control.fitted(scored, moves, kind, np.arange(N_UNITS))
    given = moves if values is None else DecodingTrials.of(scored, with_counts(session, values))
    every = np.arange(len(moves.trials))
    return moves, decoder, moves.decoded(kind, decoder, given.spikes(np.arange(N_UNITS), every), every)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_is_driven_by_a_bin_that_ends_after_it_and_none_waits_for_one(width, kind):
    session = binned(width)
    moves, _, before = commands(session, kind)
    changed_from = 3  # bins after the start of the window
    values = session.units.counts.values.copy()
    for first, stop in pairwise(session.units.counts.offsets):
        values[first + bins_before(width) + changed_from : stop] += 5
    _, _, after = commands(session, kind, values)
    for i, window in enumerate(moves.trials.window):
        steps = np.arange(len(before[i])) - window[0]
        ends = np.rint(1000 * (steps + 1) * STEP)
        complete = ends >= np.rint(1000 * (changed_from + 1) * width)
        assert np.array_equal(before[i][~complete], after[i][~complete])
        assert (before[i][complete] != after[i][complete]).any(1).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_commands_are_those_of_plain_loops(width):
    session = binned(width)
    moves, decoder, found = commands(session, "embedding")
    n = moves.goals["embedding"].values.shape[1]
    for i in (0, 7, 30):
        counts = session.units.counts[int(moves.index[i])]
        decoder.reset(1)
        start = bins_before(width) + int(moves.first_bin[i]) - 9
        given = {}
        for row in range(start, len(counts)):
            given[row - bins_before(width)] = decoder.observe(counts[row][None])[0].reshape(-1, n)
        last = max(given)
        for step, command in enumerate(found[i], start=-int(moves.trials.window[i, 0])):
            end = round(1000 * STEP * (step + 1))
            newest = max(k for k in given if round(1000 * width * (k + 1)) <= end or k == min(given))
            waited = 0  # steps that the newest bin has driven before this one
            while (
                round(1000 * STEP * (step - waited)) >= round(1000 * width * (newest + 1)) and newest < last
            ):
                waited += 1
            np.testing.assert_allclose(command, given[newest][waited], atol=1e-12)


@pytest.mark.parametrize("width", WIDTHS)
def test_targets_of_a_bin_are_the_goals_of_the_steps_that_it_drives(width):
    """A decoder that knows its targets gives every step its own goal."""
    moves = DecodingTrials.of(context(binned(width)), binned(width))
    for kind in KINDS:
        for i, targets in enumerate(moves.targets[kind]):
            bins = moves.first_bin[i] + np.arange(len(targets))
            steps = moves.first_step[i] + np.arange(len(moves.goals[kind][i]))
            assert np.array_equal(moves.clock.on_steps(targets, bins, steps), moves.goals[kind][i])


def test_bins_as_wide_as_steps_are_decoded_bin_by_bin_to_the_bit():
    session = binned(STEP)
    for kind in KINDS:
        moves, decoder, found = commands(session, kind)
        every = np.arange(len(moves.trials))
        plain = decode(decoder, moves.spikes(np.arange(N_UNITS), every), moves.lead)
        assert np.array_equal(found.values, plain.values) and np.array_equal(found.offsets, plain.offsets)
        assert np.array_equal(moves.targets[kind].values, moves.goals[kind].values)
        train = moves.training(kind, np.arange(N_UNITS))
        assert train.dt == STEP and train.lead == 9


def without_lead(session):
    """The session as if whole trials, from the start of their windows, were all that was recorded."""
    n, n_units = session.units.recorded.shape
    return replace(session, units=replace(session.units, recorded=np.zeros((n, n_units), bool)))


@pytest.mark.parametrize("width", [STEP, 0.1])
def test_without_spikes_before_windows_commands_begin_with_the_first_complete_bin(width):
    session = without_lead(binned(width))
    scored = context(session)
    moves, _, found = commands(session, "joint_angles")
    assert moves.lead == 0 and len(moves.trials) == len(session.trials)
    assert (moves.trials.window[:, 0] == 0).all() and (
        moves.counts.lengths == session.units.rates.lengths
    ).all()
    n_early = round(width / STEP) - 1  # steps that end before the first bin
    train = scored.index(session, scored.splits.train)
    mean = np.mean([moves.goals["joint_angles"][i][:n_early] for i in train], axis=0)
    for trial in found:
        assert np.array_equal(trial[:n_early], mean)
    assert len({trial[n_early].tobytes() for trial in found}) == len(found)
    error = {key: row["value"] for key, row in scores(brain_control.run(scored).rows).items()}
    assert error["embedding", ""] < 0.6 * error["average_trajectory", ""]


def test_steps_of_bins_whose_behaviour_is_not_known_have_the_reason():
    unknown = replace(binned(0.05), recording=None)
    rows = brain_control.run(context(unknown)).rows
    assert {r["value"] for r in rows} == {None}
    assert "bins of 50 ms, the model has steps of 20 ms" in rows[0]["reason"]
    with pytest.raises(UnsupportedError, match="cannot drive a body: reaches has bins of 50 ms"):
        drive_trial(context(unknown), unknown, 0, "M1", "embedding")


def test_curves_end_where_brain_control_stands(monkeypatch):
    few = CurvesSettings(n_units=(2,), n_subsets=2, noise=(1.0,), n_noises=2)
    monkeypatch.setattr(brain_curves, "CURVES", few)
    session = binned(0.05)
    rows = brain_curves.run(context(session)).rows
    whole = [r for r in rows if r["n_decoded_units"] == "all" and r["noise"] == 0.0]
    assert {r["decoded"] for r in whole} == set(KINDS)
    table = [r for r in brain_control.run(context(session)).rows if not r.keys() & {"reference", "dimension"}]
    for row in whole:
        (same,) = [r for r in table if all(r.get(k) == row[k] for k in ("metric", "split"))]
        assert row["value"] == pytest.approx(same["value"], abs=1e-9)


# --- errors of single keypoints ---------------------------------------------------------------------


def test_tracking_of_an_arm_has_the_error_of_every_keypoint(monkeypatch):
    session = binned(0.05)
    off = 0.02  # rad, of the shoulder: every point turns about it

    def track(self, trials, *, goal=None):
        turned = trials.joint_angles.values + np.array([off, 0.0])
        return moved(body_of(trials), Ragged(turned, trials.offsets))

    monkeypatch.setattr(DelayedArm, "track", track)
    rows = [r for r in tracking.run(context(session)).rows if r["split"] == "ood"]
    found = {(r.get("reference", ""), r["dimension"]): r for r in rows if "dimension" in r}
    made = context(session)
    trials = made.clock(session).scored.select(made.index(session, made.splits.ood))
    chord = 2 * np.sin(off / 2)
    errors = [
        1000 * chord * np.linalg.norm(ARM.keypoint_positions(a[first:stop]).reshape(-1, 2, 3), axis=2).mean(0)
        for a, (first, stop) in zip(trials.joint_angles, trials.window, strict=True)
    ]
    elbow, hand = np.mean(errors, axis=0)
    assert found["", "elbow"]["value"] == pytest.approx(elbow)
    assert found["", "hand"]["value"] == pytest.approx(hand)
    (mean,) = [
        r for r in rows if r["metric"] == "tracking_error" and not r.keys() & {"reference", "dimension"}
    ]
    assert mean["value"] == pytest.approx((elbow + hand) / 2)
    for baseline in tracking.BASELINES:
        assert found[baseline, "hand"]["value"] > found[baseline, "elbow"]["value"] > elbow


def test_a_body_of_many_keypoints_has_no_row_of_each():
    assert tracking.named_keypoints(find_body("myohand")) == ()
    assert tracking.named_keypoints(ARM) == ("elbow", "hand")
