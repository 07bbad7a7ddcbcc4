"""Tracking: how closely a controller's hand follows the recorded movement (protocol section 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.body import KEYPOINTS, co_contraction, jerk, keypoint_distances, keypoints
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.align import AlignedSession
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.settings import TRACKING
from neurobench_grasp.scoring.ev import to_phase
from neurobench_grasp.scoring.intervals import UnitScores, summarise
from neurobench_grasp.scoring.references import at_phase
from neurobench_grasp.scoring.units import Labels, UnitTable
from neurobench_grasp.types import Floats, Ragged, ScoreRow, Scores, Tracking

SPLITS = ("train", "test", "ood")
TIPS = tuple(i for i, name in enumerate(KEYPOINTS) if name.endswith("_tip"))
ERRORS = {"tracking_error": "mm", "tracking_error_tips": "mm", "joint_error": "deg"}
BASELINES = ("average_posture", "average_trajectory")
PerTrial = Mapping[str, Floats]


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
    if context.track is None:
        raise UnsupportedError(
            "This model moves no hand, and tracking scores a moving hand; score its encoding."
        )
    parts = []
    for session in context.sessions:
        if session.trials.joint_angles is None:
            raise UnsupportedError(
                f"{session.id} has no joint angles of the hand, so there is no movement to track."
            )
        context.progress(f"tracking {session.id}: closed loop over {len(session.trials)} trials")
        parts.append(_Scored(session, _per_trial(context, session)))
    tables = [_Table(context, parts, split) for split in SPLITS]
    units = UnitTable.of(scores for table in tables for scores in table.hand_scores())
    return Scores([row for table in tables for row in table.rows()], units.arrays())


@dataclass(frozen=True)
class _Scored:
    """A session with one number per trial: errors of the hand and of the baselines, and its naturalness."""

    session: AlignedSession
    values: PerTrial


def _per_trial(context: Context, session: AlignedSession) -> PerTrial:
    """Numbers of every trial of a session, kept as a stage."""
    key = context.key(
        stage="tracking", session=session.sha256, splits=context.splits.sha256, settings=asdict(TRACKING)
    )
    return context.stage("tracking", key, lambda: _measure(context, session))


def _measure(context: Context, session: AlignedSession) -> dict[str, NDArray[Any]]:
    trials = session.trials
    assert context.track is not None and trials.joint_angles is not None
    tracking = context.track(trials)
    _check(tracking, session)
    angles, points = _windows(session, tracking.joint_angles), _windows(session, tracking.keypoints)
    recorded = _windows(session, trials.joint_angles)
    wanted = Ragged(keypoints(recorded.values), recorded.offsets)
    out: dict[str, NDArray[Any]] = {**_errors(angles.values, points.values, recorded, wanted)}
    train = recorded.select(context.index(session, context.splits.train))
    if len(train):
        posture = train.values.mean(0)[None]
        course = to_phase(train).mean(0)
        courses = np.broadcast_to(course, (len(recorded), *course.shape))
        played = at_phase(courses, recorded.lengths.tolist()).values
        for name, hand in (("average_posture", posture), ("average_trajectory", played)):
            errors = _errors(hand, keypoints(hand), recorded, wanted)
            out |= {f"{metric} {name}": values for metric, values in errors.items()}
    out["jerk"], out["jerk_recorded"] = (
        np.array([jerk(window, trials.dt) for window in hand]) for hand in (points, wanted)
    )
    if tracking.muscle_activation is not None:
        active = _windows(session, tracking.muscle_activation)
        within = np.concatenate([np.arange(n) for n in active.lengths])
        some = np.flatnonzero(within % TRACKING.co_contraction_every == 0)
        shares = co_contraction(angles.values[some], active.values[some])
        trial = np.repeat(np.arange(len(active)), active.lengths)[some]
        out["co_contraction"] = np.bincount(trial, shares) / np.bincount(trial)
        out["saturated"] = np.stack([(a > TRACKING.saturated_above).mean(0) for a in active])
    return out


def _errors(angles: Floats, points: Floats, recorded: Ragged, wanted: Ragged) -> dict[str, Floats]:
    """Errors of each trial, in the order of :data:`ERRORS`; one row of a hand is held at all steps."""
    distances = 1000 * keypoint_distances(points, wanted.values)
    of_steps = {
        "tracking_error": distances.mean(1),
        "tracking_error_tips": distances[:, TIPS].mean(1),
        "joint_error": np.degrees(np.abs(angles - recorded.values)).mean(1),
    }
    starts, n = recorded.offsets[:-1], recorded.lengths
    return {name: np.add.reduceat(errors, starts) / n for name, errors in of_steps.items()}


def _windows(session: AlignedSession, signal: Ragged) -> Ragged:
    """Cut a signal to the scored windows."""
    windows = session.trials.window
    return Ragged.of([trial[first:stop] for trial, (first, stop) in zip(signal, windows, strict=True)])


def _check(tracking: Tracking, session: AlignedSession) -> None:
    for name, signal, width in (
        ("joint_angles", tracking.joint_angles, 23),
        ("keypoints", tracking.keypoints, 3 * len(KEYPOINTS)),
    ):
        if not np.array_equal(signal.offsets, session.trials.offsets) or signal.values.shape[1:] != (width,):
            raise NgbError(
                f"The model's {name} have shape {signal.values.shape} in {len(signal)} trials; they need "
                f"{width} columns and one row for every step of each trial."
            )
        if not np.isfinite(signal.values).all():
            raise NgbError(f"The model's {name} hold numbers that are not finite.")


class _Table:
    """Scores on one split."""

    def __init__(self, context: Context, parts: Sequence[_Scored], split: str) -> None:
        self.split = split
        ids = getattr(context.splits, split)
        self.parts = [(p, t) for p in parts if (t := context.index(p.session, ids))]

    def rows(self) -> Iterator[ScoreRow]:
        """Give all rows: errors with their baselines, then naturalness."""
        for metric in ERRORS:
            yield self.error(metric)
            yield from self.session_rows(metric)
            for baseline in BASELINES:
                yield self.error(metric, reference=baseline)
        yield from self.naturalness()

    def hand_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Give each session's errors, with each condition (or trial) left out."""
        by_trial = self._conditions_are_few(self.parts)
        for metric in ERRORS:
            for part, trials in self.parts:
                yield Labels("", self.split, metric, ""), _as_scores(part, trials, metric, by_trial=by_trial)

    def error(self, metric: str, *, reference: str = "") -> ScoreRow:
        """Mean error over trials, then sessions, then animals, with its interval."""
        labels = {"reference": reference} if reference else {}
        row = {"metric": metric, "split": self.split, **labels, "unit": ERRORS[metric]}
        row |= self._summary(self.parts, f"{metric} {reference}" if reference else metric)
        if not reference and row["value"] is not None:
            baseline = self._summary(self.parts, f"{metric} average_posture")
            row |= {"baseline": "average_posture", "baseline_value": baseline["value"]}
        return row

    def session_rows(self, metric: str) -> Iterator[ScoreRow]:
        """Score session by session, where there are several."""
        for part in self.parts if len(self.parts) > 1 else ():
            labels = {"metric": metric, "split": self.split, "session": part[0].session.id}
            yield labels | {"unit": ERRORS[metric]} | self._summary([part], metric)

    def naturalness(self) -> Iterator[ScoreRow]:
        """Jerk beside the recorded movement's, co-contraction, and muscles at their limit."""
        if not self.parts:
            return
        for metric in ("jerk", "jerk_recorded"):
            labels = {"metric": metric, "split": self.split, "unit": "m/s³"}
            yield labels | self._summary(self.parts, metric)
        if all("co_contraction" in p.values for p, _ in self.parts):
            labels = {"metric": "co_contraction", "split": self.split}
            yield labels | self._summary(self.parts, "co_contraction")
            saturated = np.concatenate([p.values["saturated"][t] for p, t in self.parts]).mean(0)
            labels = {"metric": "most_saturated_muscle", "split": self.split}
            yield labels | {"value": float(saturated.max())}

    def _conditions(self, parts: Sequence[tuple[_Scored, Sequence[int]]]) -> set[str]:
        return {p.session.trials.condition[i] for p, trials in parts for i in trials}

    def _conditions_are_few(self, parts: Sequence[tuple[_Scored, Sequence[int]]]) -> bool:
        return len(self._conditions(parts)) < TRACKING.min_conditions

    def _summary(self, parts: Sequence[tuple[_Scored, Sequence[int]]], name: str) -> ScoreRow:
        if not parts:
            return {"value": None, "reason": f"the split {self.split} has no trials"}
        if any(name not in p.values for p, _ in parts):
            return {"value": None, "reason": "there are no training trials to average"}
        conditions, few = self._conditions(parts), self._conditions_are_few(parts)
        total = summarise([_as_scores(p, trials, name, by_trial=few) for p, trials in parts])
        assert total is not None
        row: ScoreRow = {"value": total.value, "ci": total.ci, "n_conditions": len(conditions)}
        row["n_trials"] = sum(len(trials) for _, trials in parts)
        if total.ci is None:
            row["reason"] = (
                f"no interval: {row['n_trials']} trials of {len(conditions)} conditions are too few"
            )
        else:
            row["ci_over"] = ["trial" if few else "condition"]
            if few:
                row["reason"] = "interval for the conditions seen here only: too few to generalise"
        return row


def _as_scores(part: _Scored, trials: Sequence[int], name: str, *, by_trial: bool) -> UnitScores:
    """Mean over trials, and with each condition (or trial) left out."""
    session, values = part.session, part.values[name][list(trials)]
    label = session.trials.ids if by_trial else session.trials.condition
    groups = np.array([f"{session.id}/{label[i]}" if by_trial else label[i] for i in trials])
    kept = {g: values[groups != g] for g in sorted(set(groups.tolist()))}
    left_out = {g: np.array([v.mean() if len(v) else values.mean()]) for g, v in kept.items()}
    return UnitScores(session.id, session.subject, ("hand",), np.array([values.mean()]), left_out)
