"""Muscle activation beside recorded EMG: a candidate's, static optimisation's, and with permuted muscles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from neurobench_grasp.alignment.clock import ModelClock, clock_of, trials_with
from neurobench_grasp.alignment.muscle_map import EMG as ROLE
from neurobench_grasp.alignment.muscles import RecordedMuscles, channels_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.turn import aligned_by_muscles
from neurobench_grasp.bodies import body_of, find_body
from neurobench_grasp.contract import MUSCLE_LAYER, Activations, Floats, Ragged
from neurobench_grasp.errors import NgbError, UnsupportedError
from neurobench_grasp.protocols.context import Arrays, Context, Stage
from neurobench_grasp.protocols.settings import EMG
from neurobench_grasp.protocols.tracking import check_tracking
from neurobench_grasp.threads import on_all_cores

CANDIDATE, STATIC, PERMUTED = "", "static_optimisation", "permuted_muscles"
ACTIVATED = Stage("muscle-activation", asdict(EMG))
OPTIMISED = Stage("static-optimisation", asdict(EMG), model=False)


@dataclass(frozen=True)
class Muscles:
    """A session's EMG, and activations of a body's muscles in the same trials.

    Parameters
    ----------
    session : AlignedSession
        Its trials with EMG.
    n_without : int
        Other trials, in whose windows EMG has gaps.
    recorded : RecordedMuscles
        Mapped channels with a signal.
    shifted : Ragged
        The same at another time, (trial, bin of the window, n_channels).
    activation : mapping of str to tuple of Ragged
        Source → its draws, (trial, bin of ``session.scored``, n_muscles); the candidate is named "".
    absent : mapping of str to str
        Why there are no others.
    """

    session: AlignedSession
    n_without: int
    recorded: RecordedMuscles
    shifted: Ragged
    activation: Mapping[str, Sequence[Ragged]]
    absent: Mapping[str, str]

    @classmethod
    def of(cls, context: Context, session: AlignedSession) -> Muscles:
        """Activate the muscles of a session's body in all ways that are possible.

        Raises
        ------
        UnsupportedError
            If the session has no EMG of muscles of its body.
        """
        n_trials, session = len(session.start), session.select(trials_with(session, ROLE))
        assert session.recording is not None
        body = find_body(session.recording.session.body)
        recorded = RecordedMuscles.of(session, body, context.index(session, context.splits.train))
        moved = channels_of(session, recorded.channels, EMG.shift_s)
        activation: dict[str, Sequence[Ragged]] = {}
        absent = {}
        for name, source in ((CANDIDATE, _candidate), (STATIC, _static), (PERMUTED, _permuted)):
            try:
                activation[name] = source(context, session)
            except UnsupportedError as why:
                absent[name] = str(why)
        return cls(session, n_trials - len(session.start), recorded, moved, activation, absent)

    @property
    def leading(self) -> str:
        """The source that is drawn and shifted: static optimisation if the candidate activates no muscle."""
        return CANDIDATE if CANDIDATE in self.activation else STATIC

    def by_channel(self, source: str) -> list[Ragged]:
        """Return the draws of a source as channels of the EMG, (trial, bin of the window, n_channels)."""
        window = self.session.scored.window
        draws = (draw.cut(*window.T) for draw in self.activation[source])
        return [Ragged(self.recorded.of_body(draw.values), draw.offsets) for draw in draws]


def _candidate(context: Context, session: AlignedSession) -> list[Ragged]:
    """Return the candidate's activation, kept as a stage."""
    _require_posture(session)

    def make() -> Arrays:
        clock = context.clock(session)
        activation = _activation(context, clock)
        body = body_of(clock.scored)
        wanted = (int(clock.scored.offsets[-1]), len(body.muscles))
        if activation.values.shape != wanted or not np.isfinite(activation.values).all():
            raise NgbError(
                f"The model's muscle activation has shape {activation.values.shape}; it must be finite, of "
                f"shape {wanted}, one column for each muscle of {body.name}."
            )
        return {"activation": _in_bins(clock, activation)}

    made = context.stages(ACTIVATED, session, make)
    return [Ragged(made["activation"], session.scored.offsets)]


def _activation(context: Context, clock: ModelClock) -> Ragged:
    """Run the candidate: in closed loop, if it moves a body; otherwise it has a layer of muscles."""
    if context.model.moves_body:
        tracking = context.model.controller.track(clock.scored)
        check_tracking(tracking, clock.scored)
        if tracking.muscle_activation is None:
            raise UnsupportedError("the model moves joints by motors, so it activates no muscle")
        return tracking.muscle_activation
    layers = context.model.activations(clock.scored).layers
    if MUSCLE_LAYER not in layers:
        raise UnsupportedError(f"the model neither moves a body nor has a layer {MUSCLE_LAYER}")
    return layers[MUSCLE_LAYER]


def _static(context: Context, session: AlignedSession) -> list[Ragged]:
    """Return the least activations with the body's muscles."""
    return [_optimised(context, session, None)]


def _permuted(context: Context, session: AlignedSession) -> list[Ragged]:
    """Return the least activations with moment arms permuted among the muscles, draw by draw."""
    draws = [f"permuted-{k}" for k in range(EMG.n_permutations)]
    return on_all_cores(lambda tendons: _optimised(context, session, tendons), draws)


def _optimised(context: Context, session: AlignedSession, tendons: str | None) -> Ragged:
    """Optimise the activations of a body; recorded axes that EMG turns are turned for its tendons."""
    _require_posture(session)
    train = context.splits.train[session.id]

    def make() -> Arrays:
        from neurobench_grasp.bodies.static_optimisation import static_optimisation

        mine = aligned_by_muscles(session, train, tendons)  # which may be turned for other tendons
        body = body_of(mine.scored, tendons)
        clock = clock_of(mine, body.control_step)
        angles = clock.scored.joint_angles
        assert angles is not None
        found = static_optimisation(body, angles.values, clock.scored.dt, angles.offsets)
        return {"activation": _in_bins(clock, Ragged(found, angles.offsets))}

    made = context.stages(OPTIMISED, session, make, tendons=tendons)
    return Ragged(made["activation"], session.scored.offsets)


def _in_bins(clock: ModelClock, activation: Ragged) -> Floats:
    """Average over the bins of the recording, (n_bins, n_muscles)."""
    values: Floats = clock.in_bins(Activations({MUSCLE_LAYER: activation})).layers[MUSCLE_LAYER].values
    return values


def _require_posture(session: AlignedSession) -> None:
    if session.trials.joint_angles is None:
        raise UnsupportedError(
            f"{session.id} has EMG, but no joint angles and no endpoint of a body, so no muscle can be "
            "simulated and there is no movement to track"
        )
