"""What the process of an isolated plugin serves; :mod:`neurobench_grasp.isolation.process` asks it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import neurobench_grasp
from neurobench_grasp.contract import (
    Activations,
    Controller,
    Goal,
    ModelSpec,
    Ragged,
    Tracking,
    Trainable,
    TrainedNetwork,
    Trials,
    Twinned,
)
from neurobench_grasp.isolation.messages import Network, Splits, State
from neurobench_grasp.plugins import offered_by
from neurobench_grasp.sandbox.wire import PackedError, read_packed

Value = TypeVar("Value")


class Worker:
    """Tasks of a plugin; each ``do_…`` returns JSON, or a value that is packed.

    Parameters
    ----------
    distribution : str
        The plugin; others that are visible are ignored.
    progress : callable
        Called with status messages.
    """

    def __init__(self, distribution: str, progress: Callable[[str], None]) -> None:
        self.distribution, self.progress = distribution, progress
        self.models: list[Any] = []
        self.trials: list[Trials] = []

    @functools.cached_property
    def offered(self) -> list[Any]:
        """Specs of the plugin, which is loaded on first use."""
        return [p.spec for p in offered_by(self.distribution)]

    @property
    def specs(self) -> dict[str, ModelSpec]:
        """Its models, by name."""
        return {spec.name: spec for spec in self.offered if isinstance(spec, ModelSpec)}

    def do_version(self) -> str:
        """Return the version of this package in the plugin's environment."""
        return neurobench_grasp.__version__

    def do_offers(self) -> Any:
        """Describe its models; name its other offers."""
        others = [spec.name for spec in self.offered if not isinstance(spec, ModelSpec)]
        return {"models": [_described(s) for s in self.specs.values()], "others": others}

    def do_store_trials(self, trials: str) -> None:
        """Store trials, so that a model receives the same object in later requests."""
        self.trials.append(read_packed(Path(trials), Trials))

    def do_build(self, name: str, seed: int, settings: Mapping[str, Any]) -> Any:
        """Build a model."""
        return self._keep(self.specs[name].build(seed, **settings))

    def do_depends_on(self, name: str, seed: int, trials: int) -> Any:
        """Return what else a fitted model depends on."""
        depends_on = self.specs[name].depends_on
        return str(depends_on and depends_on(seed, self.trials[trials]))

    def do_fit(self, model: int, trials: int, seed: int) -> None:
        """Fit a model."""
        self.models[model].fit(self.trials[trials], seed=seed)

    def do_state(self, model: int) -> State:
        """Return the fitted state of a model."""
        return _arrays(self.models[model].state(), "state()")

    def do_restore(self, model: int, state: str) -> None:
        """Load the state of a model."""
        self.models[model].restore(read_packed(Path(state), State))

    def do_activations(self, model: int, trials: int) -> Activations:
        """Run a model."""
        found = self.models[model].activations(self.trials[trials])
        return _expect(found, Activations, "activations()")

    def do_track(self, model: int, trials: int, goal: str | None = None) -> Tracking:
        """Run a controller in closed loop."""
        towards = None if goal is None else read_packed(Path(goal), Goal)
        found = self.models[model].track(self.trials[trials], goal=towards)
        return _expect(found, Tracking, "track()")

    def do_embed(self, model: int, trials: int) -> Ragged:
        """Embed trajectories."""
        return _expect(self.models[model].embed(self.trials[trials]), Ragged, "embed()")

    def do_observe(self, model: int, trials: int) -> Ragged:
        """Return the observations of the network."""
        return _expect(self.models[model].observe(self.trials[trials]), Ragged, "observe()")

    def do_activations_of(self, model: int, observations: str) -> Activations:
        """Run an open pass of the network."""
        found = self.models[model].activations_of(read_packed(Path(observations), Ragged))
        return _expect(found, Activations, "activations_of()")

    def do_untrained(self, model: int, seed: int) -> Any:
        """Create the untrained twin as a model."""
        return self._keep(self.models[model].untrained(seed=seed))

    def do_train(
        self,
        model: int,
        trials: int,
        seed: int,
        steps: int | None,
        folder: str,
        monitor: str,
        threads: int | None,
    ) -> Network:
        """Train a network."""
        trained = self.models[model].train(
            self.trials[trials],
            seed=seed,
            steps=steps,
            folder=Path(folder),
            monitor=read_packed(Path(monitor), Splits),
            threads=threads,
            progress=self.progress,
        )
        _expect(trained, TrainedNetwork, "train()")
        rest = {"action": trained.action, "settings": trained.settings, "facts": trained.facts}
        return Network(_arrays(trained.weights, "train()"), json.dumps(rest))

    def _keep(self, model: Any) -> dict[str, Any]:
        self.models.append(model)
        kinds = {kind.__name__: isinstance(model, kind) for kind in (Controller, Twinned, Trainable)}
        return {"model": len(self.models) - 1, **kinds}


def _described(spec: ModelSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "card": None if spec.card is None else spec.card.to_json(),
        "smoke": dict(spec.smoke),
        "controller": spec.controller,
        "depends_on": spec.depends_on is not None,
        "step_s": spec.step_s,
        "body": spec.body,
        "tendons": spec.tendons,
        "seeded": spec.seeded,
    }


def _expect(value: Any, kind: type[Value], method: str) -> Value:
    if not isinstance(value, kind):
        raise PackedError(f"{method} returned a {type(value).__name__}; it must return {kind.__name__}")
    return value


def _arrays(arrays: Any, method: str) -> dict[str, Any]:
    """Copy named arrays; a mapping of other types is rejected by :func:`write_packed` or the reader."""
    if not isinstance(arrays, Mapping):
        raise PackedError(f"{method} returned a {type(arrays).__name__}; it must return named arrays")
    return dict(arrays)
