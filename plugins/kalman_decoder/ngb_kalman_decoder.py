"""A Kalman filter from spike counts to commands (Kalman 1960; Wu et al. 2006, Neural Computation 18:80).

The command follows linear dynamics, and the counts of a bin are linear in it; both are fitted by least
squares on training trials. Copy this folder to write your own decoder.
"""

import numpy as np

from neurobench_grasp import DecodedTrials, DecoderSpec, hookimpl

N_STATES = 20
RIDGE = 1e-3  # of the variance of a standardised count or state: silent and collinear units are harmless


class KalmanDecoder:
    """Kalman filter whose state is the leading principal components of the command, each of unit variance.

    The gain changes from bin to bin as the covariance converges, and is the same for all trials.
    """

    def fit(self, train: DecodedTrials) -> None:
        """Fit the state, its dynamics, and how units observe it."""
        self._middle = train.commands.values.mean(0)
        commands = [trial - self._middle for trial in train.commands]
        self._axes = _axes(np.concatenate(commands))  # (n_states, n_features)
        project = np.linalg.pinv(self._axes)
        states = [trial @ project for trial in commands]

        self._unit_mean = train.counts.values.mean(0)
        deviation = train.counts.values.std(0)
        self._unit_scale = np.where(deviation > 0, deviation, 1.0)
        counts = [self._standardised(trial[train.lead :]) for trial in train.counts]

        before, after = (np.concatenate([x[s] for x in states]) for s in (slice(-1), slice(1, None)))
        dynamics, self._drift = _regression(before, after)
        growth = np.abs(np.linalg.eigvals(dynamics)).max(initial=1.0)
        self._dynamics = dynamics / growth  # keep commands bounded without spikes
        observation, noise = _regression(np.concatenate(states), np.concatenate(counts))
        self._evidence = np.linalg.solve(noise + RIDGE * np.eye(len(noise)), observation.T)
        self._precision = observation @ self._evidence  # information of a bin about the state

        first = np.stack([x[0] for x in states])
        self._start = first.mean(0)
        self._spread = (first - self._start).T @ (first - self._start) / len(first)

    def reset(self, n_trials: int) -> None:
        """Start at the mean initial state of the training trials."""
        self._state = np.tile(self._start, (n_trials, 1))
        self._doubt = self._spread

    def observe(self, spikes: np.ndarray) -> np.ndarray:
        """Predict the state, correct it by the newest bins, and return the commands."""
        expected = self._state @ self._dynamics
        doubt = self._dynamics.T @ self._doubt @ self._dynamics + self._drift
        known = np.eye(len(doubt)) + doubt @ self._precision
        self._doubt = np.linalg.solve(known, doubt)  # the covariance of the state after this bin
        surprise = self._standardised(spikes) @ self._evidence - expected @ self._precision
        self._state = expected + surprise @ self._doubt.T
        return self._state @ self._axes + self._middle

    def _standardised(self, counts: np.ndarray) -> np.ndarray:
        return (counts - self._unit_mean) / self._unit_scale


def _axes(commands: np.ndarray) -> np.ndarray:
    """Return the leading principal axes of centred rows, scaled by the standard deviation along each."""
    variances, vectors = np.linalg.eigh(commands.T @ commands / len(commands))
    kept = np.flatnonzero(variances > 1e-9 * variances.max(initial=0.0))[-N_STATES:]
    return (vectors[:, kept] * np.sqrt(variances[kept])).T


def _regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of ``y`` on ``x``, and the covariance of the residuals."""
    weights = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    left = y - x @ weights
    return weights, left.T @ left / len(left)


@hookimpl
def ngb_decoders():
    """Offer the decoder."""
    yield DecoderSpec("kalman", build=KalmanDecoder, summary="Kalman filter on 20 components of the command")
