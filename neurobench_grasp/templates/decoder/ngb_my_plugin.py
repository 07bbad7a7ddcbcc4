"""A linear decoder of spikes smoothed by leaky integrators, like synapses."""

import numpy as np
from neurobench_grasp import DecodedTrials, DecoderSpec, hookimpl

TIME_CONSTANTS = np.array([0.04, 0.12])  # s, of the integrators of every unit
RIDGE = 1.0  # relative to the variance of a smoothed count


class LeakyLinear:
    """Ridge regression from the integrators to the command; trials run in parallel and independently."""

    def fit(self, train: DecodedTrials):
        """Fit the weights; the bins before the first command only fill the integrators."""
        self.kept = np.exp(-train.dt / TIME_CONSTANTS)  # of an integrator, from one bin to the next
        self.n_units = train.counts.values.shape[1]
        traces = []
        for counts in train.counts:
            self.reset(1)
            traces += [self._integrate(counts[[t]])[0] for t in range(len(counts))][train.lead :]
        traces, commands = np.array(traces), train.commands.values
        self.mean, self.scale = traces.mean(0), traces.std(0) + 1e-6
        self.middle = commands.mean(0)
        x = (traces - self.mean) / self.scale
        self.weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (commands - self.middle))

    def reset(self, n_trials):
        """Start that many new trials, with empty integrators."""
        self.integrators = np.zeros((n_trials, len(TIME_CONSTANTS), self.n_units))

    def observe(self, spikes):
        """Return each trial's command, (n_trials, n_features), for its newest bin, (n_trials, n_units)."""
        traces = (self._integrate(spikes) - self.mean) / self.scale
        return traces @ self.weights + self.middle

    def _integrate(self, spikes):
        """Add the newest bin; return all integrators of each trial as one row."""
        self.integrators = self.integrators * self.kept[:, None] + spikes[:, None, :]
        return self.integrators.reshape(len(spikes), -1)


@hookimpl
def ngb_decoders():
    """Offer the decoder."""
    yield DecoderSpec(
        "my_plugin",
        build=LeakyLinear,
        summary="ridge regression from leaky integrators of spikes",
    )
