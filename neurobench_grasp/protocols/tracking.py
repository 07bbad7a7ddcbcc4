"""Tracking: how closely a controller's body follows the recorded movement (protocol section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import body_of, co_contraction, find_body, jerk, keypoint_distances
from neurobench_grasp.contract import Body, Floats, Ragged, ScoreRow, Scores, Tracking, Trials
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import TRACKING
from neurobench_grasp.protocols.trial_scores import (
    PerTrial,
    TrialScores,
    over_trials,
    summary,
    unit_scores,
)
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.ev import to_phase
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.references import at_phase

SPLITS = ("train", "test", "ood")
ERRORS = {"tracking_error": "mm", "tracking_error_tips": "mm", "joint_error": "deg"}
BASELINES = ("average_posture", "average_trajectory")
MOST_NAMED = 6
"""Keypoints of a body each of which has rows; of more there is the mean alone."""
MEASURED = Stage("tracking", asdict(TRACKING))


def run(context: Context) -> Scores:
    """Score one controller on one dataset.

    Returns
    -------
    Scores
        Tidy rows: errors with intervals and baselines, then how natural the movement is; and the errors of
        each session's body, for comparisons of models.

    Raises
    ------
    UnsupportedError
        If the model moves no body, or a session has no joint angles.
    NgbError
        If the model's movement does not have the steps of the trials, or is not finite.
    """
    if not context.model.moves_body:
        raise UnsupportedError(
            "This model moves no body, and tracking scores a moving body; score its encoding."
        )
    parts = []
    for session in context.sessions:
        if session.trials.joint_angles is None:
            raise UnsupportedError(
                f"{session.id} has no joint angles of a body, so there is no movement to track."
            )
        context.progress(f"tracking {session.id}: closed loop over {len(session.trials)} trials")
        parts.append(TrialScores(session, per_trial(context, session)))
    tables = [_TrackingTable(context, parts, split) for split in SPLITS]
    units = UnitTable.of(scores for table in tables for scores in table.hand_scores())
    return Scores([row for table in tables for row in table.rows()], units.arrays())


def per_trial(context: Context, session: AlignedSession) -> PerTrial:
    """Errors of the body and of the baselines in every trial, and naturalness; kept as a stage.

    Named by metric, and by metric and baseline: ``tracking_error``, ``tracking_error average_posture`` …;
    of single keypoints ``tracking_error@elbow`` …
    """
    return context.stages(MEASURED, session, lambda: _measure(context, session))


def _measure(context: Context, session: AlignedSession) -> Arrays:
    trials = context.clock(session).scored
    assert trials.joint_angles is not None
    body = body_of(trials)
    tracking = context.model.controller.track(trials)
    check_tracking(tracking, trials)
    angles, points = in_windows(trials, tracking.joint_angles), in_windows(trials, tracking.keypoints)
    recorded = in_windows(trials, trials.joint_angles)
    wanted = Ragged(body.keypoint_positions(recorded.values), recorded.offsets)
    out: Arrays = {**hand_errors(body, angles.values, points.values, recorded, wanted)}
    train = recorded.select(context.index(session, context.splits.train))
    if len(train):
        posture = train.values.mean(0)[None]
        trajectory = to_phase(train).mean(0)
        trajectories = np.broadcast_to(trajectory, (len(recorded), *trajectory.shape))
        played = at_phase(trajectories, recorded.lengths.tolist()).values
        for name, hand in (("average_posture", posture), ("average_trajectory", played)):
            errors = hand_errors(body, hand, body.keypoint_positions(hand), recorded, wanted)
            out |= {f"{metric} {name}": values for metric, values in errors.items()}
    out["jerk"], out["jerk_recorded"] = (
        np.array([jerk(window, trials.dt) for window in hand]) for hand in (points, wanted)
    )
    if tracking.muscle_activation is not None:
        active = in_windows(trials, tracking.muscle_activation)
        within = np.concatenate([np.arange(n) for n in active.lengths])
        some = np.flatnonzero(within % TRACKING.co_contraction_every == 0)
        moved = body if tracking.body is None else find_body(tracking.body)  # its muscles' arms
        shares = co_contraction(moved, angles.values[some], active.values[some])
        trial = np.repeat(np.arange(len(active)), active.lengths)[some]
        out["co_contraction"] = np.bincount(trial, shares) / np.bincount(trial)
        out["saturated"] = np.stack([(a > TRACKING.saturated_above).mean(0) for a in active])
    return out


def hand_errors(
    body: Body, angles: Floats, points: Floats, recorded: Ragged, wanted: Ragged
) -> dict[str, Floats]:
    """Return the errors of each trial, named as in :data:`ERRORS`, and those of :func:`named_keypoints`.

    One row of a body is held at all steps.
    """
    distances = 1000 * keypoint_distances(points, wanted.values)
    tips = [body.keypoints.index(tip) for tip in body.tips]
    of_steps = {
        "tracking_error": distances.mean(1),
        "tracking_error_tips": distances[:, tips].mean(1),
        "joint_error": np.degrees(np.abs(angles - recorded.values)).mean(1),
    }
    for keypoint in named_keypoints(body):
        of_steps[at_keypoint("tracking_error", keypoint)] = distances[:, body.keypoints.index(keypoint)]
    starts, n = recorded.offsets[:-1], recorded.lengths
    return {name: np.add.reduceat(errors, starts) / n for name, errors in of_steps.items()}


def named_keypoints(body: Body) -> tuple[str, ...]:
    """Return the keypoints whose errors are reported one by one: all of a body that has few."""
    return body.keypoints if len(body.keypoints) <= MOST_NAMED else ()


def common_keypoints(sessions: Iterable[AlignedSession]) -> list[str]:
    """Return the keypoints whose errors are reported one by one in all of the sessions."""
    named = [named_keypoints(body_of(session.trials)) for session in sessions]
    return [name for name in (named[0] if named else ()) if all(name in names for names in named)]


def at_keypoint(name: str, keypoint: str = "") -> str:
    """Return the name of the errors of one keypoint; without a keypoint, of their mean."""
    return f"{name}@{keypoint}" if keypoint else name


def in_windows(trials: Trials, signal: Ragged) -> Ragged:
    """Cut a signal to the scored windows."""
    return signal.cut(trials.window[:, 0], trials.window[:, 1])


def check_tracking(tracking: Tracking, trials: Trials) -> None:
    """Raise if a movement lacks steps of the trials, or has numbers that are not finite."""
    body = body_of(trials)
    for name, signal, width in (
        ("joint_angles", tracking.joint_angles, len(body.joints)),
        ("keypoints", tracking.keypoints, 3 * len(body.keypoints)),
    ):
        if not np.array_equal(signal.offsets, trials.offsets) or signal.values.shape[1:] != (width,):
            raise NgbError(
                f"The model's {name} have shape {signal.values.shape} in {len(signal)} trials; they need "
                f"{width} columns and one row for every step of each trial."
            )
        if not np.isfinite(signal.values).all():
            raise NgbError(f"The model's {name} hold numbers that are not finite.")


class _TrackingTable:
    """Scores on one split."""

    def __init__(self, context: Context, parts: Sequence[TrialScores], split: str) -> None:
        self.split = split
        ids = getattr(context.splits, split)
        self.parts = [(p, t) for p in parts if (t := context.index(p.session, ids))]

    def rows(self) -> Iterator[ScoreRow]:
        """Yield all rows: errors with their baselines, then naturalness."""
        for metric in ERRORS:
            yield self.error(metric)
            yield from self.session_rows(metric)
            for baseline in BASELINES:
                yield self.error(metric, reference=baseline)
        for keypoint in common_keypoints(part.session for part, _ in self.parts):
            for reference in ("", *BASELINES):
                yield self.error("tracking_error", reference=reference, keypoint=keypoint)
        yield from self.naturalness()

    def hand_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield each session's errors, with each condition (or trial) left out."""
        by_trial = over_trials(self.parts, self.split)
        for metric in ERRORS:
            for part, trials in self.parts:
                scores = unit_scores(part, trials, metric, self.split, by_trial=by_trial)
                yield Labels("", self.split, metric, ""), scores

    def error(self, metric: str, *, reference: str = "", keypoint: str = "") -> ScoreRow:
        """Mean error over trials, then sessions, then animals, with its interval."""
        labels = {"reference": reference} if reference else {}
        labels |= {"dimension": keypoint} if keypoint else {}
        name = at_keypoint(metric, keypoint)
        row = {"metric": metric, "split": self.split, **labels, "unit": ERRORS[metric]}
        row |= summary(self.parts, self.split, f"{name} {reference}" if reference else name)
        if not reference and row["value"] is not None:
            baseline = summary(self.parts, self.split, f"{name} average_posture")
            row |= {"baseline": "average_posture", "baseline_value": baseline["value"]}
        return row

    def session_rows(self, metric: str) -> Iterator[ScoreRow]:
        """Score session by session, where there are several."""
        for part in self.parts if len(self.parts) > 1 else ():
            labels = {"metric": metric, "split": self.split, "session": part[0].session.id}
            yield labels | {"unit": ERRORS[metric]} | summary([part], self.split, metric)

    def naturalness(self) -> Iterator[ScoreRow]:
        """Jerk beside the recorded movement's, co-contraction, and muscles at their limit."""
        if not self.parts:
            return
        for metric in ("jerk", "jerk_recorded"):
            labels = {"metric": metric, "split": self.split, "unit": "m/s³"}
            yield labels | summary(self.parts, self.split, metric)
        if all("co_contraction" in p.values for p, _ in self.parts):
            labels = {"metric": "co_contraction", "split": self.split}
            yield labels | summary(self.parts, self.split, "co_contraction")
            saturated = np.concatenate([p.values["saturated"][t] for p, t in self.parts]).mean(0)
            labels = {"metric": "most_saturated_muscle", "split": self.split}
            yield labels | {"value": float(saturated.max())}
