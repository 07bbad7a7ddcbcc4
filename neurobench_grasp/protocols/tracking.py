"""Tracking: how closely a controller's hand follows the recorded movement (protocol section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import body_of, co_contraction, jerk, keypoint_distances
from neurobench_grasp.contract import Body, Floats, Ragged, ScoreRow, Scores, Tracking, Trials
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import TRACKING
from neurobench_grasp.protocols.trial_scores import (
    PerTrial,
    TrialScores,
    conditions_are_few,
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
MEASURED = Stage("tracking", asdict(TRACKING))


def run(context: Context) -> Scores:
    """Score one controller on one dataset.

    Returns
    -------
    Scores
        Tidy rows: errors with intervals and baselines, then how natural the movement is; and the errors of
        each session's hand, for comparisons of models.

    Raises
    ------
    UnsupportedError
        If the model moves no hand, or a session has no joint angles.
    NgbError
        If the model's hand does not have the steps of the trials, or is not finite.
    """
    if not context.model.moves_body:
        raise UnsupportedError(
            "This model moves no hand, and tracking scores a moving hand; score its encoding."
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
    """Errors of the hand and of the baselines in every trial, and naturalness; kept as a stage.

    Named by metric, and by metric and baseline: ``tracking_error``, ``tracking_error average_posture`` …
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
        shares = co_contraction(body, angles.values[some], active.values[some])
        trial = np.repeat(np.arange(len(active)), active.lengths)[some]
        out["co_contraction"] = np.bincount(trial, shares) / np.bincount(trial)
        out["saturated"] = np.stack([(a > TRACKING.saturated_above).mean(0) for a in active])
    return out


def hand_errors(
    body: Body, angles: Floats, points: Floats, recorded: Ragged, wanted: Ragged
) -> dict[str, Floats]:
    """Return the errors of each trial, named as in :data:`ERRORS`; one row of a hand is held at all steps."""
    distances = 1000 * keypoint_distances(points, wanted.values)
    tips = [body.keypoints.index(tip) for tip in body.tips]
    of_steps = {
        "tracking_error": distances.mean(1),
        "tracking_error_tips": distances[:, tips].mean(1),
        "joint_error": np.degrees(np.abs(angles - recorded.values)).mean(1),
    }
    starts, n = recorded.offsets[:-1], recorded.lengths
    return {name: np.add.reduceat(errors, starts) / n for name, errors in of_steps.items()}


def in_windows(trials: Trials, signal: Ragged) -> Ragged:
    """Cut a signal to the scored windows."""
    return signal.cut(trials.window[:, 0], trials.window[:, 1])


def check_tracking(tracking: Tracking, trials: Trials) -> None:
    """Raise if a hand lacks steps of the trials, or has numbers that are not finite."""
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
        yield from self.naturalness()

    def hand_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield each session's errors, with each condition (or trial) left out."""
        by_trial = conditions_are_few(self.parts)
        for metric in ERRORS:
            for part, trials in self.parts:
                yield Labels("", self.split, metric, ""), unit_scores(part, trials, metric, by_trial=by_trial)

    def error(self, metric: str, *, reference: str = "") -> ScoreRow:
        """Mean error over trials, then sessions, then animals, with its interval."""
        labels = {"reference": reference} if reference else {}
        row = {"metric": metric, "split": self.split, **labels, "unit": ERRORS[metric]}
        row |= summary(self.parts, self.split, f"{metric} {reference}" if reference else metric)
        if not reference and row["value"] is not None:
            baseline = summary(self.parts, self.split, f"{metric} average_posture")
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
