"""What a session can be scored by: its trials are made as a score makes them."""

from __future__ import annotations

from collections.abc import Mapping

from neurobench_grasp.alignment.align import align
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.alignment.turn import aligned_by_muscles
from neurobench_grasp.contract import Session
from neurobench_grasp.errors import NgbError


def scored_by(session: Session, stated: Mapping[str, str]) -> dict[str, str]:
    """Correct what a layout states about the protocols by what becomes of the session's trials.

    Parameters
    ----------
    session : Session
    stated : mapping of str to str
        Protocol → ``yes``, perhaps with more, or why not.

    Returns
    -------
    dict of str to str
        The same, with the reason where trials cannot be made, or have no joint angles of a body.
    """
    try:
        trials = _made(session).trials
    except NgbError as error:
        return dict.fromkeys(stated, f"no: {error}")
    if trials.joint_angles is not None:
        follows = f"yes, with the body {trials.body}: its posture follows from {trials.inferred_from}"
        inferred = trials.inferred_from and stated["tracking"].startswith("yes")
        return {**stated, "tracking": follows} if inferred else dict(stated)
    moved = f"no joint angles of {session.body} are known"
    return {p: moved if p != "encoding" and a.startswith("yes") else a for p, a in stated.items()}


def notes_on_trials(session: Session) -> tuple[str, ...]:
    """Return what is noted when the session's trials are made, besides the notes of the reader.

    Raises
    ------
    NgbError
        If no trials can be made.
    """
    return tuple(note for note in _made(session).notes if note not in session.notes)


def _made(session: Session) -> AlignedSession:
    """Make the trials; where a score turns recorded axes by EMG of training trials, here by that of all."""
    aligned = align(session)
    return aligned_by_muscles(aligned, aligned.trials.ids, None)
