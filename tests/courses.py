"""The course of a planted movement."""

import numpy as np


def minimum_jerk(phase):
    """From 0 to 1 as the phase does; it rests before and after. Flash and Hogan (1985)."""
    phase = np.clip(phase, 0, 1)
    return 10 * phase**3 - 15 * phase**4 + 6 * phase**5
