"""Checks of a model: what it returns, and that this depends on past behaviour of the same trial only."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.bodies import find_body
from neurobench_grasp.checks.fixture import (
    ROUNDING,
    SAME,
    SEED,
    ModelCase,
    differing,
    differs,
    disturb,
    lacking,
)
from neurobench_grasp.checks.rules import Broken, check
from neurobench_grasp.checks.side_effects import shipped_files
from neurobench_grasp.contract import LOOK_AHEAD_S, Bools, Controller, Ints, Model, ModelCard, Ragged, Trials
from neurobench_grasp.errors import NgbError

STATE, REFERENCE = "state.npz", "reference.npz"
"""File passed from the first process to the second."""
WEIGHTS = (".h5", ".npy", ".npz", ".onnx", ".safetensors")


@check("model")
def card(case: ModelCase) -> None:
    """It has a model card."""
    found = case.spec.card
    if not isinstance(found, ModelCard):
        raise Broken("It has no card; add `card=ModelCard(licence=…, authors=…, …)` to its ModelSpec.")
    if case.spec.controller and found.action_space == "none":
        raise Broken("Its card has action_space='none', but it is a controller; state its action space.")


@check("model")
def names_its_weights(case: ModelCase) -> None:
    """Weights in files are named by `depends_on`."""
    found = sorted(path.name for path in shipped_files(case.distribution) if path.suffix in WEIGHTS)
    if found and case.spec.depends_on is None:
        raise Broken(
            f"It contains {', '.join(found[:3])}, changes of which would not invalidate stored scores; add "
            "`depends_on=lambda seed, train: …` with the digest of these files to its ModelSpec."
        )


@check("model")
def names_its_body(case: ModelCase) -> None:
    """The body that it moves is installed."""
    try:
        if case.spec.body is not None:
            find_body(case.spec.body)
    except NgbError as error:
        raise Broken(f"Its ModelSpec names a body that cannot be used: {error}") from error


@check("model")
def builds(case: ModelCase) -> None:
    """`build` returns an object with a model's methods."""
    model = case.build()
    contract = Controller if case.spec.controller else Model
    if missing := lacking(model, contract):
        hint = ", or drop `controller=True`" if contract is Controller else ""
        raise Broken(f"It lacks {', '.join(missing)} of a {contract.__name__}; add them{hint}.")
    for method, args, kwargs in _signatures(case.spec.controller):
        try:
            inspect.signature(getattr(model, method)).bind(*args, **kwargs)
        except TypeError as error:
            wanted = ", ".join([*args, *(f"{name}=…" for name in kwargs)])
            raise Broken(f"`{method}` cannot be called as {method}({wanted}): {error}.") from error


@check("model", "builds", "names_its_body")
def fits(case: ModelCase) -> None:
    """It fits a few trials quickly."""
    assert case.fitted is not None


@check("model", "fits")
def gives_layers(case: ModelCase) -> None:
    """`activations` returns named layers of numbers."""
    assert case.layers


@check("model", "gives_layers")
def every_step(case: ModelCase) -> None:
    """Layers have all steps of the trials, not the last alone."""
    n_steps = int(case.probe.offsets[-1])
    for name, layer in case.layers.items():
        if not np.array_equal(layer.offsets, case.probe.offsets):
            last = "; it seems to return the last step only" if len(layer.values) == len(case.probe) else ""
            raise Broken(
                f"The layer {name} has {len(layer.values)} rows for {n_steps} steps of {len(case.probe)} "
                f"trials{last}. Return all steps, with the trials' offsets: Ragged(values, trials.offsets)."
            )
        if all(_changes_at_last(trial) for trial in layer):
            raise Broken(
                f"The layer {name} changes at the last step of each trial only; return what was computed "
                "at every step."
            )


@check("model", "gives_layers")
def finite(case: ModelCase) -> None:
    """Every activation is a finite number."""
    for name, layer in case.layers.items():
        bad = int(np.count_nonzero(~np.isfinite(layer.values)))
        if bad:
            raise Broken(
                f"The layer {name} has {bad} values of {layer.values.size} that are not finite; check for "
                "divisions by zero, logarithms, and states that grow without bound."
            )


@check("model", "gives_layers")
def varies(case: ModelCase) -> None:
    """No layer is constant."""
    for name, layer in case.layers.items():
        if layer.values.size == 0 or not differs(layer.values, layer.values[:1], SAME).any():
            raise Broken(f"The layer {name} is constant, so it predicts nothing; omit it, or fix it.")


@check("model", "gives_layers")
def repeatable(case: ModelCase) -> None:
    """Repeated calls with the same trials return the same activations."""
    disturb(3)
    again = case.layers_of(case.probe)
    if name := differing(case.layers, again, SAME):
        raise Broken(
            f"The layer {name} differs when the same trials are repeated: draw no noise in `activations` "
            "(dropout, sampled actions), and keep no state between calls."
        )


@check("model", "repeatable")
def deterministic(case: ModelCase) -> None:
    """Two fits with one seed are identical."""
    if not differing(case.layers, case.layers_of_second, SAME):
        return
    again = case.layers_of(case.probe, case.fitted_among(1))  # same global random state as for the first
    if name := differing(case.layers, again, SAME):
        raise Broken(
            f"The layer {name} differs after a second `fit` with the same seed and trials: draw all "
            "random numbers from np.random.default_rng(seed) (torch: a generator with this seed)."
        )


@check("model", "deterministic")
def own_random_numbers(case: ModelCase) -> None:
    """It does not depend on the global random generators."""
    if name := differing(case.layers, case.layers_of_second, SAME):
        raise Broken(
            f"The layer {name} depends on the global generators (np.random, random, torch): use your "
            "own, np.random.default_rng(seed), or seed the global one at the start of `fit`."
        )


@check("model", "gives_layers")
def inputs_unchanged(case: ModelCase) -> None:
    """It does not modify the trials."""
    for method, name in case.edited.items():
        raise Broken(
            f"`{method}` edits trials.{name} in place; when a model is scored these arrays are read-only, "
            "and it would fail. Copy before you change: np.array(…)."
        )


@check("model", "every_step", "repeatable")
def any_trials(case: ModelCase) -> None:
    """Layer names and widths do not depend on the trials."""
    for what, trials in (
        ("one trial", case.probe.select([0])),
        ("the training trials", case.train),
        (
            "trials of a held-out object",
            replace(case.probe, condition=("unknown",) * len(case.probe)),
        ),
    ):
        found = case.layers_of(trials)
        widths = {name: layer.values.shape[1] for name, layer in found.items()}
        usual = {name: layer.values.shape[1] for name, layer in case.layers.items()}
        if widths != usual:
            raise Broken(
                f"For {what} its layers are {widths} instead of {usual}; they must not depend on trials."
            )
        if any(not np.array_equal(layer.offsets, trials.offsets) for layer in found.values()):
            raise Broken(f"For {what} its layers do not have the steps of the trials.")


@check("model", "every_step", "repeatable")
def batch_invariant(case: ModelCase) -> None:
    """A trial does not depend on other trials of the batch."""
    n = len(case.probe)
    alone = [case.layers_of(case.probe.select([i])) for i in range(n)]
    backwards = case.layers_of(case.probe.select(range(n)[::-1]))
    company = case.layers_of(Trials.join([case.train, case.probe]))
    for i in range(n):
        mine = {name: Ragged.of([layer[i]]) for name, layer in case.layers.items()}
        for how, other in (
            ("is passed alone", alone[i]),
            ("is at another place in the batch", _only(backwards, n - 1 - i)),
            ("is passed with other trials", _only(company, len(case.train) + i)),
        ):
            if name := differing(mine, other, ROUNDING):
                raise Broken(
                    f"The layer {name} differs when a trial {how}: reset the state for each trial, and "
                    "take means and scales from training trials in `fit`, not from the batch."
                )


@check("model", "batch_invariant")
def causal(case: ModelCase) -> None:
    """No activation depends on behaviour more than 0.2 s later."""
    ahead = round(LOOK_AHEAD_S / case.probe.dt)
    change = np.array([max(ahead + 5, int(0.6 * n)) for n in np.diff(case.probe.offsets)])
    for what, trials in (
        ("on behaviour", later_changed(case.probe, change)),
        ("on the trial's duration", cut_short(case.probe, change)),
    ):
        found = case.layers_of(trials)
        name, seconds = furthest(case.layers, found, change, case.probe.dt)
        if seconds > LOOK_AHEAD_S + case.probe.dt / 2:
            raise Broken(
                f"The layer {name} depends {what} {seconds:.2f} s after its step; at most {LOOK_AHEAD_S:g} s "
                "is allowed. Bidirectional networks, smoothing in both directions and means "
                "over the whole trial look ahead: use past behaviour only."
            )


@check("model", "gives_layers")
def plain_state(case: ModelCase) -> None:
    """`state` returns named arrays of numbers or text."""
    state = case.call("state", case.fitted.state)
    if not isinstance(state, Mapping):
        raise Broken(f"`state` returns a {type(state).__name__}; it must map names to arrays.")
    for name, value in state.items():
        if (
            not isinstance(name, str)
            or not isinstance(value, np.ndarray | np.generic)
            or value.dtype.hasobject
        ):
            raise Broken(
                f"`state` contains {name!r}, a {type(value).__name__}, which requires pickle, and pickles "
                "are never read; return the fitted parameters as arrays of numbers."
            )
    np.savez(case.scratch / STATE, **state)
    reference = {name: layer.values for name, layer in case.layers.items()}
    np.savez(case.scratch / REFERENCE, **reference)  # type: ignore[arg-type]


@check("model", "plain_state", "every_step", "repeatable", fresh=True)
def restores(case: ModelCase) -> None:
    """Restored in another process, it returns the same activations."""
    with np.load(case.scratch / STATE) as stored:
        state = {name: stored[name] for name in stored.files}
    with np.load(case.scratch / REFERENCE) as stored:
        wanted = {name: Ragged(stored[name], case.probe.offsets) for name in stored.files}
    disturb(4)
    model = case.build()
    case.call("restore", lambda: model.restore(state))
    if name := differing(wanted, case.layers_of(case.probe, model), SAME):
        raise Broken(
            f"The layer {name} differs after `restore` in a new process: put everything that `fit` "
            "computed into `state`, nothing into globals or classes, and load all of it in `restore`."
        )


def later_changed(trials: Trials, change: Ints) -> Trials:
    """Replace each trial's behaviour by another's from a step on, and move later events."""

    def changed(signal: Ragged) -> Ragged:
        donors = [signal[(i + 1) % len(signal)][::-1] for i in range(len(signal))]
        return Ragged.of(
            [
                np.concatenate([trial[:m], np.resize(donor, (len(trial) - m, trial.shape[1]))])
                for trial, donor, m in zip(signal, donors, change, strict=True)
            ]
        )

    later = _later(trials, change)
    window = trials.window.copy()
    window[:, 1] = np.where(window[:, 1] > change, np.maximum(window[:, 1] - 2, change), window[:, 1])
    return replace(
        trials,
        signals={name: changed(signal) for name, signal in trials.signals.items()},
        joint_angles=None if trials.joint_angles is None else changed(trials.joint_angles),
        events={name: np.where(later[name], t + 0.1, t) for name, t in trials.events.items()},
        window=window,
    )


def cut_short(trials: Trials, change: Ints) -> Trials:
    """Truncate each trial before a step."""
    later = _later(trials, change)
    cut = trials.cut(np.zeros(len(trials), np.int64), change)
    return replace(
        cut,
        window=np.minimum(trials.window, change[:, None]),
        events={name: np.where(later[name], np.nan, t) for name, t in trials.events.items()},
    )


def furthest(
    usual: Mapping[str, Ragged], found: Mapping[str, Ragged], change: Ints, dt: float
) -> tuple[str, float]:
    """Return the layer that looks furthest ahead of the changed step, and how far, s."""
    worst = ("", 0.0)
    for name in usual:
        for i, m in enumerate(change):
            rows = differs(usual[name][i][:m], found[name][i][:m], ROUNDING)
            if rows.any() and (seconds := (m - int(np.argmax(rows))) * dt) > worst[1]:
                worst = (name, float(seconds))
    return worst


def _later(trials: Trials, change: Ints) -> dict[str, Bools]:
    """Return which events of a trial happen after a step."""
    since = (change - trials.window[:, 0]) * trials.dt
    return {name: times > since for name, times in trials.events.items()}


def _only(layers: Mapping[str, Ragged], trial: int) -> dict[str, Ragged]:
    return {name: Ragged.of([layer[trial]]) for name, layer in layers.items()}


def _changes_at_last(trial: NDArray[Any]) -> bool:
    """Return whether a trial's rows are all the same except the last."""
    return (
        len(trial) > 2
        and all(np.array_equal(a, b) for a, b in pairwise(trial[:-1]))
        and not np.array_equal(trial[-2], trial[-1])
    )


def _signatures(controller: bool) -> list[tuple[str, list[str], dict[str, Any]]]:
    """Return the signatures of a model's methods."""
    model: list[tuple[str, list[str], dict[str, Any]]] = [
        ("fit", ["train"], {"seed": SEED}),
        ("activations", ["trials"], {}),
        ("state", [], {}),
        ("restore", ["state"], {}),
    ]
    moves: list[tuple[str, list[str], dict[str, Any]]] = [
        ("track", ["trials"], {"goal": None}),
        ("embed", ["trials"], {}),
        ("observe", ["trials"], {}),
        ("activations_of", ["observations"], {}),
    ]
    return [*model, *moves] if controller else model
