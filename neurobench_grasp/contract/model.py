"""Models: anything that predicts neurons from behaviour, and controllers, which move a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.contract.data import Activations, Goal, Ragged, Tracking, Trials

Progress = Callable[[str], None]
"""Called with one-line status messages."""
RecurrentState = NDArray[Any] | Mapping[str, NDArray[Any]]
"""What a recurrent network remembers: an array, or several by name, (n_trials, …)."""


@runtime_checkable
class Model(Protocol):
    """Anything that predicts neurons from behaviour."""

    def fit(self, train: Trials, *, seed: int) -> None:
        """Learn from the training trials' behaviour; stateless models do nothing."""

    def activations(self, trials: Trials) -> Activations:
        """Activations for every step of every trial, each trial independently."""

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return all fitted parameters as named arrays (empty for stateless models)."""

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what ``state`` returned; afterwards the model equals the fitted one."""


@runtime_checkable
class Controller(Model, Protocol):
    """A model that moves a body; needed for tracking and brain control."""

    def track(self, trials: Trials, *, goal: Goal | None = None) -> Tracking:
        """Run closed loop; ``goal`` replaces the reference."""

    def embed(self, trials: Trials) -> Ragged:
        """Embed the reference trajectory, (trial, step, n_features)."""

    def observe(self, trials: Trials) -> Ragged:
        """Return the observations that the network received in closed loop."""

    def activations_of(self, observations: Ragged) -> Activations:
        """Run an open pass over given observations, so that an untrained twin receives equal inputs."""


@runtime_checkable
class Twinned(Controller, Protocol):
    """A controller that can return its untrained twin, which is scored on equal inputs."""

    def untrained(self, *, seed: int) -> Controller:
        """Return the fitted network's architecture with the random weights that training began with."""


@runtime_checkable
class Recurrent(Controller, Protocol):
    """A controller whose network has a state, which starts again with each trial.

    An open pass over the observations of a trial is ``step`` after ``step`` in time order, from
    ``initial_state``; so it depends neither on other trials of the batch nor on trials seen before.
    """

    def initial_state(self, n: int) -> RecurrentState:
        """Return the state of ``n`` trials before their first step.

        Parameters
        ----------
        n : int

        Returns
        -------
        ndarray, or mapping of str to ndarray, shape (n, …)
            The same for every trial and at every call.
        """

    def step(
        self, observation: NDArray[np.float64], state: RecurrentState
    ) -> tuple[Mapping[str, NDArray[Any]], RecurrentState]:
        """Advance parallel trials by one step; nothing but the returned state is remembered.

        Parameters
        ----------
        observation : ndarray, shape (n, n_features)
            One step of ``observe`` for each trial.
        state : ndarray, or mapping of str to ndarray, shape (n, …)
            As ``initial_state`` or the last step returned it; it is not modified.

        Returns
        -------
        layers : mapping of str to ndarray, shape (n, n_units of the layer)
            Activations at this step, named as in ``activations_of``.
        state : as ``state``
        """


@runtime_checkable
class Trainable(Model, Protocol):
    """A model whose training takes long: ``ngb train``, or ``ngb score`` where a network is missing."""

    def train(
        self,
        train: Trials,
        *,
        seed: int,
        steps: int | None,
        folder: Path,
        monitor: Mapping[str, Trials],
        threads: int | None,
        progress: Progress,
    ) -> TrainedNetwork:
        """Train on the training trials; an interrupted run resumes from ``folder`` with the same result.

        ``steps`` of experience (``None``: the model's own choice). The error on ``monitor`` may be monitored;
        nothing may depend on it. Optional further arguments are ``device`` and ``bodies``, the number that is
        simulated at once; without them, ``ngb train`` refuses its options of these names.
        """


@dataclass(frozen=True)
class TrainedNetwork:
    """Result of training: a network and the facts its card records.

    Parameters
    ----------
    weights : mapping of str to ndarray
    action : str
        Actuation, such as ``torque``.
    settings : mapping
        Of the model and of its training.
    facts : mapping
        ``steps``, ``curve``, ``threads`` and ``wall_time_s`` of the training, and ``body``, the name of the
        body that it moves, if not that of the trials.
    """

    weights: Mapping[str, NDArray[Any]]
    action: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]
