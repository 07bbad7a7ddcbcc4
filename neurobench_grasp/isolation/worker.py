"""The process of an isolated plugin: it loads the plugin and serves requests, one at a time.

:mod:`neurobench_grasp.isolation.process` starts it. Requests and responses are lines of JSON on two separate
pipes, so that output printed by the plugin does not interfere; values are in folders.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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
from neurobench_grasp.errors import NgbError
from neurobench_grasp.isolation.messages import Monitor, Network, State
from neurobench_grasp.plugins import offered_by, reason_of
from neurobench_grasp.sandbox.wire import PackedError, read_packed, write_packed

LONGEST_TRACE = 20_000  # characters


def serve(order: Mapping[str, Any], unsupported_limits: list[str]) -> None:
    """Serve requests until the pipe is closed."""
    _end_with(order["parent"], order["scratch"])
    requests, answers = (os.fdopen(order[name], mode) for name, mode in (("requests", "r"), ("answers", "w")))
    for descriptor in (order["requests"], order["answers"]):
        os.set_inheritable(descriptor, False)

    def send(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    worker = Worker(order["distribution"], lambda text: send({"progress": text}))
    send({"ngb": neurobench_grasp.__version__, "unsupported_limits": unsupported_limits})
    for line in requests:
        send(_answer(worker, json.loads(line)))
    _leave(order["scratch"])


def _answer(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Serve one request; exceptions of the plugin are reported, not raised."""
    try:
        result, value = getattr(worker, f"do_{request['task']}")(**request["given"])
        if value is not None:
            write_packed(Path(request["into"]), value)
        return {"result": result}
    except NgbError as error:
        return {"kind": type(error).__name__, "message": str(error), "trace": _trace()}
    except PackedError as error:
        return {"failed": f"its result cannot be transferred: {error}", "trace": _trace()}
    except MemoryError:
        return {"limit": "memory", "trace": _trace()}
    except BaseException as error:  # a plugin may also call sys.exit
        return {"failed": reason_of(error), "trace": _trace()}


def _trace() -> str:
    return traceback.format_exc()[-LONGEST_TRACE:]


def _end_with(parent: int, scratch: str) -> None:
    """End this process when its parent is gone, even while it serves a request."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        _leave(scratch)

    threading.Thread(target=watch, daemon=True).start()


def _leave(scratch: str) -> None:
    """End this process and all that it started."""
    shutil.rmtree(scratch, ignore_errors=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)


class Worker:
    """Tasks of a plugin; each ``do_…`` returns JSON and a value for :func:`write_packed`.

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

    def do_offers(self) -> tuple[Any, None]:
        """Describe its models; name its other offers."""
        others = [spec.name for spec in self.offered if not isinstance(spec, ModelSpec)]
        return {"models": [_described(s) for s in self.specs.values()], "others": others}, None

    def do_store_trials(self, trials: str) -> tuple[None, None]:
        """Store trials, so that a model receives the same object in later requests."""
        self.trials.append(read_packed(Path(trials), Trials))
        return None, None

    def do_build(self, name: str, seed: int, settings: Mapping[str, Any]) -> tuple[Any, None]:
        """Build a model."""
        return self._keep(self.specs[name].build(seed, **settings)), None

    def do_depends_on(self, name: str, seed: int, trials: int) -> tuple[Any, None]:
        """Return what else a fitted model depends on."""
        depends_on = self.specs[name].depends_on
        return str(depends_on and depends_on(seed, self.trials[trials])), None

    def do_fit(self, model: int, trials: int, seed: int) -> tuple[None, None]:
        """Fit a model."""
        self.models[model].fit(self.trials[trials], seed=seed)
        return None, None

    def do_state(self, model: int) -> tuple[None, State]:
        """Return the fitted state of a model."""
        return None, State(_arrays(self.models[model].state(), "state()"))

    def do_restore(self, model: int, state: str) -> tuple[None, None]:
        """Load the state of a model."""
        self.models[model].restore(read_packed(Path(state), State).arrays)
        return None, None

    def do_activations(self, model: int, trials: int) -> tuple[None, Activations]:
        """Run a model."""
        found = self.models[model].activations(self.trials[trials])
        return None, _expect(found, Activations, "activations()")

    def do_track(self, model: int, trials: int, goal: str | None = None) -> tuple[None, Tracking]:
        """Run a controller in closed loop."""
        towards = None if goal is None else read_packed(Path(goal), Goal)
        found = self.models[model].track(self.trials[trials], goal=towards)
        return None, _expect(found, Tracking, "track()")

    def do_embed(self, model: int, trials: int) -> tuple[None, Ragged]:
        """Embed trajectories."""
        return None, _expect(self.models[model].embed(self.trials[trials]), Ragged, "embed()")

    def do_observe(self, model: int, trials: int) -> tuple[None, Ragged]:
        """Return the observations of the network."""
        return None, _expect(self.models[model].observe(self.trials[trials]), Ragged, "observe()")

    def do_activations_of(self, model: int, observations: str) -> tuple[None, Activations]:
        """Run an open pass of the network."""
        found = self.models[model].activations_of(read_packed(Path(observations), Ragged))
        return None, _expect(found, Activations, "activations_of()")

    def do_untrained(self, model: int, seed: int) -> tuple[Any, None]:
        """Create the untrained twin as a model."""
        return self._keep(self.models[model].untrained(seed=seed)), None

    def do_train(
        self,
        model: int,
        trials: int,
        seed: int,
        steps: int | None,
        folder: str,
        monitor: str,
        threads: int | None,
    ) -> tuple[None, Network]:
        """Train a network."""
        trained = self.models[model].train(
            self.trials[trials],
            seed=seed,
            steps=steps,
            folder=Path(folder),
            monitor=read_packed(Path(monitor), Monitor).splits,
            threads=threads,
            progress=self.progress,
        )
        _expect(trained, TrainedNetwork, "train()")
        rest = {"action": trained.action, "settings": trained.settings, "facts": trained.facts}
        return None, Network(_arrays(trained.weights, "train()"), json.dumps(rest))

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
    }


def _expect(value: Any, kind: type, method: str) -> Any:
    if not isinstance(value, kind):
        raise PackedError(f"{method} returned a {type(value).__name__}; it must return {kind.__name__}")
    return value


def _arrays(arrays: Any, method: str) -> dict[str, Any]:
    """Copy named arrays; a mapping of other types is rejected by :func:`write_packed` or the reader."""
    if not isinstance(arrays, Mapping):
        raise PackedError(f"{method} returned a {type(arrays).__name__}; it must return named arrays")
    return dict(arrays)
