"""Checks of a recurrent controller: its state belongs to one trial, and is all that it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurobench_grasp.checks.controller import observations, open_pass
from neurobench_grasp.checks.fixture import ROUNDING, SAME, ModelCase, copied, differing
from neurobench_grasp.checks.rules import Broken, Inapplicable, check
from neurobench_grasp.contract import Ragged, Recurrent, RecurrentState


@check("controller", "fits")
def initial_states(case: ModelCase) -> None:
    """`initial_state(n)` has a row for each trial, and all rows and calls are equal."""
    _require_state(case)
    n = len(case.probe)
    first, again, one = (_initial_state(case, rows) for rows in (n, n, 1))
    for name, values in first.items():
        if values.shape[:1] != (n,) or values.dtype.kind not in "fiub":
            raise Broken(
                f"`initial_state({n})` returns {name} of shape {values.shape} and type {values.dtype}; it "
                f"must be numbers of shape ({n}, …), a row for each trial."
            )
    for other in (again, one):
        if first.keys() != other.keys() or any(
            values.shape[1:] != other[name].shape[1:] or (values != other[name]).any()
            for name, values in first.items()
        ):
            raise Broken(
                "`initial_state` returns other values for other trials or at another call; each trial must "
                "start alike: draw no noise, and make a new array at each call."
            )


@check("controller", "gives_layers")
def resets_between_calls(case: ModelCase) -> None:
    """An open pass does not depend on trials of earlier passes."""
    seen = _observations(case)
    open_pass(case, seen.select(range(len(seen))[::-1]))
    after_others = copied(open_pass(case, seen))
    if name := differing(after_others, open_pass(case, seen), SAME):
        raise Broken(
            f"The layer {name} differs after an open pass over other trials: begin `activations_of` with "
            "`initial_state`, and keep no state in the model."
        )


@check("controller", "resets_between_calls")
def resets_between_trials(case: ModelCase) -> None:
    """An open pass of a trial does not depend on other trials of the batch, nor on their order."""
    seen = _observations(case)
    n = len(seen)
    together = copied(open_pass(case, seen))
    backwards = copied(open_pass(case, seen.select(range(n)[::-1])))
    for i in range(n):
        mine = _only(together, i)
        alone = open_pass(case, seen.select([i]))
        for how, other in (("is passed alone", alone), ("has another place", _only(backwards, n - 1 - i))):
            if name := differing(mine, other, ROUNDING):
                raise Broken(
                    f"The layer {name} differs in an open pass when a trial {how}: begin each trial with "
                    "`initial_state`, at its own first row (observations.offsets)."
                )


@check("controller", "initial_states", "observes", "resets_between_trials")
def steps_alike(case: ModelCase) -> None:
    """`step` after `step` from the initial state returns the activations of the open pass."""
    seen = _observations(case)
    wanted = copied(open_pass(case, seen))
    n = len(seen)
    for order in (range(n), range(n)[::-1]):  # the second time after the first: nothing else is remembered
        found = _stepped(case, seen.select(order))
        if name := differing({name: layer.select(order) for name, layer in wanted.items()}, found, ROUNDING):
            raise Broken(
                f"The layer {name} differs between `step` and the open pass; `step` must compute the same "
                "layers from the observation and the state that it is given, and from nothing else."
            )


def _require_state(case: ModelCase) -> None:
    if not isinstance(case.fitted, Recurrent):
        raise Inapplicable("It has no methods `initial_state` and `step`.")


def _observations(case: ModelCase) -> Ragged:
    _require_state(case)
    return observations(case)


def _initial_state(case: ModelCase, n: int) -> dict[str, NDArray[Any]]:
    """Return copies of the arrays of an initial state, by name."""
    state = case.call("initial_state", lambda: case.fitted.initial_state(n))
    named = state if isinstance(state, Mapping) else {"an array": state}
    return {str(name): np.array(values) for name, values in named.items()}


def _stepped(case: ModelCase, seen: Ragged) -> dict[str, Ragged]:
    """Run all trials in parallel, step by step; those that have ended receive their last row again."""
    state: RecurrentState = case.call("initial_state", lambda: case.fitted.initial_state(len(seen)))
    rows: list[Mapping[str, NDArray[Any]]] = []
    for k in range(int(seen.lengths.max())):
        now = np.stack([trial[min(k, len(trial) - 1)] for trial in seen])
        layers, state = case.call("step", _step(case, now, state))
        rows.append({name: np.array(values) for name, values in layers.items()})
    return {name: _by_trial([row[name] for row in rows], seen) for name in rows[0]}


def _step(
    case: ModelCase, now: NDArray[Any], state: RecurrentState
) -> Callable[[], tuple[Mapping[str, NDArray[Any]], RecurrentState]]:
    return lambda: case.fitted.step(now, state)


def _by_trial(rows: Sequence[NDArray[Any]], seen: Ragged) -> Ragged:
    """Turn one (n_trials, n_features) array for each step into trials."""
    steps = np.stack(rows, axis=1)
    return Ragged.of([steps[i, :length] for i, length in enumerate(seen.lengths)])


def _only(layers: Mapping[str, Ragged], trial: int) -> dict[str, Ragged]:
    return {name: Ragged.of([layer[trial]]) for name, layer in layers.items()}
