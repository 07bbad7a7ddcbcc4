"""Network controllers as models, the base of the reference plugins and of others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence, unpad_sequence

from neurobench_grasp.bodies import body_of, find_body
from neurobench_grasp.contract import (
    DEFAULT_BODY,
    Activations,
    Body,
    Goal,
    Ints,
    Progress,
    Ragged,
    RecurrentState,
    Tracking,
    TrainedNetwork,
    Trials,
)
from neurobench_grasp.controllers.checkpoints import find_network, load_weights
from neurobench_grasp.controllers.closed_loop import ClosedLoop, goals_after, run_closed_loop
from neurobench_grasp.controllers.network import (
    Network,
    Sequences,
    as_network,
    network_state,
    one_torch_thread,
    random_network,
)
from neurobench_grasp.controllers.reference import Reference
from neurobench_grasp.controllers.settings import ControllerSettings, estimated_minutes
from neurobench_grasp.errors import CorruptFileError, UnsupportedError
from neurobench_grasp.threads import on_all_cores

_ROWS = 8192  # observations in one open pass, and those that complete its last trial


class NetworkController:
    """A modular network that controls a body; trained by PPO, scored in float64.

    The body is that of the trials on which it is fitted or trained, or the same with other tendons.

    Parameters
    ----------
    model : str
        Name under which its trained networks are stored.
    action : str
        ``muscle`` or ``torque``.
    settings : ControllerSettings
    tendons : str, optional
        Tendons of the muscles, as in :func:`neurobench_grasp.bodies.find_body`, such as ``fixed`` or
        ``permuted-{seed}`` with the seed of the network. Default: the body's own.
    expert : str, optional
        Name of a model without memory whose network, of the same seed and trials, is imitated: training is
        then supervised. Default: PPO.
    fit_steps : int, optional
        Control steps for which :meth:`fit` trains a network, for a quick check; far too few for a score.
        Default: load the network that was trained on the same trials.
    """

    def __init__(
        self,
        model: str,
        action: str,
        settings: ControllerSettings | None = None,
        *,
        tendons: str | None = None,
        expert: str | None = None,
        fit_steps: int | None = None,
    ) -> None:
        self.model, self.action, self.tendons, self.fit_steps = model, action, tendons, fit_steps
        self.expert = expert
        self.settings = settings or ControllerSettings()
        self._body = find_body(DEFAULT_BODY)
        self._network = Network(self._body, action, self.settings).double().eval()
        self._runs: list[tuple[Trials, ClosedLoop]] = []

    def fit(self, train: Trials, *, seed: int) -> None:
        """Load the network that was trained on exactly these trials.

        Raises
        ------
        MissingNetworkError
            If there is none; training takes too long to start by a fit.
        """
        if self.fit_steps is not None:
            with tempfile.TemporaryDirectory() as folder:
                self.train(train, seed=seed, steps=self.fit_steps, folder=Path(folder))
            return
        path, card = find_network(self.model, seed, train.sha256)
        body = self._moved(train, seed)
        if _alike(card.body, body.name):  # the permutation that it was trained with, whatever its seed
            body = find_body(card.body)
        for what, theirs, own in (("action", card.action, self.action), ("body", card.body, body.name)):
            if theirs != own:
                raise CorruptFileError(
                    f"The card {path} describes a network of another {what} ({theirs!r} instead of {own!r}); "
                    "train it again or remove it."
                )
        self.settings, self._body = card.controller_settings(), body
        weights = network_state(Network(self._body, self.action, self.settings))
        self._network = as_network(self._body, self.action, self.settings, load_weights(path, card, weights))

    def train(
        self,
        train: Trials,
        *,
        seed: int,
        steps: int | None,
        folder: Path,
        monitor: Mapping[str, Trials] | None = None,
        threads: int | None = None,
        progress: Progress = lambda text: None,
        device: str = "cpu",
        bodies: int | None = None,
    ) -> TrainedNetwork:
        """Train a network; see :class:`neurobench_grasp.contract.Trainable`.

        ``device`` is that of :func:`neurobench_grasp.controllers.training.train`; ``bodies`` are simulated at
        once (default: ``n_envs`` of the settings).

        Raises
        ------
        MissingNetworkError
            If it has an expert, and there is no network of that model for these trials.
        """
        from neurobench_grasp.controllers import training

        body = self._moved(train, seed)
        settings = self.settings if bodies is None else replace(self.settings, n_envs=bodies)
        steps = steps or settings.steps_for(body)
        if device == "cpu":
            minutes = max(estimated_minutes(steps, body), 0.1)
            progress(f"{steps:,} steps of {body.name}: about {minutes:.1f} min on idle cores (an estimate)")
        network, facts = training.train(
            train,
            self.action,
            seed,
            steps,
            folder,
            settings=settings,
            body=body,
            expert=None if self.expert is None else self._fitted_expert(self.expert, train, seed),
            monitor=monitor,
            progress=progress,
            threads=threads,
            device=device,
        )
        weights = network_state(network)
        self.settings, self._body, self._runs = settings, body, []
        self._network = as_network(self._body, self.action, self.settings, weights)
        return TrainedNetwork(weights, self.action, asdict(self.settings), facts)

    def activations(self, trials: Trials) -> Activations:
        """Return every layer of actor and critic in closed loop."""
        return self.activations_of(self.observe(trials))

    def track(self, trials: Trials, *, goal: Goal | None = None) -> Tracking:
        """Imitate the trials in closed loop; see :func:`run_closed_loop` for ``goal``."""
        run = self._run(trials) if goal is None else self._loop(self._reference(trials), goal)
        return Tracking(run.joint_angles, run.keypoints, run.muscle_activation, self._body.name)

    def embed(self, trials: Trials) -> Ragged:
        """Return the embedding of the reference trajectory, (trial, step, encoder_units)."""
        reference = self._reference(trials)
        lengths = np.diff(reference.offsets)
        first, last = (
            np.repeat(ends, lengths) for ends in (reference.offsets[:-1], reference.offsets[1:] - 1)
        )
        step = np.arange(len(first)) - first - self.settings.trajectory_delay  # what reaches the network
        goals = goals_after(reference, first, last, step, self.settings.look_ahead)
        observed = np.zeros((len(goals), len(self._network.towers.centre)))
        observed[:, : goals.shape[1]] = goals  # the embedding depends only on these
        embedding = self._open(
            Ragged(observed, reference.offsets), lambda rows, lengths: {"": self._network.embed(rows)}
        )
        return Ragged(embedding[""], reference.offsets)

    def observe(self, trials: Trials) -> Ragged:
        """Return the observations in closed loop, (trial, step, n_features)."""
        return self._run(trials).observations

    def activations_of(self, observations: Ragged) -> Activations:
        """Return every layer for given observations."""
        layers = self._open(observations, self._layers)
        return Activations({name: Ragged(layer, observations.offsets) for name, layer in layers.items()})

    def untrained(self, *, seed: int) -> NetworkController:
        """Return the network before training; see :class:`neurobench_grasp.contract.Twinned`."""
        twin = type(self)(self.model, self.action, self.settings, tendons=self.tendons, expert=self.expert)
        normalised = (self._network.towers.centre.numpy(), self._network.towers.scale.numpy())
        twin._body = self._body
        twin._network = random_network(self._body, self.action, self.settings, seed, *normalised)
        twin._network.double().eval()
        return twin

    def state(self) -> dict[str, NDArray[Any]]:
        """Return weights, settings by name, and the name of the body unless it is the default."""
        settings = {f"settings.{k}": np.array(v) for k, v in vars(self.settings).items()}
        body = {} if self._body.name == DEFAULT_BODY else {f"body.{self._body.name}": np.array(1)}
        return {**network_state(self._network), **settings, **body}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        mine = {k.removeprefix("settings."): v.item() for k, v in state.items() if k.startswith("settings.")}
        self.settings = ControllerSettings(**mine)
        weights = {k: v for k, v in state.items() if not k.startswith(("settings.", "body."))}
        named = [k.removeprefix("body.") for k in state if k.startswith("body.")]
        self._body = find_body(named[0] if named else DEFAULT_BODY)
        self._network = as_network(self._body, self.action, self.settings, weights)
        self._runs = []

    def _fitted_expert(self, model: str, train: Trials, seed: int) -> Network:
        expert = NetworkController(
            model, self.action, self.settings, tendons=self.tendons, fit_steps=self.fit_steps
        )
        expert.fit(train, seed=seed)
        if expert.settings.has_memory or expert.settings.inputs != self.settings.inputs:
            raise UnsupportedError(
                f"{model} cannot be the expert of {self.model}: its observations are others "
                "(settings look_ahead and delays), or it has a memory."
            )
        return expert._network.float()

    def _moved(self, trials: Trials, seed: int) -> Body:
        """Return the body that a network of that seed moves."""
        return body_of(trials, self.tendons and self.tendons.format(seed=seed))

    def _reference(self, trials: Trials) -> Reference:
        return Reference.of(trials, body=self._body)

    def _run(self, trials: Trials) -> ClosedLoop:
        """Run closed loop over the trials; cached, since several protocols use the same trials."""
        for known, run in self._runs:
            if known is trials:
                return run
        run = self._loop(self._reference(trials), None)
        self._runs.append((trials, run))
        return run

    def _loop(self, reference: Reference, goal: Goal | None) -> ClosedLoop:
        return run_closed_loop(self._network, self.action, reference, self.settings, goal=goal)

    def _layers(self, rows: Tensor, lengths: list[int]) -> dict[str, Tensor]:
        """Return every layer for trials of these lengths, of which the rows follow each other."""
        network = self._network
        if not (network.memory_size and lengths):  # each step is by itself, or there is none
            return {name: layer[0] for name, layer in network.layers(network.one_step(rows))[0].items()}
        steps = pad_sequence(list(torch.split(rows, lengths)))
        first = steps.new_zeros(*steps.shape[:2], 1)
        layers, _ = network.layers(Sequences(steps, network.initial_memory(len(lengths)), first))
        return {
            name: torch.cat(unpad_sequence(layer, torch.tensor(lengths))) for name, layer in layers.items()
        }

    def _open(
        self, observations: Ragged, compute: Callable[[Tensor, list[int]], dict[str, Tensor]]
    ) -> dict[str, NDArray[Any]]:
        offsets = observations.offsets

        def run(trials: slice) -> dict[str, NDArray[Any]]:
            ends = offsets[trials.start : trials.stop + 1]
            with torch.inference_mode():
                rows = torch.tensor(observations.values[ends[0] : ends[-1]], dtype=torch.float64)
                return {name: layer.numpy() for name, layer in compute(rows, np.diff(ends).tolist()).items()}

        with one_torch_thread():
            parts = on_all_cores(run, _batches(offsets))
        whole = on_all_cores(lambda name: np.concatenate([p[name] for p in parts]), parts[0])
        return dict(zip(parts[0], whole, strict=True))


class RecurrentController(NetworkController):
    """A controller whose network remembers; see :class:`neurobench_grasp.contract.Recurrent`."""

    def initial_state(self, n: int) -> NDArray[np.float64]:
        """Return the memory before a trial's first step, zeros of shape (n, memory_size)."""
        return self._network.initial_memory(n).numpy()

    def step(
        self, observation: NDArray[np.float64], state: RecurrentState
    ) -> tuple[dict[str, NDArray[Any]], RecurrentState]:
        """Advance parallel trials by one step; see :class:`neurobench_grasp.contract.Recurrent`."""
        with torch.inference_mode():
            seen, memory = (torch.tensor(array, dtype=torch.float64) for array in (observation, state))
            layers, after = self._network.layers(self._network.one_step(seen, memory))
        return {name: layer[0].numpy() for name, layer in layers.items()}, after.numpy()


def _alike(name: str, other: str) -> bool:
    """Return whether two bodies are one with tendons of one kind, such as permuted ones."""
    (base, _, tendons), (base_2, _, tendons_2) = name.partition("/"), other.partition("/")
    numbers = "0123456789"
    return bool(tendons) and (base, tendons.rstrip(numbers)) == (base_2, tendons_2.rstrip(numbers))


def _batches(offsets: Ints) -> list[slice]:
    """Cut trials into batches for open passes by their rows; at least one batch."""
    first = np.unique(offsets // _ROWS, return_index=True)[1].tolist()
    return [slice(a, z) for a, z in zip(first, [*first[1:], len(offsets) - 1], strict=True)]


class UntrainedController(NetworkController):
    """The architecture with random weights: the network before training.

    Its activations use the observations of the trained network's closed loop, so that only the weights
    differ from the trained one's; in tracking it moves a body itself.
    """

    def __init__(
        self,
        model: str,
        action: str,
        settings: ControllerSettings | None = None,
        *,
        fit_steps: int | None = None,
    ) -> None:
        super().__init__(model, action, settings)
        self._trained = NetworkController(model, action, settings, fit_steps=fit_steps)

    def fit(self, train: Trials, *, seed: int) -> None:
        """Load the trained network, and draw random weights with the same seed."""
        self._trained.fit(train, seed=seed)
        self.settings, self._body = self._trained.settings, self._trained._body
        self._network = self._trained.untrained(seed=seed)._network

    def train(self, train: Trials, **settings: Any) -> TrainedNetwork:
        """Raise: an untrained network has no training.

        Raises
        ------
        UnsupportedError
            Always.
        """
        raise UnsupportedError("This is the network before training; train its trained twin instead.")

    def untrained(self, *, seed: int) -> NetworkController:
        """Return the trained network before training, which is what this controller is with the same seed."""
        return self._trained.untrained(seed=seed)

    def observe(self, trials: Trials) -> Ragged:
        """Return the observations of the trained network in its closed loop."""
        return self._trained.observe(trials)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return both networks' weights, and settings by name."""
        return super().state() | {f"trained.{k}": v for k, v in self._trained.state().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        trained = {k.removeprefix("trained."): v for k, v in state.items() if k.startswith("trained.")}
        self._trained.restore(trained)
        super().restore({k: v for k, v in state.items() if not k.startswith("trained.")})
