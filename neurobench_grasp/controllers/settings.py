"""Every constant of the controllers and of their training; part of each network's card."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import timedelta

from neurobench_grasp.bodies.spec import PHYSICS_STEPS
from neurobench_grasp.contract import Body

STEPS_PER_JOINT = 200_000
"""Control steps of experience that suffice for each joint of a body; see docs/controllers.md."""
SECONDS_PER_STEP, SECONDS_PER_STEP_AND_JOINT = 1.3e-4, 1.2e-5
"""Of training: their sum is that of a hand of 23 joints and of an arm of two, each on one or two cores."""
MAY_BE_NONE = (
    "settle_steps", "margin_steps", "least_movements", "lstm_units", "warm_start_steps",
    "trajectory_delay", "proprioception_delay", "efference_delay",
)  # fmt: skip
"""Whole numbers of which 0 is a valid value."""
MOST_STEPS = 50  # a second of delay or of past inputs, beyond which a card is taken for damaged


@dataclass(frozen=True)
class ControllerSettings:
    """Inputs, architecture and training of a controller.

    Parameters
    ----------
    look_ahead : int
        Future frames of the reference in the goal, 20 ms apart, the next one first.
    encoder_units, integration_units, decoder_units : int
        Widths of the layers, the same in actor and critic.
    physics_steps : int
        Physics steps per control step of 20 ms, in training; scores always use the default.
    settle_steps : int
        Steps before a scored trial during which its first frame is held, so that activations settle.
    margin_steps : int
        Steps before and after the scored window that are imitated in training.
    least_movements : int
        With fewer training trials, mixtures of two of them are added until there are this many.
    joint_weight, joint_scale : float
        Reward ``joint_weight · exp(−mean squared error / joint_scale²)`` over the joints of each part of the
        hand; scale in rad.
    keypoint_weight, keypoint_scale : float
        Reward ``keypoint_weight · exp(−mean distance / keypoint_scale)`` over the keypoints of each part;
        scale in m.
    effort_weight : float
        Cost ``effort_weight · mean squared activation`` of the muscles that move a part (for motors: mean
        squared action).
    max_error : float
        An episode ends when the mean keypoint distance passes this, metres.
    log_std, final_log_std : float
        Logarithm of the exploration's standard deviation, falling linearly from first to last step.
    n_envs, n_steps, batch_size, n_epochs, gamma, gae_lambda, clip_range, max_grad_norm
        Parameters of proximal policy optimisation (stable-baselines3).
    learning_rate, final_learning_rate, learning_rate_power : float
        Learning rate at the first and at the last step; it falls with the remaining fraction of steps to
        this power: 1 is linear, higher values spend longer at low rates.
    default_steps : int
        Control steps of experience, by default; fewer for a body of few joints, see :meth:`steps_for`.
    lstm_units : int
        Units of an LSTM on the encodings, of which the integration layer receives the hidden state, too; 0:
        none. Training then backpropagates through ``n_steps``, and batches are of whole sequences.
    stack_steps : int
        Steps whose encodings the integration layer receives, the present one and those before it.
    trajectory_delay, proprioception_delay, efference_delay : int
        Control steps of 20 ms by which each stream of the observation is late, in training and in scores.
    sensor_noise : float
        Standard deviation of the noise on proprioception, as a share of that of each of its features over the
        recorded movements. In training only.
    motor_noise : float
        Standard deviation of the noise on each excitation or torque, as a share of it (signal-dependent,
        Harris and Wolpert 1998). In training only.
    warm_start_steps : int
        Control steps of experience, the first ones of all, in which the actor learns the actions of computed
        muscle control in the states that it visits, and the critic their returns; PPO follows. 0: PPO alone.
    """

    look_ahead: int = 5
    encoder_units: int = 64
    integration_units: int = 256
    decoder_units: int = 128
    physics_steps: int = PHYSICS_STEPS
    settle_steps: int = 10
    margin_steps: int = 10
    least_movements: int = 1000
    joint_weight: float = 0.4
    joint_scale: float = 0.3
    keypoint_weight: float = 0.6
    keypoint_scale: float = 0.015
    effort_weight: float = 0.05
    max_error: float = 0.05
    log_std: float = -1.0
    final_log_std: float = -2.4
    n_envs: int = 128
    n_steps: int = 4
    batch_size: int = 256
    n_epochs: int = 2
    learning_rate: float = 8e-4
    final_learning_rate: float = 3e-5
    learning_rate_power: float = 3.0
    gamma: float = 0.8
    gae_lambda: float = 0.9
    clip_range: float = 0.2
    max_grad_norm: float = 0.5
    default_steps: int = 1_200_000
    lstm_units: int = 0
    stack_steps: int = 1
    trajectory_delay: int = 0
    proprioception_delay: int = 0
    efference_delay: int = 0
    sensor_noise: float = 0.0
    motor_noise: float = 0.0
    warm_start_steps: int = 0

    @property
    def delays(self) -> dict[str, int]:
        """Control steps by which each stream of the observation is late."""
        return {
            "trajectory": self.trajectory_delay,
            "proprioception": self.proprioception_delay,
            "efference": self.efference_delay,
        }

    @property
    def inputs(self) -> dict[str, int]:
        """What decides what reaches the network: networks of equal inputs can imitate each other."""
        return {"look_ahead": self.look_ahead, **self.delays}

    @property
    def has_memory(self) -> bool:
        """True if an action depends on observations of earlier steps of the trial."""
        return self.lstm_units > 0 or self.stack_steps > 1

    def steps_for(self, body: Body) -> int:
        """Return the control steps of experience of a body, where none are given."""
        return min(self.default_steps, STEPS_PER_JOINT * len(body.joints))

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), field.type == "int"
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise TypeError(f"{field.name} is {value!r} instead of a number")
            least = 0 if field.name in MAY_BE_NONE else 1
            if not math.isfinite(value) or (whole and value < least):
                raise ValueError(f"{field.name} is {value}")
        for name, value in {**self.delays, "stack_steps": self.stack_steps}.items():
            if value > MOST_STEPS:
                raise ValueError(f"{name} is {value}, more than {MOST_STEPS} steps")
        for name in ("sensor_noise", "motor_noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, less than no noise")
        if self.lstm_units and self.stack_steps > 1:
            raise ValueError("lstm_units and stack_steps are two kinds of memory; set one of them")
        if self.warm_start_steps and self.has_memory:
            raise ValueError("warm_start_steps is for networks without memory; set it to 0")


WARM_START = ControllerSettings(warm_start_steps=200_000, n_steps=16, default_steps=400_000)
"""A shorter training of controllers with muscles, not by PPO alone; see docs/controllers.md."""


def estimated_minutes(steps: int, body: Body) -> float:
    """Return about how many minutes a training takes, before its rate is measured."""
    per_step = SECONDS_PER_STEP + SECONDS_PER_STEP_AND_JOINT * len(body.joints)
    return timedelta(seconds=steps * per_step) / timedelta(minutes=1)
