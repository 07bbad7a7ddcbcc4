"""A small recurrent network from behaviour to the rates of all units of a session: its training and use."""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from ngb_behaviour_gru.settings import GruSettings

LOWEST_RATE = 1e-3
"""Relative rate below which the likelihood is cut, so that one spike cannot decide a step of training."""
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From predicted and measured relative rates to the loss of each."""


def squared_error(predicted: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """Return what explained variance is made of."""
    return (predicted - rates).square()


def poisson(predicted: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """Return twice the negative log-likelihood of Poisson counts, near the mean a squared error."""
    return 2 * (predicted - rates * torch.log(predicted.clamp(min=LOWEST_RATE)))


LOSSES: Mapping[str, Loss] = {"squared_error": squared_error, "poisson": poisson}


@dataclass(frozen=True)
class Movement:
    """What the network receives of a trial.

    Parameters
    ----------
    steps : Tensor, shape (n_steps, n_features)
        Standardised behaviour at all steps that the network runs on.
    window : slice
        The scored ones.
    """

    steps: torch.Tensor
    window: slice


@dataclass(frozen=True)
class Trial:
    """A training trial.

    Parameters
    ----------
    movement : Movement
    rates : Tensor, shape (n_window_steps, n_units)
        Relative to the mean of each unit in training.
    weight : Tensor, shape (n_units,)
        Squared mean over variance of each unit in training; 0 if it was not observed in the trial.
    """

    movement: Movement
    rates: torch.Tensor
    weight: torch.Tensor


class BehaviourGru(nn.Module):
    """A recurrent layer in each direction of time, dropout, and a read-out of all units, never negative.

    At first it predicts every unit by its mean.
    """

    def __init__(self, n_features: int, n_units: int, settings: GruSettings) -> None:
        super().__init__()
        self.forwards = nn.GRU(n_features, settings.n_hidden, batch_first=True)
        self.backwards = nn.GRU(n_features, settings.n_hidden, batch_first=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.readout = nn.Linear(2 * settings.n_hidden, n_units)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, trials: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return relative rates, (n_trials, n_steps, n_units); steps after a trial's end mean nothing.

        Shorter trials are padded after their end, in either direction, so that no trial sees another.
        """
        ahead, _ = self.forwards(_padded(trials))
        flipped, _ = self.backwards(_padded([trial.flip(0) for trial in trials]))
        back = _padded([state[: len(trial)].flip(0) for state, trial in zip(flipped, trials, strict=True)])
        state = self.dropout(torch.cat([ahead, back], dim=-1))
        return nn.functional.softplus(self.readout(state)) / math.log(2)


def _padded(trials: Sequence[torch.Tensor]) -> torch.Tensor:
    return pad_sequence(list(trials), batch_first=True)


def train_network(
    trials: Sequence[Trial], held_out: Sequence[Trial], loss: str, seed: int, settings: GruSettings
) -> BehaviourGru:
    """Train until the squared error in held-out trials no longer falls; return the network with the least.

    What is judged and returned is the moving average of the weights.

    Parameters
    ----------
    trials, held_out : sequence of Trial
        Both of train.
    loss : str
        One of :data:`LOSSES`.
    seed : int
        Of weights, order of trials, dropout and noise.
    settings : GruSettings
    """
    with _reproducible(seed):
        network = BehaviourGru(trials[0].movement.steps.shape[1], len(trials[0].weight), settings)
        average = copy.deepcopy(network).eval()
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        best, least, best_step, step = copy.deepcopy(average.state_dict()), _error_of(average, held_out), 0, 0
        while step < min(settings.max_steps, best_step + settings.stop_after):
            step += _one_epoch(network, average, optimiser, trials, LOSSES[loss], settings)
            error = _error_of(average, held_out)
            if error < least:
                best, least, best_step = copy.deepcopy(average.state_dict()), error, step
        average.load_state_dict(best)
        return average


def predict(network: BehaviourGru, movement: Movement) -> np.ndarray:
    """Return relative rates in the window, (n_window_steps, n_units).

    Trials are run one by one, so that not a bit of one depends on the others.
    """
    with _reproducible(0), torch.no_grad():
        return network([movement.steps])[0, movement.window].numpy()


def _one_epoch(
    network: BehaviourGru,
    average: BehaviourGru,
    optimiser: torch.optim.Optimizer,
    trials: Sequence[Trial],
    loss: Loss,
    settings: GruSettings,
) -> int:
    """Pass once over the trials in random order, move the average along, and return the number of steps."""
    network.train()
    batches = torch.randperm(len(trials)).split(settings.batch)
    for batch in batches:
        mine = [trials[i] for i in batch.tolist()]
        steps = [t.movement.steps for t in mine]
        noisy = [x + settings.input_noise * torch.randn_like(x) for x in steps]
        optimiser.zero_grad()
        _mean_loss(network(noisy), mine, loss).backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient)
        optimiser.step()
        with torch.no_grad():
            for mean, newest in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(newest, 1 - settings.averaging)
    return len(batches)


def _error_of(network: BehaviourGru, trials: Sequence[Trial]) -> float:
    with torch.no_grad():
        return float(_mean_loss(network([t.movement.steps for t in trials]), trials, squared_error))


def _mean_loss(predicted: torch.Tensor, trials: Sequence[Trial], loss: Loss) -> torch.Tensor:
    """Return the mean over the observed bins of all units, weighted by unit."""
    total, n_bins = predicted.new_zeros(()), 0
    for rates, trial in zip(predicted, trials, strict=True):
        total = total + (trial.weight * loss(rates[trial.movement.window], trial.rates)).sum()
        n_bins += len(trial.rates) * int((trial.weight > 0).sum())
    return total / max(n_bins, 1)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Seed torch and use one thread, which keeps sums in order; leave both as they were."""
    n_threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(n_threads)
