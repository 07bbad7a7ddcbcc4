"""Fixture for checks of a model, and comparison of its results."""

from __future__ import annotations

import copy
import random
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.alignment.clock import clock_of
from neurobench_grasp.alignment.session import AlignedSession
from neurobench_grasp.checks.audit import Audit
from neurobench_grasp.checks.rules import Broken
from neurobench_grasp.checks.sample_session import sample_trials
from neurobench_grasp.contract import DEFAULT_BODY, Activations, Bools, Ragged, Trials
from neurobench_grasp.errors import NgbError

SEED = 0
N_TRAIN, N_PROBE = 12, 5
SAME = 1e-6
"""Tolerance relative to a layer's largest value, for identical computations."""
ROUNDING = 1e-4
"""Relative to a layer's largest value: matrix products of other heights differ in their last bits."""
Answer = TypeVar("Answer")


class Audited:
    """Calls a plugin's code with auditing, and converts its exceptions to failures."""

    audit: Audit

    def call(self, what: str, function: Callable[[], Answer]) -> Answer:
        """Call a function of the plugin.

        Raises
        ------
        Broken
            Instead of any exception that it raises.
        """
        try:
            with self.audit.watch():
                return function()
        except (Exception, SystemExit) as error:
            raise Broken(f"`{what}` raises {_described(error)}") from error


class ModelCase(Audited):
    """A model with trials to check it on; results that several checks need are computed once.

    Parameters
    ----------
    audit : Audit
    scratch : path
        Folder for files passed to a second process.
    distribution : str
    sample : AlignedSession
        Of whose trials some are for fitting, and some are held out; movements of the default body.
    """

    spec: Any = None

    def __init__(self, audit: Audit, scratch: Path, distribution: str, sample: AlignedSession) -> None:
        self.audit, self.scratch, self.distribution, self.sample = audit, scratch, distribution, sample
        self.edited: dict[str, str] = {}

    @cached_property
    def session(self) -> AlignedSession:
        """The sample, with movements of the body that the model moves."""
        body = self.spec.body
        if body in (None, DEFAULT_BODY):
            return self.sample
        return self.call(f"body {body}", lambda: sample_trials(body))  # may run another plugin's code

    @property
    def trials(self) -> Trials:
        """All trials, on the steps of the model."""
        return clock_of(self.session, self.spec.step_s).scored

    @cached_property
    def train(self) -> Trials:
        """Trials to fit on."""
        return self.trials.select(range(N_TRAIN))

    @cached_property
    def probe(self) -> Trials:
        """Held-out trials."""
        return self.trials.select(range(len(self.trials) - N_PROBE, len(self.trials)))

    def build(self) -> Any:
        """Return an unfitted model with its smoke settings."""
        return self.call("build", lambda: self.spec.build(SEED, **self.spec.smoke))

    def fitted_among(self, others: int) -> Any:
        """Fit a new model, with the global random generators in some state."""
        disturb(others)
        model = self.build()
        self._with_copy("fit", self.train, lambda trials: model.fit(trials, seed=SEED))
        return model

    @cached_property
    def fitted(self) -> Any:
        """The fitted model that most checks use."""
        return self.fitted_among(1)

    def layers_of(self, trials: Trials, model: Any = None) -> Mapping[str, Ragged]:
        """Return the layers of trials, from the fitted model unless another is given."""
        model = self.fitted if model is None else model
        return layers_in(self._with_copy("activations", trials, model.activations), "activations")

    @cached_property
    def layers(self) -> Mapping[str, Ragged]:
        """Layers of the probe."""
        return copied(self.layers_of(self.probe))

    @cached_property
    def layers_of_second(self) -> Mapping[str, Ragged]:
        """Layers of the probe from a second model, fitted alike except for the global generators."""
        return copied(self.layers_of(self.probe, self.fitted_among(2)))

    def _with_copy(self, method: str, trials: Trials, function: Callable[[Trials], Answer]) -> Answer:
        """Call a method with an editable copy, and record whether it was edited."""
        given = copy.deepcopy(trials)
        answer = self.call(method, lambda: function(given))
        known, now = arrays_of(trials), arrays_of(given)
        for name in known | now:
            if (
                name not in known
                or name not in now
                or not np.array_equal(known[name], now[name], equal_nan=True)
            ):
                self.edited.setdefault(method, name)
        return answer


def layers_in(given: Any, method: str) -> Mapping[str, Ragged]:
    """Return the layers of a model's result.

    Raises
    ------
    Broken
        If it is not an Activations with named, ragged arrays of numbers.
    """
    if not isinstance(given, Activations) or not isinstance(given.layers, Mapping) or not given.layers:
        raise Broken(
            f"`{method}` returns a {type(given).__name__} without layers; it must return "
            "Activations({name: Ragged})."
        )
    for name, layer in given.layers.items():
        if not isinstance(name, str) or not isinstance(layer, Ragged):
            raise Broken(
                f"The layer {name!r} is a {type(layer).__name__}; make it a Ragged, and its name a string."
            )
        values = np.asarray(layer.values)
        if values.ndim != 2 or values.dtype.kind not in "fiub":
            raise Broken(
                f"The layer {name} is an array of shape {values.shape} and type {values.dtype}; it must be "
                "(steps, features), of real numbers."
            )
    return given.layers


def copied(layers: Mapping[str, Ragged]) -> dict[str, Ragged]:
    """Copy layers, so that the model cannot change them later."""
    return {name: Ragged(np.array(layer.values), np.array(layer.offsets)) for name, layer in layers.items()}


def differs(one: NDArray[Any], other: NDArray[Any], tolerance: float) -> Bools:
    """Return which rows differ by more than a share of the largest value; equal NaN count as equal."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    size = max(np.abs(x[np.isfinite(x)]).max(initial=0.0) for x in (a, b))
    close = np.isclose(a, b, rtol=0.0, atol=tolerance * size, equal_nan=True)
    rows: Bools = np.logical_not(close.all(axis=1))
    return rows


def differing(one: Mapping[str, Ragged], other: Mapping[str, Ragged], tolerance: float) -> str:
    """Return the name of the first layer that differs; empty if none does."""
    for name in one:
        if name not in other or one[name].values.shape != other[name].values.shape:
            return name
        if differs(one[name].values, other[name].values, tolerance).any():
            return name
    return "" if len(one) == len(other) else "(an additional layer)"


def disturb(seed: int) -> None:
    """Set the global random generators to another state."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def arrays_of(trials: Trials) -> dict[str, NDArray[Any]]:
    """Return every array of trials by the attribute name."""
    angles = {} if trials.joint_angles is None else {"joint_angles": trials.joint_angles.values}
    signals = {f"signals[{name!r}]": signal.values for name, signal in trials.signals.items()}
    events = {f"events[{name!r}]": times for name, times in trials.events.items()}
    return {"window": trials.window, "offsets": trials.offsets, **angles, **signals, **events}


def lacking(model: Any, contract: type) -> list[str]:
    """Return the methods of a contract that a model lacks."""
    methods = [n for base in contract.__mro__ for n in vars(base) if callable(vars(base)[n]) and n[0] != "_"]
    return sorted(name for name in set(methods) if not callable(getattr(model, name, None)))


def _described(error: BaseException) -> str:
    """Return kind, message and place of an error, and what to do."""
    text = " ".join(str(error).split()) or "without a message"
    if isinstance(error, NgbError):
        return f"an error: {text}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    if isinstance(error, ModuleNotFoundError):
        return (
            f"{text}{place}: `pip install {str(error.name).partition('.')[0]}`, and add the package to "
            "`dependencies` in its pyproject.toml."
        )
    if isinstance(error, SystemExit):
        return f"SystemExit{place}; a plugin must not end the program: raise an error instead."
    return f"{type(error).__name__}: {text}{place}; fix that line."
