"""Which muscles of a body a session's EMG recorded, as its layout maps them."""

from __future__ import annotations

from difflib import get_close_matches

from neurobench_grasp.bodies import find_body
from neurobench_grasp.contract import Body, Session
from neurobench_grasp.errors import UnsupportedError

EMG = "emg"
"""Role of signals with muscle activity."""


def emg_columns(session: Session) -> list[str]:
    """Return the columns of all EMG, in the order of :func:`recorded_in_bins`."""
    return [column for signal in session.signals.values() if signal.role == EMG for column in signal.columns]


def muscles_of(session: Session, body: Body) -> dict[str, tuple[int, ...]]:
    """Return recorded channel → places of its muscles in the body's order, as the layout maps them.

    Raises
    ------
    UnsupportedError
        If the body has no such muscle.
    """
    place = {muscle: i for i, muscle in enumerate(body.muscles)}
    recorded, mapped = emg_columns(session), {}
    for channel, muscles in session.muscle_map.items():
        for muscle in muscles:
            if muscle not in place:
                near = get_close_matches(muscle, place, n=1)
                raise UnsupportedError(
                    f"The muscle_map of {session.layout} maps {channel} to {muscle!r}, which is no muscle of "
                    f"{body.name}{f' (did you mean {near[0]!r}?)' if near else ''}; "
                    f"`ngb bodies {body.name}` lists them."
                )
        if channel in recorded:
            mapped[channel] = tuple(place[muscle] for muscle in muscles)
    return mapped


def muscle_notes(session: Session) -> list[str]:
    """State which EMG is mapped to no muscle, and which names of the map were not recorded."""
    if not session.muscle_map:
        return []
    recorded, mapped = emg_columns(session), muscles_of(session, find_body(session.body))
    notes = []
    if unmapped := [channel for channel in recorded if channel not in mapped]:
        notes.append(f"EMG without a muscle of {session.body} in muscle_map: {', '.join(unmapped)}")
    if absent := [channel for channel in session.muscle_map if channel not in mapped]:
        near = {name: found[0] for name in absent if (found := get_close_matches(name, unmapped, n=1))}
        similar = "".join(f"; similar to {name}: {channel}" for name, channel in near.items())
        notes.append(f"names of muscle_map that were not recorded: {', '.join(absent)}{similar}")
    return notes
