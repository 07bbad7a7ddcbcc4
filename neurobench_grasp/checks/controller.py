"""Checks of a controller: how it moves a body, and open passes of its network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from neurobench_grasp.bodies import body_of
from neurobench_grasp.checks.fixture import (
    ROUNDING,
    SAME,
    SEED,
    ModelCase,
    differing,
    differs,
    disturb,
    layers_in,
)
from neurobench_grasp.checks.rules import Broken, Inapplicable, check
from neurobench_grasp.contract import Body, Goal, Ragged, Tracking, Trials, Twinned

BEYOND = 0.3
"""Tolerance in rad beyond the soft limit of a simulated joint."""


def track(case: ModelCase, trials: Trials, goal: Goal | None = None) -> Tracking:
    """Run the body in closed loop.

    Raises
    ------
    Broken
        If the result is not a Tracking.
    """
    found = case.call("track", lambda: case.fitted.track(copy.deepcopy(trials), goal=goal))
    if not isinstance(found, Tracking):
        raise Broken(
            f"`track` returns a {type(found).__name__}; it must return Tracking(joint_angles, keypoints)."
        )
    return found


@check("controller", "fits")
def tracks(case: ModelCase) -> None:
    """Its body moves at every step, within the joint limits."""
    found, body = track(case, case.probe), body_of(case.probe)
    widths = {
        "joint_angles": len(body.joints),
        "keypoints": 3 * len(body.keypoints),
        "muscle_activation": len(body.muscles),
    }
    for name, width in widths.items():
        signal = getattr(found, name)
        if signal is None and name == "muscle_activation":
            continue
        if not isinstance(signal, Ragged) or not np.array_equal(signal.offsets, case.probe.offsets):
            raise Broken(
                f"`track` returns {name} that are no Ragged with the trials' steps; use trials.offsets."
            )
        if signal.values.ndim != 2 or signal.values.shape[1] != width:
            raise Broken(f"`track` returns {name} of {signal.values.shape[1:]} columns; expected {width}.")
        if not np.isfinite(signal.values).all():
            raise Broken(f"`track` returns {name} that are not finite; check for an unstable simulation.")
    _within_limits(found, body)


@check("controller", "tracks")
def tracks_repeatably(case: ModelCase) -> None:
    """Repeated calls with the same trials return the same movement."""
    first = track(case, case.probe).keypoints
    disturb(5)
    if differs(first.values, track(case, case.probe).keypoints.values, SAME).any():
        raise Broken(
            "The body moves differently when the same trials are repeated: sample no actions in `track`, and "
            "reset at the start of every trial."
        )
    alone = track(case, case.probe.select([1])).keypoints
    if differs(first[1], alone[0], ROUNDING).any():
        raise Broken(
            "A trial's body moves differently without the other trials; reset at the start of every trial."
        )


@check("controller", "tracks")
def embeds(case: ModelCase) -> None:
    """`embed` returns the reference's embedding."""
    found = _embedding(case)
    if not np.array_equal(found.offsets, case.probe.offsets) or not np.isfinite(found.values).all():
        raise Broken(
            "`embed` must return finite numbers at exactly the steps of the trials: use trials.offsets."
        )


@check("controller", "embeds", "tracks_repeatably")
def takes_goals(case: ModelCase) -> None:
    """A goal replaces the reference."""
    own = _embedding(case)
    intact = track(case, case.probe).keypoints.values
    if differs(intact, track(case, case.probe, Goal("embedding", own)).keypoints.values, ROUNDING).any():
        raise Broken(
            "With its own embedding as goal the body moves differently; `track(trials, "
            "goal=Goal('embedding', embed(trials)))` must be `track(trials)`."
        )
    if not differs(
        intact, track(case, case.probe, Goal("embedding", _other(own))).keypoints.values, 0.0
    ).any():
        raise Broken("The body ignores `goal`; in `track`, it must replace the reference at each step.")


@check("controller", "takes_goals")
def takes_postures(case: ModelCase) -> None:
    """Postures replace the reference, the next five at each step."""
    from neurobench_grasp.protocols.brain_control.trials import postures_ahead
    from neurobench_grasp.protocols.settings import BRAIN_CONTROL

    angles = case.probe.joint_angles
    assert angles is not None
    ahead = postures_ahead(_other(angles), BRAIN_CONTROL.look_ahead(case.probe.dt))
    try:
        found = track(case, case.probe, Goal("joint_angles", ahead))
    except Broken as error:
        raise Broken(
            f"{error} A goal of the kind 'joint_angles' contains the next five postures, "
            f"concatenated: {ahead.values.shape[1]} columns."
        ) from error
    if not differs(track(case, case.probe).keypoints.values, found.keypoints.values, 0.0).any():
        raise Broken(
            "The body ignores goals of the kind 'joint_angles'; in `track`, these postures must "
            "replace the reference."
        )


@check("controller", "gives_layers", "tracks_repeatably")
def observes(case: ModelCase) -> None:
    """An open pass over its observations returns the same layers."""
    found = open_pass(case, observations(case))
    if name := differing(case.layers, found, ROUNDING):
        raise Broken(
            f"The layer {name} differs in an open pass over the result of `observe`; `observe` "
            "must return all inputs of the network, step by step, and `activations_of` must run the same "
            "network."
        )


@check("controller", "observes")
def untrained_twin(case: ModelCase) -> None:
    """Its untrained twin has the same layers and other weights."""
    if not isinstance(case.fitted, Twinned):
        raise Inapplicable("It has no method `untrained`.")
    seen = observations(case)
    first, again = (_layers_of_twin(case, seen) for _ in range(2))
    shapes = {name: layer.values.shape for name, layer in first.items()}
    wanted = {name: layer.values.shape for name, layer in case.layers.items()}
    if shapes != wanted:
        raise Broken(f"`untrained` has the layers {shapes} instead of {wanted}; build the same network.")
    if not differing(first, case.layers, ROUNDING):
        raise Broken("`untrained` returns the trained network; draw new weights from its seed.")
    if differing(first, again, SAME):
        raise Broken("`untrained` returns a different network each time; draw its weights from `seed` alone.")


def _other(signal: Ragged) -> Ragged:
    """Return for each trial the signal of the next, reversed."""
    n = len(signal)
    return Ragged.of([np.resize(signal[(i + 1) % n][::-1], trial.shape) for i, trial in enumerate(signal)])


def _layers_of_twin(case: ModelCase, seen: Ragged) -> Mapping[str, Ragged]:
    twin = case.call("untrained", lambda: case.fitted.untrained(seed=SEED + 1))
    return open_pass(case, seen, twin)


def _embedding(case: ModelCase) -> Ragged:
    found = case.call("embed", lambda: case.fitted.embed(copy.deepcopy(case.probe)))
    if not isinstance(found, Ragged) or found.values.ndim != 2:
        raise Broken(
            f"`embed` returns a {type(found).__name__}; it must return a Ragged, (trial, step, n_features)."
        )
    return found


def open_pass(case: ModelCase, seen: Ragged, model: Any = None) -> Mapping[str, Ragged]:
    """Return the layers of an open pass over observations, of the fitted model unless another is given."""
    run = (case.fitted if model is None else model).activations_of
    return layers_in(case.call("activations_of", lambda: run(copy.deepcopy(seen))), "activations_of")


def observations(case: ModelCase) -> Ragged:
    """Return what the network received in closed loop, for the probe."""
    found = case.call("observe", lambda: case.fitted.observe(copy.deepcopy(case.probe)))
    if not isinstance(found, Ragged) or not np.array_equal(found.offsets, case.probe.offsets):
        raise Broken("`observe` must return a Ragged with the steps of the trials: use trials.offsets.")
    return found


def _within_limits(found: Tracking, body: Body) -> None:
    low, high = body.joint_limits.T
    angles = found.joint_angles.values
    beyond = np.maximum(low - angles, angles - high).max(axis=0)
    if beyond.max() > BEYOND:
        worst = int(np.argmax(beyond))
        raise Broken(
            f"`track` returns {body.joints[worst]} {beyond[worst]:.2f} rad beyond its limit; joint angles "
            "are in rad, in the order of `joints` of neurobench_grasp.bodies.body_of(trials)."
        )
    if found.muscle_activation is not None:
        values = found.muscle_activation.values
        if values.min(initial=0.0) < 0 or values.max(initial=0.0) > 1:
            raise Broken("`track` returns muscle_activation outside 0 … 1.")
