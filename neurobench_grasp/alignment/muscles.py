"""Recorded EMG as activity of a body's muscles: mapped channels with a signal, in the scored windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurobench_grasp.alignment.clock import recorded_in_bins
from neurobench_grasp.alignment.muscle_map import EMG, emg_columns, muscles_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.contract import Body, Floats, Ragged
from neurobench_grasp.errors import UnsupportedError
from neurobench_grasp.scoring.emg import tuning_reliability
from neurobench_grasp.scoring.ev import to_phase

LEAST_RELIABILITY = 0.5
"""Reliability of the tuning of a channel, below which its averages are more noise than signal."""


@dataclass(frozen=True)
class RecordedMuscles:
    """The EMG of a session and the muscles of a body that it recorded.

    Parameters
    ----------
    activity : Ragged
        (trial, bin of the window, n_channels), in the unit of the recording.
    channels : tuple of str, length n_channels
        Mapped channels whose activity differs from condition to condition.
    muscles : tuple of tuple of int, length n_channels
        Place of each channel's muscles in the body's order.
    silent : tuple of str
        Channels that are left out since they are without signal.
    """

    activity: Ragged
    channels: tuple[str, ...]
    muscles: tuple[tuple[int, ...], ...]
    silent: tuple[str, ...]

    @classmethod
    def of(cls, session: AlignedSession, body: Body, train: Sequence[int]) -> RecordedMuscles:
        """Find mapped channels with signal: those whose tuning is reliable in the training trials.

        Raises
        ------
        UnsupportedError
            If there is no EMG, no channel is mapped, or none has a signal.
        """
        t = session.scored
        assert session.recording is not None
        names, mapped = emg_columns(session.recording.session), muscles_of(session.recording.session, body)
        if not names:
            raise UnsupportedError(f"{session.id} has no EMG")
        if not mapped:
            raise UnsupportedError(
                f"No EMG of {session.id} is mapped to a muscle of {body.name}; name the muscles of its "
                f"channels ({', '.join(names)}) in the layout's muscle_map."
            )
        channels = list(mapped)
        activity = channels_of(session, channels)
        reliability = tuning_reliability(to_phase(activity.select(train)), [t.condition[i] for i in train])
        good = [int(i) for i in np.flatnonzero(reliability >= LEAST_RELIABILITY)]
        if not good:
            raise UnsupportedError(
                f"No EMG of {session.id} differs reliably from condition to condition in the training trials "
                f"({', '.join(mapped)}); the highest reliability is {reliability.max():.2f}, and below "
                f"{LEAST_RELIABILITY:g} averages are more noise than signal."
            )
        return cls(
            Ragged(activity.values[:, good], activity.offsets),
            tuple(channels[i] for i in good),
            tuple(mapped[channels[i]] for i in good),
            tuple(channel for i, channel in enumerate(channels) if i not in good),
        )

    def of_body(self, activation: Floats) -> Floats:
        """Average a body's muscle activation, (n_steps, n_muscles), over the muscles of each channel."""
        return np.stack([activation[:, list(muscles)].mean(1) for muscles in self.muscles], axis=1)


def channels_of(session: AlignedSession, channels: Sequence[str], later: float = 0.0) -> Ragged:
    """Return channels of the EMG in the scored windows, (trial, bin of the window, n_channels).

    ``later`` moves them in time, as in :func:`~neurobench_grasp.alignment.clock.recorded_in_bins`.

    Raises
    ------
    UnsupportedError
        If there is no EMG.
    """
    emg = recorded_in_bins(session, EMG, later).cut(*session.scored.window.T)
    assert session.recording is not None
    names = emg_columns(session.recording.session)
    return Ragged(emg.values[:, [names.index(channel) for channel in channels]], emg.offsets)
