"""Every constant of the protocols; part of each record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.scoring.ev import PHASE_POINTS
from neurobench_grasp.scoring.intervals import MIN_GROUPS
from neurobench_grasp.scoring.rates import SMOOTHING_BINS
from neurobench_grasp.types import Floats


@dataclass(frozen=True)
class EncodingSettings:
    """Constants of the encoding protocol (section 3).

    Parameters
    ----------
    n_components : int
        Most components per layer: 39 muscles × {length, velocity}.
    winsorise_sd : float
        Component scores are cut at this many standard deviations of train.
    log10_alphas : tuple
        Lowest and highest exponent of the ridge penalties, and their number.
    n_folds : int
    map_confidence : float
        A map is used where its cross-validated score is above zero with this one-sided confidence.
    min_repeats : int
        Trials that a condition needs to be averaged.
    phase_points : int
    smoothing_bins : int
    step_s, min_steps, max_signal_gap_s
        Bin width where spikes are times (s); shortest window (bins); longest gap that is bridged (s).
    lead_s, look_ahead_s : float
        Seconds before the window that models run at least, and after the greatest lag where they look ahead.
    n_draws : int
        Draws of each random reference.
    reliability_floor : float
        Units whose condition means in train are less reliable are left out of ceilings and normalised scores.
    min_conditions : int
        Fewer give an interval over trials instead of conditions.
    """

    n_components: int = 78
    winsorise_sd: float = 6.0
    log10_alphas: tuple[float, float, int] = (-2.0, 5.0, 15)
    n_folds: int = 5
    map_confidence: float = 0.95
    min_repeats: int = 3
    phase_points: int = PHASE_POINTS
    smoothing_bins: int = SMOOTHING_BINS
    step_s: float = 0.02
    min_steps: int = 8
    max_signal_gap_s: float = 0.1
    lead_s: float = 0.3
    look_ahead_s: float = 0.1
    n_draws: int = 5
    reliability_floor: float = 0.1
    min_conditions: int = MIN_GROUPS

    @property
    def alphas(self) -> Floats:
        """The grid of ridge penalties."""
        low, high, n = self.log10_alphas
        return np.logspace(low, high, n)

    @property
    def min_t(self) -> float:
        """Standard errors over folds by which a map must beat the mean of train to be used."""
        from scipy.special import stdtrit

        return float(stdtrit(self.n_folds - 1, self.map_confidence))


ENCODING = EncodingSettings()


@dataclass(frozen=True)
class LayersSettings:
    """Constants of the layer analysis.

    Parameters
    ----------
    components : tuple of int
        Numbers of components with which each layer is scored.
    """

    components: tuple[int, ...] = (1, 2, 5, 10, 20, 40, 78)


LAYERS = LayersSettings()


@dataclass(frozen=True)
class TrackingSettings:
    """Constants of the tracking protocol (section 4).

    Parameters
    ----------
    saturated_above : float
        Activation above which a muscle counts as saturated; the greatest action gives 0.924.
    co_contraction_every : int
        Co-contraction is computed at every such step.
    min_conditions : int
        Fewer give an interval over trials instead of conditions.
    """

    saturated_above: float = 0.9
    co_contraction_every: int = 5
    min_conditions: int = MIN_GROUPS


TRACKING = TrackingSettings()
