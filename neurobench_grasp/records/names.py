"""Display names of metrics, splits, references and decoded signals, and units of measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Metric(NamedTuple):
    """Name of a metric, its unit of measurement, and a shorter name for a table that has the context."""

    name: str
    unit: str = ""
    short: str = ""


METRICS: Mapping[str, Metric] = {
    "single_trial_ev": Metric("single-trial EV"),
    "single_trial_r2": Metric("single-trial R²"),
    "condition_averaged_ev": Metric("condition-averaged EV"),
    "object_tuning_ev": Metric("object-tuning EV"),
    "gain_over_best_kinematic": Metric("gain over best kinematics"),
    "gain_over_linear_kinematic": Metric("gain over linear"),
    "gain_over_linear_lookahead": Metric("gain over linear, look-ahead"),
    "gain_over_quadratic_kinematic": Metric("gain over quadratic"),
    "gain_over_linear_emg": Metric("gain over EMG"),
    "gain_over_linear_inputs": Metric("gain over own inputs"),
    "gain_over_untrained": Metric("gain over untrained"),
    "gain_over_phase_mean": Metric("gain over phase mean"),
    "gain_over_behaviour_gru": Metric("gain over the GRU on behaviour"),
    "unique_ev": Metric("unique EV"),
    "added_ev": Metric("EV beyond quadratic kinematics"),
    "emg_correlation": Metric("correlation with EMG"),
    "muscle_rsa": Metric("muscle RSA"),
    "gain_over_permuted_muscles": Metric("gain over permuted muscles"),
    "cca": Metric("CCA similarity", short="CCA"),
    "procrustes": Metric("Procrustes similarity", short="Procrustes"),
    "dsa": Metric("similarity of dynamics", short="DSA"),
    "condition_rsa": Metric("RSA of conditions", short="condition RSA"),
    "gain_over_matched_covariance": Metric("gain over matched covariance"),
    "n_units_population": Metric("units of the population"),
    "n_dimensions": Metric("dimensions of the population"),
    "n_channels_silent": Metric("EMG channels without signal"),
    "n_trials_without_emg": Metric("trials without EMG"),
    "gain_over_average_trajectory": Metric("gain over average trajectory", "mm"),
    "gain_over_average_posture": Metric("gain over average posture", "mm"),
    "gain_over_shifted_spikes": Metric("gain over shifted spikes", "mm"),
    "ceiling": Metric("noise ceiling", short="ceiling"),
    "poisson_ceiling": Metric("Poisson ceiling"),
    "repeats_ceiling": Metric("ceiling from repeats"),
    "share_of_ceiling": Metric("share of ceiling", short="share of the ceiling"),
    "lag": Metric("lag", "s"),
    "n_units_best": Metric("units explained best"),
    "n_units_below_minus_1": Metric("units with EV below −1"),
    "n_units_by_mean": Metric("units predicted by their mean"),
    "n_units_sparse": Metric("units with too few spikes"),
    "n_units_unreliable": Metric("units without a ceiling"),
    "n_winsorised": Metric("values clipped"),
    "tracking_error": Metric("tracking error", "mm"),
    "tracking_error_tips": Metric("tracking error, tips", "mm"),
    "joint_error": Metric("joint error", "deg"),
    "jerk": Metric("jerk", "m/s³"),
    "jerk_recorded": Metric("jerk, recorded movement", "m/s³"),
    "co_contraction": Metric("co-contraction"),
    "most_saturated_muscle": Metric("most saturated muscle"),
    "brain_control_error": Metric("brain-control error", "mm"),
    "brain_control_error_joint_angles": Metric(
        "brain-control error, joint angles", "mm", "the same, angles decoded"
    ),
    "decoding_ev": Metric("decoding EV, embedding"),
    "decoding_ev_joint_angles": Metric("decoding EV, joint angles"),
    "decoder_latency": Metric("decoder latency, embedding", "ms", "one command, embedding"),
    "decoder_latency_joint_angles": Metric("decoder latency, joint angles", "ms", "one command, angles"),
}
SPLITS: Mapping[str, str] = {
    "ood": "new conditions",
    "test": "new trials",
    "train": "training trials",
    "train_by_object": "training trials, folds by object",
    "session": "another session",
}
REFERENCES: Mapping[str, str] = {
    "best_kinematic": "best kinematics",
    "linear_kinematic": "linear, muscle kinematics",
    "linear_lookahead": "linear, with look-ahead",
    "quadratic_kinematic": "quadratic, kinematics",
    "linear_emg": "linear, recorded EMG",
    "linear_inputs": "linear, the network’s inputs",
    "untrained": "untrained twin",
    "phase_mean": "mean by phase",
    "psth": "mean by condition and phase",
    "condition_locked_noise": "noise that knows the condition",
    "circular_shift": "shifted in time (null)",
    "identical_trial": "the same trial in train (null)",
    "true_rate": "true rates",
    "behaviour_gru": "GRU on behaviour, trained on these units",
    "average_posture": "average posture",
    "average_trajectory": "average trajectory",
    "intact": "intact goal",
    "decoded_posture": "decoded posture, no controller",
    "shifted_spikes": "shifted spikes (null)",
    "static_optimisation": "static optimisation",
    "permuted_muscles": "static optimisation, permuted muscles (null)",
    "shifted_emg": "shifted EMG (null)",
    "matched_covariance": "random, matched in covariance (null)",
}
SAW_UNITS: Mapping[str, str] = {
    "behaviour_gru": "was trained on spikes of these units: an upper reference, never a candidate"
}
"""References that learned more than a map from the units that are scored, and how tables say so."""
GROUPS: Mapping[str, str] = {
    "muscles": "muscle lengths and velocities",
    "joints": "joint angles and velocities",
    "goal": "the next 100 ms of the movement",
    "emg": "recorded EMG",
    "layers": "the network’s best layer",
    "kinematic": "linear kinematics",
    "quadratic": "quadratic kinematics",
    "activation": "the model’s muscle activation",
    "static_optimisation": "static optimisation",
    "permuted_muscles": "static optimisation, permuted muscles (null)",
    "shifted_emg": "shifted EMG (null)",
}
"""Groups of features whose contributions are measured."""
DECODED: Mapping[str, str] = {"embedding": "embedding", "joint_angles": "joint angles"}
"""Decoded signals that a body is driven with."""


def metric_name(metric: str) -> str:
    """Display name of a metric."""
    return METRICS[metric].name if metric in METRICS else metric.replace("_", " ")


def short_name(metric: str) -> str:
    """Display name of a metric where the rows around it say the rest."""
    found = METRICS.get(metric)
    return metric if found is None else found.short or found.name


def split_name(split: str) -> str:
    """Display name of a split."""
    return SPLITS.get(split, split.replace("_", " "))


def lower_is_better(metric: str) -> bool:
    """Whether a metric is an error; all others are scores."""
    return "error" in metric
