"""Every constant of the protocol beside those of ``encoding``; part of each record."""

from dataclasses import dataclass

NAME = "behaviour_gru"


@dataclass(frozen=True)
class GruSettings:
    """Constants of the network and its training.

    Parameters
    ----------
    losses : tuple of str
        A network is trained with each; their predictions are averaged.
    n_hidden : int
        Units of the recurrent layer in each direction of time.
    dropout : float
        Share of them that the read-out does not see in a step of training.
    input_noise : float
        Standard deviation of noise on standardised behaviour in training.
    input_sd : float
        Behaviour is cut at this many standard deviations of train.
    learning_rate, weight_decay : float
        Of AdamW.
    batch : int
        Trials in a step of training.
    max_gradient : float
        Norm to which gradients are cut.
    averaging : float
        Share of the moving average of the weights that a step of training keeps.
    max_steps, stop_after : int
        Most steps of training, and steps without a better network after which it stops.
    """

    losses: tuple[str, ...] = ("squared_error", "poisson")
    n_hidden: int = 64
    dropout: float = 0.3
    input_noise: float = 0.5
    input_sd: float = 6.0
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    batch: int = 32
    max_gradient: float = 1.0
    averaging: float = 0.98
    max_steps: int = 2000
    stop_after: int = 120


GRU = GruSettings()
