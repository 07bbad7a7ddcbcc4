"""Isolated models, with the interface of any other model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from neurobench_grasp.contract import (
    Activations,
    Goal,
    ModelCard,
    ModelSpec,
    Progress,
    Ragged,
    Tracking,
    TrainedNetwork,
    Trials,
)
from neurobench_grasp.errors import NgbError, PluginError
from neurobench_grasp.isolation.environment import environment_of
from neurobench_grasp.isolation.messages import Network, State
from neurobench_grasp.isolation.process import LIMITS, PluginProcess
from neurobench_grasp.plugins import NAME, Isolated, Provided
from neurobench_grasp.sandbox.limits import Limits
from neurobench_grasp.text import plain


@contextmanager
def isolated_models(
    sources: Sequence[str], *, limits: Limits = LIMITS, progress: Progress = lambda text: None
) -> Iterator[tuple[Provided[ModelSpec], ...]]:
    """Yield the models that plugins offer, each plugin in a separate environment and subprocess.

    The processes end with the context.

    Parameters
    ----------
    sources : sequence of str
        Folders of plugins, or requirements for pip.
    limits : Limits
    progress : callable
        Called with status messages.

    Yields
    ------
    tuple of Provided of ModelSpec

    Raises
    ------
    NgbError
        If a source cannot be installed or loaded.
    """
    with ExitStack() as stack:
        provided: list[Provided[ModelSpec]] = []
        for source in dict.fromkeys(sources):
            environment = environment_of(source, progress)
            process = PluginProcess(environment, limits, progress)
            stack.callback(process.close)
            provided += _models(process)
        yield tuple(provided)


def _models(process: PluginProcess) -> list[Provided[ModelSpec]]:
    environment, offers = process.environment, process.ask("offers")
    try:
        others = ", ".join(plain(name, 100) for name in offers["others"])
        specs = [_spec(process, described) for described in offers["models"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PluginError(
            f"{process.who} returned an invalid description of its models ({type(error).__name__})."
        ) from error
    if not specs:
        raise PluginError(
            f"{process.who} offers no model{f', only {others}' if others else ''}; only models "
            "can be used without installing a plugin."
        )
    if others:
        process.progress(f"{process.who}: only its models are used; install it to use {others}")
    isolated = Isolated(environment.code, environment.packages)
    return [Provided(spec, environment.distribution, environment.version, isolated) for spec in specs]


def _spec(process: PluginProcess, described: Mapping[str, Any]) -> ModelSpec:
    name, card, body = described["name"], described["card"], described["body"]
    for given in (name, *([] if body is None else [body])):
        if not isinstance(given, str) or not NAME.fullmatch(given):
            raise ValueError(given)
    return ModelSpec(
        name,
        build=partial(_build, process, name),
        summary=plain(described["summary"]),
        card=None if card is None else ModelCard.from_json(card),
        smoke=dict(described["smoke"]),
        controller=described["controller"] is True,
        depends_on=partial(_depends_on, process, name) if described["depends_on"] else None,
        step_s=None if described["step_s"] is None else float(described["step_s"]),
        body=body,
        tendons=None if described["tendons"] is None else plain(described["tendons"], 100),
        seeded=bool(described["seeded"]),
    )


def _build(process: PluginProcess, name: str, seed: int, **settings: Any) -> IsolatedModel:
    built = process.ask("build", about=name, name=name, seed=seed, settings=settings)
    return _model(process, name, built)


def _depends_on(process: PluginProcess, name: str, seed: int, train: Trials) -> str:
    return plain(process.ask("depends_on", about=name, name=name, seed=seed, trials=train))


def _model(process: PluginProcess, name: str, built: Any) -> IsolatedModel:
    """Return a proxy of a model in the process, with the same methods."""
    try:
        number = built["model"]
        kind = next(k for k in ("Twinned", "Controller", "Model") if k == "Model" or built[k])
        return KINDS[kind, bool(built["Trainable"])](process, name, number)
    except (KeyError, TypeError) as error:
        raise NgbError(f"{name}: {process.who} returned an invalid model.") from error


class IsolatedModel:
    """A model in another process; see :class:`neurobench_grasp.contract.Model` for its methods.

    Parameters
    ----------
    process : PluginProcess
    name : str
        Of the model.
    number : int
        Of the model, in the process.
    """

    def __init__(self, process: PluginProcess, name: str, number: int) -> None:
        self._process, self._name = process, name
        self._ask = partial(process.ask, about=name, generation=process.generation, model=number)

    def fit(self, train: Trials, *, seed: int) -> None:
        """Fit the training trials."""
        self._ask("fit", trials=train, seed=seed)

    def activations(self, trials: Trials) -> Activations:
        """Return every layer, for every step."""
        found: Activations = self._ask("activations", kind=Activations, trials=trials)
        return found

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the fitted state."""
        state: State = self._ask("state", kind=State)
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load what :meth:`state` returned."""
        self._ask("restore", values={"state": state})


class IsolatedController(IsolatedModel):
    """A controller in another process; see :class:`neurobench_grasp.contract.Controller`."""

    def track(self, trials: Trials, *, goal: Goal | None = None) -> Tracking:
        """Run closed loop."""
        values = {} if goal is None else {"goal": goal}
        tracking: Tracking = self._ask("track", kind=Tracking, trials=trials, values=values)
        return tracking

    def embed(self, trials: Trials) -> Ragged:
        """Embed the reference trajectory."""
        embedding: Ragged = self._ask("embed", kind=Ragged, trials=trials)
        return embedding

    def observe(self, trials: Trials) -> Ragged:
        """Return the observations of the network."""
        observations: Ragged = self._ask("observe", kind=Ragged, trials=trials)
        return observations

    def activations_of(self, observations: Ragged) -> Activations:
        """Run an open pass of the network."""
        found: Activations = self._ask(
            "activations_of", kind=Activations, values={"observations": observations}
        )
        return found


class IsolatedTwinned(IsolatedController):
    """A controller with a twin before training; see :class:`neurobench_grasp.contract.Twinned`."""

    def untrained(self, *, seed: int) -> IsolatedController:
        """Return the network before training."""
        twin = _model(self._process, self._name, self._ask("untrained", seed=seed))
        if not isinstance(twin, IsolatedController):
            raise NgbError(
                f"{self._name}: untrained() does not return a controller ({self._process.who}, isolated)."
            )
        return twin


class TrainableModel(IsolatedModel):
    """A model with a long training; see :class:`neurobench_grasp.contract.Trainable`."""

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
        """Train; progress messages from the worker go to the callback of :func:`isolated_models`."""
        network: Network = self._ask(
            "train",
            kind=Network,
            values={"monitor": monitor},
            trials=train,
            seed=seed,
            steps=steps,
            folder=str(folder.resolve()),
            threads=threads,
        )
        try:
            rest = json.loads(network.rest)
            action, settings, facts = plain(rest["action"]), dict(rest["settings"]), dict(rest["facts"])
        except (KeyError, TypeError, ValueError) as error:
            raise NgbError(f"{self._name}: train() returned an invalid network.") from error
        return TrainedNetwork(network.weights, action, settings, facts)


class TrainableController(TrainableModel, IsolatedController):
    """A controller with a long training."""


class TrainableTwinned(TrainableModel, IsolatedTwinned):
    """A controller with an untrained twin and a long training."""


KINDS: Mapping[tuple[str, bool], type[IsolatedModel]] = {
    ("Model", False): IsolatedModel,
    ("Controller", False): IsolatedController,
    ("Twinned", False): IsolatedTwinned,
    ("Model", True): TrainableModel,
    ("Controller", True): TrainableController,
    ("Twinned", True): TrainableTwinned,
}
