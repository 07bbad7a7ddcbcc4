"""Explanations for readers of the board: metrics, levels of verification, fields of a card."""

from __future__ import annotations

from collections.abc import Mapping

METRICS: Mapping[str, str] = {
    "single_trial_ev": (
        "Explained variance, 1 − Var(y − ŷ) / Var(y), of each unit over the bins of single trials; "
        "negative values are kept; mean over units, then sessions, then animals."
    ),
    "single_trial_r2": "Coefficient of determination: like single-trial EV, but constant offsets count.",
    "condition_averaged_ev": (
        "Explained variance of the mean over a condition’s trials, at 25 phases of the movement."
    ),
    "object_tuning_ev": (
        "Condition-averaged EV beyond the mean over training conditions at each phase: tuning to objects "
        "without the common time course."
    ),
    "gain_over_best_kinematic": (
        "Score minus that of the best of the maps from recorded movement (linear, linear with look-ahead, "
        "quadratic), chosen for each area and fold on training trials; paired unit by unit."
    ),
    "gain_over_linear_lookahead": (
        "Score minus that of a linear map from muscle lengths and velocities now and in the next 0.1 s."
    ),
    "gain_over_quadratic_kinematic": (
        "Score minus that of a map from positions, velocities, accelerations, their squares and products."
    ),
    "gain_over_linear_emg": "Score minus that of a linear map from recorded EMG, paired unit by unit.",
    "gain_over_linear_kinematic": (
        "Score minus that of a linear map from muscle lengths and velocities, paired unit by unit."
    ),
    "gain_over_linear_inputs": (
        "Score minus that of a linear map from what the network received, paired unit by unit."
    ),
    "gain_over_untrained": (
        "Score minus that of the same network with the weights that training began with, on the same inputs."
    ),
    "gain_over_phase_mean": (
        "Score minus that of the mean over training conditions at each phase of the movement."
    ),
    "gain_over_behaviour_gru": (
        "Score minus that of a recurrent network from recorded behaviour to these very units, trained on "
        "their spikes in training trials: how far a model is from what behaviour might explain."
    ),
    "unique_ev": (
        "Explained variance with all groups of features, minus that of a model fitted again without one "
        "group; paired unit by unit."
    ),
    "added_ev": (
        "Explained variance with quadratic kinematics and a group of features, minus that with quadratic "
        "kinematics alone; paired unit by unit."
    ),
    "emg_correlation": (
        "Correlation of recorded EMG and muscle activation, of averages of conditions at 25 phases laid end "
        "to end; mean over channels."
    ),
    "muscle_rsa": (
        "Rank correlation of the correlations between channels of the EMG with those between the same "
        "simulated muscles: which muscles are active together."
    ),
    "gain_over_permuted_muscles": (
        "Similarity to EMG minus that of least activations with permuted moment arms, paired by channel."
    ),
    "n_channels_silent": "Number of mapped EMG channels that tell no conditions apart; they are listed.",
    "n_trials_without_emg": "Number of trials in whose window EMG was not recorded throughout; left out.",
    "cca": (
        "Canonical correlations of a layer and a population: averages of conditions, aligned on training "
        "trials, compared on others."
    ),
    "procrustes": "The same without whitening: an angular shape metric, as a cosine.",
    "dsa": (
        "One minus the angle, in right angles, between linear operators of the dynamics of a layer and a "
        "population, under the orthogonal map that is best on training trials."
    ),
    "condition_rsa": (
        "Spearman’s correlation of the distances between conditions in a layer and in a population, without "
        "what noise adds to them."
    ),
    "gain_over_matched_covariance": (
        "Similarity minus that of random responses with the covariance of the layer over features and phases."
    ),
    "n_units_population": "Units of an area that were observed in all trials, with enough spikes.",
    "n_dimensions": "Principal components that explain 90 % of the variance of a population that repeats.",
    "gain_over_average_trajectory": "Error of replaying the mean movement, minus error of the model.",
    "gain_over_average_posture": "Error of holding the mean posture, minus error of the model.",
    "gain_over_shifted_spikes": "Error with spikes shifted in time, minus error of the model.",
    "ceiling": "Score of a perfect model, given that spikes are noisy; of EMG, reliability of its averages.",
    "poisson_ceiling": "The ceiling under the assumption of Poisson spiking.",
    "repeats_ceiling": "The ceiling if all variance between repeats were noise.",
    "share_of_ceiling": "Score over ceiling, a ratio of the means over units.",
    "lag": "Time by which units lead the model’s activations; chosen on training trials.",
    "n_units_best": "Number of units that a layer explains best on training trials.",
    "n_units_below_minus_1": (
        "Number of units with an explained variance below −1; they are listed and never dropped."
    ),
    "n_units_by_mean": "Number of units predicted by their mean: no map explains them on training trials.",
    "n_units_sparse": "Number of units with too few spikes to be scored; they are listed.",
    "n_units_unreliable": "Number of units too unreliable to have a ceiling.",
    "n_winsorised": "Number of component scores clipped at 6 standard deviations of training.",
    "tracking_error": "Mean distance of the body’s keypoints from the recorded movement, in mm.",
    "tracking_error_tips": "The same for the tips of the body alone: fingertips, or the hand of an arm.",
    "joint_error": "Mean absolute error of joint angles, in degrees.",
    "jerk": "Root mean square of the third derivative of keypoint positions, in m/s³.",
    "jerk_recorded": "The same for the recorded movement.",
    "co_contraction": "Share of the muscles’ joint torque that opposing muscles cancel, 0 to 1.",
    "most_saturated_muscle": "Largest share of steps at which one muscle is almost fully active.",
    "brain_control_error": (
        "Tracking error, in mm, of a body whose goal is decoded from spikes in closed loop."
    ),
    "brain_control_error_joint_angles": (
        "The same with joint angles decoded instead of the controller’s embedding."
    ),
    "decoding_ev": "Explained variance of the decoded embedding.",
    "decoding_ev_joint_angles": "Explained variance of the decoded joint angles.",
    "decoder_latency": "Time of decoding one bin of spikes, in ms.",
    "decoder_latency_joint_angles": "The same for joint angles.",
}
LEVELS = {
    "self-reported": "as its authors reported it",
    "re-scored": "scored again from the stored network, with the same result",
    "re-trained": "trained and scored again, with the same result",
}
"""Levels of verification, from the least to the most."""
CARD = {
    "licence": "licence",
    "authors": "authors",
    "citation": "citation",
    "action_space": "action space",
    "training_data": "further training data",
    "parameters": "parameters",
    "steps": "training steps",
    "compute": "compute",
    "seeds": "seeds of its networks",
    "simulator": "simulator",
}
