"""One trial, controlled by spikes exactly as in the protocol ``brain-control``, to be rendered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Goal, Ints, Tracking, Trials
from neurobench_grasp.errors import UnknownNameError, UnsupportedError
from neurobench_grasp.protocols.brain_control.decoders import check_decoder
from neurobench_grasp.protocols.brain_control.protocol import check_moves, fitted
from neurobench_grasp.protocols.brain_control.trials import (
    KINDS,
    DecodingTrials,
    areas_of,
    recorded_throughout,
)
from neurobench_grasp.protocols.context import Context
from neurobench_grasp.protocols.tracking import check_tracking


@dataclass(frozen=True)
class DrivenTrial:
    """A trial and the body that an area's spikes drove through it.

    Parameters
    ----------
    trials : Trials
        The trial alone, from the first decoded command to the end of its window.
    tracking : Tracking
        At the same steps.
    fitted_on : bool
        True if the decoder was fitted on this very trial, among others.
    """

    trials: Trials
    tracking: Tracking
    fitted_on: bool


def drive_trial(context: Context, session: AlignedSession, trial: int, area: str, kind: str) -> DrivenTrial:
    """Decode one trial, of any split, and let the commands take the goal's place.

    Parameters
    ----------
    context : Context
    session : AlignedSession
    trial : int
        Its place in the session.
    area : str
        Whose spikes are decoded.
    kind : str
        Command that is decoded, one of :data:`~neurobench_grasp.protocols.brain_control.trials.KINDS`.

    Raises
    ------
    UnknownNameError
        If there is no such area or kind of command.
    UnsupportedError
        If the model moves no body, or the session, the area or the trial cannot be used.
    NgbError
        If the decoder breaks its contract, or the model's movement does not have the steps of the trial.
    """
    check_moves(context)
    if kind not in KINDS:
        raise UnknownNameError(f"Commands of kind {kind!r} are not decoded; give one of {', '.join(KINDS)}.")
    areas = areas_of([session])
    if areas and area not in areas:
        raise UnknownNameError(f"{session.id} has no area {area!r}; it has {', '.join(areas)}.")
    try:
        moves = DecodingTrials.of(context, session)
        units = moves.units_of(area)
    except UnsupportedError as reason:
        why = str(reason).removesuffix(".")
        raise UnsupportedError(f"Spikes of {session.id} cannot drive a body: {why}.") from reason
    which = _place(moves, trial)
    context.progress(f"decoder of {kind.replace('_', ' ')} from {len(units)} units of {area}")
    with threadpool_limits(limits=1):  # as in the protocol, for the same bits
        decoder = fitted(context, moves, kind, units)
        check_decoder(decoder, moves.training(kind, units))
        commands = moves.decoded(kind, decoder, moves.spikes(units, which), which)
    trials = moves.trials.select(which)
    tracking = context.model.controller.track(trials, goal=Goal(kind, commands))
    check_tracking(tracking, trials)
    return DrivenTrial(trials, tracking, bool(np.isin(which, moves.split["train"]).all()))


def _place(moves: DecodingTrials, trial: int) -> Ints:
    """Find a trial of the session among those that can be driven."""
    place = np.flatnonzero(moves.index == trial)
    if len(place):
        return place
    session = moves.session
    before = recorded_throughout(session)[2] * session.trials.dt
    raise UnsupportedError(
        f"Spikes cannot drive trial {session.trials.ids[trial]!r} of {session.id}, since not all units were "
        f"recorded from {before:.2g} s before its window to its end; the first trial where they were is "
        f"{moves.trials.ids[0]!r}."
    )
