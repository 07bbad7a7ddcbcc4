"""What lies between body and network: late and noisy streams of the observation, and noisy commands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.bodies import scale_controls
from neurobench_grasp.contract import Body, Floats
from neurobench_grasp.controllers.network import stream_sizes
from neurobench_grasp.controllers.settings import ControllerSettings


class Senses:
    """The observations of a batch of bodies as they reach the network, each stream after its delay.

    Before its first step a body was at rest: what is older than that is the first observation.

    Parameters
    ----------
    body : Body
    action : str
        ``muscle`` or ``torque``.
    n : int
        Number of bodies.
    settings : ControllerSettings
    """

    def __init__(self, body: Body, action: str, n: int, settings: ControllerSettings) -> None:
        sizes = stream_sizes(body, action, settings)
        self._delay = np.repeat([settings.delays[name] for name in sizes], list(sizes.values()))
        self._features = np.arange(len(self._delay))
        self._recent = np.zeros((int(self._delay.max()) + 1, n, len(self._delay)))  # the newest first

    def start(self, which: Any, observed: Floats) -> None:
        """Begin with the first observation, (n_which, n_features), of some bodies."""
        self._recent[:, which] = observed

    def receive(self, observed: Floats) -> Floats:
        """Return what reaches the network at the next step, (n, n_features).

        ``observed`` is what leaves the body now; with fewer rows than bodies, of the first ones.
        """
        n = len(observed)
        self._recent[1:, :n] = self._recent[:-1, :n]
        self._recent[0, :n] = observed
        return self.received(n)

    def received(self, n: int) -> Floats:
        """Return what has reached the network of the first ``n`` bodies, (n, n_features)."""
        late: Floats = self._recent[self._delay, :n, self._features].T
        return late

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next step depends on, as named arrays."""
        return {"recent": self._recent.copy()}

    def restore(self, state: dict[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        self._recent = state["recent"].copy()


def noisy_action(action: str, values: Floats, motor_noise: float, rng: np.random.Generator) -> Floats:
    """Return actions whose excitations or torques have signal-dependent noise, (n, n_actions).

    Each is multiplied by 1 plus a normal number of standard deviation ``motor_noise`` (Harris and Wolpert
    1998, Nature 394:780), and stays within its limits.
    """
    return scale_controls(action, values, 1 + motor_noise * rng.standard_normal(values.shape))
