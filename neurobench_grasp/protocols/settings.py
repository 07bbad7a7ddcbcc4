"""Every constant of the protocols; part of each record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurobench_grasp.alignment.muscles import LEAST_RELIABILITY
from neurobench_grasp.alignment.rates import SMOOTHING_BINS
from neurobench_grasp.alignment.settings import ALIGNMENT, SPIKE_HISTORY, AlignmentSettings
from neurobench_grasp.contract import Floats
from neurobench_grasp.scoring.ev import PHASE_POINTS
from neurobench_grasp.scoring.intervals import MIN_GROUPS
from neurobench_grasp.scoring.sums import MIN_SPIKES, MIN_TRIALS


@dataclass(frozen=True)
class RidgeSettings:
    """Constants of ridge regression, the same for maps to units and for decoders.

    Parameters
    ----------
    log10_alphas : tuple
        Lowest and highest exponent of the penalties, and their number.
    n_folds : int
    """

    log10_alphas: tuple[float, float, int] = (-2.0, 5.0, 15)
    n_folds: int = 5

    @property
    def alphas(self) -> Floats:
        """The grid of penalties."""
        low, high, n = self.log10_alphas
        return np.logspace(low, high, n)


@dataclass(frozen=True)
class EncodingSettings(RidgeSettings, AlignmentSettings):
    """Constants of the encoding protocol (section 3), beside those of its trials and of ridge regression.

    Parameters
    ----------
    n_components : int
        Most components per layer: 39 muscles × {length, velocity}.
    winsorise_sd : float
        Component scores are cut at this many standard deviations of train.
    min_repeats : int
        Trials that a condition needs to be averaged.
    phase_points : int
    smoothing_bins : int
    n_draws : int
        Draws of each random reference.
    reliability_floor : float
        Units whose condition means in train are less reliable are left out of ceilings and normalised scores.
    min_conditions : int
        Fewer give an interval over trials instead of conditions.
    min_train_trials, min_train_spikes : int
        Training trials with spikes that a unit needs to be scored, two for each fold of a cross-validation
        (all, where there are fewer), and spikes in them.
    min_trials, min_spikes : int
        The same in the trials of the split, of all folds together.
    """

    n_components: int = 78
    winsorise_sd: float = 6.0
    min_repeats: int = 3
    phase_points: int = PHASE_POINTS
    smoothing_bins: int = SMOOTHING_BINS
    n_draws: int = 5
    reliability_floor: float = 0.1
    min_conditions: int = MIN_GROUPS
    min_train_trials: int = 10
    min_train_spikes: int = 20
    min_trials: int = MIN_TRIALS
    min_spikes: int = MIN_SPIKES


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
class PartitionSettings:
    """Constants of unique contributions, beside those of the encoding protocol.

    Parameters
    ----------
    n_draws : int
        Random weights of the groups that are tried for each unit, with every penalty of ridge regression.
    """

    n_draws: int = 64


PARTITION = PartitionSettings()


@dataclass(frozen=True)
class BrainControlSettings(RidgeSettings):
    """Constants of brain control (section 5).

    Parameters
    ----------
    history : int
        Bins of spikes that a command may depend on, the present one included.
    lead_s : float
        Seconds before the window from which commands are decoded.
    look_ahead_s : float
        Postures of the goal lie this far ahead at most.
    min_units, min_trials : int
        Units that an area needs, and training trials that a decoder needs.
    trials_per_split : int
        Most trials of a session's split that are driven in closed loop, spread evenly over conditions.
    latency_steps : int
        Commands whose computation is timed.
    min_conditions : int
        Fewer give an interval over trials instead of conditions.
    """

    history: int = SPIKE_HISTORY
    lead_s: float = ALIGNMENT.lead_s
    look_ahead_s: float = ALIGNMENT.look_ahead_s
    min_units: int = 2
    min_trials: int = 10
    trials_per_split: int = 28
    latency_steps: int = 200
    min_conditions: int = MIN_GROUPS

    def look_ahead(self, dt: float) -> int:
        """Return the number of postures of a goal."""
        return max(round(self.look_ahead_s / dt), 1)


BRAIN_CONTROL = BrainControlSettings()


@dataclass(frozen=True)
class CurvesSettings:
    """Constants of the curves of brain control.

    Parameters
    ----------
    n_units : tuple of int
        Units that are decoded; all of them too.
    n_subsets : int
        Random subsets of each number of units.
    noise : tuple of float
        Standard deviations of noise added to the decoded signal, relative to its own.
    n_noises : int
        Draws of each noise.
    """

    n_units: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    n_subsets: int = 10
    noise: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    n_noises: int = 5


CURVES = CurvesSettings()


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


@dataclass(frozen=True)
class EmgSettings(PartitionSettings, EncodingSettings):
    """Constants of the comparison with recorded EMG, beside those of maps to units and of banded ridge.

    Parameters
    ----------
    shift_s : float
        Seconds by which EMG is moved in time, for a null: longer than any trial.
    n_permutations : int
        Permutations of the body's moment arms.
    min_halves : int
        Trials that a condition needs for an average, and to be split into halves.
    least_reliability : float
        Reliability of the tuning of a channel in train, below which it counts as without signal.
    """

    shift_s: float = 60.0
    n_permutations: int = 5
    min_halves: int = 2
    least_reliability: float = LEAST_RELIABILITY


EMG = EmgSettings()


@dataclass(frozen=True)
class PopulationSettings(EncodingSettings):
    """Constants of measures of populations, beside those of the map that chooses the lag.

    Parameters
    ----------
    share : float
        Of the variance of a population's averages that repeats, and of that of a layer's: what the principal
        components explain that are compared. A common choice, not tried out.
    n_delays : int
        Phases of which a state of the dynamics consists: a fifth of the movement.
    min_halves : int
        Trials that a condition needs for an average: one for each half.
    n_draws : int
        Draws of the null, and of halves of the trials.
    """

    share: float = 0.9
    n_delays: int = 5
    min_halves: int = 2
    n_draws: int = 10


POPULATION = PopulationSettings()
