"""Constants of the step grid; part of the settings of every protocol that scores units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPIKE_HISTORY = 10
"""Bins of spikes, the present one included, that a decoded command may depend on."""


@dataclass(frozen=True)
class AlignmentSettings:
    """Constants of trials and rates (section 1).

    Parameters
    ----------
    step_s, min_steps, max_signal_gap_s
        Bin width where spikes are times (s); shortest window (bins); longest gap that is bridged (s).
    lead_s, look_ahead_s : float
        Seconds before the window that models run at least, and after the greatest lag where they look ahead.
    """

    step_s: float = 0.02
    min_steps: int = 8
    max_signal_gap_s: float = 0.1
    lead_s: float = 0.3
    look_ahead_s: float = 0.1

    def steps_before(self, dt: float) -> int:
        """Return the number of steps before the window from which models run."""
        return int(np.ceil(round(self.lead_s / dt, 6)))


ALIGNMENT = AlignmentSettings()
