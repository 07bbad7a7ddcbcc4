"""What metrics, splits and references are called, and what they mean; for whoever reads the board."""

from __future__ import annotations

from collections.abc import Mapping

METRICS: Mapping[str, tuple[str, str]] = {
    "single_trial_ev": (
        "single-trial EV",
        "Explained variance, 1 − Var(y − ŷ) / Var(y), of each unit over the bins of single trials; signed, "
        "never clipped; mean over units, then sessions, then animals.",
    ),
    "single_trial_r2": (
        "single-trial R²",
        "The same with the squared error about zero: a constant offset counts.",
    ),
    "condition_averaged_ev": (
        "condition-averaged EV",
        "Explained variance of the mean over a condition’s trials, at 25 phases of the movement.",
    ),
    "object_tuning_ev": (
        "object-tuning EV",
        "Condition-averaged EV after subtracting, at each phase, the mean over conditions: what is left is "
        "tuning to objects, not the common time course.",
    ),
    "gain_over_linear_kinematic": (
        "gain over linear",
        "Score minus that of a linear map from muscle lengths and velocities, paired unit by unit.",
    ),
    "gain_over_linear_inputs": (
        "gain over own inputs",
        "Score minus that of a linear map from what the network received, paired unit by unit.",
    ),
    "gain_over_untrained": (
        "gain over untrained",
        "Score minus that of the same network with the weights that training began with, on the same inputs.",
    ),
    "gain_over_phase_mean": (
        "gain over phase mean",
        "Score minus that of the mean over training conditions at each phase of the movement.",
    ),
    "gain_over_average_trajectory": (
        "gain over average trajectory",
        "Error of playing the mean movement, minus error.",
    ),
    "gain_over_average_posture": (
        "gain over average posture",
        "Error of holding the mean posture, minus error.",
    ),
    "gain_over_shifted_spikes": (
        "gain over shifted spikes",
        "Error with spikes shifted in time, minus error.",
    ),
    "ceiling": ("noise ceiling", "What a perfect model would score, since spikes are noisy."),
    "poisson_ceiling": (
        "Poisson ceiling",
        "The ceiling if units fired as Poisson processes, which they do not.",
    ),
    "repeats_ceiling": (
        "ceiling from repeats",
        "The ceiling if all that differs between repeats were noise.",
    ),
    "share_of_ceiling": ("share of ceiling", "Score over ceiling, a ratio of the means over units."),
    "lag": ("lag", "By how much units lead the model’s activations; chosen on training trials."),
    "n_units_best": ("units explained best", "Units that a layer explains best on training trials."),
    "n_units_below_minus_1": (
        "units below −1",
        "Units with an explained variance below −1; named, never dropped.",
    ),
    "n_units_unreliable": ("unreliable units", "Units too unreliable to have a ceiling."),
    "n_winsorised": ("values cut", "Component scores cut at 6 standard deviations of training."),
    "tracking_error": (
        "tracking error",
        "Mean distance of 20 keypoints of the hand from the recorded movement, in mm.",
    ),
    "tracking_error_tips": ("fingertip error", "The same for the five fingertips alone."),
    "joint_error": ("joint error", "Mean absolute error of joint angles, in degrees."),
    "jerk": ("jerk", "How jerky the hand moves."),
    "jerk_recorded": ("jerk of the recording", "The same of the recorded movement."),
    "co_contraction": ("co-contraction", "Share of activation that moves nothing."),
    "most_saturated_muscle": (
        "most saturated muscle",
        "Largest share of steps that one muscle spends at its bounds.",
    ),
    "brain_control_error": (
        "brain-control error",
        "Tracking error, in mm, of a hand whose goal is decoded from spikes in closed loop.",
    ),
    "brain_control_error_joint_angles": (
        "brain-control error, joint angles",
        "The same with joint angles decoded instead of the controller’s embedding.",
    ),
    "decoding_ev": ("decoding EV", "Explained variance of the decoded embedding."),
    "decoding_ev_joint_angles": (
        "decoding EV, joint angles",
        "Explained variance of the decoded joint angles.",
    ),
    "decoder_latency": ("decoder latency", "Milliseconds that one step of decoding takes."),
    "decoder_latency_joint_angles": ("decoder latency, joint angles", "The same for joint angles."),
}
SPLITS = {
    "ood": "new objects",
    "test": "new trials",
    "train": "training trials",
    "train_by_object": "training trials, folds by object",
    "session": "another session",
}
REFERENCES = {
    "linear_kinematic": "linear, muscle kinematics",
    "linear_inputs": "linear, the network’s inputs",
    "untrained": "untrained twin",
    "phase_mean": "mean by phase",
    "psth": "mean by condition and phase",
    "condition_locked_noise": "noise that knows the condition",
    "circular_shift": "shifted in time (null)",
    "true_rate": "true rates",
    "average_posture": "average posture",
    "average_trajectory": "average trajectory",
    "intact": "intact goal",
    "decoded_posture": "decoded posture, no controller",
    "shifted_spikes": "shifted spikes (null)",
}
LEVELS = {
    "self-reported": "as its makers reported it",
    "re-scored": "scored again from the stored network, with the same result",
    "re-trained": "trained and scored again, with the same result",
}
"""Levels of verification, from the least to the most."""
CARD = {
    "licence": "licence",
    "authors": "authors",
    "citation": "citation",
    "action_space": "moves the hand with",
    "training_data": "learned from beyond the training trials",
    "parameters": "parameters",
    "steps": "training steps",
    "compute": "compute",
    "seeds": "networks that exist",
    "simulator": "simulator",
}


def metric_name(metric: str) -> str:
    """Name of a metric in words."""
    return METRICS[metric][0] if metric in METRICS else metric.replace("_", " ")


def split_name(split: str) -> str:
    """Name of a split in words."""
    return SPLITS.get(split, split.replace("_", " "))
