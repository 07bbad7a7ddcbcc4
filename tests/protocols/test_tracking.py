"""Tracking scores: planted hands, plain loops, closed-form baselines, and hands that do not fit."""

import dataclasses

import numpy as np
import pytest
from movements import HAND, grasp_trials
from planted import context_of

from neurobench_grasp.alignment.session import AlignedSession, AlignedUnits
from neurobench_grasp.bodies import find_body
from neurobench_grasp.bodies.myohand import KEYPOINTS
from neurobench_grasp.contract import Ragged, Tracking
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols import tracking

N_TRIALS = 60
OTHER = "myohand/permuted-0"


def session_of(trials, name="planted"):
    n = len(trials)
    lengths = np.diff(trials.window, axis=1).ravel()
    empty = Ragged(np.zeros((lengths.sum(), 0)), np.concatenate([[0], np.cumsum(lengths)]))
    return AlignedSession(
        id=name, subject="monkey", sha256="0" * 64, trials=trials, start=10.0 * np.arange(n),
        units=AlignedUnits((), (), empty, empty, np.ones((n, 0), bool), np.ones((n, 0), bool)),
        conditions=dict(zip(trials.ids, trials.condition, strict=True)), max_lag=0.2,
    )  # fmt: skip


def hand(angles, activation=None):
    return Tracking(angles, Ragged(HAND.keypoint_positions(angles.values), angles.offsets), activation)


def rows_of(session, track):
    return tracking.run(context_of(session, **({} if track is None else {"track": track}))).rows


def pick(rows, **labels):
    found = [r for r in rows if all(r.get(k) == v for k, v in labels.items()) and "session" not in r]
    found = [r for r in found if ("reference" in r) == ("reference" in labels)]
    assert len(found) == 1, (labels, found)
    return found[0]


@pytest.fixture(scope="module")
def trials():
    return grasp_trials(N_TRIALS, n_objects=12)


def test_a_perfect_hand_has_no_error_and_the_recorded_jerk(trials):
    rows = rows_of(session_of(trials), lambda t: hand(t.joint_angles))
    for split in ("train", "test", "ood"):
        for metric in ("tracking_error", "tracking_error_tips", "joint_error"):
            assert pick(rows, metric=metric, split=split)["value"] == pytest.approx(0, abs=1e-9)
        jerk_of = {m: pick(rows, metric=m, split=split)["value"] for m in ("jerk", "jerk_recorded")}
        assert jerk_of["jerk"] == pytest.approx(jerk_of["jerk_recorded"]) and jerk_of["jerk"] > 0


def test_errors_equal_plain_loops(trials):
    rng = np.random.default_rng(0)
    shifted = Ragged(trials.joint_angles.values + 0.1 * rng.standard_normal(23), trials.offsets)
    session = session_of(trials)
    rows = rows_of(session, lambda t: hand(shifted))
    context = context_of(session)
    tips = [k for k, name in enumerate(KEYPOINTS) if name.endswith("tip")]
    for split in ("test", "ood"):
        errors, at_tips, joints = [], [], []
        for i in context.index(session, getattr(context.splits, split)):
            window = slice(*trials.window[i])
            reached, wanted = (
                HAND.keypoint_positions(a[i][window]).reshape(-1, 20, 3)
                for a in (shifted, trials.joint_angles)
            )
            distance = np.sqrt(((reached - wanted) ** 2).sum(2))
            errors.append(distance.mean())
            at_tips.append(distance[:, tips].mean())
            joints.append(np.abs(shifted[i][window] - trials.joint_angles[i][window]).mean())
        assert pick(rows, metric="tracking_error", split=split)["value"] == pytest.approx(
            1000 * np.mean(errors)
        )
        assert pick(rows, metric="tracking_error_tips", split=split)["value"] == pytest.approx(
            1000 * np.mean(at_tips)
        )
        assert pick(rows, metric="joint_error", split=split)["value"] == pytest.approx(
            np.degrees(np.mean(joints))
        )


def test_a_hand_that_holds_the_average_posture_equals_that_baseline(trials):
    session = session_of(trials)
    context = context_of(session)
    train = context.index(session, context.splits.train)
    mean = np.concatenate([trials.joint_angles[i][slice(*trials.window[i])] for i in train]).mean(0)
    held = Ragged(np.tile(mean, (trials.offsets[-1], 1)), trials.offsets)
    rows = rows_of(session, lambda t: hand(held))
    for split in ("test", "ood"):
        mine = pick(rows, metric="tracking_error", split=split)
        baseline = pick(rows, metric="tracking_error", split=split, reference="average_posture")
        assert mine["value"] == pytest.approx(baseline["value"]) == mine["baseline_value"]
        assert mine["value"] > 5  # mm
        course = pick(rows, metric="tracking_error", split=split, reference="average_trajectory")
        assert course["value"] < baseline["value"]


def test_the_interval_is_over_conditions_and_covers_the_mean(trials):
    shifted = Ragged(trials.joint_angles.values + 0.1, trials.offsets)
    row = pick(rows_of(session_of(trials), lambda t: hand(shifted)), metric="tracking_error", split="train")
    assert row["ci_over"] == ["condition"] and row["ci"][0] < row["value"] < row["ci"][1]
    assert row["n_conditions"] == 10 and row["unit"] == "mm"


def test_few_conditions_give_an_interval_over_trials_and_an_empty_split_a_reason():
    few = grasp_trials(40, n_objects=4)
    rows = rows_of(session_of(few), lambda t: hand(t.joint_angles))
    row = pick(rows, metric="tracking_error", split="test")
    assert row["ci_over"] == ["trial"] and "too few to generalise" in row["reason"]
    row = pick(rows, metric="tracking_error", split="ood")  # which other folds add conditions to
    assert row["ci"] is None and "too few" in row["reason"]
    single = grasp_trials(10, n_objects=10)  # one trial per object: nothing is left for test
    row = pick(
        rows_of(session_of(single), lambda t: hand(t.joint_angles)), metric="tracking_error", split="test"
    )
    assert row["value"] is None and "no trials" in row["reason"]


def test_muscles_are_reported_saturated_and_cancelling(trials):
    active = np.full((trials.offsets[-1], 39), 0.1)
    active[:, 7] = 0.99
    rows = rows_of(session_of(trials), lambda t: hand(t.joint_angles, Ragged(active, trials.offsets)))
    assert pick(rows, metric="most_saturated_muscle", split="test")["value"] == 1.0
    assert 0 < pick(rows, metric="co_contraction", split="test")["value"] < 1


def test_co_contraction_has_the_arms_of_the_body_that_moved(trials):
    """Two muscles: antagonists at a joint of the permuted hand, which pull it alike with their own arms."""
    own, permuted = (find_body(name).muscle_capacity(HAND.neutral[None])[0][0] for name in ("myohand", OTHER))
    cancels = (permuted[:, None] * permuted < -1e-6).any(-1) & ~(own[:, None] * own < 0).any(-1)
    pair = np.argwhere(cancels)[0]
    active = np.zeros((trials.offsets[-1], len(HAND.muscles)))
    active[:, pair] = 0.5
    still = Ragged(np.tile(HAND.neutral, (trials.offsets[-1], 1)), trials.offsets)
    moved = hand(still, Ragged(active, trials.offsets))
    shares = [
        pick(rows_of(session_of(trials), lambda t, m=m: m), metric="co_contraction", split="test")["value"]
        for m in (moved, dataclasses.replace(moved, body="myohand"), dataclasses.replace(moved, body=OTHER))
    ]
    assert shares[0] == shares[1] < 1e-9 and shares[2] > 0.01


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: Ragged(t.values[:-1], np.append(t.offsets[:-1], t.offsets[-1] - 1)), "one row for every step"),
        (lambda t: Ragged(t.values[:, :5], t.offsets), "23 columns"),
        (lambda t: Ragged(np.where(np.arange(len(t.values))[:, None] == 3, np.nan, t.values), t.offsets), "finite"),
    ],
)  # fmt: skip
def test_a_hand_that_does_not_fit_is_refused(trials, change, said):
    whole = hand(trials.joint_angles)
    with pytest.raises(NgbError, match=said):
        rows_of(session_of(trials), lambda t: Tracking(change(trials.joint_angles), whole.keypoints))


def test_a_model_without_a_body_and_a_session_without_angles_say_so(trials):
    with pytest.raises(UnsupportedError, match="moves no body"):
        rows_of(session_of(trials), None)
    blind = dataclasses.replace(trials, joint_angles=None)
    with pytest.raises(UnsupportedError, match="no joint angles"):
        rows_of(session_of(blind), lambda t: None)
