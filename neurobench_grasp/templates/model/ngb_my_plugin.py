"""A leaky recurrent network that predicts the coming movement, like a forward model of the hand.

Random recurrent weights keep a fading memory of the movement. From it a linear readout, the only fitted part,
learned, forecasts the posture 100 ms ahead. Memory and forecast are the two layers compared with neurons.
"""

import numpy as np
from neurobench_grasp import Activations, ModelCard, ModelSpec, Ragged, Trials, hookimpl

N_HIDDEN = 100
TIME_CONSTANT = 0.1  # s, of each hidden unit
AHEAD = 0.1  # s, how far the readout forecasts
RIDGE = 1e-3


class Forecaster:
    """Processes each trial independently from its first step; no step depends on later ones."""

    def __init__(self):
        self.weights = {}

    def fit(self, train, *, seed):
        """Draw the random weights, and fit the readout to the behaviour of the training trials."""
        rng = np.random.default_rng(seed)
        moves = movement(train)
        mean, scale = moves.values.mean(0), moves.values.std(0) + 1e-6
        n_inputs = len(mean)
        self.weights = {
            "mean": mean,
            "scale": scale,
            "inputs": rng.standard_normal((n_inputs, N_HIDDEN)) / n_inputs**0.5,
            "recurrent": rng.standard_normal((N_HIDDEN, N_HIDDEN)) * 0.9 / N_HIDDEN**0.5,
        }
        ahead = round(AHEAD / train.dt)
        memory = np.concatenate([hidden[:-ahead] for hidden in self._hidden(train)])
        future = np.concatenate([(trial[ahead:] - mean) / scale for trial in moves])
        penalty = RIDGE * len(memory) * np.eye(N_HIDDEN)
        self.weights["readout"] = np.linalg.solve(memory.T @ memory + penalty, memory.T @ future)

    def activations(self, trials):
        """Return every layer by name, with exactly the steps of the trials."""
        hidden = self._hidden(trials)
        forecast = Ragged.of([trial @ self.weights["readout"] for trial in hidden])
        return Activations({"hidden": hidden, "forecast": forecast})

    def state(self):
        """Return all weights as named arrays."""
        return self.weights

    def restore(self, state):
        """Load what ``state`` returned."""
        self.weights = dict(state)

    def _hidden(self, trials):
        """Run the network over all trials in parallel, each starting at rest."""
        w, leak = self.weights, 1 - np.exp(-trials.dt / TIME_CONSTANT)
        moves = movement(trials)
        drive = np.zeros((len(moves), max(moves.lengths), N_HIDDEN))
        for i, trial in enumerate(moves):
            drive[i, : len(trial)] = (trial - w["mean"]) / w["scale"] @ w["inputs"]
        hidden, steps = np.zeros((len(moves), N_HIDDEN)), []
        for t in range(drive.shape[1]):
            hidden = hidden + leak * (np.tanh(hidden @ w["recurrent"] + drive[:, t]) - hidden)
            steps.append(hidden)
        layer = np.stack(steps, axis=1)
        return Ragged.of([trial[:n] for trial, n in zip(layer, moves.lengths, strict=True)])


def movement(trials: Trials) -> Ragged:
    """Return the joint angles if recorded, else all recorded signals concatenated."""
    if trials.joint_angles is not None:
        return trials.joint_angles
    return Ragged(np.hstack([s.values for s in trials.signals.values()]), trials.offsets)


@hookimpl
def ngb_models():
    """Offer the model."""
    yield ModelSpec(
        "my_plugin",
        build=lambda seed: Forecaster(),
        summary="leaky recurrent network that forecasts the posture 100 ms ahead",
        card=ModelCard(
            licence="MIT",
            authors=("Your Name",),
            citation="",
            action_space="none",
            training_data=(),
            parameters=N_HIDDEN * 23,
            steps=0,
            compute="2 s on one core",
            seeds=(),
            simulator="none",
        ),
    )
