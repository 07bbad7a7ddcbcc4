"""Brain control: decoded spikes replace a controller's goal, and its movement is scored (section 5).

Reads top to bottom: what is decoded (`trials.py`) and by what (`decoders.py`), the closed loop
under the commands, then rows. Curves over units and noise are in `curves.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.bodies import body_of
from neurobench_grasp.contract import Decoder, Floats, Goal, Ints, Ragged, ScoreRow, Scores, Trials
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.protocols.brain_control.decoders import Guarded, check_decoder
from neurobench_grasp.protocols.brain_control.trials import KINDS, SPLITS, DecodingTrials, areas_of
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import BRAIN_CONTROL as SETTINGS
from neurobench_grasp.protocols.tracking import (
    BASELINES,
    at_keypoint,
    check_tracking,
    common_keypoints,
    hand_errors,
    in_windows,
    named_keypoints,
    per_trial,
)
from neurobench_grasp.protocols.trial_scores import (
    Parts,
    TrialScores,
    labels_of,
    over_trials,
    row_of,
    summary,
    unit_scores,
)
from neurobench_grasp.records.table import one_network
from neurobench_grasp.records.units import Labels, UnitTable
from neurobench_grasp.scoring.ev import grouped_ev
from neurobench_grasp.scoring.intervals import UnitScores
from neurobench_grasp.scoring.references import circular_shift, generator
from neurobench_grasp.threads import on_all_cores

ERROR, EV, LATENCY = "brain_control_error", "decoding_ev", "decoder_latency"
REFERENCES = ("intact", *BASELINES, "decoded_posture", "shifted_spikes")
GAINS = (*BASELINES, "shifted_spikes")
"""What the spikes of an area should do better than."""
MOST_DRIVEN = 1000  # trials in one closed loop, which keeps memory small
MEASURED = Stage("brain", asdict(SETTINGS), decoder=True)


def run(context: Context) -> Scores:
    """Score one controller, driven by the spikes of each area, on one dataset.

    Returns
    -------
    Scores
        Tidy rows: tracking errors beside references, decoding EV, latency of the decoder; and the errors of
        each session's body, for comparisons of models.

    Raises
    ------
    UnsupportedError
        If the model moves no body. What a session lacks is a reason in the rows.
    NgbError
        If the decoder breaks its contract, or the model's movement does not have the steps of the trials.
    """
    check_moves(context)
    measured = [(session, measure(context, session)) for session in context.sessions]
    tables = [
        _BrainControlTable(context, measured, area, split)
        for area in areas_of(context.sessions)
        for split in SPLITS
    ]
    rows = [row for table in tables for row in table.rows()] or [no_units(context)]
    return Scores(rows, UnitTable.of(s for table in tables for s in table.hand_scores()).arrays())


def check_moves(context: Context) -> None:
    """Raise ``UnsupportedError`` if the model moves no body."""
    if not context.model.moves_body:
        raise UnsupportedError(
            "This model moves no body, and brain control drives a body; score its encoding."
        )


def no_units(context: Context) -> ScoreRow:
    """Row of a dataset without areas."""
    names = ", ".join(session.id for session in context.sessions)
    return {"metric": ERROR, "value": None, "reason": f"{names}: no units to decode from"}


def metric_of(metric: str, kind: str) -> str:
    """Return the name of a metric for one kind of command; for the embedding it is the plain name."""
    return metric if kind == "embedding" else f"{metric}_{kind}"


# --- measuring ------------------------------------------------------------------------------------


def measure(context: Context, session: AlignedSession) -> Arrays:
    """Decode and drive one session; kept as a stage.

    Returns
    -------
    dict of str to ndarray
        Errors by trial of the session (NaN where it was not driven), ``M1 embedding`` …, of single keypoints
        ``M1 embedding@elbow`` …; tables of
        explained variance with each group left out, ``ev test M1 embedding by conditions`` (or ``trials``);
        ``latency M1 embedding``;
        ``driven test`` and ``scored test`` (places of trials); ``reason M1``: why there is nothing.
    """
    return context.stages(MEASURED, session, lambda: _measure(context, session))


def _measure(context: Context, session: AlignedSession) -> Arrays:
    areas = areas_of([session])
    try:
        context.progress(f"brain control {session.id}: decoding")
        moves = DecodingTrials.of(context, session)
    except UnsupportedError as reason:
        return {f"reason {area}": np.array(str(reason)) for area in areas}
    out: Arrays = {f"driven {split}": moves.index[which] for split, which in moves.driven.items()}
    out |= {f"scored {split}": moves.index[which] for split, which in moves.split.items() if split in SPLITS}
    populations: dict[str, Ints] = {}
    for area in areas:
        try:
            populations[area] = moves.units_of(area)
        except UnsupportedError as reason:
            out[f"reason {area}"] = np.array(str(reason))
    each = [(area, kind) for area in populations for kind in KINDS]
    with threadpool_limits(limits=1):
        found = on_all_cores(
            lambda which: _decode(
                context, moves, *which, populations[which[0]], first=which[0] == each[0][0]
            ),
            each,
        )
    commands: dict[str, Ragged] = {}
    for parts, goals in found:
        out |= parts
        commands |= goals
    context.progress(f"brain control {session.id}: closed loop of {len(driven_trials(moves))} trials")
    return out | _drive(context, moves, populations, commands)


def _decode(
    context: Context, moves: DecodingTrials, area: str, kind: str, units: Ints, *, first: bool
) -> tuple[Arrays, dict[str, Ragged]]:
    """Fit a decoder of one area; its explained variance and latency, and the commands that will drive."""
    name = f"{area} {kind}"
    decoder = fitted(context, moves, kind, units)
    if first:  # the contract is that of its code: once for each kind is enough
        check_decoder(decoder, moves.training(kind, units))
    one = moves.spikes(units, moves.split["train"][:1])
    out: Arrays = {f"latency {name}": np.array(_latency_ms(decoder, one))}
    decoded = {}
    for split in SPLITS:
        which = moves.split[split]
        if not len(which):
            continue
        decoded[split] = moves.decoded(kind, decoder, moves.spikes(units, which), which)
        for groups, by_trial in (("conditions", False), ("trials", True)):
            table = _explained(moves, which, kind, decoded[split], by_trial=by_trial)
            out[f"ev {split} {name} by {groups}"] = table
    driven = {
        split: decoded[split].select(np.searchsorted(moves.split[split], which))
        for split, which in moves.driven.items()
        if split in decoded
    }
    commands = {name: Ragged.join(list(driven.values()))}
    if kind == KINDS[0]:
        shifted = _shifted(context, moves, units)
        commands[f"{name} shifted"] = moves.decoded(kind, decoder, shifted, driven_trials(moves))
    return out, commands


def fitted(context: Context, moves: DecodingTrials, kind: str, units: Ints) -> Decoder:
    """Build a decoder and fit it on training trials; its own exceptions are reported with its name."""
    decoder = Guarded(context.decoder)
    decoder.fit(moves.training(kind, units))
    return decoder


def driven_trials(moves: DecodingTrials) -> Ints:
    """Trials that are driven, split after split."""
    return np.concatenate([moves.driven[split] for split in SPLITS])


def _latency_ms(decoder: Decoder, one: Ragged) -> float:
    """Median time that the commands of one bin take, milliseconds."""
    decoder.reset(1)
    spent = []
    for step in range(SETTINGS.latency_steps):
        spikes = one.values[step % len(one.values)][None].copy()
        started = time.perf_counter()
        decoder.observe(spikes)
        spent.append(time.perf_counter() - started)
    return 1000 * float(np.median(spent))


def _explained(moves: DecodingTrials, which: Ints, kind: str, decoded: Ragged, *, by_trial: bool) -> Floats:
    """Explained variance of each feature in the windows, and with each group left out, (n_groups + 1, n)."""
    some = moves.trials.select(which)
    wanted, given = (in_windows(some, signal) for signal in (moves.goals[kind].select(which), decoded))
    labels = labels_of(moves.session, moves.index[which].tolist(), by_trial=by_trial)
    return grouped_ev(wanted, given, labels, offset_counts=False)


def _shifted(context: Context, moves: DecodingTrials, units: Ints) -> Ragged:
    """Take the spikes of driven trials from random places of the session: the null."""
    every = moves.spikes(units, np.arange(len(moves.trials)))
    place = circular_shift(every.offsets, generator("shifted_spikes", context.seed, moves.session.id))
    return Ragged(every.values[place], every.offsets).select(driven_trials(moves))


def _drive(
    context: Context, moves: DecodingTrials, populations: Mapping[str, Ints], commands: Mapping[str, Ragged]
) -> Arrays:
    """Errors of the body under each command, by trial of the session."""
    which = driven_trials(moves)
    found: dict[str, Mapping[str, Floats]] = {}
    for kind in KINDS:
        wanted = [name for area in populations for name in (f"{area} {kind}", f"{area} {kind} shifted")]
        names = [name for name in wanted if name in commands]
        if len(which) and names:
            errors = driven_errors(context, moves, which, kind, [commands[name] for name in names])
            found |= {name: {k: e[i] for k, e in errors.items()} for i, name in enumerate(names)}
    for area in populations if len(which) else ():
        found[f"{area} decoded_posture"] = _posture_errors(moves, which, commands[f"{area} joint_angles"])
    keypoints = ("", *named_keypoints(body_of(moves.trials)))
    return {
        at_keypoint(name, keypoint): _by_trial(moves, which, errors[at_keypoint("tracking_error", keypoint)])
        for name, errors in found.items()
        for keypoint in keypoints
    }


def driven_errors(
    context: Context, moves: DecodingTrials, which: Ints, kind: str, commands: Sequence[Ragged]
) -> dict[str, Floats]:
    """Errors of the body in some trials under several sets of commands, driven side by side.

    Returns
    -------
    dict of str to ndarray, shape (n_commands, n_trials)
        As :func:`~neurobench_grasp.protocols.tracking.hand_errors` names them.
    """
    at_once = max(MOST_DRIVEN // len(which), 1)
    errors = []
    for first in range(0, len(commands), at_once):
        some = commands[first : first + at_once]
        trials = moves.trials.select(np.tile(which, len(some)))
        tracking = context.model.controller.track(trials, goal=Goal(kind, Ragged.join(some)))
        check_tracking(tracking, trials)
        errors.append(_errors(trials, tracking.joint_angles, tracking.keypoints))
    shape = len(commands), len(which)
    return {name: np.concatenate([e[name] for e in errors]).reshape(shape) for name in errors[0]}


def _posture_errors(moves: DecodingTrials, which: Ints, commands: Ragged) -> dict[str, Floats]:
    """Errors of a body that takes the decoded next posture, without a controller."""
    some = moves.trials.select(which)
    body = body_of(some)
    postures = Ragged.of(
        [np.concatenate([trial[:1], trial[:-1]])[:, : len(body.joints)] for trial in commands]
    )
    points = Ragged(body.keypoint_positions(postures.values), postures.offsets)
    return _errors(some, postures, points)


def _errors(trials: Trials, angles: Ragged, points: Ragged) -> dict[str, Floats]:
    """Errors of each trial in its window."""
    assert trials.joint_angles is not None
    body = body_of(trials)
    moved, reached, recorded = (in_windows(trials, s) for s in (angles, points, trials.joint_angles))
    wanted = Ragged(body.keypoint_positions(recorded.values), recorded.offsets)
    return hand_errors(body, moved.values, reached.values, recorded, wanted)


def _by_trial(moves: DecodingTrials, which: Ints, errors: Floats) -> Floats:
    """Put numbers of some trials in their places among those of the session."""
    out = np.full(len(moves.session.trials), np.nan)
    out[moves.index[which]] = errors
    return out


# --- rows -----------------------------------------------------------------------------------------


def _without_spikes(context: Context, session: AlignedSession) -> dict[str, Floats]:
    """Errors by trial under the true goal, and of the baselines, with those of single keypoints."""
    known, out = per_trial(context, session), {}
    for keypoint in ("", *named_keypoints(body_of(session.trials))):
        name = at_keypoint("tracking_error", keypoint)
        out[at_keypoint("intact", keypoint)] = known[name]
        out |= {at_keypoint(baseline, keypoint): known[f"{name} {baseline}"] for baseline in BASELINES}
    return out


class _BrainControlTable:
    """Scores of one area on one split."""

    def __init__(
        self, context: Context, measured: Sequence[tuple[AlignedSession, Arrays]], area: str, split: str
    ) -> None:
        self.area, self.split, self._one_of_many = area, split, context.model.seeded
        mine = [(session, found) for session, found in measured if area in session.units.areas]
        self.absent = [f"{s.id}: {found[f'reason {area}']}" for s, found in mine if f"reason {area}" in found]
        self.parts: list[tuple[TrialScores, Sequence[int]]] = []
        self.scored: list[tuple[TrialScores, Sequence[int]]] = []
        for session, found in mine:
            if f"reason {area}" not in found and len(found[f"driven {split}"]):
                values = TrialScores(session, {**found, **_without_spikes(context, session)})
                self.parts.append((values, found[f"driven {split}"].tolist()))
                self.scored.append((values, found[f"scored {split}"].tolist()))

    def rows(self) -> Iterator[ScoreRow]:
        """Yield all rows: errors with references and gains, decoding EV, latency."""
        for kind in KINDS:
            yield self.error(kind)
            yield from self.session_rows(kind)
        for reference in REFERENCES:
            yield self.error("embedding", reference)
        for keypoint in common_keypoints(part.session for part, _ in self.parts):
            yield from (self.error(kind, keypoint=keypoint) for kind in KINDS)
            yield from (self.error("embedding", reference, keypoint) for reference in REFERENCES)
        yield from (self.gain("embedding", reference) for reference in GAINS)
        yield from (self.gain("joint_angles", reference) for reference in BASELINES)
        for kind in KINDS:
            yield from self.decoding(kind)
        if self.split == SPLITS[0]:
            yield from (self.latency(kind) for kind in KINDS)

    def error(self, kind: str, reference: str = "", keypoint: str = "") -> ScoreRow:
        """Mean tracking error over trials, then sessions, then animals."""
        labels = self._labels(ERROR, kind) | ({"reference": reference} if reference else {})
        labels |= {"dimension": keypoint} if keypoint else {}
        name = at_keypoint(self._name(kind, reference), keypoint)
        return labels | {"unit": "mm"} | self._mean(self.parts, name)

    def session_rows(self, kind: str) -> Iterator[ScoreRow]:
        """Score session by session, where there are several."""
        for part in self.parts if len(self.parts) > 1 else ():
            labels = self._labels(ERROR, kind) | {"session": part[0].session.id, "unit": "mm"}
            yield labels | self._mean([part], self._name(kind))

    def gain(self, kind: str, reference: str) -> ScoreRow:
        """Return by how much the error is below a reference's, paired trial by trial."""
        labels = self._labels(f"gain_over_{reference}", kind) | {"of": metric_of(ERROR, kind), "unit": "mm"}
        names = self._name(kind, reference), self._name(kind)
        parts = [
            (TrialScores(p.session, {"gain": p.values[names[0]] - p.values[names[1]]}), trials)
            for p, trials in self.parts
            if all(name in p.values for name in names)
        ]
        return labels | one_network(self._mean(parts, "gain"), seeded=self._one_of_many)

    def decoding(self, kind: str) -> Iterator[ScoreRow]:
        """Yield explained variance: mean over features, then feature by feature (joint by joint)."""
        labels = self._labels(EV, kind)
        groups = "trials" if over_trials(self.scored, self.split) else "conditions"
        name = f"ev {self.split} {self.area} {kind} by {groups}"
        tables = [(p, trials, p.values[name]) for p, trials in self.scored]
        yield labels | self._ev(tables, slice(None))
        n = tables[0][2].shape[1] if tables else 0
        if kind == "joint_angles":
            joints = body_of(tables[0][0].session.trials).joints if tables else ()
            features = {joint: slice(j, None, len(joints)) for j, joint in enumerate(joints) if j < n}
        else:
            features = {str(k): slice(k, k + 1) for k in range(n)}
        for name, columns in features.items():
            yield labels | {"dimension": name} | self._ev(tables, columns)

    def _ev(self, tables: Sequence[tuple[TrialScores, Sequence[int], Floats]], columns: slice) -> ScoreRow:
        """Mean over some features that vary."""
        scores, parts = [], []
        for part, trials, table in tables:
            some = table[:, columns]
            varies = np.isfinite(some).all(0)
            if not varies.any():
                continue
            means = some[:, varies].mean(1)
            few = over_trials(self.scored, self.split)
            groups = sorted(set(labels_of(part.session, trials, by_trial=few)))
            left_out = {g: means[1 + k : 2 + k] for k, g in enumerate(groups)}
            scores.append(UnitScores(part.session.id, part.session.subject, ("hand",), means[:1], left_out))
            parts.append((part, trials))
        if not scores:
            return {"value": None, "reason": self._why() if not tables else "it does not vary in this split"}
        return self._complete(row_of(scores, parts, self.split))

    def latency(self, kind: str) -> ScoreRow:
        """Return the time that the commands of one bin take, median over bins, mean over sessions."""
        row: ScoreRow = {"metric": metric_of(LATENCY, kind), "area": self.area, "decoded": kind, "unit": "ms"}
        spent = [float(p.values[f"latency {self._name(kind)}"]) for p, _ in self.parts]
        return row | ({"value": float(np.mean(spent))} if spent else {"value": None, "reason": self._why()})

    def hand_scores(self) -> Iterator[tuple[Labels, UnitScores]]:
        """Yield each session's errors, with each condition (or trial) left out."""
        by_trial = over_trials(self.parts, self.split)
        for kind in KINDS:
            for part, trials in self.parts:
                labels = Labels(self.area, self.split, metric_of(ERROR, kind), "")
                scores = unit_scores(part, trials, self._name(kind), self.split, by_trial=by_trial)
                yield labels, scores

    def _labels(self, metric: str, kind: str) -> ScoreRow:
        metric = metric if metric.startswith("gain") else metric_of(metric, kind)
        return {"metric": metric, "split": self.split, "area": self.area, "decoded": kind}

    def _name(self, kind: str, reference: str = "") -> str:
        """Name of the errors by trial."""
        if reference == "shifted_spikes":
            return f"{self.area} {kind} shifted"
        if reference == "decoded_posture":
            return f"{self.area} {reference}"
        return reference or f"{self.area} {kind}"

    def _mean(self, parts: Parts, name: str) -> ScoreRow:
        if not self.parts:
            return {"value": None, "reason": self._why()}
        return self._complete(summary(parts, self.split, name))

    def _complete(self, row: ScoreRow) -> ScoreRow:
        """Add which sessions are missing from a mean."""
        if not self.absent:
            return row
        missing = f"without {'; '.join(self.absent)}"
        return row | {"reason": "; ".join(filter(None, [row.get("reason"), missing]))}

    def _why(self) -> str:
        return "; ".join(self.absent) or f"the split {self.split} has no trials"
